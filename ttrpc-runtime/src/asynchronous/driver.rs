//! One connection of the asynchronous flavour: a task that drives either end of the
//! protocol over a byte stream.
//!
//! The task alone reads. Whoever calls, answers or streams appends to the output under the
//! connection's lock and wakes the task if it sleeps, so that all that is ready at a time
//! leaves in one write. Only the one call that there is writes its request itself: nothing
//! could leave with it.

use std::future::Future;
use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::time::Sleep;

use super::io::{poll_read_body, poll_write, uninterrupted};
use crate::clock::Now;
use crate::connection::{
    BoxFuture, Flush, News, SCRATCH, Share, Slot, State, Woken, Work, end_of_input,
};
use crate::error::{Error, Result};
use crate::frame::StreamId;
use crate::proto::{Body, Endpoint, Output, server};
use crate::socket;

/// Bytes that the task reads before others have their turn: those that wait for what has
/// come, and other connections. More would pile up.
const TURN: usize = 64 << 10;

/// Bytes that are read once nothing can be written any more, at most: what a peer may have left
/// behind in a socket.
const REST: usize = 1 << 20;

/// Calls that are taken with another one, at most, and given to their services one after the
/// other.
const MORE_CALLS: usize = 7;

/// A connection that a task drives.
pub(crate) struct Connection<E> {
    shared: Mutex<Shared<E>>,
    news: News,
}

struct Shared<E> {
    state: State<E>,
    /// The task that drives it, and whether it sleeps.
    driver: Waker,
    asleep: bool,
    /// A client's, until the connection has ended.
    callers: Option<Box<Callers>>,
}

/// What those who call have of the connection.
pub(crate) struct Callers {
    /// Where it is driven. What they spawn goes there, too: they may be in no runtime, or in one that
    /// goes before the call is over.
    runtime: Handle,
    /// What they write to without the task, if that can be.
    socket: Option<Arc<OwnedFd>>,
    /// What the socket did not take, for the task.
    left: Output,
}

impl Callers {
    /// Those of a connection that is driven in this runtime.
    pub(crate) fn new(socket: Option<Arc<OwnedFd>>) -> Self {
        Self {
            runtime: Handle::current(),
            socket,
            left: Output::default(),
        }
    }
}

impl<E: Endpoint<Slot = Slot>> Shared<E> {
    /// Writes what waits, if it is of the only call, while the task sleeps; says whether the
    /// task need not do it.
    fn write_directly(&mut self) -> bool {
        let link = self.state.link();
        let Some(Callers { socket, left, .. }) = self.callers.as_deref_mut() else {
            return false;
        };
        let Some(socket) = socket.as_ref().filter(|_| link.streams() <= 1) else {
            return false;
        };
        link.take_output(left);
        if let Some(bytes) = left.as_slice() {
            // What goes wrong the task will find, too.
            let sent = socket::send(socket, &[IoSlice::new(bytes)]);
            left.advance(sent.unwrap_or(0));
        }
        link.set_writing(left.len());
        left.is_empty()
    }
}

impl<E: Endpoint<Slot = Slot>> Connection<E> {
    /// A connection; a client's has callers.
    pub(crate) fn new(endpoint: E, callers: Option<Callers>) -> Arc<Self> {
        Arc::new(Self {
            shared: Mutex::new(Shared {
                state: State::new(endpoint),
                driver: Waker::noop().clone(),
                asleep: false,
                callers: callers.map(Box::new),
            }),
            news: News::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Shared<E>> {
        // Nothing panics under this lock but a message that encodes itself; what that
        // has left behind is dropped with the connection at the latest.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to what a change of the state has led to.
    #[inline(never)]
    fn changed(mut shared: MutexGuard<'_, Shared<E>>, flush: Flush) {
        if !shared.asleep {
            // The task looks for work itself before it sleeps; what tells of it is left to it.
            return;
        }
        let link = shared.state.link();
        let has_work = link.take_attention()
            || link.has_output() && !(flush == Flush::Reply && shared.write_directly());
        shared.asleep = !has_work;
        let driver = has_work.then(|| shared.driver.clone());
        drop(shared);
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// Ends the connection, as its task does.
    fn fail(&self, error: Error) {
        let mut woken = Woken::default();
        let mut shared = self.lock();
        shared.state.fail(error, &mut woken);
        shared.asleep = false;
        // It keeps the task's memory.
        let driver = std::mem::replace(&mut shared.driver, Waker::noop().clone());
        let callers = shared.callers.take();
        drop(shared);
        drop((driver, callers));
        woken.run(&self.news);
    }

    /// Why the connection has ended, once it has.
    pub(crate) fn ended(&self) -> Option<Error> {
        self.lock().state.ended().cloned()
    }
}

impl<E: Endpoint<Slot = Slot> + Send + 'static> Share for Connection<E> {
    type End = E;
    const THREADS: bool = false;

    fn news(&self) -> &News {
        &self.news
    }

    fn with_state<R>(&self, flush: Flush, f: impl FnOnce(&mut State<E>) -> R) -> R {
        let mut shared = self.lock();
        let result = f(&mut shared.state);
        Self::changed(shared, flush);
        result
    }

    fn spawn(&self, id: StreamId, mut work: BoxFuture<()>) -> Result<()> {
        let runtime = |callers: &Callers| callers.runtime.clone();
        let Some(runtime) = self.lock().callers.as_deref().map(runtime) else {
            // The connection has ended, and with it the call.
            return Ok(());
        };
        // The task polls it again as soon as it runs, so that no wake-up is lost. What it takes of a
        // runtime, such as a timer, is that of the task already.
        let _entered = runtime.enter();
        let mut cx = Context::from_waker(Waker::noop());
        if work.as_mut().poll(&mut cx).is_pending() {
            self.spawn_at_once(id, work);
        }
        Ok(())
    }
}

impl<E: Endpoint<Slot = Slot> + Send + 'static> Connection<E> {
    /// Runs something on a task of its own from the beginning, in the runtime that this is called in.
    pub(crate) fn spawn_at_once(&self, id: StreamId, work: BoxFuture<()>) {
        let task = Work::Task(tokio::spawn(work).abort_handle());
        let late = self.with_state(Flush::No, |state| {
            if state.endpoint.check_sending(id).is_err() {
                // The call is over already, and with it the task.
                return Some(task);
            }
            match state.link().slot(id) {
                Some(slot) => slot.work.replace(task),
                None => Some(task),
            }
        });
        drop(late);
    }
}

/// Starts the calls that come in.
pub(crate) trait Dispatch<E> {
    /// Lets the peer in or not, before anything is read.
    fn begin(&mut self) -> Result<()> {
        Ok(())
    }

    fn start(&mut self, connection: &Arc<Connection<E>>, call: server::Call);
}

/// Drives a connection until it ends. Dropped before, maybe with its runtime, it fails what is in
/// flight.
pub(crate) struct Driver<E: Endpoint<Slot = Slot>, T, D> {
    connection: Arc<Connection<E>>,
    io: T,
    dispatch: D,
    /// What is being written.
    output: Output,
    /// Whether all of it was, to a stream that has not passed it on.
    unflushed: bool,
    /// Whether its runtime has several threads. Such a one runs what a task has woken right
    /// after that task, and not behind all that are ready and would have something to write, too.
    several_threads: bool,
    /// Whether it has let those run for whom it was woken to write.
    let_others_run: bool,
    timer: Option<Pin<Box<Sleep>>>,
    woken: Woken,
}

impl<E, T, D> Driver<E, T, D>
where
    E: Endpoint<Slot = Slot>,
    T: AsyncRead + AsyncWrite + Unpin,
    D: Dispatch<E>,
{
    pub(crate) fn new(connection: Arc<Connection<E>>, io: T, dispatch: D) -> Self {
        Self {
            connection,
            io,
            dispatch,
            output: Output::default(),
            unflushed: false,
            several_threads: Handle::try_current()
                .is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread),
            let_others_run: false,
            timer: None,
            woken: Woken::default(),
        }
    }

    /// Handles what has come, writes what that has led to and reads on, until there is
    /// nothing to do. The lock is taken once between two of those.
    fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let Self {
            connection,
            io,
            dispatch,
            output,
            unflushed,
            several_threads,
            let_others_run,
            timer,
            woken,
        } = self;
        dispatch.begin()?;
        let mut shared = connection.lock();
        if *several_threads && !shared.asleep && shared.state.link().has_output() {
            *let_others_run = !*let_others_run;
            if *let_others_run {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        // Awake: nobody needs to wake this task for what they do.
        shared.asleep = false;
        if let Some(callers) = shared.callers.as_mut().filter(|_| output.is_empty()) {
            *output = std::mem::take(&mut callers.left);
        }
        let (mut now, mut blocked, mut lost, mut read, mut call) =
            (Now::default(), false, None, 0, None);
        loop {
            let state = &mut shared.state;
            if !state.link().is_quiet() {
                state.next_call(&mut now, woken, &mut call)?;
                if let Some(call) = call.take() {
                    let mut more = [const { None }; MORE_CALLS];
                    let endpoint = &mut state.endpoint;
                    let come = more
                        .iter_mut()
                        .map_while(|place| endpoint.next_call(place).then_some(()));
                    let come = come.count();
                    drop(shared);
                    woken.run(&connection.news);
                    let more = more.iter_mut().take(come).filter_map(Option::take);
                    std::iter::once(call)
                        .chain(more)
                        .for_each(|call| dispatch.start(connection, call));
                    shared = connection.lock();
                    // What is enough for a write is written; if that blocks, a while without
                    // is no harm.
                    if blocked || shared.state.endpoint.has_room() {
                        continue;
                    }
                }
            }
            let link = shared.state.link();
            if output.is_empty() && link.has_output() {
                link.take_output(output);
            }
            if (*unflushed || !output.is_empty()) && !blocked {
                drop(shared);
                woken.run(&connection.news);
                let written = poll_write(io, output, cx);
                blocked = !matches!(written, Poll::Ready(Ok(())));
                *unflushed = written.is_pending() && output.is_empty();
                if let Poll::Ready(Err(error)) = written {
                    // What has come is taken first: the peer may have answered, and gone.
                    lost = Some(error);
                    output.discard();
                }
                shared = connection.lock();
                shared.state.written(output.len(), woken);
                // Frames may wait that were not looked at for want of room.
                continue;
            }
            let reads = shared.state.endpoint.wants_read();
            let most = if lost.is_some() { REST } else { TURN };
            if reads && read < most {
                let link = shared.state.link();
                let body = link.take_body();
                drop(shared);
                woken.run(&connection.news);
                let received;
                (shared, received) = poll_read(connection, io, body, cx);
                if let Poll::Ready(len) = received? {
                    read += len;
                    now = Now::default();
                    continue;
                }
            } else {
                drop(shared);
                woken.run(&connection.news);
                shared = connection.lock();
            }
            if let Some(error) = lost {
                return Poll::Ready(Err(error));
            }
            // One that was closed ends whatever its peer does, or does not take.
            let is_drained = shared.state.link().is_drained() && !*unflushed;
            if is_drained || shared.state.ended().is_some() {
                return Poll::Ready(Ok(()));
            }
            if reads && read >= most {
                drop(shared);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let link = shared.state.link();
            let has_work = link.has_output() | link.take_attention();
            if !has_work && poll_timer(timer, link.timeout(), cx).is_pending() {
                // Those that were woken before may have nothing to send any more.
                if shared.state.wake_senders(woken) {
                    drop(shared);
                    woken.run(&connection.news);
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                shared.state.rest();
                shared.asleep = true;
                shared.driver.clone_from(cx.waker());
                return Poll::Pending;
            }
            now = Now::default();
        }
    }
}

/// Waits for the time, if there is one.
fn poll_timer(
    timer: &mut Option<Pin<Box<Sleep>>>,
    at: Option<Instant>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let Some(at) = at.map(tokio::time::Instant::from_std) else {
        return Poll::Pending;
    };
    let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
    // One that is set too early fires for nothing, which is cheaper than to set it anew for
    // every call.
    if timer.deadline() > at || timer.is_elapsed() {
        timer.as_mut().reset(at);
    }
    timer.as_mut().poll(cx)
}

/// Reads once, or what is missing of a large frame; ready when that has come, with how many
/// bytes. The connection, which has taken it, is locked again.
fn poll_read<'a, E: Endpoint<Slot = Slot>, T: AsyncRead + Unpin>(
    connection: &'a Connection<E>,
    io: &mut T,
    body: Option<Body>,
    cx: &mut Context<'_>,
) -> (MutexGuard<'a, Shared<E>>, Poll<Result<usize>>) {
    if let Some(mut body) = body {
        let read = poll_read_body(io, &mut body, cx);
        let mut shared = connection.lock();
        shared.state.link().received_body(body);
        return (shared, read);
    }
    SCRATCH.with_borrow_mut(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        let read = uninterrupted(|| Pin::new(&mut *io).poll_read(cx, &mut buffer));
        let received = buffer.filled();
        let mut shared = connection.lock();
        let read = match read {
            Poll::Ready(Ok(())) if received.is_empty() => Poll::Ready(Err(end_of_input(None))),
            Poll::Ready(Ok(())) => {
                shared.state.link().received(received);
                Poll::Ready(Ok(received.len()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(Error::connection_lost(error))),
            Poll::Pending => Poll::Pending,
        };
        (shared, read)
    })
}

impl<E, T, D> Future for Driver<E, T, D>
where
    E: Endpoint<Slot = Slot>,
    T: AsyncRead + AsyncWrite + Unpin,
    D: Dispatch<E> + Unpin,
{
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        let outcome = ready!(this.poll_drive(cx));
        let error = match &outcome {
            Ok(()) => Error::closed("the connection was closed"),
            Err(error) => error.clone(),
        };
        if error.is_protocol() {
            // Whatever explains it should still reach the peer; it is not waited for.
            let Self { io, output, .. } = this;
            if output.is_empty() {
                this.connection.lock().state.link().take_output(output);
            }
            let _ = poll_write(io, output, cx);
        }
        // A stream such as TLS tells its peer that this is the end. What it can't say at once is
        // not waited for: the peer may not read.
        let _ = Pin::new(&mut this.io).poll_shutdown(cx);
        this.connection.fail(error);
        // Those whom something had come for before that.
        this.woken.run(&this.connection.news);
        Poll::Ready(outcome)
    }
}

impl<E: Endpoint<Slot = Slot>, T, D> Drop for Driver<E, T, D> {
    fn drop(&mut self) {
        let error = "the connection was closed: the task that drove it is gone";
        self.connection.fail(Error::closed(error));
    }
}
