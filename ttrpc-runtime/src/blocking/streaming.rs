//! `Streaming` and `Sender` of the blocking flavour.

use std::fmt;
use std::task::Poll;

use super::park::{block_on, settled};
use crate::channel;
use crate::error::Result;
use crate::streaming;

/// A stream of messages of a call: those that come in, and those that go out.
///
/// One comes from the wire; others are made [from an iterator](Self::from_iter), [by a
/// closure that sends](Self::produce), or as the end of a [`channel`](Self::channel). It
/// is read by [`message`](Self::message), or as an [`Iterator`]. Each of them can be given
/// to a call, so that what comes from one call can go straight into another.
///
/// A stream that a client sends ends after its last message. An `Err` in it ends the call
/// with that error here; the protocol has no way to tell the server. A stream that a
/// handler returns ends the call with OK after its last message, or with the error that
/// it yields.
///
/// Dropping a stream that comes in says that nobody wants the rest.
pub struct Streaming<T>(pub(super) streaming::Streaming<T>);

impl<T: Send + 'static> Streaming<T> {
    /// The messages of an iterator.
    ///
    /// Given to a call, those that come fast one after the other are written together, as
    /// far as the iterator's `size_hint` promises more.
    #[allow(clippy::should_implement_trait)] // Also what `FromIterator` does, which has no bounds on the iterator.
    pub fn from_iter<I>(messages: I) -> Self
    where
        I: IntoIterator<Item = T>,
        I::IntoIter: Send + 'static,
    {
        Self(streaming::Streaming::from_iter(messages))
    }

    /// The messages of an iterator that may fail; an error ends the call.
    pub fn from_results<I>(messages: I) -> Self
    where
        I: IntoIterator<Item = Result<T>>,
        I::IntoIter: Send + 'static,
    {
        Self(streaming::Streaming::from_results(messages))
    }

    /// A stream of messages and the sender that feeds it.
    ///
    /// Up to `capacity` messages, and at least one, wait in between until the stream is
    /// given to a call; from then on the sender writes to the connection itself.
    pub fn channel(capacity: usize) -> (Sender<T>, Self) {
        let (sender, streaming) = streaming::Streaming::channel(capacity);
        (Sender(Some(sender)), Self(streaming))
    }

    /// The messages that a closure sends. What it returns ends the stream.
    ///
    /// Returned by a handler, it runs on the thread of that; given to a call, on the
    /// thread that calls or one of its own; read by hand, on one of its own.
    ///
    /// ```
    /// use ttrpc_runtime::blocking::Streaming;
    ///
    /// let numbers = Streaming::produce(|sender| {
    ///     for number in 0..3 {
    ///         sender.send(number)?;
    ///     }
    ///     Ok(())
    /// });
    /// let numbers: Result<Vec<u32>, _> = numbers.collect();
    /// assert_eq!(numbers?, [0, 1, 2]);
    /// # Ok::<(), ttrpc_runtime::Error>(())
    /// ```
    pub fn produce(producer: impl FnOnce(Sender<T>) -> Result<()> + Send + 'static) -> Self {
        Self(streaming::Streaming::produce_blocking(|sender| {
            producer(Sender(Some(sender)))
        }))
    }
}

impl<T> Streaming<T> {
    /// The next message; `None` after the last one.
    ///
    /// # Errors
    /// The call has failed; there are no more messages.
    pub fn message(&mut self) -> Result<Option<T>> {
        match self.0.take_waiting() {
            Poll::Ready(message) => message.transpose(),
            Poll::Pending => block_on(self.0.message()),
        }
    }
}

impl<T> Iterator for Streaming<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        self.message().transpose()
    }
}

impl<T> fmt::Debug for Streaming<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Sends the messages of a [`Streaming`].
///
/// The stream ends when the last clone of its sender is dropped, or with
/// [`finish`](Self::finish). A thread that panics with the last sender in hand ends it
/// with an error, so that nobody takes what came for all there was.
pub struct Sender<T>(Option<channel::Sender<T>>);

impl<T> Sender<T> {
    /// Sends a message, waiting while there is no room for it.
    ///
    /// # Errors
    /// Nobody takes the message: the stream was dropped, or its call is over. Or the
    /// message can't be sent, which ends the call too.
    pub fn send(&self, message: T) -> Result<()> {
        match &self.0 {
            Some(sender) => block_on(sender.send(message)),
            None => Ok(()),
        }
    }

    /// Ends the stream: with its last message, or with an error. Only the first end of a
    /// stream counts.
    pub fn finish(mut self, result: Result<()>) {
        if let Some(sender) = self.0.take() {
            settled(|| sender.finish(result));
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if let Some(sender) = self.0.take() {
            settled(|| drop(sender));
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}
