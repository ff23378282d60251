//! How a thread that waits drives a connection meanwhile, or sleeps while another one does.

use std::io;
use std::net::Shutdown;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::bytes::Room;
use super::{After, Connection, Guard, Host, Read, Reading, Shared, session};
use crate::blocking::park::{self, Parker, Wait};
use crate::connection::{State, Work};
use crate::error::{Error, Result};
use crate::frame::StreamId;
use crate::proto::Endpoint;

/// A time that is nearer than this is waited for exactly: that of a socket is coarse.
const NEAR: Duration = Duration::from_millis(25);

/// So often is read what has come while nobody looked, at most: the time does not wait for a
/// peer that never stops.
const MOST_READS: usize = 64;

impl<H: Host> Connection<H> {
    /// Runs something that feeds or answers a stream, until that is over.
    pub(in super::super) fn run(&self, id: StreamId, work: impl Future<Output = ()>) {
        let goes_on = || {
            let mut shared = self.lock();
            if shared.state.endpoint.check_sending(id).is_err() {
                return false;
            }
            if let Some(slot) = shared.state.link().slot(id) {
                // Whatever ends the stream drops this, which wakes the thread.
                slot.work.get_or_insert_with(|| Work::Thread(park::waker()));
            }
            true
        };
        park::block_on_while(work, None, goes_on);
    }

    /// Reads once something is there, or does as the [`Read`] says. Unless it `listens`, what
    /// other threads do is seen a while later.
    fn wait_and_read(
        &self,
        room: &mut Room,
        writes: bool,
        listens: bool,
        until: Option<Instant>,
        thread: &Parker,
    ) -> Result<Read> {
        let near = |until: Instant| until.saturating_duration_since(Instant::now()) < NEAR;
        if !listens && !until.is_some_and(near) {
            match self.read(room, 0) {
                Ok(Read::Nothing) => {}
                read => return read,
            }
        }
        room.shrink();
        let events = libc::POLLIN | if writes { libc::POLLOUT } else { 0 };
        let ready = thread.poll(&self.socket, events, until);
        if ready & libc::POLLIN != 0 {
            match self.read(room, libc::MSG_DONTWAIT)? {
                Read::Nothing => {}
                read => return Ok(read),
            }
        }
        Ok(if ready & libc::POLLOUT != 0 {
            Read::Writable
        } else {
            Read::Nothing
        })
    }

    /// Handles what is there already, all of it or some, if nobody else does.
    pub(super) fn look<'a>(
        &'a self,
        mut shared: Guard<'a, H>,
        all: bool,
        after: &mut After<'_, H>,
    ) -> Guard<'a, H> {
        if !H::PASSES_ON {
            return shared;
        }
        if shared.reading != Reading::Free || !shared.state.endpoint.wants_read() {
            // Whoever reads may have begun to wait before there was this time.
            if shared.state.link().is_late() {
                shared = self.handle(shared, after);
            }
            return shared;
        }
        self.begin(&mut shared, false);
        if all || shared.state.link().is_late() {
            shared = self.catch_up(shared, after);
        } else {
            // What is whole already may have been left alone, and has no room for more.
            shared = self.handle(shared, after);
            if shared.state.endpoint.wants_read() {
                (shared, _) = self.read_now(shared, after);
            }
        }
        shared = self.handle(shared, after);
        self.give_up_reading(&mut shared, after);
        shared
    }

    /// Handles what has come while nobody read, before what has run out of time by now: it may
    /// have come before that.
    #[cold]
    fn catch_up<'a>(&'a self, mut shared: Guard<'a, H>, after: &mut After<'_, H>) -> Guard<'a, H> {
        shared.state.link().set_catching_up(true);
        for _ in 0..MOST_READS {
            shared = self.handle(shared, after);
            if !shared.state.endpoint.wants_read() {
                break;
            }
            let is_some;
            (shared, is_some) = self.read_now(shared, after);
            if !is_some {
                break;
            }
        }
        shared.state.link().set_catching_up(false);
        shared
    }

    /// Ends a connection that nothing can be written to any more, once what has come is taken:
    /// the server may have answered, and gone.
    #[cold]
    pub(super) fn lose<'a>(
        &'a self,
        mut shared: Guard<'a, H>,
        error: io::Error,
        after: &mut After<'_, H>,
    ) -> Guard<'a, H> {
        if H::PASSES_ON {
            self.discard(&mut shared);
            if shared.reading != Reading::Free {
                // Whoever reads finds what is there, and then the end.
                let _ = SockRef::from(&self.socket).shutdown(Shutdown::Both);
                return shared;
            }
            self.begin(&mut shared, false);
            shared = self.catch_up(shared, after);
        }
        self.end(&mut shared, Error::connection_lost(error), after);
        shared
    }

    /// Ends the waiting for the reading to become free. A thread that was woken because it
    /// is has to take it, or to wake another one.
    fn strike_off(&self, shared: &mut Shared<H>, key: u64) {
        if !shared.followers.strike_off(key) && shared.reading == Reading::Free {
            if let Some(this) = self.this.upgrade() {
                park::takes_baton(this);
            }
        }
    }

    /// Sleeps while another thread reads.
    fn follow<'a>(
        &'a self,
        mut shared: Guard<'a, H>,
        id: Option<StreamId>,
        thread: &Parker,
        after: &mut After<'_, H>,
    ) {
        let key = shared.followers.enlist();
        let until = id.and_then(|id| shared.state.link().deadline(id));
        let reads = id.filter(|id| shared.state.falls_asleep(*id, &park::waker()));
        drop(shared);
        after.run();
        thread.park(until);
        let mut shared = self.lock();
        if let Some(id) = reads {
            shared.state.has_come(id);
        }
        self.strike_off(&mut shared, key);
        // What others have left to it is not left to what it may do next.
        shared = self.flush(shared, false, after);
        self.give_up_writing(&mut shared, after);
        let unread = H::PASSES_ON && shared.reading == Reading::Free;
        if !unread && until.is_some_and(|until| until <= Instant::now()) {
            shared = self.handle(shared, after);
            shared = self.flush(shared, false, after);
            self.give_up_writing(&mut shared, after);
        }
        drop(shared);
    }

    /// Whether so many bytes have been written, if others go on to queue some, or the stream
    /// is over for which that matters.
    fn is_settled(shared: &mut Shared<H>, id: StreamId, written: u64) -> bool {
        // A client that has sent its last on a stream has not written it yet.
        let is_over = |state: &mut State<H::End>| {
            state.endpoint.check_sending(id).is_err() && state.link().slot_of_open(id).is_none()
        };
        !shared.state.blocked
            || shared.state.link().written() >= written
            || is_over(&mut shared.state)
    }

    /// Drives the connection, for a stream if it is for one, until the thread is woken or,
    /// where that is said, so many bytes have been written.
    fn drive(&self, id: Option<StreamId>, thread: &Parker, written: Option<u64>) {
        let settling = id.zip(written);
        let is_done = |shared: &mut Shared<H>| {
            shared.state.ended().is_some()
                || thread.is_woken()
                || settling.is_some_and(|(id, written)| Self::is_settled(shared, id, written))
        };
        let mut after = self.after();
        let mut shared = self.flush(self.lock(), false, &mut after);
        if is_done(&mut shared) {
            if H::PASSES_ON && shared.reading == Reading::Free {
                // It may have been this thread's turn.
                self.give_up_reading(&mut shared, &mut after);
            }
            self.give_up_writing(&mut shared, &mut after);
            return;
        }
        let own = self.is_mine(&shared);
        let reads = own || shared.reading == Reading::Free;
        let mut writes = shared.state.blocked && !shared.writer_waits;
        if !reads && !writes {
            return self.follow(shared, id, thread, &mut after);
        }
        if own {
            shared.in_handler = false;
            self.host.let_go(self, &mut shared);
            session::pause();
        } else if reads {
            let session = self.begin(&mut shared, true);
            if session::adopt(self, session) {
                session::pause();
            }
        }
        shared.writer_waits |= writes;
        if reads {
            shared.reader = Some(park::waker());
            if H::PASSES_ON && shared.state.link().is_late() {
                shared = self.catch_up(shared, &mut after);
            }
        }
        loop {
            let mut was_full = false;
            if reads {
                (shared, was_full) = self.handle_and_flush(shared, &mut after);
            }
            if !after.is_nothing() {
                drop(shared);
                after.run();
                shared = self.lock();
            }
            if is_done(&mut shared) {
                break;
            }
            if was_full && shared.state.endpoint.wants_read() {
                continue;
            }
            if writes && !shared.state.blocked {
                writes = false;
                shared.writer_waits = false;
                if !reads {
                    break;
                }
            } else if shared.state.blocked && !shared.writer_waits {
                writes = true;
                shared.writer_waits = true;
            }
            if reads && shared.state.endpoint.wants_read() {
                let mut room = Self::begin_read(&mut shared);
                let until = shared.state.link().timeout();
                // Others may write, and so make room that this thread waits for.
                let listens = shared.state.blocked || shared.writing;
                drop(shared);
                let read = self.wait_and_read(&mut room, writes, listens, until, thread);
                let in_vain = matches!(read, Ok(Read::Nothing));
                shared = self.take_read(read, room, &mut after);
                if in_vain {
                    // Whoever still has not come does not get to run.
                    shared.state.coming = 0;
                }
            } else if writes {
                let follows = (!reads).then(|| shared.followers.enlist());
                let until = match reads {
                    true => shared.state.link().timeout(),
                    false => id.and_then(|id| shared.state.link().deadline(id)),
                };
                shared.stalled |= reads;
                drop(shared);
                let ready = thread.poll(&self.socket, libc::POLLOUT, until);
                shared = self.lock();
                match follows {
                    Some(key) => self.strike_off(&mut shared, key),
                    None => shared.stalled = false,
                }
                if ready != 0 {
                    shared = self.flush(shared, true, &mut after);
                }
                shared = self.handle(shared, &mut after);
            } else {
                let until = shared.state.link().timeout();
                shared.stalled = true;
                drop(shared);
                thread.park(until);
                shared = self.lock();
                shared.stalled = false;
            }
        }
        if writes {
            shared.writer_waits = false;
        }
        if reads {
            shared.reader = None;
        }
        self.give_up_writing(&mut shared, &mut after);
        if !reads {
            // Somebody else does.
        } else if self.is_mine(&shared) {
            shared.in_handler = true;
            session::resume();
        } else {
            self.give_up_reading(&mut shared, &mut after);
        }
        self.tend(&mut shared, &mut after);
    }
}

impl<H: Host> Drop for Connection<H> {
    fn drop(&mut self) {
        let shared = self.shared.get_mut();
        let shared = shared.unwrap_or_else(PoisonError::into_inner);
        if shared.state.ended().is_none() {
            // With something to be written that nobody is left to write.
            self.host.ended(&Error::closed("the connection was closed"));
        }
    }
}

impl<H: Host> Wait for Connection<H> {
    fn wait(&self, id: Option<StreamId>, thread: &Parker) {
        self.drive(id, thread, None);
    }

    fn settle(&self, id: StreamId, thread: &Parker) {
        let mut all = None;
        loop {
            thread.rest();
            let mut shared = self.lock();
            let link = shared.state.link();
            let all = *all.get_or_insert(link.written() + link.backlog() as u64);
            if shared.state.ended().is_some() || Self::is_settled(&mut shared, id, all) {
                let mut after = self.after();
                self.give_up_writing(&mut shared, &mut after);
                drop(shared);
                return;
            }
            // Another thread may end the stream.
            shared.state.wake_when_settled(&park::waker());
            drop(shared);
            self.drive(Some(id), thread, Some(all));
        }
    }

    fn pass_on(&self) {
        let mut after = self.after();
        let mut shared = self.lock();
        if shared.reading == Reading::Free {
            self.give_up_reading(&mut shared, &mut after);
        }
        drop(shared);
    }
}
