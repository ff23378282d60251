//! How a thread waits: for a waker, and meanwhile for a connection that it drives.
//!
//! All that can be waited for is a future of the layers below, none of which needs a
//! runtime. [`block_on`] polls one with a waker of the thread. Where it has to wait for a
//! connection, the thread goes and drives that, if nobody else does.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crate::frame::StreamId;
use crate::socket::{self, asked};

/// A connection that a thread can wait for.
pub(super) trait Wait: Send + Sync {
    /// Drives the connection until the thread is woken, or sleeps while others do. It may
    /// return early.
    fn wait(&self, id: Option<StreamId>, thread: &Parker);

    /// Goes on until nothing that this thread has queued is left to be written, or the
    /// stream that it was for is over.
    fn settle(&self, id: StreamId, thread: &Parker);

    /// Lets another thread drive the connection.
    fn pass_on(&self);
}

/// Awake, and not woken since it last looked.
const AWAKE: u8 = 0;
/// Woken, whatever it does.
const WOKEN: u8 = 1;
/// Asleep.
const PARKED: u8 = 2;
/// Waiting for a descriptor, and for the bell.
const POLLING: u8 = 3;

/// What wakes a thread.
pub(crate) struct Parker {
    state: AtomicU8,
    thread: Thread,
    /// What interrupts the waiting for a descriptor: a byte comes out of the second one.
    /// It is made when a thread first waits for long.
    bell: OnceLock<Option<(UnixStream, UnixStream)>>,
}

/// How long a thread without a bell waits for a descriptor at once.
const DEAF: Duration = Duration::from_millis(10);

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        match self.state.swap(WOKEN, Ordering::SeqCst) {
            PARKED => self.thread.unpark(),
            POLLING => {
                if let Some(Some((bell, _))) = self.bell.get() {
                    // If it is full it rings already.
                    let _ = (&*bell).write(&[1]);
                }
            }
            _ => {}
        }
    }
}

impl Parker {
    /// Whether the thread was woken since it last looked.
    pub(super) fn is_woken(&self) -> bool {
        self.state.load(Ordering::SeqCst) == WOKEN
    }

    /// Forgets that the thread was woken.
    pub(super) fn rest(&self) {
        self.state.store(AWAKE, Ordering::SeqCst);
    }

    fn goes_to(&self, sleep: u8) -> bool {
        self.state
            .compare_exchange(AWAKE, sleep, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }

    /// Comes back from a sleep; being woken is not forgotten.
    fn is_back(&self, sleep: u8) {
        let back = self
            .state
            .compare_exchange(sleep, AWAKE, Ordering::SeqCst, Ordering::SeqCst);
        debug_assert!(back.is_ok() || self.is_woken());
    }

    /// Sleeps until the thread is woken or the time has come, or for less.
    pub(super) fn park(&self, until: Option<Instant>) {
        if !self.goes_to(PARKED) {
            return;
        }
        match until {
            None => std::thread::park(),
            Some(until) => {
                std::thread::park_timeout(until.saturating_duration_since(Instant::now()));
            }
        }
        self.is_back(PARKED);
    }

    /// Waits until a descriptor has one of the `events`, the thread is woken or the time
    /// has come. Gives the events.
    pub(super) fn poll(&self, file: &impl AsFd, events: i16, until: Option<Instant>) -> i16 {
        let bell = self.bell.get_or_init(make_bell);
        if !self.goes_to(POLLING) {
            return 0;
        }
        let mut timeout = until.map(|until| until.saturating_duration_since(Instant::now()));
        let mut files = [asked(&file.as_fd(), events), asked(&-1, 0)];
        match bell {
            Some((_, ear)) => files[1] = asked(ear, libc::POLLIN),
            None => timeout = Some(timeout.map_or(DEAF, |timeout| timeout.min(DEAF))),
        }
        // Interrupted by a signal it returns for nothing, as it may.
        let outcome = socket::poll(&mut files, timeout);
        self.is_back(POLLING);
        if let (Some((_, ear)), true) = (bell, files[1].revents != 0) {
            let _ = (&*ear).read(&mut [0; 64]);
        }
        // An error or a hang-up is for whoever reads or writes to find.
        match outcome {
            Ok(()) if files[0].revents & !events != 0 => events,
            Ok(()) => files[0].revents,
            Err(_) => 0,
        }
    }
}

/// Without descriptors left the thread does without.
fn make_bell() -> Option<(UnixStream, UnixStream)> {
    let (bell, ear) = UnixStream::pair().ok()?;
    bell.set_nonblocking(true).ok()?;
    ear.set_nonblocking(true).ok()?;
    Some((bell, ear))
}

/// A connection, and the stream of it that is waited for, if it is for one.
type Place = (Arc<dyn Wait>, Option<StreamId>);

/// What is known of this thread.
struct Current {
    parker: Arc<Parker>,
    waker: Waker,
    /// How many [`block_on`]s it is in.
    depth: Cell<usize>,
    /// The connection that what was just polled waits for.
    waits: Cell<Option<Place>>,
    /// The connection that has not taken all that this thread has queued.
    unsettled: Cell<Option<(Arc<dyn Wait>, StreamId)>>,
    /// The connection that this thread was woken to drive.
    baton: Cell<Option<Arc<dyn Wait>>>,
    /// What is to be done as soon as nothing is being polled.
    late: RefCell<Vec<Box<dyn FnOnce()>>>,
}

thread_local! {
    static CURRENT: Current = {
        let parker = Arc::new(Parker {
            state: AtomicU8::new(AWAKE),
            thread: std::thread::current(),
            bell: OnceLock::new(),
        });
        let waker = Waker::from(Arc::clone(&parker));
        Current {
            parker,
            waker,
            depth: Cell::new(0),
            waits: Cell::new(None),
            unsettled: Cell::new(None),
            baton: Cell::new(None),
            late: RefCell::default(),
        }
    };
}

/// The waker of this thread.
pub(super) fn waker() -> Waker {
    CURRENT.with(|current| current.waker.clone())
}

/// What wakes this thread.
pub(super) fn parker() -> Arc<Parker> {
    CURRENT.with(|current| Arc::clone(&current.parker))
}

/// Says what connection the future that is being polled waits for.
pub(super) fn waits(connection: Arc<dyn Wait>, id: Option<StreamId>) {
    CURRENT.with(|current| current.waits.set(Some((connection, id))));
}

/// Says that a connection has not taken all that was queued for a stream.
pub(super) fn is_unsettled(connection: Arc<dyn Wait>, id: StreamId) {
    // A thread that ends can do nothing about it.
    let _ = CURRENT.try_with(|current| current.unsettled.set(Some((connection, id))));
}

/// Says that this thread was woken to drive a connection, unless it has something else to
/// do by now.
pub(super) fn takes_baton(connection: Arc<dyn Wait>) {
    CURRENT.with(|current| current.baton.set(Some(connection)));
}

/// Says that what is being polled does something of the user's next, which may take its time.
pub(super) fn leaves() {
    let _ = CURRENT.try_with(Current::pass_on);
}

/// Calls a function of the user's: at once, or when what this thread polls now is done. That may
/// hold a lock which the function needs, be it to drop something.
pub(super) fn later(f: Box<dyn FnOnce()>) {
    let mut f = Some(f);
    let _ = CURRENT.try_with(|current| {
        if current.depth.get() > 0 {
            current.late.borrow_mut().extend(f.take());
        }
    });
    if let Some(f) = f {
        f();
    }
}

/// Runs a future on this thread.
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    CURRENT.with(|current| {
        let _nested = Nested::enter(current);
        loop {
            if let Some(output) = current.poll(future.as_mut()) {
                return output;
            }
            current.wait(None);
        }
    })
}

/// Runs a future on this thread, until the time has come or what it is for is over.
pub(super) fn block_on_while<F: Future>(
    future: F,
    until: Option<Instant>,
    goes_on: impl Fn() -> bool,
) -> Option<F::Output> {
    let mut future = pin!(future);
    CURRENT.with(|current| {
        let _nested = Nested::enter(current);
        loop {
            if let Some(output) = current.poll(future.as_mut()) {
                return Some(output);
            }
            if !goes_on() || until.is_some_and(|until| until <= Instant::now()) {
                return None;
            }
            current.wait(until);
        }
    })
}

/// Does something that may leave bytes unwritten, and sees to them.
pub(super) fn settled<T>(f: impl FnOnce() -> T) -> T {
    let output = f();
    let _ = CURRENT.try_with(|current| {
        let _nested = Nested::enter(current);
        current.settle();
    });
    output
}

impl Current {
    fn poll<F: Future>(&self, future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        self.parker.rest();
        self.waits.take();
        let polled = future.poll(&mut Context::from_waker(&self.waker));
        self.run_late();
        match polled {
            Poll::Pending => None,
            Poll::Ready(output) => {
                self.settle();
                Some(output)
            }
        }
    }

    fn wait(&self, until: Option<Instant>) {
        match self.waits.take() {
            Some((connection, id)) => {
                self.turns_to(&connection);
                // It drives that.
                self.baton.take();
                connection.wait(id, &self.parker);
            }
            None => {
                self.pass_on();
                self.parker.park(until);
            }
        }
        self.run_late();
    }

    fn settle(&self) {
        if let Some((connection, id)) = self.unsettled.take() {
            self.turns_to(&connection);
            connection.settle(id, &self.parker);
        }
        self.run_late();
    }

    /// Has something to do for a connection. If it was woken to drive another one, somebody else
    /// has to do that.
    fn turns_to(&self, connection: &Arc<dyn Wait>) {
        match self.baton.take() {
            Some(baton) if !Arc::ptr_eq(connection, &baton) => baton.pass_on(),
            kept => self.baton.set(kept),
        }
    }

    /// Has something else to do than to drive what it was woken for.
    fn pass_on(&self) {
        if let Some(baton) = self.baton.take() {
            baton.pass_on();
        }
    }

    /// Does what was left for later.
    fn run_late(&self) {
        if !self.late.borrow().is_empty() {
            self.late.take().into_iter().for_each(|f| f());
        }
    }
}

/// A thread that may have been in the middle of waiting for something else.
struct Nested<'a>(&'a Current);

impl<'a> Nested<'a> {
    fn enter(current: &'a Current) -> Self {
        current.depth.set(current.depth.get() + 1);
        Self(current)
    }
}

impl Drop for Nested<'_> {
    fn drop(&mut self) {
        self.0.pass_on();
        let depth = self.0.depth.get() - 1;
        self.0.depth.set(depth);
        if depth > 0 {
            // Its wake-up may have been used up here.
            self.0.parker.state.store(WOKEN, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use bytes::Bytes;

    use super::*;
    use crate::blocking::{Client, Server, Streaming};
    use crate::codec::Raw;
    use crate::{Result, context};

    /// A connection that this thread was woken to drive.
    #[derive(Default)]
    struct Baton(AtomicBool);

    impl Baton {
        fn taken() -> Arc<Self> {
            let baton = Arc::<Self>::default();
            takes_baton(Arc::clone(&baton) as _);
            baton
        }

        fn is_passed_on(&self) -> bool {
            self.0.load(Ordering::SeqCst)
        }
    }

    impl Wait for Baton {
        fn wait(&self, _: Option<StreamId>, _: &Parker) {}

        fn settle(&self, _: StreamId, _: &Parker) {}

        fn pass_on(&self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    /// Another connection, and what is not to wait for it.
    struct Other(Arc<Baton>);

    impl Wait for Other {
        fn wait(&self, _: Option<StreamId>, _: &Parker) {}

        fn settle(&self, _: StreamId, _: &Parker) {
            assert!(self.0.is_passed_on());
        }

        fn pass_on(&self) {}
    }

    /// Otherwise nobody reads there until then.
    #[test]
    fn whoever_writes_to_one_connection_leaves_another_one_to_others() {
        let mut baton = None;
        settled(|| {
            let other = Other(baton.insert(Baton::taken()).clone());
            is_unsettled(Arc::new(other), StreamId::FIRST);
        });
        assert!(baton.is_some_and(|baton| baton.is_passed_on()));
    }

    #[test]
    fn whoever_makes_requests_leaves_the_reading_to_others() {
        let (here, there) = UnixStream::pair().unwrap();
        let serving = std::thread::spawn(|| Server::builder().build()?.serve_connection(there));
        let client = Client::new(here).unwrap();
        let baton = Baton::taken();
        let (known, mut asked) = (Arc::clone(&baton), false);
        let requests = std::iter::from_fn(move || {
            assert!(known.is_passed_on());
            asked = !asked;
            asked.then(Bytes::new)
        });
        let requests = Streaming::from_iter(requests);
        let ctx = context::Context::new();
        let reply: Result<Bytes> = client.client_streaming(Raw, &ctx, "a.B", "C", requests);
        // There is no such service.
        assert!(reply.is_err() && baton.is_passed_on());
        drop(client);
        serving.join().unwrap().unwrap();
    }
}
