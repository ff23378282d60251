//! One connection of the blocking flavour: whoever waits for it drives it.
//!
//! Whoever queues bytes writes them, and those of others with them. At most one thread at
//! a time reads: one that waits, for itself and for all others, who sleep. A client's
//! readers pass that on among each other; with a server it comes from and goes back to a
//! [`Host`], which watches all the connections that nobody reads.
//!
//! What one read brings may wake many sleepers, each of which has something to say at once.
//! They are counted until they have come, and as long as some are on their way, requests and
//! what handlers send is left to the last of them, so that one write carries it all.

mod bytes;
mod drive;
mod followers;
pub(super) mod session;

use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use socket2::SockRef;

pub(super) use self::bytes::Read;
use self::followers::Followers;
use super::park;
use crate::clock::Now;
use crate::connection::{BoxFuture, Flush, News, Share, Slot, State, Woken};
use crate::error::{Error, Result};
use crate::frame::StreamId;
use crate::proto::{Endpoint, Output, server};

/// How long a thread reads without looking whether it was woken. A reader that is handed
/// what it waits for is the rule, and costs one system call; only what another thread
/// does to its call has to wait for so long.
pub(super) const READ_TIMEOUT: Duration = Duration::from_millis(10);

/// So many threads that are on their way leave what they queue to one of them, which then
/// writes: the peer need not wait for all.
const TOGETHER: usize = 64;

/// What a connection belongs to.
pub(super) trait Host: Send + Sync + Sized + 'static {
    type End: Endpoint<Slot = Slot> + Send;

    /// What is kept with the connection, under its lock.
    type Registration: Default + Send;

    /// Whether those who wait pass the reading on among each other.
    const PASSES_ON: bool;

    /// Takes a call that has come while a thread waited for something else.
    fn call(&self, connection: &Arc<Connection<Self>>, call: server::Call);

    /// Nobody reads any more.
    ///
    /// # Errors
    /// The system does not let it watch the connection.
    fn take_over(
        &self,
        connection: &Arc<Connection<Self>>,
        shared: &mut Shared<Self>,
    ) -> io::Result<()>;

    /// A thread reads from now on, and may wait while it does.
    fn let_go(&self, connection: &Connection<Self>, shared: &mut Shared<Self>);

    /// The socket does not take all there is, and nobody waits until it does.
    ///
    /// # Errors
    /// The system does not let it watch the connection.
    fn blocked(&self, connection: &Connection<Self>, shared: &mut Shared<Self>) -> io::Result<()>;

    /// Frames that were left alone can be looked at, and nobody reads.
    fn resume(&self, connection: &Arc<Connection<Self>>, shared: &mut Shared<Self>);

    /// The connection has ended.
    fn ended(&self, error: &Error);
}

/// Who reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reading {
    /// Nobody.
    Free,
    /// A thread is about to.
    Queued,
    /// The thread with this session.
    By(u64),
}

/// A connection that its threads share.
pub(super) struct Connection<H: Host> {
    this: Weak<Self>,
    pub(super) socket: OwnedFd,
    pub(super) host: H,
    shared: Mutex<Shared<H>>,
    news: News,
    /// What `blocked` was when it last changed, for those without the lock.
    is_blocked: AtomicBool,
}

pub(super) struct Shared<H: Host> {
    pub(super) state: State<H::End>,
    pub(super) reading: Reading,
    /// Whether the thread that reads is in a handler, and not to be waited for.
    pub(super) in_handler: bool,
    sessions: u64,
    /// What is being written, or what the socket did not take.
    output: Output,
    writing: bool,
    /// A thread waits until it does.
    pub(super) writer_waits: bool,
    /// The thread that waits as the one who reads.
    reader: Option<Waker>,
    /// Whether a full inbox forbids it to.
    stalled: bool,
    /// Threads that sleep while another one reads.
    followers: Followers,
    /// Whether nothing is known to be left to be read.
    pub(super) drained: bool,
    pub(super) registration: H::Registration,
}

impl<H: Host> Shared<H> {
    /// Whether a thread is on its way that writes what waits, or leaves it to yet another one.
    fn is_left_to_others(&mut self) -> bool {
        self.state.coming % TOGETHER != 0 && self.state.endpoint.has_room()
    }
}

pub(super) type Guard<'a, H> = MutexGuard<'a, Shared<H>>;

/// What is to be done once the lock is free.
pub(super) struct After<'a, H: Host> {
    connection: &'a Connection<H>,
    pub(super) woken: Woken,
    ended: Option<Error>,
}

impl<H: Host> After<'_, H> {
    fn is_nothing(&self) -> bool {
        self.woken.is_empty() && self.ended.is_none()
    }

    #[inline]
    pub(super) fn run(&mut self) {
        if !self.is_nothing() {
            self.run_all();
        }
    }

    fn run_all(&mut self) {
        self.woken.run(&self.connection.news);
        if let Some(error) = self.ended.take() {
            self.connection.host.ended(&error);
        }
    }
}

impl<H: Host> Drop for After<'_, H> {
    fn drop(&mut self) {
        self.run();
    }
}

impl<H: Host> Connection<H> {
    pub(super) fn new(socket: OwnedFd, endpoint: H::End, host: H) -> io::Result<Arc<Self>> {
        SockRef::from(&socket).set_read_timeout(Some(READ_TIMEOUT))?;
        Ok(Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            socket,
            host,
            is_blocked: AtomicBool::new(false),
            news: News::default(),
            shared: Mutex::new(Shared {
                state: State::new(endpoint),
                reading: Reading::Free,
                in_handler: false,
                sessions: 0,
                output: Output::default(),
                writing: false,
                writer_waits: false,
                reader: None,
                stalled: false,
                followers: Followers::default(),
                drained: false,
                registration: H::Registration::default(),
            }),
        }))
    }

    pub(super) fn lock(&self) -> Guard<'_, H> {
        // Nothing panics under this lock but a message that encodes itself; what that
        // has left behind is dropped with the connection at the latest.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn after(&self) -> After<'_, H> {
        After {
            connection: self,
            woken: Woken::default(),
            ended: None,
        }
    }

    /// Why the connection has ended, once it has.
    pub(super) fn ended(&self) -> Option<Error> {
        self.lock().state.ended().cloned()
    }

    pub(super) fn is_mine(&self, shared: &Shared<H>) -> bool {
        matches!(shared.reading, Reading::By(session) if session::is(self, session))
    }

    /// Ends the connection.
    #[inline(never)]
    pub(super) fn end(&self, shared: &mut Shared<H>, error: Error, after: &mut After<'_, H>) {
        if shared.state.ended().is_none() {
            after.ended = Some(error.clone());
        }
        shared.state.fail(error, &mut after.woken);
        self.tear_down(shared, after);
    }

    /// Drops what waits to be written.
    pub(super) fn discard(&self, shared: &mut Shared<H>) {
        shared.state.link().discard();
        shared.output.discard();
        shared.state.blocked = false;
        self.is_blocked.store(false, Ordering::Relaxed);
    }

    /// Drops what is left of a connection that has ended.
    #[inline(never)]
    fn tear_down(&self, shared: &mut Shared<H>, after: &mut After<'_, H>) {
        self.discard(shared);
        for follower in shared.followers.take() {
            after.woken.wake(Some(follower));
        }
        after.woken.wake(shared.reader.take());
        // Whoever reads or writes learns it by this.
        let _ = SockRef::from(&self.socket).shutdown(Shutdown::Both);
    }

    /// Handles what has come and what has run out of time, up to the next call.
    pub(super) fn next_call(
        &self,
        shared: &mut Shared<H>,
        after: &mut After<'_, H>,
    ) -> Option<server::Call> {
        if shared.state.ended().is_some() || shared.state.link().is_quiet() {
            return None;
        }
        let mut call = None;
        if let Err(error) = shared
            .state
            .next_call(&mut Now::default(), &mut after.woken, &mut call)
        {
            // What explains it should still reach the peer; it is not waited for.
            if shared.output.is_empty() && !shared.writing {
                shared.state.link().take_output(&mut shared.output);
                let _ = self.write(&mut shared.output);
            }
            self.end(shared, error, after);
        }
        call
    }

    /// Handles all there is, with calls left to the host.
    pub(super) fn handle<'a>(
        &'a self,
        mut shared: Guard<'a, H>,
        after: &mut After<'_, H>,
    ) -> Guard<'a, H> {
        while let Some(call) = self.next_call(&mut shared, after) {
            drop(shared);
            after.run();
            if let Some(this) = self.this.upgrade() {
                self.host.call(&this, call);
            }
            shared = self.lock();
        }
        shared
    }

    /// Handles all there is and writes what comes of it. Says whether there may be more that
    /// can't be handled before more is written, and must not be read past.
    pub(super) fn handle_and_flush<'a>(
        &'a self,
        mut shared: Guard<'a, H>,
        after: &mut After<'_, H>,
    ) -> (Guard<'a, H>, bool) {
        loop {
            shared = self.handle(shared, after);
            let was_full = !shared.state.endpoint.wants_read();
            shared = self.flush(shared, false, after);
            let is_full = !shared.state.endpoint.wants_read();
            if !was_full || is_full || shared.state.ended().is_some() {
                return (shared, is_full);
            }
        }
    }

    /// Writes what waits, unless another thread does or will; `again` if the socket is said to
    /// take bytes once more.
    pub(super) fn flush<'a>(
        &'a self,
        mut shared: Guard<'a, H>,
        again: bool,
        after: &mut After<'_, H>,
    ) -> Guard<'a, H> {
        if again && !shared.writing {
            shared.state.blocked = false;
        }
        while !shared.writing
            && !shared.state.blocked
            && (again || !shared.is_left_to_others())
            && (!shared.output.is_empty() || shared.state.link().has_output())
        {
            let mut output = std::mem::take(&mut shared.output);
            if output.is_empty() {
                shared.state.link().take_output(&mut output);
            }
            shared.writing = true;
            drop(shared);
            let outcome = self.write(&mut output);
            shared = self.lock();
            shared.writing = false;
            if shared.state.ended().is_some() {
                break;
            }
            shared.state.blocked = !output.is_empty();
            self.is_blocked
                .store(shared.state.blocked, Ordering::Relaxed);
            let was_full = !shared.state.endpoint.wants_read();
            shared.state.written(output.len(), &mut after.woken);
            shared.output = output;
            if was_full && shared.state.endpoint.wants_read() {
                self.read_again(&mut shared, after);
            }
            if let Err(error) = outcome {
                shared = self.lose(shared, error, after);
            } else if shared.state.link().is_drained() {
                let closed = Error::closed("the connection was closed");
                self.end(&mut shared, closed, after);
            }
        }
        shared
    }

    /// Replies or messages that had piled up are gone: goes on with what was left alone.
    fn read_again(&self, shared: &mut Shared<H>, after: &mut After<'_, H>) {
        if shared.stalled {
            after.woken.wake(shared.reader.take());
        } else if shared.reading == Reading::Free {
            if let Some(this) = self.this.upgrade() {
                self.host.resume(&this, shared);
            }
        }
    }

    /// Does what was noted to be done, at the end of every change.
    fn tend(&self, shared: &mut Shared<H>, after: &mut After<'_, H>) {
        if !shared.state.link().take_attention() {
            return;
        }
        if shared.state.link().is_drained() && shared.output.is_empty() {
            self.end(shared, Error::closed("the connection was closed"), after);
        } else if shared.reader.is_some() && (shared.stalled || !H::PASSES_ON) {
            // It may go on, or has to be done sooner than it thinks. Whoever calls keeps his
            // own time.
            after.woken.wake(shared.reader.take());
        } else if shared.state.endpoint.wants_read() {
            self.read_again(shared, after);
        }
    }

    /// Begins to read, if nobody does; `waits` if it will wait for what comes.
    pub(super) fn begin(&self, shared: &mut Shared<H>, waits: bool) -> u64 {
        if waits {
            self.host.let_go(self, shared);
        }
        shared.sessions += 1;
        shared.reading = Reading::By(shared.sessions);
        shared.in_handler = false;
        shared.sessions
    }

    /// Leaves the reading to another thread, or to the host.
    pub(super) fn give_up_reading(&self, shared: &mut Shared<H>, after: &mut After<'_, H>) {
        shared.reading = Reading::Free;
        if H::PASSES_ON {
            after.woken.wake(shared.followers.choose());
        } else if let Some(this) = self.this.upgrade() {
            if let Err(error) = self.host.take_over(&this, shared) {
                self.end(shared, Error::connection_lost(error), after);
            }
        }
    }

    /// Leaves the writing to whoever reads or to the host, if it is not done and nobody
    /// waits for it.
    pub(super) fn give_up_writing(&self, shared: &mut Shared<H>, after: &mut After<'_, H>) {
        if !shared.state.blocked || shared.writer_waits {
            return;
        }
        if shared.reader.is_some() {
            after.woken.wake(shared.reader.take());
        } else if let Err(error) = self.host.blocked(self, shared) {
            self.end(shared, Error::connection_lost(error), after);
        }
    }
}

impl<H: Host> Share for Connection<H> {
    type End = H::End;
    const THREADS: bool = true;

    fn news(&self) -> &News {
        &self.news
    }

    fn with_state<R>(&self, flush: Flush, f: impl FnOnce(&mut State<H::End>) -> R) -> R {
        let after = self.after();
        let mut shared = self.lock();
        let had_ended = shared.state.ended().is_some();
        let result = f(&mut shared.state);
        self.changed(shared, had_ended, flush, after);
        result
    }

    fn queued(&self, id: StreamId) {
        if self.is_blocked.load(Ordering::Relaxed) {
            if let Some(this) = self.this.upgrade() {
                park::is_unsettled(this, id);
            }
        }
    }

    fn waits(&self, id: Option<StreamId>) {
        if let Some(this) = self.this.upgrade() {
            park::waits(this, id);
        }
    }

    fn leaves(&self) -> bool {
        park::leaves();
        !H::PASSES_ON || !self.is_blocked.load(Ordering::Relaxed)
    }

    fn spawn(&self, id: StreamId, work: BoxFuture<()>) -> Result<()> {
        if let Some(this) = self.this.upgrade() {
            std::thread::Builder::new().spawn(move || this.run(id, work))?;
        }
        Ok(())
    }
}

impl<H: Host> Connection<H> {
    /// Sees to what a change of the state has led to.
    #[inline(never)]
    fn changed<'a>(
        &'a self,
        mut shared: Guard<'a, H>,
        had_ended: bool,
        flush: Flush,
        mut after: After<'a, H>,
    ) {
        if let Some(error) = shared.state.ended().filter(|_| !had_ended) {
            after.ended = Some(error.clone());
            self.tear_down(&mut shared, &mut after);
        }
        let later = match flush {
            Flush::Now | Flush::Look | Flush::LookForEnd | Flush::Reply => false,
            Flush::Together => self.is_mine(&shared),
            Flush::No => true,
            Flush::Soon => shared.state.endpoint.has_room(),
        };
        if !later {
            if H::PASSES_ON && flush != Flush::Reply {
                // Whoever does not wait can't leave anything to others: there is no host that
                // sees to what the socket does not take.
                shared.state.coming = 0;
            }
            shared = self.flush(shared, false, &mut after);
        }
        if matches!(flush, Flush::Look | Flush::LookForEnd | Flush::Soon) && !later {
            shared = self.look(shared, flush == Flush::LookForEnd, &mut after);
        }
        if flush == Flush::Together || H::PASSES_ON {
            self.give_up_writing(&mut shared, &mut after);
        }
        self.tend(&mut shared, &mut after);
        drop(shared);
    }
}
