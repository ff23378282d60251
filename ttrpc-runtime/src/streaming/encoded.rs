//! Messages on their way, encoded: what takes them on need not know what they are.

use std::collections::VecDeque;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;

use super::{Source, StreamRef, Streaming, cut_short};
use crate::codec::{Codec, Encoded, Payload, to_bytes};
use crate::connection::{BoxFuture, Flush, Streams, Taken};
use crate::error::{Error, Result};
use crate::frame::StreamId;
use crate::proto::{Batch, End, Run};

/// Messages go together up to this many bytes. It is also what a stream that waits for room
/// keeps beside one message (PROTOCOL.md §9.3).
const BATCH_LEN: usize = 8 << 10;

/// What comes faster than this comes fast.
const FAST: Duration = Duration::from_micros(50);

/// How many messages may come, at most, before it is looked whether they came fast.
const MOST_TRUSTED: usize = 16;

/// The messages of a stream of any type.
pub(crate) trait Messages: Send {
    /// Gives the next message to `take`; `None` after the last one.
    fn poll_next(&mut self, take: &mut Take<'_>, cx: &mut Context<'_>) -> Poll<Option<Result<()>>>;

    /// How many more there are at once, as far as that is known.
    fn at_hand(&self) -> usize;
}

/// Takes a message.
type Take<'a> = dyn FnMut(&dyn Payload) -> Result<()> + 'a;

/// The messages of a stream, with their codec.
struct Encoding<C, T> {
    messages: Streaming<T>,
    codec: PhantomData<C>,
}

impl<C: Codec<T>, T: Send> Messages for Encoding<C, T> {
    fn poll_next(&mut self, take: &mut Take<'_>, cx: &mut Context<'_>) -> Poll<Option<Result<()>>> {
        let message = ready!(self.messages.poll_message(cx));
        let take = |message| take(&Encoded::<C, T>::new(&message));
        Poll::Ready(message.map(|message| message.and_then(take)))
    }

    fn at_hand(&self) -> usize {
        self.messages.at_hand()
    }
}

impl<T: Send + 'static> Streaming<T> {
    /// The messages, whatever they are.
    pub(crate) fn into_messages<C: Codec<T>>(self) -> Box<dyn Messages> {
        Box::new(Encoding {
            messages: self,
            codec: PhantomData::<C>,
        })
    }
}

/// Sends messages, as many together as there are at once, and ends the stream.
///
/// An iterator may take its time for what it promises. So the first message goes alone, and
/// from then on one that has come fast waits for the next; those that do are trusted to come
/// in twos, fours and so on, and to look at the clock that often is no work. Where they have
/// not come fast, they go at once, and trust begins anew.
struct Pump {
    messages: Box<dyn Messages>,
    stream: StreamRef,
    batch: Batch,
    at_hand: usize,
    /// How many of those are believed to come fast.
    trusted: usize,
    /// What becomes of the batch.
    flush: Flush,
    /// How the messages ended, once they have.
    end: Option<Result<()>>,
    finished: bool,
}

/// Sends all messages to a stream of a connection and ends that.
#[inline(never)]
pub(super) fn pump(messages: Box<dyn Messages>, stream: StreamRef) -> BoxFuture<()> {
    Box::pin(Pump {
        at_hand: messages.at_hand(),
        messages,
        batch: Batch::new(stream.id),
        stream,
        trusted: 0,
        flush: Flush::Look,
        end: None,
        finished: false,
    })
}

impl Pump {
    /// Takes what there is at once; pending where that is all for now.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut last = (self.at_hand > 1).then(crate::clock::now);
        let mut unseen = self.trusted;
        self.flush = Flush::Look;
        loop {
            let mut take = |message: &dyn Payload| self.batch.push(message);
            match ready!(self.messages.poll_next(&mut take, cx)) {
                Some(Ok(())) => {}
                end => {
                    self.end = Some(end.unwrap_or(Ok(())));
                    return Poll::Ready(());
                }
            }
            self.at_hand = self.at_hand.saturating_sub(1);
            if self.at_hand == 0 {
                self.at_hand = self.messages.at_hand();
                return Poll::Ready(());
            }
            unseen = unseen.saturating_sub(1);
            if unseen == 0 {
                let now = crate::clock::now();
                let fast = last.is_some_and(|last| now - last < FAST);
                if !fast || self.trusted == 0 {
                    self.trusted = 1;
                    return Poll::Ready(());
                }
                self.trusted = MOST_TRUSTED.min(2 * self.trusted);
                (last, unseen) = (Some(now), self.trusted);
            }
            if self.batch.len() >= BATCH_LEN {
                self.flush = Flush::Soon;
                return Poll::Ready(());
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        loop {
            let filled = if self.batch.is_empty() && self.end.is_none() {
                ready!(self.stream.streams.poll_leave(self.stream.id, cx))?;
                self.poll_fill(cx)
            } else {
                Poll::Ready(())
            };
            if !self.batch.is_empty() {
                let streams = &self.stream.streams;
                ready!(streams.poll_send(&mut self.batch, self.flush, cx))?;
            }
            if let Some(end) = self.end.take() {
                return Poll::Ready(end);
            }
            ready!(filled);
        }
    }

    #[inline(never)]
    fn finish(&mut self, result: Result<()>) {
        self.finished = true;
        // Where what makes the messages has panicked, those that it had made.
        let _ = self.stream.streams.send(&mut self.batch, Flush::Soon);
        self.stream.finish(result);
    }
}

impl Future for Pump {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let result = ready!(self.poll_send(cx));
        self.finish(result);
        Poll::Ready(())
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        if !self.finished {
            self.finish(Err(cut_short()));
        }
    }
}

impl Streaming<Bytes> {
    /// Messages as the bytes that they are sent as.
    pub(crate) fn encoded(mut messages: Box<dyn Messages>) -> Self {
        let poll = move |cx: &mut Context<'_>| {
            let mut encoded = Bytes::new();
            let mut take = |message: &dyn Payload| {
                encoded = to_bytes(message)?;
                Ok(())
            };
            let taken = ready!(messages.poll_next(&mut take, cx));
            Poll::Ready(taken.map(|taken| taken.map(|()| encoded)))
        };
        Self {
            source: Source::Poll(Box::new(poll)),
        }
    }

    /// The messages that these bytes are.
    pub(crate) fn decoded<C: Codec<T>, T>(self) -> Streaming<T> {
        Streaming::from_wire::<C>(self.into_wire(), None, None)
    }

    /// The same as a stream to be received from, whoever does that.
    pub(crate) fn into_wire(self) -> StreamRef {
        StreamRef {
            streams: Arc::new(Relay(Mutex::new(self))),
            id: StreamId::FIRST,
        }
    }
}

/// A stream that is no connection's.
struct Relay(Mutex<Streaming<Bytes>>);

impl Relay {
    fn lock(&self) -> MutexGuard<'_, Streaming<Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Streams for Relay {
    fn poll_receive(
        &self,
        _: StreamId,
        into: &mut VecDeque<Run>,
        cx: &mut Context<'_>,
    ) -> Poll<Taken> {
        Poll::Ready(match ready!(self.lock().poll_message(cx)) {
            Some(Ok(message)) => {
                into.push_back(Run::one(message));
                Taken::Messages(None)
            }
            Some(Err(error)) => Taken::End(End::Failed(error)),
            None => Taken::End(End::Closed),
        })
    }

    fn abandon(&self, _: StreamId) {
        // Dropped without the lock: what feeds it may look here.
        let rest = std::mem::replace(&mut self.lock().source, Source::Done);
        drop(rest);
    }

    fn poll_send(&self, _: &mut Batch, _: Flush, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Err(Error::cancelled()))
    }

    fn send(&self, _: &mut Batch, _: Flush) -> Result<()> {
        Err(Error::cancelled())
    }

    fn finish(&self, _: StreamId, _: Result<()>) {}

    fn is_threaded(&self) -> bool {
        false
    }
}
