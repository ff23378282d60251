//! One connection of the blocking flavour: whoever waits for it drives it.
//!
//! Whoever queues bytes writes them, and those of others with them. At most one thread at
//! a time reads: one that waits, for itself and for all others, who sleep. A client's
//! readers pass that on among each other; with a server it comes from and goes back to a
//! [`Host`], which watches all the connections that nobody reads.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::park::{self, Parker, Wait};
use crate::connection::{
    BoxFuture, Flush, MAX_SLICES, SCRATCH, SCRATCH_LEN, Share, Slot, State, Woken, Work,
};
use crate::error::{Error, Result};
use crate::frame::StreamId;
use crate::proto::{Body, Endpoint, Output, server};
use crate::socket;

/// How long a thread reads without looking whether it was woken. A reader that is handed
/// what it waits for is the rule, and costs one system call; only what another thread
/// does to its call has to wait for so long.
const READ_TIMEOUT: Duration = Duration::from_millis(10);

/// A time that is nearer than this is waited for exactly: that of a socket is coarse.
const NEAR: Duration = Duration::from_millis(25);

/// Messages that come faster than this are written together.
const FAST: Duration = Duration::from_micros(50);

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
    writer_waits: bool,
    /// The thread that waits as the one who reads.
    reader: Option<Waker>,
    /// Whether a full inbox forbids it to.
    stalled: bool,
    /// Threads that sleep while another one reads.
    followers: BTreeMap<u64, Waker>,
    next_follower: u64,
    last_sent: Option<Instant>,
    /// Whether nothing is known to be left to be read.
    pub(super) drained: bool,
    pub(super) registration: H::Registration,
}

impl<H: Host> Shared<H> {
    /// Makes this thread one of those that are woken when nobody reads any more.
    fn enlist(&mut self) -> u64 {
        let key = self.next_follower;
        self.next_follower += 1;
        self.followers.insert(key, park::waker());
        key
    }

    /// Gives memory back that an idle connection does not need.
    pub(super) fn release(&mut self) {
        self.output.release();
        self.state.link().release_output();
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
    pub(super) fn run(&mut self) {
        self.woken.run();
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

/// What became of an attempt to read.
pub(super) enum Read {
    /// So many bytes came, and that was all.
    Some(usize),
    /// So many came as there was room for.
    Full(usize),
    /// Nothing yet.
    Nothing,
    /// The socket takes bytes again, or failed.
    Writable,
}

impl<H: Host> Connection<H> {
    pub(super) fn new(socket: OwnedFd, endpoint: H::End, host: H) -> io::Result<Arc<Self>> {
        SockRef::from(&socket).set_read_timeout(Some(READ_TIMEOUT))?;
        Ok(Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            socket,
            host,
            is_blocked: AtomicBool::new(false),
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
                followers: BTreeMap::new(),
                next_follower: 0,
                last_sent: None,
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
    pub(super) fn end(&self, shared: &mut Shared<H>, error: Error, after: &mut After<'_, H>) {
        if shared.state.ended().is_none() {
            after.ended = Some(error.clone());
        }
        shared.state.fail(error, &mut after.woken);
        self.tear_down(shared, after);
    }

    /// Drops what is left of a connection that has ended.
    fn tear_down(&self, shared: &mut Shared<H>, after: &mut After<'_, H>) {
        shared.state.link().discard();
        shared.output = Output::default();
        shared.state.blocked = false;
        let sleepers = std::mem::take(&mut shared.followers).into_values();
        sleepers.for_each(|sleeper| after.woken.wake(Some(sleeper)));
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
        if shared.state.ended().is_some() {
            return None;
        }
        match shared
            .state
            .next_call(crate::clock::now(), &mut after.woken)
        {
            Ok(call) => call,
            Err(error) => {
                // What explains it should still reach the peer; it is not waited for.
                if shared.output.is_empty() && !shared.writing {
                    shared.state.link().take_output(&mut shared.output);
                    let _ = self.write(&mut shared.output);
                }
                self.end(shared, error, after);
                None
            }
        }
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

    /// Writes what waits, unless another thread does; `again` if the socket is said to take
    /// bytes once more.
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
                self.end(&mut shared, Error::connection_lost(error), after);
            } else if shared.state.link().is_drained() {
                self.end(
                    &mut shared,
                    Error::closed("the connection was closed"),
                    after,
                );
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

    /// Writes as much as the socket takes.
    fn write(&self, output: &mut Output) -> io::Result<()> {
        while !output.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let used = output.slices(&mut slices);
            match socket::send(&self.socket, &slices[..used], libc::MSG_DONTWAIT) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(len) => output.advance(len),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads once: into `body` if there is one, otherwise into the thread's buffer.
    pub(super) fn read(&self, body: &mut Option<Body>, flags: i32) -> Result<Read> {
        let mut room = 0;
        let read = loop {
            let read = match body {
                Some(body) => {
                    let (buffer, missing) = body.buffer();
                    room = missing.min(buffer.capacity() - buffer.len());
                    socket::receive_more(&self.socket, buffer, room, flags)
                }
                None => SCRATCH.with_borrow_mut(|scratch| {
                    room = scratch.len();
                    socket::receive(&self.socket, scratch, flags)
                }),
            };
            match read {
                // Whoever waits looks what time it is: the system begins to wait anew.
                Err(error) if error.kind() == io::ErrorKind::Interrupted && flags == 0 => {
                    return Ok(Read::Nothing);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        match read {
            Ok(0) => Err(Error::closed(match body {
                Some(_) => "the peer closed the connection within a frame",
                None => "the peer closed the connection",
            })),
            Ok(len) if len == room => Ok(Read::Full(len)),
            Ok(len) => Ok(Read::Some(len)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Read::Nothing),
            Err(error) => Err(Error::connection_lost(error)),
        }
    }

    /// Prepares an attempt to read: what comes from now on is news.
    pub(super) fn begin_read(shared: &mut Shared<H>) -> Option<Body> {
        shared.drained = true;
        shared.state.link().set_being_read(true);
        shared.state.link().take_body()
    }

    /// Takes what an attempt to read gave.
    pub(super) fn take_read<'a>(
        &'a self,
        read: Result<Read>,
        body: Option<Body>,
        after: &mut After<'_, H>,
    ) -> Guard<'a, H> {
        let mut shared = self.lock();
        let is_body = body.is_some();
        if let Some(body) = body {
            shared.state.link().received_body(body);
        }
        shared.state.link().set_being_read(false);
        match read {
            Err(error) => self.end(&mut shared, error, after),
            Ok(Read::Writable) => shared = self.flush(shared, true, after),
            Ok(Read::Nothing) => {}
            Ok(Read::Some(len) | Read::Full(len)) if !is_body => {
                SCRATCH.with_borrow(|scratch| shared.state.link().received(&scratch[..len]));
                shared.drained &= len < SCRATCH_LEN;
            }
            Ok(Read::Some(_)) => {}
            Ok(Read::Full(_)) => shared.drained = false,
        }
        shared
    }

    /// Reads once something is there, or does as the [`Read`] says.
    fn wait_and_read(
        &self,
        body: &mut Option<Body>,
        writes: bool,
        until: Option<Instant>,
        thread: &Parker,
    ) -> Result<Read> {
        let near = |until: Instant| until.saturating_duration_since(Instant::now()) < NEAR;
        if !writes && !until.is_some_and(near) {
            match self.read(body, 0) {
                Ok(Read::Nothing) => {}
                read => return read,
            }
        }
        let events = libc::POLLIN | if writes { libc::POLLOUT } else { 0 };
        let ready = thread.poll(&self.socket, events, until);
        if ready & libc::POLLIN != 0 {
            match self.read(body, libc::MSG_DONTWAIT)? {
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
            let follower = shared.followers.pop_first();
            after.woken.wake(follower.map(|(_, follower)| follower));
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

    /// Handles what is there already, if nobody else does.
    fn look<'a>(&'a self, mut shared: Guard<'a, H>, after: &mut After<'_, H>) -> Guard<'a, H> {
        if !H::PASSES_ON || shared.reading != Reading::Free || !shared.state.endpoint.wants_read() {
            return shared;
        }
        self.begin(&mut shared, false);
        let mut body = Self::begin_read(&mut shared);
        drop(shared);
        let read = self.read(&mut body, libc::MSG_DONTWAIT);
        shared = self.take_read(read, body, after);
        shared = self.handle(shared, after);
        self.give_up_reading(&mut shared, after);
        shared
    }

    /// Ends the waiting for the reading to become free. A thread that was woken because it
    /// is has to take it, or to wake another one.
    fn strike_off(&self, shared: &mut Shared<H>, key: u64) {
        let chosen = shared.followers.remove(&key).is_none();
        if chosen && shared.reading == Reading::Free {
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
        let key = shared.enlist();
        let until = id.and_then(|id| shared.state.link().deadline(id));
        drop(shared);
        after.run();
        thread.park(until);
        let mut shared = self.lock();
        self.strike_off(&mut shared, key);
        if until.is_some_and(|until| until <= Instant::now()) {
            shared = self.handle(shared, after);
            shared = self.flush(shared, false, after);
            self.give_up_writing(&mut shared, after);
        }
        drop(shared);
    }

    /// Drives the connection until the thread is woken or `is_done`.
    fn drive(
        &self,
        id: Option<StreamId>,
        thread: &Parker,
        is_done: impl Fn(&mut Shared<H>) -> bool,
    ) {
        let mut after = self.after();
        let mut shared = self.flush(self.lock(), false, &mut after);
        if shared.state.ended().is_some() || thread.is_woken() || is_done(&mut shared) {
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
        }
        loop {
            let mut was_full = false;
            if reads {
                (shared, was_full) = self.handle_and_flush(shared, &mut after);
            }
            drop(shared);
            after.run();
            shared = self.lock();
            if shared.state.ended().is_some() || thread.is_woken() || is_done(&mut shared) {
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
                let mut body = Self::begin_read(&mut shared);
                let until = shared.state.link().timeout();
                drop(shared);
                let read = self.wait_and_read(&mut body, writes, until, thread);
                shared = self.take_read(read, body, &mut after);
            } else if writes {
                let follows = (!reads).then(|| shared.enlist());
                let until = match reads {
                    true => shared.state.link().timeout(),
                    false => id.and_then(|id| shared.state.link().deadline(id)),
                };
                shared.stalled = reads;
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

impl<H: Host> Share for Connection<H> {
    type End = H::End;
    const THREADS: bool = true;

    fn with_state<R>(&self, flush: Flush, f: impl FnOnce(&mut State<H::End>) -> R) -> R {
        let mut after = self.after();
        let mut shared = self.lock();
        let had_ended = shared.state.ended().is_some();
        let result = f(&mut shared.state);
        if let Some(error) = shared.state.ended().filter(|_| !had_ended) {
            after.ended = Some(error.clone());
            self.tear_down(&mut shared, &mut after);
        }
        let later = match flush {
            Flush::Now | Flush::Look => false,
            Flush::Together => self.is_mine(&shared),
            Flush::No => true,
            Flush::Soon => {
                let now = Instant::now();
                let last = shared.last_sent.replace(now);
                let fast = last.is_some_and(|last| now.duration_since(last) < FAST);
                fast && shared.state.link().has_room()
            }
        };
        if !later {
            shared = self.flush(shared, false, &mut after);
        }
        if matches!(flush, Flush::Look | Flush::Soon) && !later {
            shared = self.look(shared, &mut after);
        }
        if flush == Flush::Together || H::PASSES_ON {
            self.give_up_writing(&mut shared, &mut after);
        }
        self.tend(&mut shared, &mut after);
        drop(shared);
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

    fn spawn(&self, id: StreamId, work: BoxFuture<()>) -> Result<()> {
        let Some(this) = self.this.upgrade() else {
            return Ok(());
        };
        let work = move || this.run(id, work);
        std::thread::Builder::new().spawn(work)?;
        Ok(())
    }
}

impl<H: Host> Connection<H> {
    /// Runs something that feeds or answers a stream, until that is over.
    pub(super) fn run(&self, id: StreamId, work: impl Future<Output = ()>) {
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
}

impl<H: Host> Wait for Connection<H> {
    fn wait(&self, id: Option<StreamId>, thread: &Parker) {
        self.drive(id, thread, |_| false);
    }

    fn settle(&self, id: StreamId, thread: &Parker) {
        let is_done = |shared: &mut Shared<H>| {
            !shared.state.blocked || shared.state.endpoint.check_sending(id).is_err()
        };
        loop {
            thread.rest();
            let mut shared = self.lock();
            if shared.state.ended().is_some() || is_done(&mut shared) {
                let mut after = self.after();
                self.give_up_writing(&mut shared, &mut after);
                drop(shared);
                return;
            }
            // Another thread may end the stream.
            shared.state.wake_with_senders(&park::waker());
            drop(shared);
            self.drive(Some(id), thread, is_done);
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

/// The connection that this thread works for, as one of a server's.
pub(super) mod session {
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
        WORKER.with_borrow(|worker| worker.iter().for_each(|worker| worker.leave_handler()));
    }

    /// It goes on.
    pub(super) fn resume() {
        WORKER.with_borrow(|worker| worker.iter().for_each(|worker| worker.enter_handler()));
    }
}
