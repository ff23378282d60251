//! The server of the asynchronous flavour.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::driver::{Connection, Dispatch, Driver};
use super::transport;
use crate::cancel::{Cancelled, until};
use crate::connection::{Answers, Slot};
use crate::context::Connected;
use crate::error::{Error, Result};
use crate::interceptor::Interceptor;
use crate::peer::Peer;
use crate::proto::server;
use crate::service::Service;
use crate::serving::{Backoff, Place, Serving, Settings, server_options};
use crate::transport::Listener;

/// Serves services on any number of listeners and connections; a clone is the same
/// server.
///
/// ```no_run
/// use ttrpc_runtime::{Listener, Server, Service};
///
/// # async fn run(greeter: impl Service) -> ttrpc_runtime::Result<()> {
/// let server = Server::builder().service(greeter).build()?;
/// server.serve(Listener::bind("unix:///run/greeter.sock")?).await
/// # }
/// ```
#[derive(Clone)]
pub struct Server {
    serving: Arc<Serving>,
    spawn_at_once: bool,
}

/// Makes a [`Server`].
#[must_use]
#[derive(Default)]
pub struct ServerBuilder {
    settings: Settings,
    spawn_at_once: bool,
}

impl ServerBuilder {
    /// Adds a service.
    pub fn service(mut self, service: impl Service) -> Self {
        self.settings.services.push(Box::new(service));
        self
    }

    /// Puts an interceptor around every call, inside of those that were added before.
    pub fn interceptor(mut self, interceptor: impl Interceptor) -> Self {
        self.settings.intercept(interceptor);
        self
    }

    server_options!();

    /// Runs each handler on a task of its own from the beginning.
    ///
    /// By default a handler runs on the task of its connection until it first waits, and
    /// only then gets a task of its own: a handler that never waits costs no task at
    /// all, but holds up the other calls of its connection while it computes. Where
    /// handlers compute for long, say more than 100 µs, spawn them at once.
    pub fn spawn_handlers(mut self, at_once: bool) -> Self {
        self.spawn_at_once = at_once;
        self
    }

    /// The server.
    ///
    /// # Errors
    /// Two services have the same name.
    pub fn build(self) -> Result<Server> {
        Ok(Server {
            serving: Serving::new(self.settings)?,
            spawn_at_once: self.spawn_at_once,
        })
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder").finish_non_exhaustive()
    }
}

impl Server {
    /// Begins to make a server.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// Accepts connections and serves each on a task of its own, until
    /// [`shutdown`](Self::shutdown) or [`close`](Self::close). Call it once for each
    /// listener.
    ///
    /// Where the process has no descriptor left or the like, it tries again after a
    /// while. Dropping the future stops accepting; connections go on.
    ///
    /// # Errors
    /// The listener can't be accepted from at all.
    ///
    /// # Panics
    /// Outside of a tokio runtime, or in one without I/O (`enable_io`) or timers (`enable_time`):
    /// clients may have deadlines.
    pub async fn serve<L>(&self, listener: L) -> Result<()>
    where
        L: TryInto<Listener>,
        L::Error: Into<Error>,
    {
        require_timers();
        let Listener { file, socket } = listener.try_into().map_err(Into::into)?;
        let socket = transport::listen(socket)?;
        // To be dropped before the socket, as it is with the listener.
        let _file = file;
        let mut closing = pin!(Cancelled::new(Arc::clone(&self.serving.closing)));
        let (mut backoff, mut full) = (Backoff::default(), None);
        loop {
            let accept = poll_fn(|cx| {
                // The place is given back while none comes.
                let place = ready!(self.serving.poll_place(&mut full, cx));
                transport::poll_accept(&socket, cx).map(|accepted| (place, accepted))
            });
            let Some((place, accepted)) = until(closing.as_mut(), accept).await else {
                return Ok(());
            };
            match accepted {
                Ok((io, peer)) => {
                    backoff.reset();
                    tokio::spawn(self.driver(place, io, peer));
                }
                Err(error) => {
                    let wait = backoff.failed(error, &self.serving)?;
                    until(closing.as_mut(), tokio::time::sleep(wait)).await;
                }
            }
        }
    }

    /// Serves one connection of any kind until it ends. Dropping the future ends it. In the end
    /// `io` is shut down, with all that was written passed on; what its shutdown would have to wait
    /// for is left out.
    ///
    /// # Errors
    /// It ended otherwise than by the peer's or this server's closing it.
    ///
    /// # Panics
    /// As [`serve`](Self::serve), but I/O is up to `io`.
    pub async fn serve_connection(
        &self,
        io: impl AsyncRead + AsyncWrite + Send + Unpin,
    ) -> Result<()> {
        require_timers();
        match self.driver(self.serving.place(), io, None).await {
            Err(error) if !error.is_closed() || std::error::Error::source(&error).is_some() => {
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// What serves a connection. Nothing is done before it is polled, and it is all that an
    /// idle connection's task consists of.
    fn driver<T>(
        &self,
        place: Place,
        io: T,
        peer: Option<Peer>,
    ) -> Driver<server::Connection<Slot>, T, Dispatcher>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let connection = Connection::new(self.serving.endpoint(), None);
        let weak = Arc::downgrade(&connection);
        place.take(weak);
        let dispatch = Dispatcher {
            server: self.clone(),
            place,
            connected: Connected::to(peer),
        };
        Driver::new(connection, io, dispatch)
    }

    /// Stops gracefully: accepts no more connections, refuses new calls with
    /// UNAVAILABLE, and waits until those that run have ended, for `timeout` at most;
    /// then it ends what is left. Returns once every connection is closed.
    ///
    /// # Panics
    /// Outside of a tokio runtime, or in one without timers (`enable_time`). Otherwise it may be
    /// another one than that which serves.
    pub async fn shutdown(&self, timeout: Duration) {
        self.serving.shut_down();
        let ended = self.serving.none_left();
        if tokio::time::timeout(timeout, ended).await.is_err() {
            self.close();
            self.serving.none_left().await;
        }
    }

    /// Stops at once: accepts no more connections and ends those there are, with the
    /// calls on them.
    pub fn close(&self) {
        self.serving.close();
    }
}

/// Panics in a runtime without timers: here, and not where a peer sends the first deadline.
fn require_timers() {
    drop(tokio::time::sleep(Duration::ZERO));
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("services", &self.serving.service_names())
            .field("connections", &self.serving.count())
            .finish()
    }
}

/// Gives calls to services.
struct Dispatcher {
    server: Server,
    place: Place,
    connected: Connected,
}

impl Dispatch<server::Connection<Slot>> for Dispatcher {
    fn begin(&mut self) -> Result<()> {
        self.server.serving.greet(&mut self.connected)
    }

    fn start(
        &mut self,
        connection: &Arc<Connection<server::Connection<Slot>>>,
        call: server::Call,
    ) {
        let id = call.id;
        let answers = Arc::clone(connection) as Arc<dyn Answers>;
        let (serving, connected) = (&self.server.serving, self.connected.clone());
        let Some(mut running) = serving.start(self.place.key(), answers, connected, call) else {
            return;
        };
        // The task polls it again as soon as it runs, so that no wake-up is lost.
        let mut cx = Context::from_waker(Waker::noop());
        if self.server.spawn_at_once || Pin::new(&mut running).poll(&mut cx).is_pending() {
            connection.spawn_at_once(id, Box::pin(running));
        }
    }
}

#[cfg(test)]
mod tests {
    // Clippy takes what is for tests with some features only for no test.
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::asynchronous::socket::Socket;
    use crate::wakes::Wakes;

    /// What an idle connection consists of. Between the blocks of a task, which tokio aligns to 128
    /// bytes, 16 bytes more may take 190.
    #[test]
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    fn a_connection_is_no_larger_than_it_has_to_be() {
        type End = server::Connection<Slot>;
        assert!(size_of::<Connection<End>>() <= 344);
        assert!(size_of::<Driver<End, Socket, Dispatcher>>() <= 152);
    }

    #[tokio::test]
    async fn who_no_longer_accepts_is_forgotten_though_no_connection_ends() {
        let server = Server::builder().max_connections(1).build().unwrap();
        let _full = server.serving.place();
        let wakes = Arc::<Wakes>::default();
        let waker = wakes.waker();
        let before = Arc::strong_count(&wakes);
        {
            let (listener, _) = std::os::unix::net::UnixStream::pair().unwrap();
            let listener = Listener::try_from(std::os::fd::OwnedFd::from(listener)).unwrap();
            let mut serve = pin!(server.serve(listener));
            let polled = serve.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
        }
        assert_eq!(Arc::strong_count(&wakes), before);
    }
}
