//! `Streaming`: a stream of messages, from wherever they come.

mod encoded;

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
#[cfg(feature = "tokio")]
use futures_core::Stream;

pub(crate) use self::encoded::Messages;
use self::encoded::pump;
use crate::cancel::Cancelled;
use crate::channel::{self, Receiver, Sender};
use crate::codec::{Codec, Encoded};
use crate::connection::{BoxFuture, Streams, Taken};
use crate::error::{Error, Result};
use crate::frame::StreamId;
use crate::proto::{Batch, End, Run};

/// A stream of messages of a call: those that come in, and those that go out.
///
/// One comes from the wire; others are made [from an iterator](Self::from_iter), [from a
/// `Stream`](Self::from_stream), [by a closure that sends](Self::produce), or as the end
/// of a [`channel`](Self::channel). It is read by [`message`](Self::message), or as a
/// [`Stream`]. Each of them can be given to a call, so that what comes from one call can
/// go straight into another.
///
/// A stream that a client sends ends after its last message. An `Err` in it ends the call
/// with that error here; the protocol has no way to tell the server. A stream that a
/// handler returns ends the call with OK after its last message, or with the error that
/// it yields.
///
/// Dropping a stream that comes in says that nobody wants the rest.
pub struct Streaming<T> {
    source: Source<T>,
}

enum Source<T> {
    /// From the peer.
    Wire(Wire<T>),
    /// From a sender, and what runs it if it is not run elsewhere.
    Channel(Receiver<T>, Producer),
    /// From an iterator.
    Iter(Box<dyn Iterator<Item = Result<T>> + Send>),
    /// From somewhere else.
    Poll(Poller<T>),
    /// Nothing more.
    Done,
}

type Poller<T> = Box<dyn FnMut(&mut Context<'_>) -> Poll<Option<Result<T>>> + Send>;

/// What makes the messages of a stream.
enum Producer {
    /// Nothing but the sender itself.
    None,
    /// A future, which runs as the stream is read.
    Future(BoxFuture<()>),
    /// A function that waits as it likes: read where it was made, it needs a thread of
    /// its own.
    #[cfg(feature = "blocking")]
    Thread(Box<dyn FnOnce() + Send>),
}

impl Producer {
    /// Begins or goes on; says whether it waits for something.
    fn run(&mut self, cx: &mut Context<'_>) -> Result<bool> {
        let waits = match self {
            Self::None => return Ok(true),
            Self::Future(running) => running.as_mut().poll(cx).is_pending(),
            #[cfg(feature = "blocking")]
            Self::Thread(_) => false,
        };
        if !waits {
            match std::mem::replace(self, Self::None) {
                #[cfg(feature = "blocking")]
                Self::Thread(run) => {
                    crate::blocking::spawn(run)?;
                }
                _ => {}
            }
        }
        Ok(waits)
    }
}

impl<T: Send + 'static> Streaming<T> {
    /// The messages of an iterator.
    #[allow(clippy::should_implement_trait)] // Also what `FromIterator` does, which has no bounds on the iterator.
    pub fn from_iter<I>(messages: I) -> Self
    where
        I: IntoIterator<Item = T>,
        I::IntoIter: Send + 'static,
    {
        Self::from_results(messages.into_iter().map(Ok))
    }

    /// The messages of an iterator that may fail; an error ends the call.
    pub(crate) fn from_results<I>(messages: I) -> Self
    where
        I: IntoIterator<Item = Result<T>>,
        I::IntoIter: Send + 'static,
    {
        Self {
            source: Source::Iter(Box::new(messages.into_iter())),
        }
    }

    /// The messages of a stream; an error ends the call.
    #[cfg(feature = "tokio")]
    pub fn from_stream(messages: impl Stream<Item = Result<T>> + Send + 'static) -> Self {
        let mut messages = Box::pin(messages);
        Self {
            source: Source::Poll(Box::new(move |cx| messages.as_mut().poll_next(cx))),
        }
    }

    /// A stream of messages and the sender that feeds it.
    ///
    /// Up to `capacity` messages, and at least one, wait in between until the stream is
    /// given to a call; from then on the sender writes to the connection itself.
    pub fn channel(capacity: usize) -> (Sender<T>, Self) {
        let (sender, receiver) = channel::new(capacity);
        let streaming = Self {
            source: Source::Channel(receiver, Producer::None),
        };
        (sender, streaming)
    }

    /// The messages that a closure sends. It runs as the stream is read; what it returns
    /// ends the stream.
    ///
    #[cfg_attr(feature = "tokio", doc = "```")]
    #[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
    /// use ttrpc_runtime::Streaming;
    ///
    /// let numbers = Streaming::produce(async move |sender| {
    ///     for number in 0..3 {
    ///         sender.send(number).await?;
    ///     }
    ///     Ok(())
    /// });
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async move {
    /// # let mut numbers = numbers;
    /// # for number in 0..3 { assert_eq!(numbers.message().await.unwrap(), Some(number)); }
    /// # assert_eq!(numbers.message().await.unwrap(), None);
    /// # });
    /// ```
    pub fn produce<F, Fut>(producer: F) -> Self
    where
        F: FnOnce(Sender<T>) -> Fut,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let (sender, receiver) = channel::new(1);
        let end = sender.clone();
        let finish = FinishOnDrop::new(move |result| end.finish(result));
        let produced = producer(sender);
        let run = async move { finish.finish(produced.await) };
        Self {
            source: Source::Channel(receiver, Producer::Future(Box::pin(run))),
        }
    }

    /// The messages that a function sends, which waits as it likes.
    #[cfg(feature = "blocking")]
    pub(crate) fn produce_blocking(
        producer: impl FnOnce(Sender<T>) -> Result<()> + Send + 'static,
    ) -> Self {
        let (sender, receiver) = channel::new(1);
        let end = sender.clone();
        let finish = FinishOnDrop::new(move |result| end.finish(result));
        let run = move || finish.finish(producer(sender));
        Self {
            source: Source::Channel(receiver, Producer::Thread(Box::new(run))),
        }
    }
}

impl<T> Streaming<T> {
    /// The next message; `None` after the last one.
    ///
    /// It is cancel-safe: no message is lost if it is dropped before it is ready.
    ///
    /// # Errors
    /// The call has failed; there are no more messages.
    pub async fn message(&mut self) -> Result<Option<T>> {
        poll_fn(|cx| self.poll_message(cx)).await.transpose()
    }

    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        // Whole, so that nothing is taken apart and put together for each message.
        let message = match &mut self.source {
            Source::Wire(wire) => wire.poll_message(cx),
            Source::Channel(receiver, producer) => {
                let mut polled = receiver.poll_message(cx);
                while polled.is_pending() {
                    let waits = match producer.run(cx) {
                        Ok(waits) => waits,
                        Err(error) => return Poll::Ready(Some(Err(error))),
                    };
                    // It may have sent something.
                    polled = receiver.poll_message(cx);
                    if waits || matches!(producer, Producer::None) {
                        break;
                    }
                }
                polled
            }
            Source::Iter(messages) => Poll::Ready(messages.next()),
            Source::Poll(poll) => poll(cx),
            Source::Done => Poll::Ready(None),
        };
        if matches!(message, Poll::Ready(None | Some(Err(_)))) {
            self.source = Source::Done;
        }
        message
    }

    /// The next message, if it has come already; otherwise it is to be polled for.
    #[cfg(feature = "blocking")]
    pub(crate) fn take_waiting(&mut self) -> Poll<Option<Result<T>>> {
        let Source::Wire(wire) = &mut self.source else {
            return Poll::Pending;
        };
        let message = (wire.next)(&mut wire.waiting);
        if matches!(message, Poll::Ready(Some(Err(_)))) {
            self.source = Source::Done;
        }
        message
    }

    /// The next message, if it is there at once.
    pub(crate) fn take_ready(&mut self) -> Option<T> {
        match self.poll_message(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(Ok(message))) => Some(message),
            _ => None,
        }
    }

    /// How many messages are there at once, as far as that is known.
    fn at_hand(&self) -> usize {
        match &self.source {
            Source::Iter(messages) => messages.size_hint().0,
            Source::Wire(wire) => {
                let first = wire.waiting.front().map_or(0, Run::len);
                // Of those behind it each has at least one.
                first + wire.waiting.len().saturating_sub(1)
            }
            _ => 0,
        }
    }

    /// The messages that come in on a stream of a connection.
    pub(crate) fn from_wire<C: Codec<T>>(
        stream: StreamRef,
        first: Option<Bytes>,
        cancelled: Option<Box<Cancelled>>,
    ) -> Self {
        let wire = Wire {
            stream,
            waiting: first.map_or_else(VecDeque::new, waiting),
            waits: None,
            next: next_of::<C, T>,
            cancelled: cancelled.map(Box::into_pin),
        };
        Self {
            source: Source::Wire(wire),
        }
    }

    /// Whether its messages come from another connection, or from who knows where.
    pub(crate) fn is_remote(&self) -> bool {
        matches!(self.source, Source::Wire(_) | Source::Poll(_))
    }

    /// Sends all messages to a stream of a connection and ends that.
    ///
    /// Gives a future if somebody has to run it; otherwise a sender does the work.
    pub(crate) fn send_to<C: Codec<T>>(self, stream: StreamRef) -> Option<BoxFuture<()>>
    where
        T: Send + 'static,
    {
        match self.source {
            Source::Channel(receiver, producer) => {
                let encode =
                    |message: &T, batch: &mut Batch| batch.push(&Encoded::<C, T>::new(message));
                // A closure works on the thread that would otherwise wait for the peer.
                let looks = !matches!(producer, Producer::None | Producer::Future(_));
                receiver.attach(stream, encode, looks);
                match producer {
                    Producer::None => None,
                    Producer::Future(run) => Some(run),
                    #[cfg(feature = "blocking")]
                    Producer::Thread(run) => Some(Box::pin(async move { run() })),
                }
            }
            source => {
                let messages = Self { source }.into_messages::<C>();
                Some(pump(messages, stream))
            }
        }
    }
}

/// Ends a stream with an error when whatever feeds it is gone before its time: what has
/// been sent must not pass for all there is.
struct FinishOnDrop<F: FnOnce(Result<()>)>(Option<F>);

impl<F: FnOnce(Result<()>)> FinishOnDrop<F> {
    fn new(finish: F) -> Self {
        Self(Some(finish))
    }

    fn finish(mut self, result: Result<()>) {
        if let Some(finish) = self.0.take() {
            finish(result);
        }
    }
}

impl<F: FnOnce(Result<()>)> Drop for FinishOnDrop<F> {
    fn drop(&mut self) {
        if let Some(finish) = self.0.take() {
            finish(Err(cut_short()));
        }
    }
}

/// Why a stream ends when whatever feeds it is dropped.
fn cut_short() -> Error {
    if crate::is_panicking() {
        channel::panicked()
    } else {
        Error::cancelled()
    }
}

/// A stream of a connection.
#[derive(Clone)]
pub(crate) struct StreamRef {
    pub(crate) streams: Arc<dyn Streams>,
    pub(crate) id: StreamId,
}

impl StreamRef {
    pub(crate) fn finish(&self, result: Result<()>) {
        self.streams.finish(self.id, result);
    }
}

/// Messages that come in on a stream of a connection.
struct Wire<T> {
    stream: StreamRef,
    /// What has been taken over from the connection.
    waiting: VecDeque<Run>,
    /// Who waits for more since then: a waker, and the number of [`Taken::Messages`].
    waits: Option<(Identity, u64)>,
    /// Decodes the next message of these, if there is one.
    next: fn(&mut VecDeque<Run>) -> Poll<Option<Result<T>>>,
    /// The cancellation of the caller's context.
    cancelled: Option<Pin<Box<Cancelled>>>,
}

/// What tells a waker from others, as long as there is one like it.
type Identity = (usize, usize);

fn identity(waker: &Waker) -> Identity {
    let vtable = std::ptr::from_ref(waker.vtable());
    (waker.data().addr(), vtable.addr())
}

/// A message that waits, alone.
#[inline(never)]
fn waiting(message: Bytes) -> VecDeque<Run> {
    VecDeque::from([Run::one(message)])
}

/// The next message that waits, decoded; pending while none does.
fn next_of<C: Codec<T>, T>(waiting: &mut VecDeque<Run>) -> Poll<Option<Result<T>>> {
    let Some(run) = waiting.front_mut() else {
        return Poll::Pending;
    };
    let payload = run.next().unwrap_or_default();
    if run.len() == 0 {
        waiting.pop_front();
    }
    Poll::Ready(Some(C::decode(payload).map_err(Error::from)))
}

impl<T> Wire<T> {
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        loop {
            if !self.waiting.is_empty() {
                return (self.next)(&mut self.waiting);
            }
            if let Some(cancelled) = &mut self.cancelled {
                if cancelled.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Some(Err(Error::cancelled())));
                }
            }
            let StreamRef { streams, id } = &self.stream;
            let own = self.waits.filter(|(who, _)| *who == identity(cx.waker()));
            if own.is_some_and(|(_, since)| streams.is_quiet(*id, since)) {
                return Poll::Pending;
            }
            // From now on it is whoever polls who waits, and not who did when messages came.
            self.waits = None;
            match ready!(streams.poll_receive(*id, &mut self.waiting, cx)) {
                Taken::Messages(since) => {
                    self.waits = since.map(|since| (identity(cx.waker()), since));
                }
                Taken::End(End::Closed | End::Reply(_)) => return Poll::Ready(None),
                Taken::End(End::Failed(error)) => return Poll::Ready(Some(Err(error))),
            }
        }
    }
}

impl<T> Drop for Wire<T> {
    fn drop(&mut self) {
        // Of a stream that is over nothing is left that this could end.
        self.stream.streams.abandon(self.stream.id);
    }
}

#[cfg(feature = "tokio")]
impl<T> Stream for Streaming<T> {
    type Item = Result<T>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_message(cx)
    }
}

/// Nothing in it is pinned but what is boxed.
impl<T> Unpin for Streaming<T> {}

impl<T> fmt::Debug for Streaming<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match &self.source {
            Source::Wire(_) => "wire",
            Source::Channel(..) => "channel",
            Source::Iter(_) => "iterator",
            Source::Poll(_) => "stream",
            Source::Done => "done",
        };
        f.debug_tuple("Streaming").field(&source).finish()
    }
}

#[cfg(all(test, feature = "tokio"))]
mod tests;
