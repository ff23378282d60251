//! What a client does, whichever flavour drives its connections.

mod call;
#[cfg(feature = "blocking")]
mod pending;
mod settings;

use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{self, Waker};
use std::time::Instant;

use self::call::{OpenCall, Opened};
#[cfg(feature = "blocking")]
pub(crate) use self::pending::Pending;
pub(crate) use self::settings::{OnClose, Settings, client_options};
use crate::cancel::until;
use crate::codec::{Codec, Encoded, Payload, Raw, to_bytes};
use crate::connection::{Asks, BoxFuture, ended};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::interceptor::{Body, Invocation};
use crate::proto::{CallKind, client};
use crate::streaming::Streaming;

/// The calls of a client, which its clones share.
#[derive(Clone)]
pub(crate) struct Calls {
    inner: Arc<Inner>,
}

struct Inner {
    link: Link,
    settings: Settings,
}

/// The connection that calls are made on.
enum Link {
    /// This one.
    Fixed(OpenConnection),
    /// This one, and when that is over another one to the same address.
    Again(Connect, Mutex<OpenConnection>),
}

/// Connects once more, by then if it is for a call with a deadline.
pub(crate) type Connect =
    Box<dyn Fn(Option<Instant>) -> BoxFuture<Result<OpenConnection>> + Send + Sync>;

/// A connection that ends when the last call on it has, once this is dropped.
#[derive(Clone)]
pub(crate) struct OpenConnection(Arc<CloseOnDrop>);

struct CloseOnDrop(Arc<dyn Asks>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.shut_down();
    }
}

impl OpenConnection {
    pub(crate) fn new(connection: Arc<dyn Asks>) -> Self {
        Self(Arc::new(CloseOnDrop(connection)))
    }

    fn asks(&self) -> &dyn Asks {
        &*self.0.0
    }
}

impl Calls {
    /// Calls on this connection alone.
    pub(crate) fn over(connection: OpenConnection, settings: Settings) -> Self {
        let link = Link::Fixed(connection);
        Self {
            inner: Arc::new(Inner { link, settings }),
        }
    }

    /// Calls on this connection, and once that has ended on another one.
    pub(crate) fn again(first: OpenConnection, settings: Settings, connect: Connect) -> Self {
        let link = Link::Again(connect, Mutex::new(first));
        Self {
            inner: Arc::new(Inner { link, settings }),
        }
    }

    /// Why the connection has ended, once it has.
    pub(crate) fn ended(&self) -> Option<Error> {
        self.inner.link.current().asks().ended()
    }

    /// Waits until the connection has ended, and says why.
    pub(crate) async fn closed(&self) -> Error {
        let connection = Arc::clone(&self.inner.link.current().0.0);
        ended(&*connection).await
    }

    /// Calls a method with one message each way.
    ///
    /// # Errors
    /// The call failed: by its handler, its deadline, its context or its connection.
    pub(crate) async fn unary<C, Req, Rep>(
        &self,
        _: C,
        ctx: &Context,
        service: &str,
        method: &str,
        request: Req,
    ) -> Result<Rep>
    where
        C: Codec<Req> + Codec<Rep>,
        Req: Send,
    {
        let rpc = Rpc::new(service, method, CallKind::Unary);
        let reply = if self.is_intercepted() {
            let body = Body::One(to_bytes(&Encoded::<C, Req>::new(&request))?);
            self.intercept(ctx, rpc, body).await?.into_one()?.into()
        } else {
            let connection = self.connection(ctx).await?;
            let encoded = Encoded::<C, Req>::new(&request);
            let mut call = None;
            let poll = |cx: &mut task::Context<'_>| {
                let call = match &mut call {
                    Some(call) => call,
                    // By whoever is to wait for the reply, which saves a look whether that has
                    // come.
                    none => {
                        let reader = Some(cx.waker());
                        let opened = self.open(&connection, ctx, rpc, Some(&encoded), reader)?;
                        none.insert(OpenCall::new(connection.clone(), opened, true))
                    }
                };
                Pin::new(call).poll(cx)
            };
            poll_fn(poll).await?
        };
        Ok(C::decode_slice(reply)?)
    }

    /// Calls a method with one message, and a stream of messages back.
    ///
    /// # Errors
    /// The call can't be made. That it failed otherwise, the stream says.
    pub(crate) async fn server_streaming<C, Req, Rep>(
        &self,
        _: C,
        ctx: &Context,
        service: &str,
        method: &str,
        request: Req,
    ) -> Result<Streaming<Rep>>
    where
        C: Codec<Req> + Codec<Rep>,
        Req: Send,
        Rep: Send + 'static,
    {
        let rpc = Rpc::new(service, method, CallKind::ServerStreaming);
        if self.is_intercepted() {
            let body = Body::One(to_bytes(&Encoded::<C, Req>::new(&request))?);
            let replies = self.intercept(ctx, rpc, body).await?;
            return Ok(replies.into_stream().decoded::<C, Rep>());
        }
        let connection = self.connection(ctx).await?;
        let encoded = Encoded::<C, Req>::new(&request);
        let call = self.begin(connection, ctx, rpc, Some(&encoded))?;
        Ok(call.into_replies::<C, Rep>())
    }

    /// Calls a method with a stream of messages, and one message back.
    ///
    /// # Errors
    /// The call failed, or the stream of requests yielded an error: then with that.
    pub(crate) async fn client_streaming<C, Req, Rep>(
        &self,
        _: C,
        ctx: &Context,
        service: &str,
        method: &str,
        requests: Streaming<Req>,
    ) -> Result<Rep>
    where
        C: Codec<Req> + Codec<Rep>,
        Req: Send + 'static,
    {
        let rpc = Rpc::new(service, method, CallKind::ClientStreaming);
        let reply = if self.is_intercepted() {
            let requests = Streaming::encoded(requests.into_messages::<C>());
            let body = Body::Stream(requests);
            self.intercept(ctx, rpc, body).await?.into_one()?.into()
        } else {
            let connection = self.connection(ctx).await?;
            let call = self.begin(connection, ctx, rpc, None)?;
            call.fed_by::<C, Req>(requests).await?
        };
        Ok(C::decode_slice(reply)?)
    }

    /// Calls a method with a stream of messages each way.
    ///
    /// The requests are sent by a task of their own, whether the replies are read or not.
    ///
    /// # Errors
    /// The call can't be made. That it failed otherwise, the stream says.
    pub(crate) async fn bidi_streaming<C, Req, Rep>(
        &self,
        _: C,
        ctx: &Context,
        service: &str,
        method: &str,
        requests: Streaming<Req>,
    ) -> Result<Streaming<Rep>>
    where
        C: Codec<Req> + Codec<Rep>,
        Req: Send + 'static,
        Rep: Send + 'static,
    {
        let rpc = Rpc::new(service, method, CallKind::BidiStreaming);
        if self.is_intercepted() {
            let requests = Streaming::encoded(requests.into_messages::<C>());
            let body = Body::Stream(requests);
            let replies = self.intercept(ctx, rpc, body).await?;
            return Ok(replies.into_stream().decoded::<C, Rep>());
        }
        let connection = self.connection(ctx).await?;
        let call = self.begin(connection, ctx, rpc, None)?;
        call.feed::<C, Req>(requests)?;
        Ok(call.into_replies::<C, Rep>())
    }

    fn is_intercepted(&self) -> bool {
        !self.inner.settings.interceptors.is_empty()
    }

    /// Makes a call through the interceptors.
    async fn intercept(&self, ctx: &Context, rpc: Rpc<'_>, body: Body) -> Result<Body> {
        let call = Invocation {
            service: rpc.service.to_owned(),
            method: rpc.method.to_owned(),
            kind: rpc.kind,
            ctx: self.inner.settings.apply(ctx).into_owned(),
            body,
        };
        let client = self.clone();
        let last = async move |call: Invocation| client.call(call).await;
        self.inner.settings.interceptors.run(call, last).await
    }

    /// Makes a call that has come through the interceptors.
    async fn call(&self, call: Invocation) -> Result<Body> {
        let Invocation {
            service,
            method,
            kind,
            ctx,
            body,
        } = call;
        let (request, requests) = if kind.client_streams() {
            (None, body.into_stream())
        } else {
            (Some(body.into_one()?), Streaming::from_iter([]))
        };
        let connection = self.connection(&ctx).await?;
        let payload = request.as_ref().map(|request| request as &dyn Payload);
        let rpc = Rpc::new(&service, &method, kind);
        let call = self.begin(connection, &ctx, rpc, payload)?;
        Ok(match kind {
            CallKind::Unary => Body::One(call.await?.into_bytes()),
            CallKind::ClientStreaming => {
                Body::One(call.fed_by::<Raw, _>(requests).await?.into_bytes())
            }
            CallKind::ServerStreaming => Body::Stream(call.into_replies::<Raw, _>()),
            CallKind::BidiStreaming => {
                call.feed::<Raw, _>(requests)?;
                Body::Stream(call.into_replies::<Raw, _>())
            }
        })
    }

    /// The connection to make a call on: the one there is, or a new one where that is over
    /// and to be replaced.
    async fn connection(&self, ctx: &Context) -> Result<Cow<'_, OpenConnection>> {
        match &self.inner.link {
            Link::Fixed(connection) => Ok(Cow::Borrowed(connection)),
            Link::Again(connect, current) => {
                let deadline = || self.inner.settings.apply(ctx).deadline();
                let connection = reconnected(connect, current, ctx, deadline).await;
                connection.map(Cow::Owned)
            }
        }
    }

    /// Opens a call that nobody waits for yet.
    fn begin<'a>(
        &self,
        connection: Cow<'a, OpenConnection>,
        ctx: &Context,
        rpc: Rpc<'_>,
        request: Option<&dyn Payload>,
    ) -> Result<OpenCall<'a>> {
        let opened = self.open(&connection, ctx, rpc, request, None)?;
        let call = OpenCall::new(connection, opened, false);
        #[cfg(feature = "blocking")]
        if rpc.kind.client_streams() {
            call.give_up_with(ctx);
        }
        Ok(call)
    }

    /// Opens a call; with a waker, for whoever polls and waits for its reply from now on.
    fn open(
        &self,
        connection: &OpenConnection,
        ctx: &Context,
        rpc: Rpc<'_>,
        request: Option<&dyn Payload>,
        reader: Option<&Waker>,
    ) -> Result<Opened> {
        let ctx = self.inner.settings.apply(ctx);
        if ctx.is_cancelled() {
            return Err(Error::cancelled());
        }
        let call = client::Call {
            service: rpc.service,
            method: rpc.method,
            kind: rpc.kind,
            deadline: ctx.deadline(),
            metadata: ctx.metadata(),
            request,
        };
        let id = connection.asks().open(&call, reader)?;
        Ok((id, ctx.watch().map(Box::new)))
    }
}

/// A connection that calls can be made on: the current one, or a new one instead.
async fn reconnected(
    connect: &Connect,
    current: &Mutex<OpenConnection>,
    ctx: &Context,
    deadline: impl Fn() -> Option<Instant>,
) -> Result<OpenConnection> {
    let lock = || current.lock().unwrap_or_else(PoisonError::into_inner);
    let connection = lock().clone();
    if !connection.asks().is_over_by_now() {
        return Ok(connection);
    }
    let connecting = connect(deadline());
    let fresh = match ctx.watch() {
        None => connecting.await?,
        Some(cancelled) => until(pin!(cancelled), connecting)
            .await
            .unwrap_or_else(|| Err(Error::cancelled()))?,
    };
    let mut current = lock();
    if current.asks().is_over() {
        *current = fresh;
    }
    // Otherwise another call was faster, and the fresh one is closed again.
    Ok(current.clone())
}

/// What is called.
#[derive(Clone, Copy)]
struct Rpc<'a> {
    service: &'a str,
    method: &'a str,
    kind: CallKind,
}

impl<'a> Rpc<'a> {
    fn new(service: &'a str, method: &'a str, kind: CallKind) -> Self {
        Self {
            service,
            method,
            kind,
        }
    }
}

impl Link {
    fn current(&self) -> Cow<'_, OpenConnection> {
        match self {
            Self::Fixed(connection) => Cow::Borrowed(connection),
            Self::Again(_, current) => {
                let current = current.lock().unwrap_or_else(PoisonError::into_inner);
                Cow::Owned(current.clone())
            }
        }
    }
}

#[cfg(all(test, feature = "tokio"))]
mod tests;
