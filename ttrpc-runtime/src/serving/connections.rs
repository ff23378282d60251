//! The connections of a server, and where a call is found again.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use super::Serving;
use crate::cancel::CancelOnDrop;
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
    /// Whoever waits for one to end.
    waiting: Vec<Waker>,
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
    /// other listeners would take the place as well.
    pub(crate) fn poll_place(self: &Arc<Self>, cx: &mut Context<'_>) -> Poll<Place> {
        let mut connections = self.connections();
        if connections.open.len() < self.settings.max_connections.max(1) {
            return Poll::Ready(self.take_place(&mut connections));
        }
        connections.wait(cx);
        Poll::Pending
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
        poll_fn(|cx| {
            let mut connections = self.connections();
            if connections.open.is_empty() {
                return Poll::Ready(());
            }
            connections.wait(cx);
            Poll::Pending
        })
        .await;
    }
}

impl Connections {
    /// Wakes whoever waits when a connection ends.
    fn wait(&mut self, cx: &Context<'_>) {
        // Who waits may ask often.
        if !self.waiting.iter().any(|w| w.will_wake(cx.waker())) {
            self.waiting.push(cx.waker().clone());
        }
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
        let waiting = {
            let mut connections = self.server.connections();
            connections.open.remove(self.key);
            std::mem::take(&mut connections.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
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
