//! The client of the asynchronous flavour.

use std::fmt;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout_at;

use super::driver::{self, Callers, Dispatch, Driver};
use super::transport;
use crate::addr::Address;
use crate::calls::{Calls, OnClose, OpenConnection, Settings, client_options};
use crate::codec::Codec;
use crate::connection::Slot;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::interceptor::Interceptor;
use crate::proto::{client, server};
use crate::streaming::Streaming;

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
/// Calls may be made from anywhere, also outside of a runtime. The one that the connection was made
/// in drives it, and runs what makes the requests of a [`bidi_streaming`](Self::bidi_streaming) call;
/// those of a [`client_streaming`](Self::client_streaming) call are made where its future is polled.
/// Calls with deadlines take a connection in a runtime with timers (`enable_time`). Once it has gone,
/// the connection has ended.
///
/// Dropping the future of a call gives the call up: nothing of it is left here. The
/// server is told only where [`ClientBuilder::send_cancel`] says so, because the protocol
/// itself has no way to.
#[derive(Clone)]
pub struct Client {
    calls: Calls,
}

impl Client {
    /// Begins to make a client that is not like the default.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Connects to a server: to `unix:///path`, `unix://@abstract`,
    /// `vsock://context-id:port` or an [`Address`].
    ///
    /// A server that others wait for already may have no room for one more. That is waited for,
    /// however long it takes; dropping the future gives it up.
    ///
    /// # Errors
    /// The address is none, or nobody listens there.
    ///
    /// # Panics
    /// Outside of a tokio runtime, or in one without I/O (`enable_io`); where it has to wait, also
    /// in one without timers (`enable_time`).
    pub async fn connect<A>(address: A) -> Result<Self>
    where
        A: TryInto<Address>,
        A::Error: Into<Error>,
    {
        Self::builder().connect(address).await
    }

    /// Makes calls over `io`, a connection of any kind. In the end that is shut down, with all that
    /// was written passed on; what its shutdown would have to wait for is left out.
    ///
    /// # Panics
    /// Outside of a tokio runtime: a task is spawned that drives the connection.
    pub fn new(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self::builder().over(io)
    }

    /// Waits until the connection has ended, and says why. It is cancel-safe.
    pub async fn closed(&self) -> Error {
        self.calls.closed().await
    }

    /// Calls a method with one message each way.
    ///
    /// # Errors
    /// The call failed: by its handler, its deadline, its context or its connection.
    pub fn unary<C, Req, Rep>(
        &self,
        codec: C,
        ctx: &Context,
        service: &str,
        method: &str,
        request: Req,
    ) -> impl Future<Output = Result<Rep>>
    where
        C: Codec<Req> + Codec<Rep>,
        Req: Send,
    {
        self.calls.unary(codec, ctx, service, method, request)
    }

    /// Calls a method with one message, and a stream of messages back.
    ///
    /// # Errors
    /// The call can't be made. That it failed otherwise, the stream says.
    pub fn server_streaming<C, Req, Rep>(
        &self,
        codec: C,
        ctx: &Context,
        service: &str,
        method: &str,
        request: Req,
    ) -> impl Future<Output = Result<Streaming<Rep>>>
    where
        C: Codec<Req> + Codec<Rep>,
        Req: Send,
        Rep: Send + 'static,
    {
        let calls = &self.calls;
        calls.server_streaming(codec, ctx, service, method, request)
    }

    /// Calls a method with a stream of messages, and one message back.
    ///
    /// # Errors
    /// The call failed, or the stream of requests yielded an error: then with that.
    pub fn client_streaming<C, Req, Rep>(
        &self,
        codec: C,
        ctx: &Context,
        service: &str,
        method: &str,
        requests: Streaming<Req>,
    ) -> impl Future<Output = Result<Rep>>
    where
        C: Codec<Req> + Codec<Rep>,
        Req: Send + 'static,
    {
        let calls = &self.calls;
        calls.client_streaming(codec, ctx, service, method, requests)
    }

    /// Calls a method with a stream of messages each way.
    ///
    /// The requests are sent by a task of their own, whether the replies are read or not.
    ///
    /// # Errors
    /// The call can't be made. That it failed otherwise, the stream says.
    pub fn bidi_streaming<C, Req, Rep>(
        &self,
        codec: C,
        ctx: &Context,
        service: &str,
        method: &str,
        requests: Streaming<Req>,
    ) -> impl Future<Output = Result<Streaming<Rep>>>
    where
        C: Codec<Req> + Codec<Rep>,
        Req: Send + 'static,
        Rep: Send + 'static,
    {
        let calls = &self.calls;
        calls.bidi_streaming(codec, ctx, service, method, requests)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("ended", &self.calls.ended())
            .finish()
    }
}

/// Makes a [`Client`].
#[must_use]
#[derive(Default)]
pub struct ClientBuilder {
    settings: Settings,
}

impl ClientBuilder {
    client_options!();

    /// Puts an interceptor around every call, inside of those that were added before.
    pub fn interceptor(mut self, interceptor: impl Interceptor) -> Self {
        self.settings.interceptors.add(interceptor);
        self
    }

    /// Calls a function once for each connection that ends, with the reason.
    pub fn on_close(mut self, f: impl Fn(&Error) + Send + Sync + 'static) -> Self {
        self.settings.on_close = Some(Arc::new(f));
        self
    }

    /// Connects to a server: to `unix:///path`, `unix://@abstract`,
    /// `vsock://context-id:port` or an [`Address`].
    ///
    /// A server that others wait for already may have no room for one more. That is waited for,
    /// however long it takes; dropping the future gives it up.
    ///
    /// # Errors
    /// The address is none, or nobody listens there.
    ///
    /// # Panics
    /// Outside of a tokio runtime, or in one without I/O (`enable_io`); where it has to wait, also
    /// in one without timers (`enable_time`). With [`reconnect`](Self::reconnect), so does a call that
    /// has to connect again.
    pub async fn connect<A>(self, address: A) -> Result<Client>
    where
        A: TryInto<Address>,
        A::Error: Into<Error>,
    {
        let address = address.try_into().map_err(Into::into)?;
        let settings = self.settings;
        let (io, socket) = transport::connect(&address).await?;
        let first = open(&settings, io, Some(socket));
        if !settings.reconnect {
            let calls = Calls::over(first, settings);
            return Ok(Client { calls });
        }
        let again = settings.clone();
        let connect = Box::new(move |deadline: Option<Instant>| {
            let (address, settings) = (address.clone(), again.clone());
            Box::pin(async move {
                let connect = transport::connect(&address);
                let (io, socket) = match deadline {
                    None => connect.await?,
                    Some(at) => timeout_at(at.into(), connect)
                        .await
                        .unwrap_or_else(|_| Err(Error::timeout()))?,
                };
                Ok(open(&settings, io, Some(socket)))
            }) as _
        });
        let calls = Calls::again(first, settings, connect);
        Ok(Client { calls })
    }

    /// Makes calls over `io`, a connection of any kind. In the end that is shut down, with all that
    /// was written passed on; what its shutdown would have to wait for is left out.
    ///
    /// # Panics
    /// Outside of a tokio runtime: a task is spawned that drives the connection.
    pub fn over(self, io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Client {
        let calls = Calls::over(open(&self.settings, io, None), self.settings);
        Client { calls }
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").finish_non_exhaustive()
    }
}

/// Starts to drive a connection, to whose socket callers may write themselves if it is given.
fn open(
    settings: &Settings,
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    socket: Option<Arc<OwnedFd>>,
) -> OpenConnection {
    let connection = Connection::new(settings.endpoint(), Some(Callers::new(socket)));
    let dispatch = NoCalls {
        connection: Arc::clone(&connection),
        on_close: settings.on_close.clone(),
    };
    drop(tokio::spawn(Driver::new(connection.clone(), io, dispatch)));
    OpenConnection::new(connection)
}

type Connection = driver::Connection<client::Connection<Slot>>;

/// A client is not called. It is told when its connection has ended: when what drives that is
/// dropped, be it with its runtime.
struct NoCalls {
    connection: Arc<Connection>,
    on_close: Option<OnClose>,
}

impl Dispatch<client::Connection<Slot>> for NoCalls {
    fn start(&mut self, _: &Arc<Connection>, _: server::Call) {}
}

impl Drop for NoCalls {
    fn drop(&mut self) {
        if let Some(on_close) = &self.on_close {
            self.connection
                .ended()
                .iter()
                .for_each(|error| on_close(error));
        }
    }
}

#[cfg(test)]
mod tests {
    // Clippy takes what is for tests with some features only for no test.
    #![allow(clippy::unwrap_used)]

    use bytes::Bytes;

    use super::*;
    use crate::codec::Raw;
    use crate::frame::StreamId;
    use crate::limits::Limits;
    use crate::{Call, Reply, Server, Service};

    struct Echo;

    impl Service for Echo {
        fn name(&self) -> &'static str {
            "test.Echo"
        }

        fn call(&self, call: Call) -> Reply {
            call.unary(Raw, async |_, request: Bytes| Ok(request))
        }
    }

    /// The other end of a connection to a server.
    fn to_server() -> tokio::io::DuplexStream {
        let (here, there) = tokio::io::duplex(1000);
        let server = Server::builder().service(Echo).build().unwrap();
        tokio::spawn(async move { server.serve_connection(there).await });
        here
    }

    /// A process may make as many calls as there are ids, if it runs for months.
    #[tokio::test]
    async fn who_connects_again_does_so_when_the_ids_have_run_out() {
        let last = StreamId::new(u32::MAX);
        let endpoint = client::Connection::with_first_id(Limits::default(), last);
        let connection = Connection::new(endpoint, Some(Callers::new(None)));
        let dispatch = NoCalls {
            connection: Arc::clone(&connection),
            on_close: None,
        };
        let driver = Driver::new(Arc::clone(&connection), to_server(), dispatch);
        let driven = tokio::spawn(driver);
        let connect = Box::new(|_| {
            let opened = open(&Settings::default(), to_server(), None);
            Box::pin(std::future::ready(Ok(opened))) as _
        });
        let first = OpenConnection::new(connection);
        let calls = Calls::again(first, Settings::default(), connect);
        let ctx = Context::new();
        for n in 0..3 {
            let request = Bytes::from(vec![n]);
            let reply = calls.unary(Raw, &ctx, "test.Echo", "Any", request.clone());
            let reply: Bytes = reply.await.unwrap();
            assert_eq!(reply, request);
        }
        // The used up connection is not kept.
        driven.await.unwrap().unwrap();
    }
}
