//! The client of the asynchronous flavour.

mod builder;
mod call;

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncWrite};

pub use self::builder::ClientBuilder;
use self::builder::Settings;
use self::call::OpenCall;
use crate::addr::Address;
use crate::codec::{Codec, Encoded, Payload, Raw, to_bytes};
use crate::connection::{Shared, Slot, Streams};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::interceptor::{Body, Invocation};
use crate::proto::{CallKind, client};
use crate::streaming::{StreamRef, Streaming};
use crate::transport;

/// A connection to a server, and the calls on it.
///
/// A clone shares the connection; any number of calls run on it at once. It is closed
/// when the last clone and the last call are gone.
///
/// The generated clients are made from it:
///
/// ```no_run
/// # use ttrpc_runtime::{Client, Error};
/// # async fn connect() -> Result<(), Error> {
/// let client = Client::connect("unix:///run/greeter.sock").await?;
/// # Ok(()) }
/// ```
///
/// Dropping the future of a call gives the call up: nothing of it is left here. The
/// server is told only where [`ClientBuilder::send_cancel`] says so, because the protocol
/// itself has no way to.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

type Connection = Shared<client::Connection<Slot>>;

struct Inner {
    link: Link,
    settings: Settings,
}

/// The connection that calls are made on.
enum Link {
    /// This one.
    Fixed(OpenConnection),
    /// This one, and when it has ended another one to the same address.
    Again(Address, Mutex<OpenConnection>),
}

/// A connection that ends when the last call on it has, once this is dropped.
#[derive(Clone)]
struct OpenConnection(Arc<CloseOnDrop>);

struct CloseOnDrop(Arc<Connection>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.with(client::Connection::shut_down);
    }
}

impl Client {
    /// Begins to make a client that is not like the default.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Connects to a server: to `unix:///path`, `unix://@abstract` or an [`Address`].
    ///
    /// # Errors
    /// The address is none, or nobody listens there.
    pub async fn connect<A>(address: A) -> Result<Self>
    where
        A: TryInto<Address>,
        A::Error: Into<Error>,
    {
        Self::builder().connect(address).await
    }

    /// Makes calls over `io`, a connection of any kind.
    ///
    /// # Panics
    /// Outside of a tokio runtime: a task is spawned that drives the connection.
    pub fn new(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self::builder().over(io)
    }

    fn with(link: Link, settings: Settings) -> Self {
        Self {
            inner: Arc::new(Inner { link, settings }),
        }
    }

    /// Waits until the connection has ended, and says why. It is cancel-safe.
    pub async fn closed(&self) -> Error {
        let connection = self.inner.link.current();
        let connection = Arc::clone(&connection.0.0);
        poll_fn(|cx| connection.poll_ended(cx)).await
    }

    /// Calls a method with one message each way.
    ///
    /// # Errors
    /// The call failed: by its handler, its deadline, its context or its connection.
    pub async fn unary<C, Req, Rep>(
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
        let kind = CallKind::Unary;
        let reply = if self.is_intercepted() {
            let body = Body::One(to_bytes::<C, Req>(&request)?);
            let reply = self.intercept(ctx, service, method, kind, body).await?;
            reply.into_one()?
        } else {
            let connection = self.connection().await?;
            let encoded = Encoded::<C, Req>::new(&request);
            let call = self.open(connection, ctx, service, method, kind, Some(&encoded))?;
            call.await?
        };
        Ok(C::decode(reply)?)
    }

    /// Calls a method with one message, and a stream of messages back.
    ///
    /// # Errors
    /// The call can't be made. That it failed otherwise, the stream says.
    pub async fn server_streaming<C, Req, Rep>(
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
        let kind = CallKind::ServerStreaming;
        if self.is_intercepted() {
            let body = Body::One(to_bytes::<C, Req>(&request)?);
            let replies = self.intercept(ctx, service, method, kind, body).await?;
            return Ok(replies.into_stream().map(|reply| Ok(C::decode(reply)?)));
        }
        let connection = self.connection().await?;
        let encoded = Encoded::<C, Req>::new(&request);
        let call = self.open(connection, ctx, service, method, kind, Some(&encoded))?;
        Ok(call.into_replies::<C, Rep>())
    }

    /// Calls a method with a stream of messages, and one message back.
    ///
    /// # Errors
    /// The call failed, or the stream of requests yielded an error: then with that.
    pub async fn client_streaming<C, Req, Rep>(
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
        let kind = CallKind::ClientStreaming;
        let reply = if self.is_intercepted() {
            let body = Body::Stream(requests.map(|request| Ok(to_bytes::<C, Req>(&request)?)));
            let reply = self.intercept(ctx, service, method, kind, body).await?;
            reply.into_one()?
        } else {
            let connection = self.connection().await?;
            let call = self.open(connection, ctx, service, method, kind, None)?;
            call.fed_by::<C, Req>(requests).await?
        };
        Ok(C::decode(reply)?)
    }

    /// Calls a method with a stream of messages each way.
    ///
    /// The requests are sent by a task of their own, whether the replies are read or not.
    ///
    /// # Errors
    /// The call can't be made. That it failed otherwise, the stream says.
    pub async fn bidi_streaming<C, Req, Rep>(
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
        let kind = CallKind::BidiStreaming;
        if self.is_intercepted() {
            let body = Body::Stream(requests.map(|request| Ok(to_bytes::<C, Req>(&request)?)));
            let replies = self.intercept(ctx, service, method, kind, body).await?;
            return Ok(replies.into_stream().map(|reply| Ok(C::decode(reply)?)));
        }
        let connection = self.connection().await?;
        let call = self.open(connection, ctx, service, method, kind, None)?;
        call.feed::<C, Req>(requests).await;
        Ok(call.into_replies::<C, Rep>())
    }

    fn is_intercepted(&self) -> bool {
        !self.inner.settings.interceptors.is_empty()
    }

    /// Makes a call through the interceptors.
    async fn intercept(
        &self,
        ctx: &Context,
        service: &str,
        method: &str,
        kind: CallKind,
        body: Body,
    ) -> Result<Body> {
        let call = Invocation {
            service: service.to_owned(),
            method: method.to_owned(),
            kind,
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
        let (request, requests) = match body {
            Body::One(request) => (Some(request), Streaming::from_iter([])),
            Body::Stream(requests) => (None, requests),
        };
        let connection = self.connection().await?;
        let payload = request.as_ref().map(|request| request as &dyn Payload);
        let call = self.open(connection, &ctx, &service, &method, kind, payload)?;
        Ok(match kind {
            CallKind::Unary => Body::One(call.await?),
            CallKind::ClientStreaming => Body::One(call.fed_by::<Raw, _>(requests).await?),
            CallKind::ServerStreaming => Body::Stream(call.into_replies::<Raw, _>()),
            CallKind::BidiStreaming => {
                call.feed::<Raw, _>(requests).await;
                Body::Stream(call.into_replies::<Raw, _>())
            }
        })
    }

    /// The connection to make a call on: the one there is, or a new one where that has
    /// ended and is to be replaced.
    async fn connection(&self) -> Result<OpenConnection> {
        let connection = self.inner.link.current();
        let Link::Again(address, current) = &self.inner.link else {
            return Ok(connection);
        };
        if connection.0.0.ended().is_none() {
            return Ok(connection);
        }
        let fresh = self.inner.settings.open(transport::connect(address).await?);
        let mut current = current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0.0.ended().is_some() {
            *current = fresh;
        }
        // Otherwise another call was faster, and the fresh one is closed again.
        Ok(current.clone())
    }

    /// Opens a call.
    fn open(
        &self,
        connection: OpenConnection,
        ctx: &Context,
        service: &str,
        method: &str,
        kind: CallKind,
        request: Option<&dyn Payload>,
    ) -> Result<OpenCall> {
        let ctx = self.inner.settings.apply(ctx);
        if ctx.is_cancelled() {
            return Err(Error::cancelled());
        }
        let now = crate::clock::now();
        let id = connection.0.0.with(|connection| {
            let call = client::Call {
                service,
                method,
                kind,
                deadline: ctx.deadline(),
                metadata: ctx.metadata(),
                request,
            };
            connection.open(&call, now)
        })?;
        Ok(OpenCall {
            stream: StreamRef {
                streams: Arc::clone(&connection.0.0) as Arc<dyn Streams>,
                id,
            },
            connection,
            cancelled: ctx.watch(),
            ended: false,
        })
    }
}

impl Link {
    fn current(&self) -> OpenConnection {
        match self {
            Self::Fixed(connection) => connection.clone(),
            Self::Again(_, current) => current
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("ended", &self.inner.link.current().0.0.ended())
            .finish()
    }
}
