//! A connection as those who use it share it, whichever flavour drives it.
//!
//! What a flavour shares is a [`State`] under a lock: the protocol, and whoever waits
//! for something of it. All who wait are [`Waker`]s, of tasks or of threads. What a
//! flavour adds is who reads and writes, see [`Share`].

mod senders;
mod slot;
mod state;
mod woken;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

pub(crate) use self::slot::{Slot, Work};
pub(crate) use self::state::State;
pub(crate) use self::woken::{News, Woken};
use crate::cancel::{CancelOnDrop, Cancelled};
use crate::clock::Now;
use crate::codec::Payload;
use crate::error::{Error, Result};
use crate::frame::StreamId;
use crate::proto::{Batch, Body, CallKind, End, Endpoint, Run, Size, client, server};

/// Bytes that are read at once, at most, into a buffer that all connections of a thread
/// share: an idle connection has none.
pub(crate) const SCRATCH_LEN: usize = 64 << 10;

thread_local! {
    pub(crate) static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_LEN]);
}

/// Why a connection has ended that nothing more comes from, where this was to be read.
pub(crate) fn end_of_input(body: Option<&Body>) -> Error {
    Error::closed(match body {
        Some(body) if !body.is_empty() => "the peer closed the connection within a frame",
        _ => "the peer closed the connection",
    })
}

/// Pieces of output that are written at once, at most.
pub(crate) const MAX_SLICES: usize = 64;

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What becomes of what has been queued, where whoever queues is the one who writes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flush {
    /// It is written at once.
    Now,
    /// It is written at once, or by others on their way: whoever queued it waits for a reply.
    Reply,
    /// It is written at once, and what the peer has to say is looked at: who feeds a stream
    /// may not wait for anything for long.
    Look,
    /// There is nothing; all that the peer has said is looked at, and whether it has gone.
    LookForEnd,
    /// It ends a call: whoever works through several of them writes their ends together.
    Together,
    /// More is about to be queued, that can be written together with it.
    Soon,
    /// There is nothing.
    No,
}

/// How a flavour shares a connection.
pub(crate) trait Share: Send + Sync + 'static {
    type End: Endpoint<Slot = Slot>;

    /// Whether those who wait are threads, each of which can wait for one connection only.
    const THREADS: bool;

    /// Counts what those who wait are told.
    fn news(&self) -> &News;

    /// Does something with the connection, and sees to it that what this has queued is
    /// written and whoever drives the connection learns what it has to.
    fn with_state<R>(&self, flush: Flush, f: impl FnOnce(&mut State<Self::End>) -> R) -> R;

    /// Says that what has been queued for a stream is to be written before whoever queued it
    /// goes on.
    fn queued(&self, _: StreamId) {}

    /// Says that whoever polled has to wait for a stream, or for the connection's end.
    fn waits(&self, _: Option<StreamId>) {}

    /// Says that whoever polled does something of the user's next, which may take its time. Gives
    /// whether the socket has taken all that it was given, where nobody else would see to that.
    fn leaves(&self) -> bool {
        true
    }

    /// Runs something that feeds or answers a stream, until that is over.
    fn spawn(&self, id: StreamId, work: BoxFuture<()>) -> Result<()>;
}

/// What was received on a stream.
pub(crate) enum Taken {
    /// Messages. Where more may come, whoever has polled waits for them already: it need not
    /// poll again as long as [nothing has come](Streams::is_quiet) since this number.
    Messages(Option<u64>),
    /// The end, which comes once.
    End(End),
}

/// The streams of a connection, whichever end it is.
pub(crate) trait Streams: Send + Sync {
    /// Waits for messages on a stream, or for its end.
    fn poll_receive(
        &self,
        id: StreamId,
        into: &mut VecDeque<Run>,
        cx: &mut Context<'_>,
    ) -> Poll<Taken>;

    /// Whether nothing has come since the number that came with the last messages; then it is
    /// as if it had been polled.
    fn is_quiet(&self, _: StreamId, _since: u64) -> bool {
        false
    }

    /// Sends messages once there is room for one.
    fn poll_send(&self, batch: &mut Batch, flush: Flush, cx: &mut Context<'_>) -> Poll<Result<()>>;

    /// Before something of the user's, which may take its time: waits until what was sent is
    /// written, where nobody would see to that meanwhile, and leaves the reading to others. Fails
    /// where the stream is over before that is written.
    fn poll_leave(&self, _: StreamId, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Sends messages whether there is room or not.
    fn send(&self, batch: &mut Batch, flush: Flush) -> Result<()>;

    /// Ends this side of a stream.
    fn finish(&self, id: StreamId, result: Result<()>);

    /// Ends the other side of a stream as far as anybody here minds.
    fn abandon(&self, id: StreamId);

    /// Whether those who wait, and handlers, are threads: these can't be stopped, only told.
    fn is_threaded(&self) -> bool;
}

impl<S: Share> Streams for S {
    fn poll_receive(
        &self,
        id: StreamId,
        into: &mut VecDeque<Run>,
        cx: &mut Context<'_>,
    ) -> Poll<Taken> {
        // Before the lock: what has come by then is not what is to come.
        let since = self.news().count();
        let received = self.with_state(Flush::No, |state| state.poll_receive(id, into, since, cx));
        if received.is_pending() {
            self.waits(Some(id));
        }
        received
    }

    fn is_quiet(&self, id: StreamId, since: u64) -> bool {
        let quiet = self.news().count() == since;
        if quiet {
            self.waits(Some(id));
        }
        quiet
    }

    fn poll_send(&self, batch: &mut Batch, flush: Flush, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let id = batch.stream();
        let sent = self.with_state(flush, |state| state.poll_send(batch, cx));
        match &sent {
            Poll::Pending => self.waits(Some(id)),
            Poll::Ready(Ok(())) => self.queued(id),
            Poll::Ready(Err(_)) => {}
        }
        sent
    }

    fn poll_leave(&self, id: StreamId, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.leaves() {
            return Poll::Ready(Ok(()));
        }
        let written = self.with_state(Flush::No, |state| state.poll_written(id, cx));
        if written.is_pending() {
            self.waits(Some(id));
        }
        written
    }

    fn send(&self, batch: &mut Batch, flush: Flush) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let id = batch.stream();
        self.with_state(flush, |state| state.endpoint.send_all(batch))?;
        self.queued(id);
        Ok(())
    }

    fn finish(&self, id: StreamId, result: Result<()>) {
        let mut woken = Woken::default();
        // A failed stream may have a reader that waits, and senders.
        self.with_state(Flush::Together, |state| {
            state.finish(id, result, &mut woken)
        });
        woken.run(self.news());
        self.queued(id);
    }

    fn abandon(&self, id: StreamId) {
        let mut woken = Woken::default();
        let abandon = |state: &mut State<S::End>| {
            let slot = state.endpoint.abandon(id);
            state.end_of(slot, &mut woken);
        };
        self.with_state(Flush::Now, abandon);
        woken.run(self.news());
    }

    fn is_threaded(&self) -> bool {
        S::THREADS
    }
}

/// A server's end of a connection.
pub(crate) trait Answers: Streams {
    fn streams(self: Arc<Self>) -> Arc<dyn Streams>;

    /// Says what kind of call it is.
    fn accept(&self, id: StreamId, kind: CallKind);

    /// Ends a context with the call.
    fn keep(&self, id: StreamId, ctx: CancelOnDrop);

    /// Ends a call with its single reply once there is room for that; one that is over by
    /// then is left alone.
    fn poll_respond(&self, id: StreamId, reply: &dyn Payload, cx: &mut Context<'_>) -> Poll<()>;

    /// Ends the connection once the last call is over.
    fn shut_down(&self);

    /// Ends the connection at once.
    fn close(&self, error: Error);
}

impl<S: Share<End = server::Connection<Slot>>> Answers for S {
    fn streams(self: Arc<Self>) -> Arc<dyn Streams> {
        self
    }

    fn accept(&self, id: StreamId, kind: CallKind) {
        self.with_state(Flush::No, |state| state.endpoint.accept(id, kind));
    }

    fn keep(&self, id: StreamId, ctx: CancelOnDrop) {
        self.with_state(Flush::No, |state| {
            if let Some(slot) = state.link().slot(id) {
                slot.ctx = Some(ctx);
            }
        });
    }

    fn poll_respond(&self, id: StreamId, reply: &dyn Payload, cx: &mut Context<'_>) -> Poll<()> {
        let respond = |state: &mut State<S::End>| {
            if !state.endpoint.has_reply_room() {
                return state.wait_for_room(id, Size::default(), cx).map(|_| None);
            }
            Poll::Ready(state.endpoint.respond(id, Ok(reply)))
        };
        let slot = self.with_state(Flush::Together, respond);
        if slot.is_pending() {
            self.waits(Some(id));
        }
        // What was kept with the call is dropped here, where others can have the lock.
        slot.map(|slot| {
            // The handler may have left the requests to somebody who still waits for them.
            if let Some(reader) = slot.and_then(|mut slot| slot.reader.take()) {
                self.news().tell();
                reader.wake();
            }
        })
    }

    fn shut_down(&self) {
        self.with_state(Flush::Now, |state| state.endpoint.shut_down());
    }

    fn close(&self, error: Error) {
        let mut woken = Woken::default();
        self.with_state(Flush::Now, |state| {
            state.endpoint.shut_down();
            state.link().discard();
            state.fail(error, &mut woken);
        });
        woken.run(self.news());
    }
}

/// Waits for the end of a connection, and says why it came.
pub(crate) async fn ended(connection: &dyn Asks) -> Error {
    let mut ending = connection.ending();
    poll_fn(|cx| connection.poll_ending(&mut ending, cx)).await;
    let error = connection.ended();
    error.unwrap_or_else(|| Error::closed("the connection was closed"))
}

/// A client's end of a connection.
pub(crate) trait Asks: Streams {
    fn streams(self: Arc<Self>) -> Arc<dyn Streams>;

    /// Opens a call. With a waker, whoever polls waits for what comes of it from now on.
    fn open(&self, call: &client::Call<'_>, reader: Option<&Waker>) -> Result<StreamId>;

    /// Keeps what gives a call up as long as that is not over.
    #[cfg(feature = "blocking")]
    fn keep(&self, id: StreamId, watch: Cancelled);

    /// Runs something that feeds a stream.
    fn feed(&self, id: StreamId, work: BoxFuture<()>) -> Result<()>;

    /// Ends the connection once the last call is over.
    fn shut_down(&self);

    /// Why the connection has ended, once it has.
    fn ended(&self) -> Option<Error>;

    /// Whether no more calls can be made on it: it has ended, or has no id left.
    fn is_over(&self) -> bool;

    /// The same by now, also if nobody has looked since.
    fn is_over_by_now(&self) -> bool;

    /// What is cancelled with the end of the connection.
    fn ending(&self) -> Cancelled;

    /// Waits for that.
    fn poll_ending(&self, ending: &mut Cancelled, cx: &mut Context<'_>) -> Poll<()>;
}

impl<S: Share<End = client::Connection<Slot>>> Asks for S {
    fn streams(self: Arc<Self>) -> Arc<dyn Streams> {
        self
    }

    fn open(&self, call: &client::Call<'_>, reader: Option<&Waker>) -> Result<StreamId> {
        let slot = || Slot {
            reader: reader.cloned(),
            ..Slot::default()
        };
        let flush = match reader {
            Some(_) => Flush::Reply,
            None => Flush::Now,
        };
        let id = self.with_state(flush, |state| {
            state.borrow_room();
            state.endpoint.open_with(call, &mut Now::default(), slot)
        })?;
        if reader.is_some() {
            self.waits(Some(id));
        }
        Ok(id)
    }

    #[cfg(feature = "blocking")]
    fn keep(&self, id: StreamId, watch: Cancelled) {
        self.with_state(Flush::No, |state| {
            if let Some(slot) = state.link().slot(id) {
                slot.watch = Some(Box::new(watch));
            }
        });
    }

    fn feed(&self, id: StreamId, work: BoxFuture<()>) -> Result<()> {
        self.spawn(id, work)
    }

    fn shut_down(&self) {
        self.with_state(Flush::Now, |state| state.endpoint.shut_down());
    }

    fn ended(&self) -> Option<Error> {
        self.with_state(Flush::No, |state| state.ended().cloned())
    }

    fn is_over(&self) -> bool {
        self.with_state(Flush::No, |state| {
            state.ended().is_some() || !state.endpoint.has_ids()
        })
    }

    fn is_over_by_now(&self) -> bool {
        if S::THREADS {
            self.with_state(Flush::LookForEnd, |_| ());
        }
        self.is_over()
    }

    fn ending(&self) -> Cancelled {
        Cancelled::new(self.with_state(Flush::No, State::ending))
    }

    fn poll_ending(&self, ending: &mut Cancelled, cx: &mut Context<'_>) -> Poll<()> {
        let ended = Pin::new(ending).poll(cx);
        if ended.is_pending() {
            self.waits(None);
        }
        ended
    }
}
