//! One connection of the asynchronous flavour: a task that drives either end of the
//! protocol over a byte stream.
//!
//! The task alone reads and writes. Whoever calls, answers or streams appends to the
//! output under the connection's lock and wakes the task if it sleeps, so that all that
//! is ready at a time leaves in one write.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::BufMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::connection::{
    BoxFuture, Flush, MAX_SLICES, SCRATCH, SCRATCH_LEN, Share, Slot, State, Woken, Work,
};
use crate::error::{Error, Result};
use crate::frame::StreamId;
use crate::proto::{Body, Endpoint, Output, server};

/// Bytes that the task reads before others have their turn: those that wait for what has
/// come, and other connections. More would pile up.
const TURN: usize = 64 << 10;

/// A connection that a task drives.
pub(crate) struct Connection<E> {
    shared: Mutex<Shared<E>>,
}

struct Shared<E> {
    state: State<E>,
    /// The task, asleep.
    driver: Option<Waker>,
}

impl<E: Endpoint<Slot = Slot>> Connection<E> {
    pub(crate) fn new(endpoint: E) -> Arc<Self> {
        Arc::new(Self {
            shared: Mutex::new(Shared {
                state: State::new(endpoint),
                driver: None,
            }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Shared<E>> {
        // Nothing panics under this lock but a message that encodes itself; what that
        // has left behind is dropped with the connection at the latest.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the connection, as its task does.
    fn fail(&self, error: Error) {
        let mut woken = Woken::default();
        let mut shared = self.lock();
        shared.state.fail(error, &mut woken);
        woken.wake(shared.driver.take());
        drop(shared);
        woken.run();
    }

    /// Why the connection has ended, once it has.
    pub(crate) fn ended(&self) -> Option<Error> {
        self.lock().state.ended().cloned()
    }
}

impl<E: Endpoint<Slot = Slot> + Send + 'static> Share for Connection<E> {
    type End = E;
    const THREADS: bool = false;

    fn with_state<R>(&self, _: Flush, f: impl FnOnce(&mut State<E>) -> R) -> R {
        let mut shared = self.lock();
        let result = f(&mut shared.state);
        // While the task runs it looks for work itself before it sleeps.
        let link = shared.state.link();
        let has_work = link.has_output() | link.take_attention();
        let driver = if has_work { shared.driver.take() } else { None };
        drop(shared);
        if let Some(driver) = driver {
            driver.wake();
        }
        result
    }

    fn spawn(&self, id: StreamId, mut work: BoxFuture<()>) -> Result<()> {
        // The task polls it again as soon as it runs, so that no wake-up is lost.
        let mut cx = Context::from_waker(Waker::noop());
        if work.as_mut().poll(&mut cx).is_pending() {
            self.spawn_at_once(id, work);
        }
        Ok(())
    }
}

impl<E: Endpoint<Slot = Slot> + Send + 'static> Connection<E> {
    /// Runs something on a task of its own from the beginning.
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
    fn start(&mut self, connection: &Arc<Connection<E>>, call: server::Call);
}

/// A client is not called.
pub(crate) struct NoCalls;

impl<E> Dispatch<E> for NoCalls {
    fn start(&mut self, _: &Arc<Connection<E>>, _: server::Call) {}
}

/// Drives a connection until it ends. Dropped before, it fails what is in flight.
pub(crate) struct Driver<E: Endpoint<Slot = Slot>, T, D> {
    connection: Arc<Connection<E>>,
    io: T,
    dispatch: D,
    /// What is being written.
    output: Output,
    /// The large frame that is being read.
    body: Option<Body>,
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
            body: None,
            timer: None,
            woken: Woken::default(),
        }
    }

    fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let mut read = 0;
        loop {
            self.handle_events(cx)?;
            let had_room = self.connection.lock().state.link().has_reply_room();
            if self.poll_write(cx)?.is_ready() && !had_room {
                // Frames may wait that were not looked at for want of room.
                continue;
            }
            if read >= TURN {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.connection.lock().state.endpoint.wants_read() {
                if let Poll::Ready(len) = self.poll_read(cx)? {
                    read += len;
                    continue;
                }
            }
            if let Some(outcome) = self.poll_sleep(cx) {
                return outcome;
            }
        }
    }

    /// Handles all that has come, calls one by one and everything between at once.
    fn handle_events(&mut self, cx: &mut Context<'_>) -> Result<()> {
        if self.connection.lock().state.link().is_quiet() {
            return Ok(());
        }
        let now = crate::clock::now();
        loop {
            let call = self
                .connection
                .lock()
                .state
                .next_call(now, &mut self.woken)?;
            self.woken.run();
            let Some(call) = call else {
                return Ok(());
            };
            self.dispatch.start(&self.connection, call);
            if !self.connection.lock().state.link().has_room() {
                // It is enough for a write; if that blocks, a while without is no harm.
                if let Poll::Ready(written) = self.poll_write(cx) {
                    written?;
                }
            }
        }
    }

    /// Writes all there is; ready when nothing is left.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        loop {
            if self.output.is_empty() {
                let mut shared = self.connection.lock();
                shared.state.link().take_output(&mut self.output);
                if self.output.is_empty() {
                    return Poll::Ready(Ok(()));
                }
            }
            let mut written = Poll::Ready(Ok(()));
            while !self.output.is_empty() {
                written = poll_write_some(&mut self.io, &mut self.output, cx);
                if !matches!(written, Poll::Ready(Ok(()))) {
                    break;
                }
            }
            let left = self.output.len();
            self.connection.lock().state.written(left, &mut self.woken);
            self.woken.run();
            ready!(written)?;
        }
    }

    /// Reads once, or the whole of a large frame; ready when something has come, with how
    /// many bytes.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize>> {
        let mut most = 0;
        if self.body.is_none() {
            let mut shared = self.connection.lock();
            let link = shared.state.link();
            self.body = link.take_body();
            most = link.read_len(SCRATCH_LEN);
        }
        let Some(body) = &mut self.body else {
            let connection = &self.connection;
            let len = ready!(SCRATCH.with_borrow_mut(|scratch| {
                let mut buffer = ReadBuf::new(&mut scratch[..most]);
                ready!(uninterrupted(
                    || Pin::new(&mut self.io).poll_read(cx, &mut buffer)
                ))?;
                let read = buffer.filled();
                connection.lock().state.link().received(read);
                Poll::Ready(io::Result::Ok(read.len()))
            }))
            .map_err(Error::connection_lost)?;
            if len == 0 {
                return Poll::Ready(Err(Error::closed("the peer closed the connection")));
            }
            return Poll::Ready(Ok(len));
        };
        let mut len = 0;
        while body.missing() > 0 {
            let (buffer, missing) = body.buffer();
            let mut buffer = buffer.limit(missing);
            let read = uninterrupted(|| pin!(self.io.read_buf(&mut buffer)).poll(cx));
            match ready!(read).map_err(Error::connection_lost)? {
                0 => {
                    return Poll::Ready(Err(Error::closed(
                        "the peer closed the connection within a frame",
                    )));
                }
                read => len += read,
            }
        }
        if let Some(body) = self.body.take() {
            self.connection.lock().state.link().received_body(body);
        }
        Poll::Ready(Ok(len))
    }

    /// Goes to sleep until something happens, unless something has: then `None`.
    fn poll_sleep(&mut self, cx: &mut Context<'_>) -> Option<Poll<Result<()>>> {
        let mut shared = self.connection.lock();
        let link = shared.state.link();
        if link.is_drained() {
            return Some(Poll::Ready(Ok(())));
        }
        if link.has_output() | link.take_attention() {
            return None;
        }
        if let Some(at) = link.timeout() {
            let at = tokio::time::Instant::from_std(at);
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
            // One that is set too early fires for nothing, which is cheaper than to set
            // it anew for every call.
            if timer.deadline() > at || timer.is_elapsed() {
                timer.as_mut().reset(at);
            }
            if timer.as_mut().poll(cx).is_ready() {
                return None;
            }
        }
        if self.output.is_empty() {
            self.output.release();
            link.release_output();
        }
        match &mut shared.driver {
            Some(driver) => driver.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Some(Poll::Pending)
    }
}

/// Does it again if a signal came in between.
fn uninterrupted<T>(mut attempt: impl FnMut() -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
    loop {
        match attempt() {
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

/// Writes some of the output.
fn poll_write_some<T: AsyncWrite + Unpin>(
    io: &mut T,
    output: &mut Output,
    cx: &mut Context<'_>,
) -> Poll<Result<()>> {
    let mut slices = [IoSlice::new(&[]); MAX_SLICES];
    let used = output.slices(&mut slices);
    let written = uninterrupted(|| match &slices[..used] {
        [one] => Pin::new(&mut *io).poll_write(cx, one),
        several => Pin::new(&mut *io).poll_write_vectored(cx, several),
    });
    match ready!(written).map_err(Error::connection_lost)? {
        0 => Poll::Ready(Err(Error::connection_lost(io::ErrorKind::WriteZero.into()))),
        len => {
            output.advance(len);
            Poll::Ready(Ok(()))
        }
    }
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
        // Awake: nobody needs to wake this task for what they do.
        this.connection.lock().driver = None;
        let outcome = ready!(this.poll_drive(cx));
        let error = match &outcome {
            Ok(()) => Error::closed("the connection was closed"),
            Err(error) => error.clone(),
        };
        if error.is_protocol() {
            // Whatever explains it should still reach the peer; it is not waited for.
            let _ = this.poll_write(cx);
        }
        this.connection.fail(error);
        Poll::Ready(outcome)
    }
}

impl<E: Endpoint<Slot = Slot>, T, D> Drop for Driver<E, T, D> {
    fn drop(&mut self) {
        self.connection
            .fail(Error::closed("the connection was closed"));
    }
}
