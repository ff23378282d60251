//! The channel behind `Streaming::channel` and `Streaming::produce`.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use crate::connection::Flush;
use crate::error::{Error, Result};
use crate::proto::Batch;
use crate::status::Status;
use crate::streaming::StreamRef;

/// Sends the messages of a [`Streaming`](crate::Streaming).
///
/// The stream ends when the last clone of its sender is dropped, or with
/// [`finish`](Self::finish). A thread that panics with the last sender in hand ends it
/// with an error, so that nobody takes what came for all there was.
pub struct Sender<T> {
    channel: Arc<Channel<T>>,
}

/// The other end of a sender, until that is attached to a call.
pub(crate) struct Receiver<T> {
    channel: Arc<Channel<T>>,
    attached: bool,
}

/// So often what a peer has to say is looked at by who sends to it without a pause: each look is a
/// system call, and mostly for nothing.
const LOOK_AFTER: Duration = Duration::from_micros(50);

/// Encodes a message.
type Encode<T> = fn(&T, &mut Batch) -> Result<()>;

struct Channel<T> {
    state: Mutex<State<T>>,
}

struct State<T> {
    mode: Mode<T>,
    senders: usize,
    /// Senders that wait for room.
    waiting: Vec<Waker>,
}

enum Mode<T> {
    /// Messages wait here for a reader.
    Queue {
        messages: VecDeque<T>,
        capacity: usize,
        end: Option<Result<()>>,
        reader: Option<Waker>,
    },
    /// Messages go to a stream of a connection; sent by a thread that would otherwise wait for the
    /// peer, with the time when that has last looked what it says.
    Stream(StreamRef, Encode<T>, Option<Instant>),
    /// Nobody takes messages.
    Closed,
}

/// Why a stream ends whose producer did not come to its end.
pub(crate) fn panicked() -> Error {
    Status::internal("whatever makes the messages of a stream panicked").into()
}

pub(crate) fn new<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let channel = Arc::new(Channel {
        state: Mutex::new(State {
            mode: Mode::Queue {
                messages: VecDeque::new(),
                capacity: capacity.max(1),
                end: None,
                reader: None,
            },
            senders: 1,
            waiting: Vec::new(),
        }),
    });
    let receiver = Receiver {
        channel: Arc::clone(&channel),
        attached: false,
    };
    (Sender { channel }, receiver)
}

impl<T> Channel<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(&self, result: Result<()>) {
        let mut state = self.lock();
        match &mut state.mode {
            Mode::Queue { end, reader, .. } => {
                end.get_or_insert(result);
                let reader = reader.take();
                drop(state);
                if let Some(reader) = reader {
                    reader.wake();
                }
            }
            Mode::Stream(stream, ..) => {
                let stream = stream.clone();
                state.mode = Mode::Closed;
                let waiting = std::mem::take(&mut state.waiting);
                drop(state);
                stream.finish(result);
                waiting.into_iter().for_each(Waker::wake);
            }
            Mode::Closed => {}
        }
    }
}

impl<T> Sender<T> {
    /// Sends a message, waiting while there is no room for it.
    ///
    /// It is cancel-safe: dropped before it is ready, it has not sent the message.
    ///
    /// # Errors
    /// Nobody takes the message: the stream was dropped, or its call is over. Or the
    /// message can't be sent, which ends the call too.
    pub async fn send(&self, message: T) -> Result<()> {
        let (mut message, mut encoded) = (Some(message), None);
        poll_fn(|cx| self.poll_send(&mut message, &mut encoded, cx)).await
    }

    /// Sends a message: as it is, or as it was encoded when there was no room for it.
    fn poll_send(
        &self,
        message: &mut Option<T>,
        encoded: &mut Option<Batch>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<()>> {
        let mut state = self.channel.lock();
        let state = &mut *state;
        let (stream, encode, looked) = match &mut state.mode {
            Mode::Closed | Mode::Queue { end: Some(_), .. } => {
                return Poll::Ready(Err(Error::cancelled()));
            }
            Mode::Queue {
                messages,
                capacity,
                reader,
                ..
            } => {
                if messages.len() < *capacity {
                    messages.extend(message.take());
                    if let Some(reader) = reader.take() {
                        reader.wake();
                    }
                    return Poll::Ready(Ok(()));
                }
                if !state.waiting.iter().any(|w| w.will_wake(cx.waker())) {
                    state.waiting.push(cx.waker().clone());
                }
                return Poll::Pending;
            }
            Mode::Stream(stream, encode, looked) => (stream, encode, looked),
        };
        let flush = match looked {
            Some(at) if at.elapsed() > LOOK_AFTER => {
                *at = Instant::now();
                Flush::Look
            }
            _ => Flush::Now,
        };
        let batch = encoded.get_or_insert_with(|| Batch::new(stream.id));
        let pushed = message
            .take()
            .map_or(Ok(()), |message| encode(&message, batch));
        // Under the lock, so that two senders keep their order.
        let sent = match pushed {
            Ok(()) => ready!(stream.streams.poll_send(batch, flush, cx)),
            Err(error) => Err(error),
        };
        if let Err(error) = &sent {
            stream.finish(Err(error.clone()));
        }
        Poll::Ready(sent)
    }

    /// Ends the stream: with its last message, or with an error. Only the first end of a
    /// stream counts.
    pub fn finish(self, result: Result<()>) {
        self.channel.finish(result);
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.channel.lock().senders += 1;
        Self {
            channel: Arc::clone(&self.channel),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let left = {
            let mut state = self.channel.lock();
            state.senders -= 1;
            state.senders
        };
        if left == 0 {
            self.channel.finish(if crate::is_panicking() {
                Err(panicked())
            } else {
                Ok(())
            });
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl<T> Receiver<T> {
    pub(crate) fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        let mut state = self.channel.lock();
        let Mode::Queue {
            messages,
            end,
            reader,
            ..
        } = &mut state.mode
        else {
            return Poll::Ready(None);
        };
        if let Some(message) = messages.pop_front() {
            let waiting = std::mem::take(&mut state.waiting);
            drop(state);
            waiting.into_iter().for_each(Waker::wake);
            return Poll::Ready(Some(Ok(message)));
        }
        match end {
            Some(Ok(())) => Poll::Ready(None),
            Some(Err(error)) => Poll::Ready(Some(Err(error.clone()))),
            None => {
                *reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Sends what waits to a stream of a connection, and all that follows straight to it; where that
    /// comes from a thread that `looks`, this does so between its messages.
    pub(crate) fn attach(mut self, stream: StreamRef, encode: Encode<T>, looks: bool) {
        self.attached = true;
        let looked = looks.then(Instant::now);
        let mut state = self.channel.lock();
        let Mode::Queue { messages, end, .. } = std::mem::replace(
            &mut state.mode,
            Mode::Stream(stream.clone(), encode, looked),
        ) else {
            return;
        };
        // They are few: as many as the capacity.
        let mut batch = Batch::new(stream.id);
        let encoded = messages
            .iter()
            .try_for_each(|message| encode(message, &mut batch));
        let sent = stream.streams.send(&mut batch, Flush::Now);
        let end = match encoded.and(sent) {
            Ok(()) => end,
            Err(error) => Some(Err(error)),
        };
        if end.is_some() {
            state.mode = Mode::Closed;
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        if let Some(end) = end {
            stream.finish(end);
        }
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        if self.attached {
            return;
        }
        let waiting = {
            let mut state = self.channel.lock();
            state.mode = Mode::Closed;
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}
