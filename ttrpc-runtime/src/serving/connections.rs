//! The connections of a server, and where a call is found again.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use super::Serving;
use crate::cancel::{CancelOnDrop, Cancelled, Token};
use crate::connection::Answers;
use crate::error::Error;
use crate::frame::StreamId;
use crate::series::Series;

/// The servers of this process by their numbers: for what knows no more of a call than where
/// it is.
static SERVERS: Mutex<Servers> = Mutex::new(Servers {
    next_number: 0,
    open: Series::new(),
});

struct Servers {
    next_number: u64,
    open: Series<Weak<Serving>>,
}

#[inline(never)]
fn servers() -> MutexGuard<'static, Servers> {
    SERVERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a server that is found by its number as long as there is one.
pub(super) fn register(server: impl FnOnce(u64) -> Serving) -> Arc<Serving> {
    let mut servers = servers();
    let number = servers.next_number;
    servers.next_number += 1;
    let server = Arc::new(server(number));
    servers.open.push(number, Arc::downgrade(&server));
    server
}

impl Drop for Serving {
    fn drop(&mut self) {
        servers().open.remove(self.number);
    }
}

#[derive(Default)]
pub(super) struct Connections {
    next_key: u64,
    /// A connection that is not known yet, or not any more, is `None`.
    open: Series<Option<Weak<dyn Answers>>>,
    /// Cancelled with the next end of one, where somebody has waited for that.
    next_end: Option<Arc<Token>>,
}

impl Serving {
    #[inline(never)]
    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// How many connections there are.
    pub(crate) fn count(&self) -> usize {
        self.connections().open.len()
    }

    /// Counts one more connection until the place is dropped.
    pub(crate) fn place(self: &Arc<Self>) -> Place {
        self.take_place(&mut self.connections())
    }

    /// The same for one that is to be accepted, once there may be one more. Before it comes:
    /// other listeners would take the place as well. What it waits for meanwhile it keeps in
    /// `end`.
    pub(crate) fn poll_place(
        self: &Arc<Self>,
        end: &mut Option<Cancelled>,
        cx: &mut Context<'_>,
    ) -> Poll<Place> {
        loop {
            let next_end = {
                let mut connections = self.connections();
                if connections.open.len() < self.settings.max_connections.max(1) {
                    return Poll::Ready(self.take_place(&mut connections));
                }
                connections.next_end()
            };
            ready!(Pin::new(end.insert(next_end)).poll(cx));
        }
    }

    fn take_place(self: &Arc<Self>, connections: &mut Connections) -> Place {
        let key = connections.next_key;
        connections.next_key += 1;
        connections.open.push(key, None);
        Place {
            server: Arc::clone(self),
            key,
        }
    }

    /// Accepts no more connections, and lets each end with its last call.
    pub(crate) fn shut_down(&self) {
        self.closing.cancel();
        self.each_connection(|connection| connection.shut_down());
    }

    /// Accepts no more connections and ends those there are, with the calls on them.
    pub(crate) fn close(&self) {
        self.closing.cancel();
        self.each_connection(|connection| connection.close(Error::closed("the server was closed")));
    }

    fn each_connection(&self, f: impl Fn(&dyn Answers)) {
        let open: Vec<_> = (self.connections().open.iter())
            .filter_map(|(_, place)| place.clone())
            .collect();
        open.iter().filter_map(Weak::upgrade).for_each(|c| f(&*c));
    }

    /// Waits until there are no connections.
    pub(crate) async fn none_left(&self) {
        loop {
            let next_end = {
                let mut connections = self.connections();
                if connections.open.is_empty() {
                    return;
                }
                connections.next_end()
            };
            next_end.await;
        }
    }
}

impl Connections {
    /// Waits for the next connection that ends.
    fn next_end(&mut self) -> Cancelled {
        Cancelled::new(Arc::clone(self.next_end.get_or_insert_default()))
    }
}

/// A connection that is counted.
pub(crate) struct Place {
    server: Arc<Serving>,
    key: u64,
}

impl Place {
    /// What the connection has alone among those of its server; those that come later have
    /// a greater one.
    pub(crate) fn key(&self) -> u64 {
        self.key
    }

    /// Makes the connection known, so that it can be shut down and its calls are found.
    pub(crate) fn take(&self, connection: Weak<dyn Answers>) {
        let known = connection.upgrade();
        if let Some(place) = self.server.connections().open.get_mut(self.key) {
            *place = Some(connection);
        }
        if let Some(connection) = known.filter(|_| self.server.closing.is_cancelled()) {
            // It came just when the server began to shut down.
            connection.shut_down();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let next_end = {
            let mut connections = self.server.connections();
            connections.open.remove(self.key);
            connections.next_end.take()
        };
        drop(next_end.map(CancelOnDrop));
    }
}

/// Where a call is, for what may outlive it: numbers, since to count references takes time
/// with every call, and few ask.
pub(crate) struct CallRef {
    server: u64,
    connection: u64,
    id: StreamId,
}

impl CallRef {
    pub(super) fn new(server: &Serving, connection: u64, id: StreamId) -> Self {
        Self {
            server: server.number,
            connection,
            id,
        }
    }

    /// Ends a context when the call is over: at once if it is.
    pub(crate) fn ends_with(&self, ctx: CancelOnDrop) {
        if let Some(connection) = self.connection() {
            connection.keep(self.id, ctx);
        }
    }

    fn connection(&self) -> Option<Arc<dyn Answers>> {
        let server = servers().open.get(self.server)?.upgrade()?;
        let connections = server.connections();
        connections.open.get(self.connection)?.as_ref()?.upgrade()
    }
}
