//! The connection that this thread works for, as one of a server's.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use super::super::pool::Worker;
use super::{Connection, Host};

thread_local! {
    static WORKER: RefCell<Option<Arc<Worker>>> = const { RefCell::new(None) };
    /// The address of the connection, and the session if the thread reads it.
    static WORKS_FOR: Cell<(usize, u64)> = const { Cell::new((0, 0)) };
}

fn address<H: Host>(connection: &Connection<H>) -> usize {
    std::ptr::from_ref(connection).addr()
}

/// This thread is one of a pool's.
pub(in super::super) fn hire(worker: Arc<Worker>) {
    WORKER.set(Some(worker));
}

/// From now on the thread works for this connection.
pub(in super::super) fn enter<H: Host>(connection: &Connection<H>, session: u64) {
    WORKS_FOR.set((address(connection), session));
}

/// From now on it works for none.
pub(in super::super) fn leave() {
    WORKS_FOR.set((0, 0));
}

pub(super) fn is<H: Host>(connection: &Connection<H>, session: u64) -> bool {
    WORKS_FOR.get() == (address(connection), session)
}

/// Makes a session this thread's own if it works for the connection.
pub(super) fn adopt<H: Host>(connection: &Connection<H>, session: u64) -> bool {
    let address = address(connection);
    let own = WORKS_FOR.get().0 == address;
    if own {
        WORKS_FOR.set((address, session));
    }
    own
}

/// A handler waits, and drives its connection meanwhile.
pub(super) fn pause() {
    WORKER.with_borrow(|worker| worker.iter().for_each(|worker| worker.pause()));
}

/// It goes on.
pub(super) fn resume() {
    WORKER.with_borrow(|worker| worker.iter().for_each(|worker| worker.resume()));
}
