//! The server of the asynchronous flavour.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::cancel::{Cancelled, Token};
use crate::connection::{AbortOnDrop, Dispatch, Driver, Shared, Slot};
use crate::context::{Connected, Context, Peer};
use crate::envelope::Request;
use crate::error::{Error, Result};
use crate::interceptor::{Chain, Interceptor, Invocation};
use crate::limits::Limits;
use crate::proto::{CallKind, Endpoint, server};
use crate::responder::{Captured, WireResponder};
use crate::service::{Input, Running, Service};
use crate::status::Status;
use crate::transport::Listener;

type Connection = Shared<server::Connection<Slot>>;

/// How long to wait after a connection could not be accepted, at first and at most.
const ACCEPT_BACKOFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

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
    inner: Arc<Inner>,
}

struct Inner {
    /// By their names, sorted.
    services: Vec<Box<dyn Service>>,
    limits: Limits,
    spawn_at_once: bool,
    interceptors: Chain,
    handshake: Option<Handshake>,
    max_connections: usize,
    on_accept_error: OnAcceptError,
    /// Cancelled when no more connections are to be accepted.
    closing: Arc<Token>,
    connections: Mutex<Connections>,
}

#[derive(Default)]
struct Connections {
    next_key: u64,
    open: HashMap<u64, Weak<Connection>>,
    /// Whoever waits for one to end.
    waiting: Vec<Waker>,
}

/// Makes a [`Server`].
#[must_use]
pub struct ServerBuilder {
    services: Vec<Box<dyn Service>>,
    limits: Limits,
    spawn_at_once: bool,
    interceptors: Chain,
    handshake: Option<Handshake>,
    max_connections: usize,
    on_accept_error: OnAcceptError,
}

type OnAcceptError = Box<dyn Fn(&io::Error) + Send + Sync>;

/// Lets a peer in or not, and finds out something about it.
type Handshake = Box<dyn Fn(Option<&Peer>) -> Result<Box<dyn Any + Send + Sync>> + Send + Sync>;

impl ServerBuilder {
    /// Adds a service.
    pub fn service(mut self, service: impl Service) -> Self {
        self.services.push(Box::new(service));
        self
    }

    /// Holds each connection to other limits than the default.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Puts an interceptor around every call, inside of those that were added before.
    pub fn interceptor(mut self, interceptor: impl Interceptor) -> Self {
        self.interceptors.add(interceptor);
        self
    }

    /// Decides about each connection before a byte of it is read. Where it fails, the
    /// connection is closed; what it gives, handlers read by [`Context::handshake`].
    ///
    /// It gets the peer's credentials, which there are on Unix sockets that
    /// [`serve`](Server::serve) accepts, and not for
    /// [`serve_connection`](Server::serve_connection).
    ///
    /// ```
    /// use ttrpc_runtime::{Server, Status};
    ///
    /// let server = Server::builder().handshake(|peer| {
    ///     let peer = peer.ok_or_else(|| Status::unauthenticated("who is it?"))?;
    ///     peer.require_same_user()
    /// });
    /// ```
    pub fn handshake<T: Send + Sync + 'static>(
        mut self,
        handshake: impl Fn(Option<&Peer>) -> Result<T> + Send + Sync + 'static,
    ) -> Self {
        self.handshake = Some(Box::new(move |peer| Ok(Box::new(handshake(peer)?))));
        self
    }

    /// Accepts no more connections while there are so many: those that come wait until
    /// one ends. Default: no limit.
    pub fn max_connections(mut self, most: usize) -> Self {
        self.max_connections = most;
        self
    }

    /// Calls a function when connections can't be accepted for a while, for example
    /// because the process has no descriptor left: once, however long that lasts.
    /// Default: writes a line to standard error.
    pub fn on_accept_error(mut self, f: impl Fn(&io::Error) + Send + Sync + 'static) -> Self {
        self.on_accept_error = Box::new(f);
        self
    }

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
    pub fn build(mut self) -> Result<Server> {
        self.services.sort_by_key(|service| service.name());
        if let Some(twins) = self
            .services
            .windows(2)
            .find(|two| two[0].name() == two[1].name())
        {
            return Err(Status::already_exists(format!(
                "two services are named {}: a server can have only one of them",
                twins[0].name()
            ))
            .into());
        }
        Ok(Server {
            inner: Arc::new(Inner {
                services: self.services,
                limits: self.limits,
                spawn_at_once: self.spawn_at_once,
                interceptors: self.interceptors,
                handshake: self.handshake,
                max_connections: self.max_connections,
                on_accept_error: self.on_accept_error,
                closing: Token::child_of(None),
                connections: Mutex::default(),
            }),
        })
    }
}

impl Server {
    /// Begins to make a server.
    pub fn builder() -> ServerBuilder {
        ServerBuilder {
            services: Vec::new(),
            limits: Limits::default(),
            spawn_at_once: false,
            interceptors: Chain::default(),
            handshake: None,
            max_connections: usize::MAX,
            on_accept_error: Box::new(|error| {
                eprintln!("ttrpc: connections can't be accepted, trying again: {error}");
            }),
        }
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
    pub async fn serve(&self, listener: impl Into<Listener>) -> Result<()> {
        let listener = listener.into();
        let mut closing = pin!(Cancelled::new(Arc::clone(&self.inner.closing)));
        let mut backoff = None;
        loop {
            let accept = async {
                self.inner
                    .at_most(self.inner.max_connections.saturating_sub(1))
                    .await;
                listener.accept().await
            };
            let Some(accepted) = until(closing.as_mut(), accept).await else {
                return Ok(());
            };
            match accepted {
                Ok((io, peer)) => {
                    backoff = None;
                    let server = self.clone();
                    let place = self.inner.place();
                    tokio::spawn(async move { server.run(io, peer, place).await });
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    return Err(error.into());
                }
                Err(error) => {
                    let wait = match backoff {
                        None => {
                            (self.inner.on_accept_error)(&error);
                            ACCEPT_BACKOFF.0
                        }
                        Some(last) => ACCEPT_BACKOFF.1.min(last * 2),
                    };
                    backoff = Some(wait);
                    until(closing.as_mut(), tokio::time::sleep(wait)).await;
                }
            }
        }
    }

    /// Serves one connection of any kind until it ends. Dropping the future ends it.
    ///
    /// # Errors
    /// It ended otherwise than by the peer's or this server's closing it.
    pub async fn serve_connection(
        &self,
        io: impl AsyncRead + AsyncWrite + Send + Unpin,
    ) -> Result<()> {
        self.run(io, None, self.inner.place()).await
    }

    async fn run(
        &self,
        io: impl AsyncRead + AsyncWrite + Send + Unpin,
        peer: Option<Peer>,
        place: Place,
    ) -> Result<()> {
        let handshake = match &self.inner.handshake {
            Some(handshake) => Some(handshake(peer.as_ref())?),
            None => None,
        };
        let shared = Shared::new(server::Connection::new(self.inner.limits.clone()));
        place.take(&shared);
        let dispatch = Dispatcher {
            server: Arc::clone(&self.inner),
            connection: (peer.is_some() || handshake.is_some())
                .then(|| Arc::new(Connected { peer, handshake })),
        };
        match Driver::new(shared, io, dispatch).await {
            Err(error) if !error.is_closed() || std::error::Error::source(&error).is_some() => {
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// Stops gracefully: accepts no more connections, refuses new calls with
    /// UNAVAILABLE, and waits until those that run have ended, for `timeout` at most;
    /// then it ends what is left. Returns once every connection is closed.
    pub async fn shutdown(&self, timeout: Duration) {
        self.inner.closing.cancel();
        self.inner
            .each_connection(|connection| connection.with(server::Connection::shut_down));
        let ended = self.inner.at_most(0);
        if tokio::time::timeout(timeout, ended).await.is_err() {
            self.close();
            self.inner.at_most(0).await;
        }
    }

    /// Stops at once: accepts no more connections and ends those there are, with the
    /// calls on them.
    pub fn close(&self) {
        self.inner.closing.cancel();
        self.inner.each_connection(|connection| {
            connection.with(|server| {
                server.shut_down();
                server.link().discard();
            });
            connection.fail(Error::closed("the server was closed"));
        });
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services = self.inner.services.iter().map(|service| service.name());
        f.debug_struct("Server")
            .field("services", &services.collect::<Vec<_>>())
            .field("connections", &self.inner.connections().open.len())
            .finish()
    }
}

impl Inner {
    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more connection until the place is dropped.
    fn place(self: &Arc<Self>) -> Place {
        let mut connections = self.connections();
        let key = connections.next_key;
        connections.next_key += 1;
        connections.open.insert(key, Weak::new());
        Place {
            server: Arc::clone(self),
            key,
        }
    }

    fn each_connection(&self, f: impl Fn(&Arc<Connection>)) {
        let open: Vec<_> = self.connections().open.values().cloned().collect();
        open.iter().filter_map(Weak::upgrade).for_each(|c| f(&c));
    }

    /// Waits until there are no more than `most` connections.
    async fn at_most(&self, most: usize) {
        poll_fn(|cx| {
            let mut connections = self.connections();
            if connections.open.len() <= most {
                return Poll::Ready(());
            }
            connections.waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn service(&self, name: &str) -> Option<&dyn Service> {
        let at = self.services.binary_search_by_key(&name, |s| s.name());
        at.ok().map(|at| &*self.services[at])
    }
}

/// A connection that is counted.
struct Place {
    server: Arc<Inner>,
    key: u64,
}

impl Place {
    /// Makes the connection known, so that it can be shut down.
    fn take(&self, connection: &Arc<Connection>) {
        let place = Arc::downgrade(connection);
        self.server.connections().open.insert(self.key, place);
        if self.server.closing.is_cancelled() {
            // It came just when the server began to shut down.
            connection.with(server::Connection::shut_down);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let waiting = {
            let mut connections = self.server.connections();
            connections.open.remove(&self.key);
            std::mem::take(&mut connections.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// Gives calls to services.
struct Dispatcher {
    server: Arc<Inner>,
    connection: Option<Arc<Connected>>,
}

impl Dispatcher {
    /// The call on its way through the interceptors.
    fn intercepted(
        &self,
        ctx: Context,
        request: Request,
        kind: CallKind,
        responder: WireResponder,
    ) -> Running {
        let call = Invocation {
            service: request.service().to_owned(),
            method: request.method().to_owned(),
            kind,
            body: responder.body(request, kind, &ctx),
            ctx,
        };
        let server = Arc::clone(&self.server);
        let work = async move {
            let serving = Arc::clone(&server);
            let last = async move |call: Invocation| match serving.service(call.service()) {
                Some(service) => Captured::answer(service, call).await,
                None => Err(Status::unimplemented("there is no such service here").into()),
            };
            server.interceptors.run(call, last).await
        };
        Running::new(work, responder)
    }
}

impl Dispatch<server::Connection<Slot>> for Dispatcher {
    fn start(&mut self, shared: &Arc<Connection>, call: server::Call) {
        let server::Call {
            id,
            kind,
            mut request,
            deadline,
        } = call;
        let responder = WireResponder {
            shared: Arc::clone(shared),
            id,
        };
        let Some(service) = self.server.service(request.service()) else {
            let message = format!("there is no service {:?} here", request.service());
            return responder.fail(Status::unimplemented(message).into());
        };
        let ctx = Context::of_call(deadline, request.take_metadata(), self.connection.clone());
        let running = if self.server.interceptors.is_empty() {
            Running::start(service, ctx, Input::Request(request, kind), responder)
        } else {
            Some(self.intercepted(ctx, request, kind, responder))
        };
        let Some(mut running) = running else {
            return;
        };
        // The task polls it again as soon as it runs, so that no wake-up is lost.
        let mut cx = TaskContext::from_waker(Waker::noop());
        if !self.server.spawn_at_once && Pin::new(&mut running).poll(&mut cx).is_ready() {
            return;
        }
        let task = AbortOnDrop(tokio::spawn(running).abort_handle());
        let late = shared.with(|server| match server.link().slot(id) {
            Some(slot) => slot.task.replace(task),
            // Over already: the deadline was very short.
            None => Some(task),
        });
        drop(late);
    }
}

/// The output of `future`, unless `end` comes first.
async fn until<T>(
    mut end: Pin<&mut impl Future<Output = ()>>,
    future: impl Future<Output = T>,
) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|cx| match end.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(None),
        Poll::Pending => future.as_mut().poll(cx).map(Some),
    })
    .await
}
