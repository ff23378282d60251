//! One connection of the asynchronous flavour: a task that drives either end of the
//! protocol over a byte stream.
//!
//! The task alone reads and writes. Whoever calls, answers or streams appends to the
//! output under the connection's lock and wakes the task if it sleeps, so that all that
//! is ready at a time leaves in one write.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use bytes::{BufMut, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::task::AbortHandle;
use tokio::time::Sleep;

use crate::cancel::CancelOnDrop;
use crate::codec::Payload;
use crate::error::{Error, Result};
use crate::frame::StreamId;
use crate::proto::{Body, End, Endpoint, Event, Link, Output, Received, server};

/// Bytes that are read at once, at most, into a buffer that all connections of a thread
/// share: an idle connection has none.
const SCRATCH_LEN: usize = 64 << 10;

/// Pieces of output that are written at once, at most.
const MAX_SLICES: usize = 16;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_LEN]);
}

/// What is kept with each stream. Dropping it stops all that works for the stream.
#[derive(Default)]
pub(crate) struct Slot {
    /// Whoever waits for messages or the end.
    pub reader: Option<Waker>,
    /// The task that answers or feeds the stream.
    pub task: Option<AbortOnDrop>,
    /// The context of the call.
    pub ctx: Option<CancelOnDrop>,
}

/// Stops a task when the stream that it works for is over.
pub(crate) struct AbortOnDrop(pub AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A connection, as those who use it share it.
pub(crate) struct Shared<E> {
    state: Mutex<State<E>>,
}

struct State<E> {
    endpoint: E,
    /// The task, asleep.
    driver: Option<Waker>,
    /// Whoever waits for room in the output.
    senders: Vec<Waker>,
    /// Whoever waits for the end of the connection, and why it has ended once it has.
    ending: Vec<Waker>,
    ended: Option<Error>,
}

impl<E: Endpoint<Slot = Slot>> Shared<E> {
    pub(crate) fn new(endpoint: E) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                endpoint,
                driver: None,
                senders: Vec::new(),
                ending: Vec::new(),
                ended: None,
            }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State<E>> {
        // Nothing panics under this lock but a message that encodes itself; what that
        // has left behind is dropped with the connection at the latest.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the endpoint, and wakes the task if that gave it work.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut E) -> R) -> R {
        self.with_state(|state| f(&mut state.endpoint))
    }

    fn with_state<R>(&self, f: impl FnOnce(&mut State<E>) -> R) -> R {
        let mut state = self.lock();
        let result = f(&mut state);
        // While the task runs it looks for work itself before it sleeps.
        let driver = if state.driver.is_some() && state.endpoint.link().take_attention() {
            state.driver.take()
        } else {
            None
        };
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
        result
    }

    /// Waits until there is room for a single reply.
    pub(crate) fn poll_reply_room(&self, id: StreamId, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_room_for(id, |link| link.has_reply_room(), cx)
    }

    fn poll_room_for(
        &self,
        id: StreamId,
        has_room: fn(&Link<Slot>) -> bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<()>> {
        self.with_state(|state| {
            state.endpoint.check_sending(id)?;
            if has_room(state.endpoint.link()) {
                return Poll::Ready(Ok(()));
            }
            if !state.senders.iter().any(|w| w.will_wake(cx.waker())) {
                state.senders.push(cx.waker().clone());
            }
            Poll::Pending
        })
    }

    /// Ends the connection: every call fails with `error`, and whatever works for one
    /// is stopped.
    pub(crate) fn fail(&self, error: Error) {
        let (slots, mut wakers) = {
            let mut state = self.lock();
            state.ended.get_or_insert_with(|| error.clone());
            let slots = state.endpoint.fail(error);
            let mut wakers = std::mem::take(&mut state.senders);
            wakers.append(&mut state.ending);
            wakers.extend(state.driver.take());
            (slots, wakers)
        };
        for mut slot in slots {
            wakers.extend(slot.reader.take());
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Why the connection has ended, once it has.
    pub(crate) fn ended(&self) -> Option<Error> {
        self.lock().ended.clone()
    }

    /// Waits for the end of the connection.
    pub(crate) fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<Error> {
        let mut state = self.lock();
        if let Some(error) = &state.ended {
            return Poll::Ready(error.clone());
        }
        if !state.ending.iter().any(|w| w.will_wake(cx.waker())) {
            state.ending.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// The streams of a connection, whichever end it is.
pub(crate) trait Streams: Send + Sync {
    /// Waits for messages on a stream, or for its end, which comes once.
    fn poll_receive(
        &self,
        id: StreamId,
        into: &mut VecDeque<Bytes>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<End>>;

    /// Waits until there is room in the output.
    fn poll_room(&self, id: StreamId, cx: &mut Context<'_>) -> Poll<Result<()>>;

    /// Sends a message whether there is room or not.
    fn send(&self, id: StreamId, message: &dyn Payload) -> Result<()>;

    /// Ends this side of a stream.
    fn finish(&self, id: StreamId, result: Result<()>);

    /// Ends the other side of a stream as far as anybody here minds.
    fn abandon(&self, id: StreamId);
}

impl<E: Endpoint<Slot = Slot> + Send> Streams for Shared<E> {
    fn poll_receive(
        &self,
        id: StreamId,
        into: &mut VecDeque<Bytes>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<End>> {
        self.with(|endpoint| match endpoint.receive(id, into) {
            Received::Messages => Poll::Ready(None),
            Received::End(end) => Poll::Ready(Some(end)),
            Received::Nothing => {
                if let Some(slot) = endpoint.link().slot(id) {
                    match &mut slot.reader {
                        Some(reader) => reader.clone_from(cx.waker()),
                        none => *none = Some(cx.waker().clone()),
                    }
                }
                Poll::Pending
            }
        })
    }

    fn poll_room(&self, id: StreamId, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_room_for(id, |link| link.has_room(), cx)
    }

    fn send(&self, id: StreamId, message: &dyn Payload) -> Result<()> {
        self.with(|endpoint| endpoint.send(id, message))
    }

    fn finish(&self, id: StreamId, result: Result<()>) {
        let slot = self.with(|endpoint| endpoint.finish(id, result));
        // A failed stream may have a reader that waits.
        if let Some(reader) = slot.as_ref().and_then(|slot| slot.reader.as_ref()) {
            reader.wake_by_ref();
        }
    }

    fn abandon(&self, id: StreamId) {
        drop(self.with(|endpoint| endpoint.abandon(id)));
    }
}

/// Starts the calls that come in.
pub(crate) trait Dispatch<E> {
    fn start(&mut self, shared: &Arc<Shared<E>>, call: server::Call);
}

/// A client is not called.
pub(crate) struct NoCalls;

impl<E> Dispatch<E> for NoCalls {
    fn start(&mut self, _: &Arc<Shared<E>>, _: server::Call) {}
}

/// Drives a connection until it ends. Dropped before, it fails what is in flight.
pub(crate) struct Driver<E: Endpoint<Slot = Slot>, T, D> {
    shared: Arc<Shared<E>>,
    io: T,
    dispatch: D,
    /// What is being written.
    output: Output,
    /// The large frame that is being read.
    body: Option<Body>,
    timer: Option<Pin<Box<Sleep>>>,
    /// Whoever is to be woken once the lock is free.
    wakers: Vec<Waker>,
}

impl<E, T, D> Driver<E, T, D>
where
    E: Endpoint<Slot = Slot>,
    T: AsyncRead + AsyncWrite + Unpin,
    D: Dispatch<E>,
{
    pub(crate) fn new(shared: Arc<Shared<E>>, io: T, dispatch: D) -> Self {
        Self {
            shared,
            io,
            dispatch,
            output: Output::default(),
            body: None,
            timer: None,
            wakers: Vec::new(),
        }
    }

    fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        loop {
            let now = crate::clock::now();
            self.handle_events(now, cx)?;
            let had_room = self.shared.lock().endpoint.link().has_reply_room();
            if self.poll_write(cx)?.is_ready() && !had_room {
                // Frames may wait that were not looked at for want of room.
                continue;
            }
            if self.shared.lock().endpoint.wants_read() && self.poll_read(cx)?.is_ready() {
                continue;
            }
            if let Some(outcome) = self.poll_sleep(cx) {
                return outcome;
            }
        }
    }

    /// Handles all that has come, calls one by one and everything between at once.
    fn handle_events(&mut self, now: Instant, cx: &mut Context<'_>) -> Result<()> {
        loop {
            let mut ended = Vec::new();
            let call = {
                let mut state = self.shared.lock();
                let state = &mut *state;
                let call = loop {
                    match state.endpoint.poll(now)? {
                        Some(Event::Readable(slot)) => self.wakers.extend(slot.reader.take()),
                        Some(Event::Ended(slot)) => ended.push(slot),
                        Some(Event::Call(call)) => break Some(call),
                        None => break None,
                    }
                };
                if !ended.is_empty() {
                    // One of them may wait for room on a stream that is over.
                    self.wakers.append(&mut state.senders);
                }
                call
            };
            for mut slot in ended {
                self.wakers.extend(slot.reader.take());
            }
            self.wakers.drain(..).for_each(Waker::wake);
            let Some(call) = call else {
                return Ok(());
            };
            self.dispatch.start(&self.shared, call);
            if !self.shared.lock().endpoint.link().has_room() {
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
                self.shared
                    .lock()
                    .endpoint
                    .link()
                    .take_output(&mut self.output);
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
            {
                let mut state = self.shared.lock();
                let left = self.output.len();
                state.endpoint.link().set_writing(left);
                if state.endpoint.link().has_room() {
                    self.wakers.append(&mut state.senders);
                }
            }
            self.wakers.drain(..).for_each(Waker::wake);
            ready!(written)?;
        }
    }

    /// Reads once; ready when something has come.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.body.is_none() {
            self.body = self.shared.lock().endpoint.link().take_body();
        }
        let Some(body) = &mut self.body else {
            let chunk = ready!(SCRATCH.with_borrow_mut(|scratch| {
                let mut buffer = ReadBuf::new(scratch);
                ready!(uninterrupted(
                    || Pin::new(&mut self.io).poll_read(cx, &mut buffer)
                ))?;
                Poll::Ready(io::Result::Ok(Bytes::copy_from_slice(buffer.filled())))
            }))
            .map_err(Error::connection_lost)?;
            if chunk.is_empty() {
                return Poll::Ready(Err(Error::closed("the peer closed the connection")));
            }
            self.shared.lock().endpoint.link().received(chunk);
            return Poll::Ready(Ok(()));
        };
        while body.missing() > 0 {
            let (buffer, missing) = body.buffer();
            let mut buffer = buffer.limit(missing);
            let read = uninterrupted(|| pin!(self.io.read_buf(&mut buffer)).poll(cx));
            if ready!(read).map_err(Error::connection_lost)? == 0 {
                return Poll::Ready(Err(Error::closed(
                    "the peer closed the connection within a frame",
                )));
            }
        }
        if let Some(body) = self.body.take() {
            self.shared.lock().endpoint.link().received_body(body);
        }
        Poll::Ready(Ok(()))
    }

    /// Goes to sleep until something happens, unless something has: then `None`.
    fn poll_sleep(&mut self, cx: &mut Context<'_>) -> Option<Poll<Result<()>>> {
        let mut state = self.shared.lock();
        let link = state.endpoint.link();
        if link.is_drained() {
            return Some(Poll::Ready(Ok(())));
        }
        if link.take_attention() {
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
        match &mut state.driver {
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
        this.shared.lock().driver = None;
        let outcome = ready!(this.poll_drive(cx));
        let error = match &outcome {
            Ok(()) => Error::closed("the connection was closed"),
            Err(error) => error.clone(),
        };
        if error.is_protocol() {
            // Whatever explains it should still reach the peer; it is not waited for.
            let _ = this.poll_write(cx);
        }
        this.shared.fail(error);
        Poll::Ready(outcome)
    }
}

impl<E: Endpoint<Slot = Slot>, T, D> Drop for Driver<E, T, D> {
    fn drop(&mut self) {
        self.shared.fail(Error::closed("the connection was closed"));
    }
}
