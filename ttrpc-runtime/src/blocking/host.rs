//! A server's connection, and how its calls are served.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

use mio::unix::SourceFd;
use mio::{Interest, Token};

use super::connection::{
    After, Connection, Guard, Host, READ_TIMEOUT, Read, Reading, Shared, session,
};
use super::hub::Hub;
use super::pool::{Job, Open, Worker};
use crate::connection::{Answers, Slot, Work};
use crate::context::Connected;
use crate::error::{Error, Result};
use crate::frame::StreamId;
use crate::peer::Peer;
use crate::proto::{Endpoint, server};
use crate::service::Running;
use crate::serving::Serving;
use crate::socket;

/// A connection of a server.
pub(super) type Hosted = Connection<Home>;

/// What a server's connection belongs to.
pub(super) struct Home {
    hub: Arc<Hub>,
    /// That of its [place](crate::serving::Place), too.
    key: u64,
    serving: Arc<Serving>,
    peer: Option<Peer>,
    /// What the handshake has found, once it was made.
    greeted: OnceLock<Connected>,
}

/// What the hub is asked to watch a connection for.
#[derive(Default)]
pub(super) struct Registration {
    reads: bool,
    writes: bool,
    /// When it is to look at the connection.
    timer: Option<Instant>,
}

impl Home {
    pub(super) fn new(hub: Arc<Hub>, key: u64, serving: Arc<Serving>, peer: Option<Peer>) -> Self {
        Self {
            hub,
            key,
            serving,
            peer,
            greeted: OnceLock::new(),
        }
    }

    /// Makes the handshake, unless that has been done.
    fn greet(&self) -> Result<()> {
        if !self.is_greeted() {
            let mut connected = Connected::to(self.peer);
            self.serving.greet(&mut connected)?;
            // Nobody else does it at the same time: one thread serves a connection.
            let _ = self.greeted.set(connected);
        }
        Ok(())
    }

    pub(super) fn is_greeted(&self) -> bool {
        self.greeted.get().is_some()
    }

    /// Has something done by one of the pool's threads, or by the hub if none is left.
    fn push(&self, job: Job) {
        let pool = &self.hub.pool;
        if pool.push(job) || pool.is_exhausted() {
            self.hub.rouse();
        }
    }

    /// Wakes whoever ticks.
    pub(super) fn rouse(&self) {
        self.hub.rouse();
    }

    fn watch(
        &self,
        connection: &Connection<Self>,
        registration: &mut Registration,
        (reads, writes): (bool, bool),
    ) -> io::Result<()> {
        let was = (registration.reads, registration.writes);
        if was == (reads, writes) {
            return Ok(());
        }
        (registration.reads, registration.writes) = (reads, writes);
        let (source, token) = (connection.socket.as_raw_fd(), Token(self.key as usize));
        let (mut source, registry) = (SourceFd(&source), &self.hub.registry);
        let interest = match (reads, writes) {
            (false, false) => return registry.deregister(&mut source),
            (true, false) => Interest::READABLE,
            (false, true) => Interest::WRITABLE,
            (true, true) => Interest::READABLE | Interest::WRITABLE,
        };
        match was {
            (false, false) => registry.register(&mut source, token, interest),
            _ => registry.reregister(&mut source, token, interest),
        }
    }
}

impl Host for Home {
    type End = server::Connection<Slot>;
    type Registration = Registration;
    const PASSES_ON: bool = false;

    fn call(&self, connection: &Arc<Hosted>, call: server::Call) {
        let id = call.id;
        // What can't be served is answered here, also while no thread is left. What runs user
        // code for long waits for its turn.
        if let Some(running) = connection.start(call) {
            let Some(open) = connection.waits_for_thread(id) else {
                return;
            };
            self.hub.pool.clear_away();
            let job = Job::Run(Arc::clone(connection), id, Box::new(running), open);
            self.push(job);
        }
    }

    fn take_over(&self, connection: &Arc<Hosted>, shared: &mut Shared<Self>) -> io::Result<()> {
        if shared.state.ended().is_some() {
            return Ok(());
        }
        shared.state.rest();
        if let Some(at) = shared.state.link().timeout() {
            if shared.registration.timer.is_none_or(|timer| at < timer) {
                let instead = shared.registration.timer.replace(at);
                self.hub.set_timer(at, instead, self.key);
            }
        }
        let writes = shared.registration.writes;
        self.watch(connection, &mut shared.registration, (true, writes))?;
        if !shared.drained && shared.state.endpoint.wants_read() {
            // More has come meanwhile.
            self.resume(connection, shared);
        }
        Ok(())
    }

    fn let_go(&self, connection: &Hosted, shared: &mut Shared<Self>) {
        let writes = shared.registration.writes;
        // What is watched in vain does no harm.
        let _ = self.watch(connection, &mut shared.registration, (false, writes));
    }

    fn blocked(&self, connection: &Hosted, shared: &mut Shared<Self>) -> io::Result<()> {
        let reads = shared.registration.reads;
        self.watch(connection, &mut shared.registration, (reads, true))
    }

    fn resume(&self, connection: &Arc<Hosted>, shared: &mut Shared<Self>) {
        shared.reading = Reading::Queued;
        self.push(Job::Serve(Arc::clone(connection)));
    }

    fn ended(&self, _: &Error) {
        self.hub.ended(self.key);
    }
}

impl Connection<Home> {
    /// Serves what comes, on one of the pool's threads, until nothing does.
    pub(super) fn serve(self: &Arc<Self>, worker: &Worker) {
        let mut after = self.after();
        let mut shared = self.lock();
        if shared.reading != Reading::Queued {
            return;
        }
        let session = self.begin(&mut shared, false);
        session::enter(self, session);
        if !self.host.is_greeted() {
            drop(shared);
            // What may take its time like a handler is looked after like one.
            worker.enter_handler();
            let greeted = self.host.greet();
            worker.leave_handler();
            shared = self.lock();
            if let Err(error) = greeted {
                self.end(&mut shared, error, &mut after);
            }
        }
        drop(shared);
        drop(after);
        self.go_on(worker);
    }

    /// A call is to wait for a thread. Gives what tells whether it is open still, if it is now.
    fn waits_for_thread(&self, id: StreamId) -> Option<Weak<Open>> {
        let mut shared = self.lock();
        let slot = shared.state.link().slot(id)?;
        let open = Arc::new(Open);
        let known = Arc::downgrade(&open);
        slot.work = Some(Work::Thread(open.into()));
        Some(known)
    }

    /// Runs a call that came while other threads were busy.
    pub(super) fn run_call(self: &Arc<Self>, worker: &Worker, id: StreamId, running: Running) {
        let is_open = {
            let mut shared = self.lock();
            let slot = shared.state.link().slot(id);
            slot.map(|slot| slot.work = None).is_some()
        };
        if !is_open {
            // Its time was up before its turn had come.
            return;
        }
        session::enter(self, 0);
        worker.enter_handler();
        self.run(id, running);
        worker.leave_handler();
        self.go_on(worker);
    }

    fn answer(self: &Arc<Self>, worker: &Worker, call: server::Call) {
        worker.enter_handler();
        let id = call.id;
        if let Some(running) = self.start(call) {
            self.run(id, running);
        }
        worker.leave_handler();
    }

    /// Gives a call to its service; `None` where it is answered already.
    fn start(self: &Arc<Self>, call: server::Call) -> Option<Running> {
        let answers = Arc::clone(self) as Arc<dyn Answers>;
        let connected = self.host.greeted.get().cloned().unwrap_or_default();
        let Home { serving, key, .. } = &self.host;
        serving.start(*key, answers, connected, call)
    }

    /// Goes on as the one who reads, if this thread is.
    fn go_on(self: &Arc<Self>, worker: &Worker) {
        let pool = &self.host.hub.pool;
        let mut after = self.after();
        let mut shared = self.lock();
        while self.is_mine(&shared) {
            shared.in_handler = false;
            if let Some(call) = self.next_call(&mut shared, &mut after) {
                if pool.is_wary() {
                    // The handler may block: the rest is for another thread.
                    shared = self.flush(shared, false, &mut after);
                    self.host.resume(self, &mut shared);
                } else {
                    shared.in_handler = true;
                    if !shared.state.endpoint.has_room() {
                        shared = self.flush(shared, false, &mut after);
                    }
                }
                drop(shared);
                after.run();
                self.answer(worker, call);
                shared = self.lock();
                continue;
            }
            let was_full = !shared.state.endpoint.wants_read();
            shared = self.flush(shared, false, &mut after);
            shared = self.write_rest(shared, &mut after);
            self.give_up_writing(&mut shared, &mut after);
            let ended = shared.state.ended().is_some();
            if was_full && shared.state.endpoint.wants_read() {
                // What was left alone can be looked at now.
                continue;
            }
            if ended || !shared.state.endpoint.wants_read() {
                self.give_up_reading(&mut shared, &mut after);
                break;
            }
            // What has a time is left to the hub, which keeps it exactly.
            let lingers = shared.state.link().timeout().is_none() && pool.linger();
            if !lingers && shared.drained {
                self.give_up_reading(&mut shared, &mut after);
                break;
            }
            let flags = if lingers {
                self.host.let_go(self, &mut shared);
                0
            } else {
                libc::MSG_DONTWAIT
            };
            let mut room = Self::begin_read(&mut shared);
            drop(shared);
            after.run();
            let read = self.read(&mut room, flags);
            if lingers {
                pool.stop_lingering();
            }
            let nothing = matches!(read, Ok(Read::Nothing));
            shared = self.take_read(read, room, &mut after);
            if nothing {
                self.give_up_reading(&mut shared, &mut after);
                break;
            }
        }
        drop(shared);
    }

    /// Waits a little until the socket takes the rest, as it does where the client reads: to
    /// leave that to the hub takes a switch to its thread for each part.
    fn write_rest<'a>(
        self: &'a Arc<Self>,
        mut shared: Guard<'a, Home>,
        after: &mut After<'a, Home>,
    ) -> Guard<'a, Home> {
        let pool = &self.host.hub.pool;
        while shared.state.blocked
            && !shared.writer_waits
            && shared.state.link().timeout().is_none()
            && pool.linger()
        {
            shared.writer_waits = true;
            self.host.let_go(self, &mut shared);
            drop(shared);
            after.run();
            let mut file = [socket::asked(&self.socket, libc::POLLIN | libc::POLLOUT)];
            // Interrupted by a signal it has waited long enough.
            let _ = socket::poll(&mut file, Some(READ_TIMEOUT));
            pool.stop_lingering();
            shared = self.lock();
            shared.writer_waits = false;
            if file[0].revents & libc::POLLOUT == 0 {
                // Requests are not to wait for a client that does not read.
                break;
            }
            shared = self.flush(shared, true, after);
        }
        shared
    }

    /// Takes the reading from a thread that is in a handler for long.
    pub(super) fn take_from_handler(self: &Arc<Self>) {
        let mut shared = self.lock();
        if matches!(shared.reading, Reading::By(_)) && shared.in_handler {
            self.host.resume(self, &mut shared);
        }
    }

    /// The hub has found that there is something to read.
    pub(super) fn is_readable(self: &Arc<Self>) {
        let mut shared = self.lock();
        shared.drained = false;
        if shared.reading == Reading::Free && shared.state.endpoint.wants_read() {
            self.host.resume(self, &mut shared);
        }
    }

    /// The hub has found that the socket takes bytes.
    pub(super) fn is_writable(self: &Arc<Self>) {
        let mut after = self.after();
        let mut shared = self.flush(self.lock(), true, &mut after);
        if !shared.state.blocked {
            let reads = shared.registration.reads;
            let home = &self.host;
            // What is watched in vain does no harm.
            let _ = home.watch(self, &mut shared.registration, (reads, false));
        }
        drop(shared);
    }

    /// The time has come that the hub was asked to wait for.
    pub(super) fn is_time(self: &Arc<Self>, at: Instant) {
        let mut after = self.after();
        let mut shared = self.lock();
        if shared.registration.timer == Some(at) {
            shared.registration.timer = None;
        }
        // Whoever reads sees to it otherwise.
        if shared.reading == Reading::Free {
            self.begin(&mut shared, false);
            (shared, _) = self.handle_and_flush(shared, &mut after);
            self.give_up_writing(&mut shared, &mut after);
            self.give_up_reading(&mut shared, &mut after);
        }
        drop(shared);
    }

    /// Does for a connection what can be done without a thread of the pool: what is no
    /// call is dealt with, and calls are queued.
    pub(super) fn serve_without_thread(self: &Arc<Self>) {
        /// So that one connection does not keep the others waiting.
        const MOST_READS: usize = 16;
        let mut after = self.after();
        let mut shared = self.lock();
        if shared.reading != Reading::Queued {
            return;
        }
        self.begin(&mut shared, false);
        for _ in 0..MOST_READS {
            let is_full;
            (shared, is_full) = self.handle_and_flush(shared, &mut after);
            if shared.state.ended().is_some() || is_full || shared.drained {
                break;
            }
            (shared, _) = self.read_now(shared, &mut after);
        }
        self.give_up_writing(&mut shared, &mut after);
        self.give_up_reading(&mut shared, &mut after);
        drop(shared);
    }

    /// Begins to be watched; with a handshake to be made, that is made at once.
    pub(super) fn begin_hosting(self: &Arc<Self>) -> io::Result<()> {
        let mut shared: Guard<'_, Home> = self.lock();
        if self.host.serving.settings().handshake.is_some() {
            self.host.resume(self, &mut shared);
            return Ok(());
        }
        // Without a handshake this can't fail.
        let _ = self.host.greet();
        shared.drained = true;
        self.host.take_over(self, &mut shared)
    }

    /// Is not watched any more; gives the time that the hub was asked to wait for.
    pub(super) fn end_hosting(&self) -> Option<Instant> {
        let mut shared = self.lock();
        let _ = self
            .host
            .watch(self, &mut shared.registration, (false, false));
        shared.registration.timer.take()
    }
}
