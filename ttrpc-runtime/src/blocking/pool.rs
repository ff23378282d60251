//! The threads that run handlers: few while handlers are quick, more while they block.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Wake;
use std::thread;
use std::time::Duration;

use super::connection::session;
use super::host::Hosted;
use crate::connection::Answers;
use crate::error::Error;
use crate::frame::StreamId;
use crate::service::Running;

/// How long a thread without work stays.
const IDLE: Duration = Duration::from_secs(2);

/// For how many ticks after a handler was found to block the next ones are expected to.
const WARY: u32 = 16;

/// What is to be done by a thread.
pub(super) enum Job {
    /// To handle what comes on a connection.
    Serve(Arc<Hosted>),
    /// To run a call, as long as that has the other end of the last.
    Run(Arc<Hosted>, StreamId, Box<Running>, Weak<Open>),
}

/// What a call has that waits for a thread, and nothing else: once it is gone, so is the call.
pub(super) struct Open;

impl Wake for Open {
    // Whoever has the job looks.
    fn wake(self: Arc<Self>) {}
}

impl Job {
    fn is_over(&self) -> bool {
        matches!(self, Self::Run(.., open) if open.strong_count() == 0)
    }
}

/// The threads of a server.
pub(super) struct Pool {
    /// As many as there may be.
    max: usize,
    /// As many as the system has, if that is less.
    limit: AtomicUsize,
    jobs: Mutex<Jobs>,
    /// There is a job.
    wanted: Condvar,
    workers: Mutex<Vec<Arc<Worker>>>,
    /// How many jobs wait.
    waiting: AtomicUsize,
    /// Threads that have been in one handler for at least a tick.
    stuck: AtomicUsize,
    /// Threads whose handlers wait, and which drive their connections meanwhile.
    paused: AtomicUsize,
    /// Threads that wait for more on the connection that they have served.
    lingering: AtomicUsize,
    /// For how many ticks handlers are still expected to block.
    wary: AtomicU32,
    /// Whether somebody [`tick`](Self::tick)s.
    pub(super) ticking: AtomicBool,
}

#[derive(Default)]
struct Jobs {
    queue: VecDeque<Job>,
    threads: usize,
    idle: usize,
    /// How many have been taken, ever.
    taken: u64,
    /// `taken` at the last tick.
    seen: u64,
    /// How many jobs were left when those that were over were last taken out.
    left: usize,
}

impl Jobs {
    /// Takes out calls that are over, if there may be many. They keep their requests and their
    /// connections, and while no thread is left others come as fast as a client sends them.
    fn take_over(&mut self) -> VecDeque<Job> {
        /// Fewer are not looked at.
        const FEW: usize = 64;
        if self.queue.len() < FEW.max(2 * self.left) {
            return VecDeque::new();
        }
        let queue = std::mem::take(&mut self.queue).into_iter();
        let (over, left) = queue.partition(Job::is_over);
        self.queue = left;
        self.left = self.queue.len();
        over
    }
}

/// One of the threads, as others see it.
pub(super) struct Worker {
    pool: Arc<Pool>,
    /// Odd while it is in a handler; it grows with each.
    turns: AtomicU64,
    /// What `turns` was at the last tick.
    seen: AtomicU64,
    /// Whether it counts as stuck.
    stuck: AtomicBool,
    serves: Mutex<Option<Arc<Hosted>>>,
}

impl Worker {
    pub(super) fn enter_handler(&self) {
        self.turns.fetch_add(1, Ordering::SeqCst);
        if !self.pool.ticking.load(Ordering::SeqCst) {
            if let Some(connection) = &*self.serves() {
                connection.host.rouse();
            }
        }
    }

    pub(super) fn leave_handler(&self) {
        self.turns.fetch_add(1, Ordering::SeqCst);
        self.is_free();
    }

    /// Its handler waits.
    pub(super) fn pause(&self) {
        self.pool.paused.fetch_add(1, Ordering::SeqCst);
        self.leave_handler();
    }

    /// Its handler goes on.
    pub(super) fn resume(&self) {
        self.enter_handler();
        self.pool.paused.fetch_sub(1, Ordering::SeqCst);
    }

    /// It does not count as stuck any more, if it did.
    fn is_free(&self) {
        if self.stuck.load(Ordering::SeqCst) && self.stuck.swap(false, Ordering::SeqCst) {
            self.pool.stuck.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// It counts as stuck from now on, in the handler of that turn. Says whether it did not.
    fn is_stuck(&self, turn: u64) -> bool {
        // First, as it is taken off once the worker knows of it.
        self.pool.stuck.fetch_add(1, Ordering::SeqCst);
        if self.stuck.swap(true, Ordering::SeqCst) {
            self.pool.stuck.fetch_sub(1, Ordering::SeqCst);
            return false;
        }
        if self.turns.load(Ordering::SeqCst) != turn {
            // It has left that just now, and may have looked before it counted.
            self.is_free();
        }
        true
    }

    /// Leaves the handler that it may be in.
    fn recover(&self) {
        if self.turns.load(Ordering::SeqCst) % 2 == 1 {
            self.leave_handler();
        }
    }

    #[inline(never)]
    fn serves(&self) -> MutexGuard<'_, Option<Arc<Hosted>>> {
        self.serves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts a thread. Whatever it does, what starts it is in a binary once.
pub(crate) fn spawn(work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
    let thread = thread::Builder::new().name("ttrpc".into());
    thread.spawn(work).map(drop)
}

/// What a tick has found.
pub(super) enum Tick {
    /// Nothing has happened since the last one.
    Quiet,
    Busy,
}

impl Pool {
    pub(super) fn new(max: usize) -> Arc<Self> {
        let max = max.max(1);
        Arc::new(Self {
            max,
            limit: AtomicUsize::new(max),
            jobs: Mutex::default(),
            wanted: Condvar::new(),
            workers: Mutex::default(),
            waiting: AtomicUsize::new(0),
            stuck: AtomicUsize::new(0),
            paused: AtomicUsize::new(0),
            lingering: AtomicUsize::new(0),
            wary: AtomicU32::new(0),
            ticking: AtomicBool::new(false),
        })
    }

    #[inline(never)]
    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline(never)]
    fn workers(&self) -> MutexGuard<'_, Vec<Arc<Worker>>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job; those of one connection are done in order. Says whether somebody has to
    /// look whether a thread comes to do it.
    pub(super) fn push(self: &Arc<Self>, job: Job) -> bool {
        let mut jobs = self.jobs();
        jobs.queue.push_back(job);
        self.waiting.store(jobs.queue.len(), Ordering::Relaxed);
        if jobs.idle > 0 {
            drop(jobs);
            self.wanted.notify_one();
            return false;
        }
        if jobs.threads == 0 || self.is_wary() {
            self.grow(jobs);
        }
        !self.ticking.load(Ordering::SeqCst)
    }

    /// Drops calls that are over, now and then, without any lock: they may want that of their
    /// connection.
    pub(super) fn clear_away(&self) {
        let over = self.jobs().take_over();
        drop(over);
    }

    /// Starts one more thread, if there may be one and the system has one.
    fn grow(self: &Arc<Self>, mut jobs: MutexGuard<'_, Jobs>) {
        if jobs.threads >= self.max {
            return;
        }
        jobs.threads += 1;
        drop(jobs);
        let pool = Arc::clone(self);
        let limit = match spawn(Box::new(move || pool.work())) {
            Ok(()) => self.max,
            Err(_) => {
                // Those that are there do what they can; the next tick tries again.
                let mut jobs = self.jobs();
                jobs.threads -= 1;
                jobs.threads
            }
        };
        self.limit.store(limit, Ordering::SeqCst);
    }

    /// What each of the threads does.
    fn work(self: Arc<Self>) {
        let worker = Arc::new(Worker {
            pool: Arc::clone(&self),
            turns: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            stuck: AtomicBool::new(false),
            serves: Mutex::new(None),
        });
        self.workers().push(Arc::clone(&worker));
        session::hire(Arc::clone(&worker));
        while let Some(job) = self.next() {
            let (Job::Serve(connection) | Job::Run(connection, ..)) = &job;
            *worker.serves() = Some(Arc::clone(connection));
            let connection = Arc::clone(connection);
            let outcome = catch_unwind(AssertUnwindSafe(|| match job {
                Job::Serve(connection) => connection.serve(&worker),
                Job::Run(connection, id, running, _) => connection.run_call(&worker, id, *running),
            }));
            if outcome.is_err() {
                // No handler, which would have failed its call alone: a handshake, or a bug.
                worker.recover();
                connection.close(Error::closed("what served the connection panicked"));
            }
            drop(connection);
            session::leave();
            let served = worker.serves().take();
            drop(served);
        }
        self.workers().retain(|other| !Arc::ptr_eq(other, &worker));
    }

    /// The next job; none if there was none for a while.
    fn next(&self) -> Option<Job> {
        let mut jobs = self.jobs();
        loop {
            if let Some(job) = jobs.queue.pop_front() {
                jobs.taken += 1;
                self.waiting.store(jobs.queue.len(), Ordering::Relaxed);
                return Some(job);
            }
            jobs.idle += 1;
            let timeout;
            (jobs, timeout) = self
                .wanted
                .wait_timeout(jobs, IDLE)
                .map(|(jobs, timeout)| (jobs, timeout.timed_out()))
                .unwrap_or_else(|poisoned| {
                    let (jobs, timeout) = poisoned.into_inner();
                    (jobs, timeout.timed_out())
                });
            jobs.idle -= 1;
            if timeout && jobs.queue.is_empty() {
                jobs.threads -= 1;
                return None;
            }
        }
    }

    /// Whether handlers are expected to block.
    pub(super) fn is_wary(&self) -> bool {
        self.wary.load(Ordering::Relaxed) > 0
    }

    /// Whether every thread there may be is stuck in a handler, which may be one that waits.
    pub(super) fn is_exhausted(&self) -> bool {
        let stuck = self.stuck.load(Ordering::SeqCst) + self.paused.load(Ordering::SeqCst);
        stuck >= self.limit.load(Ordering::SeqCst)
    }

    /// Lets a thread wait on its connection, if not too many do and there is nothing else
    /// to do.
    pub(super) fn linger(&self) -> bool {
        const MOST: usize = 2;
        if self.waiting.load(Ordering::Relaxed) > 0 {
            return false;
        }
        if self.lingering.fetch_add(1, Ordering::SeqCst) < MOST {
            return true;
        }
        self.stop_lingering();
        false
    }

    pub(super) fn stop_lingering(&self) {
        self.lingering.fetch_sub(1, Ordering::SeqCst);
    }

    /// Looks after the threads: to be called every millisecond while any works.
    pub(super) fn tick(self: &Arc<Self>) -> Tick {
        let mut quiet = true;
        for worker in self.workers().iter() {
            let turns = worker.turns.load(Ordering::Relaxed);
            let unchanged = worker.seen.swap(turns, Ordering::Relaxed) == turns;
            let idle = turns % 2 == 0 || worker.stuck.load(Ordering::SeqCst);
            quiet &= unchanged && idle;
            if unchanged && !idle && worker.is_stuck(turns) {
                self.wary.store(WARY, Ordering::Relaxed);
                // Whoever has the connection's lock may want this one.
                let connection = worker.serves().clone();
                if let Some(connection) = connection {
                    connection.take_from_handler();
                }
            }
        }
        let wary = self.wary.load(Ordering::Relaxed);
        self.wary.store(wary.saturating_sub(1), Ordering::Relaxed);
        let mut jobs = self.jobs();
        let stands_still = jobs.taken == jobs.seen;
        jobs.seen = jobs.taken;
        if jobs.queue.is_empty() {
            return if quiet { Tick::Quiet } else { Tick::Busy };
        }
        if jobs.idle == 0 && stands_still {
            self.grow(jobs);
        } else {
            drop(jobs);
        }
        if self.is_exhausted() && self.limit.load(Ordering::SeqCst) == self.max {
            Tick::Quiet
        } else {
            Tick::Busy
        }
    }

    /// Whoever has looked after the threads goes away: others that need it take over.
    pub(super) fn stop_ticking(&self) {
        self.ticking.store(false, Ordering::SeqCst);
        for worker in self.workers().iter() {
            if let Some(connection) = &*worker.serves() {
                connection.host.rouse();
            }
        }
        for job in &self.jobs().queue {
            let (Job::Serve(connection) | Job::Run(connection, ..)) = job;
            connection.host.rouse();
        }
    }

    /// Whether there are threads, or should be.
    pub(super) fn has_work(&self) -> bool {
        let jobs = self.jobs();
        !jobs.queue.is_empty() || jobs.idle < jobs.threads
    }

    /// The connections that wait to be served, taken out of the queue.
    pub(super) fn take_waiting(&self) -> Vec<Arc<Hosted>> {
        let mut jobs = self.jobs();
        let mut taken = Vec::new();
        for _ in 0..jobs.queue.len() {
            match jobs.queue.pop_front() {
                Some(Job::Serve(connection)) if connection.host.is_greeted() => {
                    taken.push(connection);
                }
                Some(other) => jobs.queue.push_back(other),
                None => {}
            }
        }
        self.waiting.store(jobs.queue.len(), Ordering::Relaxed);
        taken
    }
}
