//! The thread that watches a server's connections: it accepts them, sees which of them
//! have something to read, keeps the time, and looks after the pool's threads. It runs no
//! handler, so that nothing keeps it.

use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Registry, Token};

use super::connection::Connection;
use super::host::{Home, Hosted};
use super::pool::{Pool, Tick};
use crate::cancel::Cancelled;
use crate::clock::Now;
use crate::connection::Answers;
use crate::error::{Error, Result};
use crate::peer::Peer;
use crate::proto::earliest;
use crate::series::Series;
use crate::serving::{Backoff, Place, Serving};
use crate::socket;
use crate::timers::Timers;
use crate::transport::Listener;

/// How often the pool's threads are looked after while they work.
const TICK: Duration = Duration::from_millis(1);

/// After how many ticks at which nothing had happened there are no more.
const QUIET_TICKS: u32 = 16;

/// How many connections are accepted before it is looked what those there are want.
const MOST_ACCEPTS: usize = 64;

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);

/// What others know of the thread.
pub(super) struct Hub {
    pub(super) registry: Registry,
    waker: mio::Waker,
    pub(super) pool: Arc<Pool>,
    inbox: Mutex<Inbox>,
}

/// What the thread is told by others.
#[derive(Default)]
struct Inbox {
    /// Connections that have ended.
    ended: Vec<u64>,
    /// When to look at which connection.
    timers: Timers,
    /// When the thread will look here, if it sleeps.
    sleeps_until: Option<Option<Instant>>,
}

impl Wake for Hub {
    fn wake(self: Arc<Self>) {
        self.rouse();
    }
}

impl Hub {
    #[inline(never)]
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the thread.
    #[inline(never)]
    pub(super) fn rouse(&self) {
        // It can fail only where the thread is about to wake anyway.
        let _ = self.waker.wake();
    }

    /// Looks at a connection then, and no more `instead`.
    pub(super) fn set_timer(&self, at: Instant, instead: Option<Instant>, key: u64) {
        let mut inbox = self.inbox();
        if let Some(instead) = instead {
            inbox.timers.remove(instead, key);
        }
        inbox.timers.insert(at, key);
        let too_late = |until: Option<Instant>| until.is_none_or(|until| at < until);
        let wake = inbox.sleeps_until.is_some_and(too_late);
        drop(inbox);
        if wake {
            self.rouse();
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn ended(&self, key: u64) {
        self.inbox().ended.push(key);
        self.rouse();
    }
}

/// The thread's own.
pub(super) struct Watch {
    hub: Arc<Hub>,
    poll: mio::Poll,
    serving: Arc<Serving>,
    /// By the keys of their places.
    connections: Series<(Arc<Hosted>, Place)>,
    /// For how many ticks nothing has happened; `None` while it does not tick.
    quiet: Option<u32>,
}

impl Watch {
    pub(super) fn new(serving: Arc<Serving>, pool: Arc<Pool>) -> io::Result<Self> {
        let poll = mio::Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let waker = mio::Waker::new(&registry, WAKER)?;
        let hub = Arc::new(Hub {
            registry,
            waker,
            pool,
            inbox: Mutex::default(),
        });
        Ok(Self {
            hub,
            poll,
            serving,
            connections: Series::default(),
            quiet: None,
        })
    }

    /// Takes a connection.
    pub(super) fn add(
        &mut self,
        place: Place,
        socket: OwnedFd,
        peer: Option<Peer>,
    ) -> Result<Arc<Hosted>> {
        let key = place.key();
        let home = Home::new(Arc::clone(&self.hub), key, Arc::clone(&self.serving), peer);
        let connection = Connection::new(socket, self.serving.endpoint(), home)?;
        let known = Arc::downgrade(&connection);
        place.take(known);
        // Now that its calls are found: with a handshake, another thread serves it at once.
        connection.begin_hosting()?;
        self.connections.push(key, (Arc::clone(&connection), place));
        Ok(connection)
    }

    /// Works until the server is closed and the last connection has ended; without a
    /// listener, until the connections there are have.
    pub(super) fn run(&mut self, listener: Option<Listener>) -> Result<()> {
        if let Some(listener) = &listener {
            let file = listener.socket.as_raw_fd();
            let registry = self.poll.registry();
            registry.register(&mut SourceFd(&file), LISTENER, Interest::READABLE)?;
        }
        self.watch(listener)
    }

    fn watch(&mut self, mut listener: Option<Listener>) -> Result<()> {
        let waker = Waker::from(Arc::clone(&self.hub));
        let mut cx = Context::from_waker(&waker);
        let serving = Arc::clone(&self.serving);
        let mut closing = pin!(Cancelled::new(Arc::clone(&serving.closing)));
        let (mut backoff, mut accept_at) = (Backoff::default(), None);
        let (mut acceptable, mut full) = (true, None);
        let mut events = Events::with_capacity(256);
        loop {
            if closing.as_mut().poll(&mut cx).is_ready() {
                // Whoever connects from now on is refused.
                if let Some(listener) = listener.take() {
                    let file = listener.socket.as_raw_fd();
                    let _ = self.poll.registry().deregister(&mut SourceFd(&file));
                }
            }
            let mut accepts = listener.as_ref();
            if accepts.is_none() && self.connections.is_empty() {
                return Ok(());
            }
            // A time that has passed is not to be waited for again.
            accept_at.take_if(|at| *at <= Instant::now());
            if accept_at.is_some() {
                accepts = None;
            }
            let mut left = MOST_ACCEPTS;
            while let Some(listener) = accepts.filter(|_| acceptable) {
                if left == 0 {
                    // Those that are there have their turn.
                    accept_at = Some(Instant::now());
                    break;
                }
                left -= 1;
                let Poll::Ready(place) = serving.poll_place(&mut full, &mut cx) else {
                    break;
                };
                match listener.socket.accept() {
                    Ok((socket, _)) => {
                        backoff.reset();
                        let peer = socket::peer(&socket);
                        // The connection that can't be watched is closed; others can be.
                        let _ = self.add(place, socket.into(), peer);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => acceptable = false,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => {
                        let wait = backoff.failed(error, &serving)?;
                        accept_at = Some(Instant::now() + wait);
                        break;
                    }
                }
            }
            self.tick();
            if self.hub.pool.is_exhausted() {
                let waiting = self.hub.pool.take_waiting();
                waiting.iter().for_each(Hosted::serve_without_thread);
            }
            self.sleep(&mut events, accept_at)?;
            for event in &events {
                match event.token() {
                    LISTENER => acceptable = true,
                    WAKER => {}
                    Token(key) => self.see(key as u64, event),
                }
            }
            self.look_into_inbox();
        }
    }

    fn see(&self, key: u64, event: &mio::event::Event) {
        let Some((connection, _)) = self.connections.get(key) else {
            return;
        };
        if event.is_writable() {
            connection.is_writable();
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            connection.is_readable();
        }
    }

    /// Looks after the pool while it works.
    fn tick(&mut self) {
        let pool = &self.hub.pool;
        match self.quiet {
            // Somebody has woken this thread to tick, or has not yet given the pool work.
            None if pool.has_work() && !pool.ticking.swap(true, Ordering::SeqCst) => {
                self.quiet = Some(0);
            }
            None => {}
            Some(quiet) => match pool.tick() {
                Tick::Busy => self.quiet = Some(0),
                Tick::Quiet if quiet < QUIET_TICKS => self.quiet = Some(quiet + 1),
                Tick::Quiet => {
                    pool.ticking.store(false, Ordering::SeqCst);
                    self.quiet = None;
                    // A handler may have begun just now, and relied on it.
                    if let Tick::Busy = pool.tick() {
                        pool.ticking.store(true, Ordering::SeqCst);
                        self.quiet = Some(0);
                    }
                }
            },
        }
    }

    fn sleep(&mut self, events: &mut Events, accept_at: Option<Instant>) -> io::Result<()> {
        let mut inbox = self.hub.inbox();
        let tick = self.quiet.map(|_| Instant::now() + TICK);
        let timer = inbox.timers.first().map(|(at, _)| at);
        let until = earliest(earliest(tick, timer), accept_at);
        inbox.sleeps_until = Some(until);
        drop(inbox);
        let timeout = until.map(|until| until.saturating_duration_since(Instant::now()));
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    fn look_into_inbox(&mut self) {
        let mut now = Now::default();
        let mut inbox = self.hub.inbox();
        inbox.sleeps_until = None;
        let ended = std::mem::take(&mut inbox.ended);
        let mut due = Vec::new();
        while let Some((at, key)) = inbox.timers.pop_due(&mut now) {
            due.push((at, key));
        }
        drop(inbox);
        for (at, key) in due {
            if let Some((connection, _)) = self.connections.get(key) {
                connection.is_time(at);
            }
        }
        for key in ended {
            if let Some((connection, _)) = self.connections.remove(key) {
                if let Some(at) = connection.end_hosting() {
                    self.hub.inbox().timers.remove(at, key);
                }
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.quiet.is_some() {
            self.hub.pool.stop_ticking();
        }
        // Only where it could not go on at all.
        for (_, (connection, _)) in self.connections.iter() {
            connection.close(Error::closed("the server stopped"));
        }
    }
}
