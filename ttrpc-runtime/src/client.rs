//! The client of the asynchronous flavour.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::addr::Address;
use crate::cancel::Cancelled;
use crate::codec::{Codec, Encoded, Payload};
use crate::connection::{AbortOnDrop, Driver, NoCalls, Shared, Slot, Streams};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::proto::{CallKind, End, Endpoint, client};
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
/// server is not told, because the protocol has no way to.
#[derive(Clone)]
pub struct Client {
    handle: Arc<Handle>,
}

type Connection = Shared<client::Connection<Slot>>;

/// What all clones of a client share.
struct Handle {
    connection: Arc<Connection>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.connection.with(client::Connection::shut_down);
    }
}

impl Client {
    /// Connects to a server: to `unix:///path`, `unix://@abstract` or an [`Address`].
    ///
    /// # Errors
    /// The address is none, or nobody listens there.
    pub async fn connect<A>(address: A) -> Result<Self>
    where
        A: TryInto<Address>,
        A::Error: Into<Error>,
    {
        let address = address.try_into().map_err(Into::into)?;
        Ok(Self::new(transport::connect(&address).await?))
    }

    /// Makes calls over `io`, a connection of any kind.
    ///
    /// # Panics
    /// Outside of a tokio runtime: a task is spawned that drives the connection.
    pub fn new(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self::with_limits(io, Limits::default())
    }

    /// As [`new`](Self::new), within other limits than the default.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn with_limits(
        io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        limits: Limits,
    ) -> Self {
        let connection = Shared::new(client::Connection::new(limits));
        let driver = Driver::new(Arc::clone(&connection), io, NoCalls);
        // It tells the calls how it ended.
        drop(tokio::spawn(driver));
        Self {
            handle: Arc::new(Handle { connection }),
        }
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
        let encoded = Encoded::<C, Req>::new(&request);
        let call = self.open(ctx, service, method, kind, Some(&encoded))?;
        drop(request);
        Ok(C::decode(call.await?)?)
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
        Rep: Send + 'static,
    {
        let kind = CallKind::ServerStreaming;
        let encoded = Encoded::<C, Req>::new(&request);
        let call = self.open(ctx, service, method, kind, Some(&encoded))?;
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
        let mut call = self.open(ctx, service, method, kind, None)?;
        let mut feed = requests.send_to::<C>(call.stream.clone());
        let reply = poll_fn(|cx| {
            if feed
                .as_mut()
                .is_some_and(|run| run.as_mut().poll(cx).is_ready())
            {
                feed = None;
            }
            Pin::new(&mut call).poll(cx)
        });
        Ok(C::decode(reply.await?)?)
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
        let call = self.open(ctx, service, method, CallKind::BidiStreaming, None)?;
        if let Some(mut feed) = requests.send_to::<C>(call.stream.clone()) {
            let fed = poll_fn(|cx| Poll::Ready(feed.as_mut().poll(cx).is_ready())).await;
            if !fed {
                let task = AbortOnDrop(tokio::spawn(feed).abort_handle());
                self.handle.connection.with(|connection| {
                    match connection.check_sending(call.stream.id) {
                        Ok(()) => connection
                            .link()
                            .slot(call.stream.id)
                            .and_then(|slot| slot.task.replace(task)),
                        // The call is over already, and with it the task.
                        Err(_) => Some(task),
                    }
                });
            }
        }
        Ok(call.into_replies::<C, Rep>())
    }

    fn open(
        &self,
        ctx: &Context,
        service: &str,
        method: &str,
        kind: CallKind,
        request: Option<&dyn Payload>,
    ) -> Result<OpenCall> {
        if ctx.is_cancelled() {
            return Err(Error::cancelled());
        }
        let now = crate::clock::now();
        let connection = &self.handle.connection;
        let id = connection.with(|connection| {
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
                streams: Arc::clone(connection) as Arc<dyn Streams>,
                id,
            },
            cancelled: ctx.watch(),
            ended: false,
        })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let closed = self
            .handle
            .connection
            .with(|connection| connection.failed().is_some());
        f.debug_struct("Client").field("closed", &closed).finish()
    }
}

/// A call that has been made; as a future, its single reply. Dropping it gives it up.
struct OpenCall {
    stream: StreamRef,
    cancelled: Option<Cancelled>,
    /// Whether nothing is left of it.
    ended: bool,
}

impl OpenCall {
    fn into_replies<C: Codec<Rep>, Rep: Send + 'static>(mut self) -> Streaming<Rep> {
        self.ended = true;
        Streaming::from_wire::<C>(self.stream.clone(), None, self.cancelled.take())
    }
}

impl Future for OpenCall {
    type Output = Result<Bytes>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Result<Bytes>> {
        let this = &mut *self;
        if let Some(cancelled) = &mut this.cancelled {
            if Pin::new(cancelled).poll(cx).is_ready() {
                return Poll::Ready(Err(Error::cancelled()));
            }
        }
        let mut messages = Default::default();
        let StreamRef { streams, id } = &this.stream;
        let end = ready!(streams.poll_receive(*id, &mut messages, cx));
        this.ended = true;
        Poll::Ready(match end {
            Some(End::Reply(payload)) => Ok(payload),
            Some(End::Failed(error)) => Err(error),
            Some(End::Closed) | None => {
                Err(Error::protocol("the server ended the call without a reply"))
            }
        })
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        if !self.ended {
            self.stream.streams.abandon(self.stream.id);
        }
    }
}
