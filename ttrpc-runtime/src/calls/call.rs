//! A call that has been made, until it is over.

use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
#[cfg(feature = "blocking")]
use std::task::{Wake, Waker};

use super::OpenConnection;
use crate::cancel::Cancelled;
use crate::codec::Codec;
use crate::connection::Taken;
use crate::envelope::Slice;
use crate::error::{Error, Result};
use crate::frame::StreamId;
use crate::proto::End;
use crate::streaming::{StreamRef, Streaming};

/// What a call is when it has been opened: its stream, and its context's cancellation.
pub(super) type Opened = (StreamId, Option<Box<Cancelled>>);

/// A call that has been made; as a future, its single reply. Dropping it gives it up.
pub(super) struct OpenCall<'a> {
    /// Open while the call is being made, even if the client is dropped meanwhile.
    connection: Cow<'a, OpenConnection>,
    id: StreamId,
    cancelled: Option<Box<Cancelled>>,
    /// Whether whoever polls for the first time waits already.
    waits: bool,
    /// Whether nothing is left of it.
    ended: bool,
}

impl<'a> OpenCall<'a> {
    pub(super) fn new(
        connection: Cow<'a, OpenConnection>,
        (id, cancelled): Opened,
        waits: bool,
    ) -> Self {
        Self {
            connection,
            id,
            cancelled,
            waits,
            ended: false,
        }
    }

    fn stream(&self) -> StreamRef {
        StreamRef {
            streams: Arc::clone(&self.connection.0.0).streams(),
            id: self.id,
        }
    }

    pub(super) fn into_replies<C: Codec<Rep>, Rep: Send + 'static>(mut self) -> Streaming<Rep> {
        self.ended = true;
        Streaming::from_wire::<C>(self.stream(), None, self.cancelled.take())
    }

    /// Sends the requests while waiting for the single reply.
    pub(super) async fn fed_by<C: Codec<Req>, Req: Send + 'static>(
        mut self,
        requests: Streaming<Req>,
    ) -> Result<Slice> {
        if requests.is_remote() && self.connection.asks().is_threaded() {
            // A thread can't wait for two connections.
            self.feed::<C, Req>(requests)?;
            return self.await;
        }
        let mut feed = requests.send_to::<C>(self.stream());
        poll_fn(|cx| {
            if feed
                .as_mut()
                .is_some_and(|run| run.as_mut().poll(cx).is_ready())
            {
                feed = None;
            }
            Pin::new(&mut self).poll(cx)
        })
        .await
    }

    /// Sends the requests while the replies are read, or not.
    pub(super) fn feed<C: Codec<Req>, Req: Send + 'static>(
        &self,
        requests: Streaming<Req>,
    ) -> Result<()> {
        match requests.send_to::<C>(self.stream()) {
            Some(feed) => self.connection.asks().feed(self.id, feed),
            // Whoever has the sender does the work.
            None => Ok(()),
        }
    }
}

#[cfg(feature = "blocking")]
impl OpenCall<'_> {
    /// Ends the stream when the context is cancelled, also while the thread that sends waits
    /// and nobody looks for the replies.
    pub(super) fn give_up_with(&self, ctx: &crate::context::Context) {
        let asks = self.connection.asks();
        let Some(mut watch) = ctx.watch().filter(|_| asks.is_threaded()) else {
            return;
        };
        let waker = Waker::from(Arc::new(GiveUp(self.stream())));
        match Pin::new(&mut watch).poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => asks.keep(self.id, watch),
            Poll::Ready(()) => waker.wake(),
        }
    }
}

/// Gives a call up; whoever waits for it finds that its context is cancelled.
#[cfg(feature = "blocking")]
struct GiveUp(StreamRef);

#[cfg(feature = "blocking")]
impl Wake for GiveUp {
    fn wake(self: Arc<Self>) {
        self.0.streams.abandon(self.0.id);
    }
}

impl Future for OpenCall<'_> {
    type Output = Result<Slice>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Slice>> {
        let this = &mut *self;
        if let Some(cancelled) = &mut this.cancelled {
            if Pin::new(cancelled).poll(cx).is_ready() {
                return Poll::Ready(Err(Error::cancelled()));
            }
        }
        if std::mem::take(&mut this.waits) {
            return Poll::Pending;
        }
        let mut messages = Default::default();
        let asks = this.connection.asks();
        let end = ready!(asks.poll_receive(this.id, &mut messages, cx));
        this.ended = true;
        Poll::Ready(match end {
            Taken::End(End::Reply(payload)) => Ok(payload),
            Taken::End(End::Failed(error)) => Err(error),
            Taken::End(End::Closed) | Taken::Messages(_) => {
                Err(Error::protocol("the server ended the call without a reply"))
            }
        })
    }
}

impl Drop for OpenCall<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.connection.asks().abandon(self.id);
        }
    }
}
