//! Messages on their way, encoded: what takes them on need not know what they are.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::{FinishOnDrop, Source, StreamRef, Streaming};
use crate::codec::{Codec, Encoded, Payload, to_bytes};
use crate::connection::{Flush, Streams};
use crate::error::{Error, Result};
use crate::frame::StreamId;
use crate::proto::End;

/// The messages of a stream of any type.
pub(crate) trait Messages: Send {
    /// Gives the next message to `take`, until that has taken it; `None` after the last one.
    fn poll_next(
        &mut self,
        take: &mut Take<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<()>>>;
}

/// Takes a message, when it can; and is told whether another one is there at once.
type Take<'a> = dyn FnMut(&dyn Payload, bool, &mut Context<'_>) -> Poll<Result<()>> + Send + 'a;

/// The messages of a stream, with their codec.
struct Encoding<C, T> {
    messages: Streaming<T>,
    /// The message that waits to be taken.
    next: Option<T>,
    codec: PhantomData<C>,
}

impl<C: Codec<T>, T: Send> Messages for Encoding<C, T> {
    fn poll_next(
        &mut self,
        take: &mut Take<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<()>>> {
        let message = match self.next.take() {
            Some(message) => message,
            None => match ready!(self.messages.poll_message(cx)) {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            },
        };
        let more = self.messages.has_more_at_once();
        let taken = take(&Encoded::<C, T>::new(&message), more, cx);
        if taken.is_pending() {
            self.next = Some(message);
        }
        taken.map(Some)
    }
}

impl<T: Send + 'static> Streaming<T> {
    /// The messages, whatever they are.
    pub(crate) fn into_messages<C: Codec<T>>(self) -> Box<dyn Messages> {
        Box::new(Encoding {
            messages: self,
            next: None,
            codec: PhantomData::<C>,
        })
    }
}

/// Sends messages one by one.
pub(super) async fn pump(mut messages: Box<dyn Messages>, stream: StreamRef) {
    let ending = stream.clone();
    let finish = FinishOnDrop::new(move |result| ending.finish(result));
    let mut send = |message: &dyn Payload, more: bool, cx: &mut Context<'_>| {
        let flush = if more { Flush::Soon } else { Flush::Look };
        stream.streams.poll_send(stream.id, message, flush, cx)
    };
    let result = loop {
        match poll_fn(|cx| messages.poll_next(&mut send, cx)).await {
            Some(Ok(())) => {}
            Some(Err(error)) => break Err(error),
            None => break Ok(()),
        }
    };
    finish.finish(result);
}

impl Streaming<Bytes> {
    /// Messages as the bytes that they are sent as.
    pub(crate) fn encoded(mut messages: Box<dyn Messages>) -> Self {
        let poll = move |cx: &mut Context<'_>| {
            let mut encoded = Bytes::new();
            let mut take = |message: &dyn Payload, _: bool, _: &mut Context<'_>| {
                let bytes = to_bytes(message).map_err(Error::from);
                Poll::Ready(bytes.map(|bytes| encoded = bytes))
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
        into: &mut VecDeque<Bytes>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<End>> {
        Poll::Ready(match ready!(self.lock().poll_message(cx)) {
            Some(Ok(message)) => {
                into.push_back(message);
                None
            }
            Some(Err(error)) => Some(End::Failed(error)),
            None => Some(End::Closed),
        })
    }

    fn abandon(&self, _: StreamId) {
        // Dropped without the lock: what feeds it may look here.
        let rest = std::mem::replace(&mut self.lock().source, Source::Done);
        drop(rest);
    }

    fn poll_send(
        &self,
        _: StreamId,
        _: &dyn Payload,
        _: Flush,
        _: &mut Context<'_>,
    ) -> Poll<Result<()>> {
        Poll::Ready(Err(Error::cancelled()))
    }

    fn send(&self, _: StreamId, _: &dyn Payload, _: Flush) -> Result<()> {
        Err(Error::cancelled())
    }

    fn finish(&self, _: StreamId, _: Result<()>) {}

    fn is_threaded(&self) -> bool {
        false
    }
}
