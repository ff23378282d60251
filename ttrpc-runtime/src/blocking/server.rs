//! The server of the blocking flavour.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::hub::Watch;
use super::interceptor::Interceptor;
use super::park::{block_on, block_on_while};
use super::pool::Pool;
use super::service::Service;
use crate::error::{Error, Result};
use crate::serving::{Serving, Settings, server_options};
use crate::transport::Listener;

/// Serves services on any number of listeners and connections; a clone is the same
/// server.
///
/// The thread that calls [`serve`](Self::serve) watches the connections. Handlers run on
/// other threads: as few as do the work, more while handlers block, up to
/// [`max_threads`](ServerBuilder::max_threads), and none while there is nothing to do. An
/// idle connection costs no thread. Calls for which there is no thread wait their turn,
/// while their deadlines hold and errors are still answered.
///
/// ```no_run
/// use ttrpc_runtime::Listener;
/// use ttrpc_runtime::blocking::{Server, Service};
///
/// # fn run(greeter: impl Service) -> ttrpc_runtime::Result<()> {
/// let server = Server::builder().service(greeter).build()?;
/// server.serve(Listener::bind("unix:///run/greeter.sock")?)
/// # }
/// ```
#[derive(Clone)]
pub struct Server {
    serving: Arc<Serving>,
    pool: Arc<Pool>,
}

/// Makes a [`Server`].
#[must_use]
pub struct ServerBuilder {
    settings: Settings,
    max_threads: usize,
}

impl ServerBuilder {
    /// Adds a service.
    pub fn service(mut self, service: impl Service) -> Self {
        let service = super::service::Threaded(service);
        self.settings.services.push(Box::new(service));
        self
    }

    /// Puts an interceptor around every call, inside of those that were added before.
    pub fn interceptor(mut self, interceptor: impl Interceptor) -> Self {
        let interceptor = super::interceptor::Threaded(interceptor);
        self.settings.intercept(interceptor);
        self
    }

    server_options!();

    /// Runs no more handlers at once than this, each on a thread; at least one. Default:
    /// [`Server::MAX_THREADS`].
    ///
    /// A handler that waits for the messages of a stream keeps its thread.
    pub fn max_threads(mut self, most: usize) -> Self {
        self.max_threads = most;
        self
    }

    /// The server.
    ///
    /// # Errors
    /// Two services have the same name.
    pub fn build(self) -> Result<Server> {
        Ok(Server {
            serving: Serving::new(self.settings)?,
            pool: Pool::new(self.max_threads),
        })
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder").finish_non_exhaustive()
    }
}

impl Server {
    /// How many handlers run at once, unless
    /// [`max_threads`](ServerBuilder::max_threads) says otherwise.
    pub const MAX_THREADS: usize = 64;

    /// Begins to make a server.
    pub fn builder() -> ServerBuilder {
        ServerBuilder {
            settings: Settings::default(),
            max_threads: Self::MAX_THREADS,
        }
    }

    /// Accepts connections and serves them, until [`shutdown`](Self::shutdown) or
    /// [`close`](Self::close) on a clone and the end of the last connection. Call it once
    /// for each listener, each on a thread.
    ///
    /// Where the process has no descriptor left or the like, it tries again after a
    /// while.
    ///
    /// # Errors
    /// The listener can't be accepted from at all, or the system does not let connections
    /// be watched.
    pub fn serve<L>(&self, listener: L) -> Result<()>
    where
        L: TryInto<Listener>,
        L::Error: Into<Error>,
    {
        let listener = listener.try_into().map_err(Into::into)?;
        Watch::new(Arc::clone(&self.serving), Arc::clone(&self.pool))?.run(Some(listener))
    }

    /// Serves one connected socket of any kind until it ends.
    ///
    /// # Errors
    /// It ended otherwise than by the peer's or this server's closing it.
    pub fn serve_connection(&self, socket: impl Into<OwnedFd>) -> Result<()> {
        let mut watch = Watch::new(Arc::clone(&self.serving), Arc::clone(&self.pool))?;
        let connection = watch.add(self.serving.place(), socket.into(), None)?;
        watch.run(None)?;
        match connection.ended() {
            Some(error) if !error.is_closed() || std::error::Error::source(&error).is_some() => {
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// Stops gracefully: accepts no more connections, refuses new calls with
    /// UNAVAILABLE, and waits until those that run have ended, for `timeout` at most;
    /// then it ends what is left. Returns once every connection is closed.
    pub fn shutdown(&self, timeout: Duration) {
        self.serving.shut_down();
        // A time past the end of the clock is none.
        let until = Instant::now().checked_add(timeout);
        if block_on_while(self.serving.none_left(), until, || true).is_none() {
            self.close();
            block_on(self.serving.none_left());
        }
    }

    /// Stops at once: accepts no more connections and ends those there are, with the
    /// calls on them. Handlers that run are not interrupted; their contexts are
    /// cancelled.
    pub fn close(&self) {
        self.serving.close();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("services", &self.serving.service_names())
            .field("connections", &self.serving.count())
            .finish()
    }
}
