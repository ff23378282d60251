//! What the users of a connection share under its lock.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::senders::Senders;
use super::{Slot, Taken, Woken};
use crate::cancel::{CancelOnDrop, Token};
use crate::clock::Now;
use crate::error::{Error, Result};
use crate::frame::StreamId;
use crate::proto::{Batch, Endpoint, Event, Link, Received, Run, Size, StreamRoom, server};

thread_local! {
    /// Room for the streams of a connection that was idle before.
    static ROOM: Cell<Option<StreamRoom<Slot>>> = const { Cell::new(None) };
}

/// What the users of a connection share.
pub(crate) struct State<E> {
    pub endpoint: E,
    /// Whoever waits for room in the output or for the end, once somebody has.
    waiting: Option<Box<Waiting>>,
    /// Why the connection has ended, once it has.
    ended: Option<Error>,
    /// Whether the socket has not taken all that it was given, where those who send wait
    /// for that themselves.
    pub blocked: bool,
    /// How many threads are on their way that have slept until there was something to read.
    pub coming: usize,
}

#[derive(Default)]
struct Waiting {
    senders: Senders,
    /// Threads that wait until what they have queued is written, or over.
    #[cfg(feature = "blocking")]
    settling: Vec<Waker>,
    ending: Option<Arc<Token>>,
}

impl<E: Endpoint<Slot = Slot>> State<E> {
    pub(crate) fn new(endpoint: E) -> Self {
        Self {
            endpoint,
            waiting: None,
            ended: None,
            blocked: false,
            coming: 0,
        }
    }

    pub(crate) fn link(&mut self) -> &mut Link<Slot> {
        self.endpoint.link()
    }

    /// Leaves memory to others that an idle connection does not need.
    pub(crate) fn rest(&mut self) {
        // A thread that ends takes none.
        let _ = ROOM.try_with(|room| self.link().leave_room(room));
    }

    pub(super) fn borrow_room(&mut self) {
        let _ = ROOM.try_with(|room| self.link().borrow_room(room));
    }

    /// Handles all that has come and all that has run out of time, up to the next call, if
    /// there is one.
    pub(crate) fn next_call(
        &mut self,
        now: &mut Now,
        woken: &mut Woken,
        call: &mut Option<server::Call>,
    ) -> Result<()> {
        self.borrow_room();
        loop {
            match self.endpoint.poll(now, call)? {
                Some(Event::Readable(slot)) => {
                    self.coming += usize::from(std::mem::take(&mut slot.sleeps));
                    woken.wake(slot.reader.take());
                }
                Some(Event::Ended(slot)) => self.end_of(Some(*slot), woken),
                Some(Event::Call) | None => return Ok(()),
            }
        }
    }

    /// Ends this side of a stream.
    pub(super) fn finish(&mut self, id: StreamId, result: Result<()>, woken: &mut Woken) {
        let slot = self.endpoint.finish(id, result);
        if let (None, Some(waiting)) = (&slot, &mut self.waiting) {
            // Others may wait to send on it, and would be woken in vain.
            if let Some(slot) = self.endpoint.link().slot(id) {
                waiting.senders.end(slot, woken);
            }
        }
        self.end_of(slot, woken);
    }

    /// A stream is over, if it gave its slot back: nobody waits for it any more.
    pub(super) fn end_of(&mut self, slot: Option<Slot>, woken: &mut Woken) {
        if let Some(mut slot) = slot {
            self.coming += usize::from(slot.sleeps);
            if let Some(waiting) = &mut self.waiting {
                waiting.senders.end(&mut slot, woken);
                waiting.settle(woken);
            }
            woken.end(slot);
        }
        // It may have been its turn to send.
        self.wake_senders(woken);
    }

    /// Waits until the socket has taken all that it was given, unless a stream is over.
    #[cold]
    pub(super) fn poll_written(
        &mut self,
        id: StreamId,
        #[allow(unused)] cx: &mut Context<'_>,
    ) -> Poll<Result<()>> {
        self.endpoint.check_sending(id)?;
        if !self.blocked {
            return Poll::Ready(Ok(()));
        }
        #[cfg(feature = "blocking")]
        self.wake_when_settled(cx.waker());
        Poll::Pending
    }

    /// Wakes a thread when something has been written, or a stream is over.
    #[cfg(feature = "blocking")]
    pub(crate) fn wake_when_settled(&mut self, waker: &Waker) {
        register(&mut self.waiting().settling, waker);
    }

    /// A thread is about to sleep. Says whether it is the reader of the stream, and will be
    /// counted once it is woken as that.
    #[cfg(feature = "blocking")]
    pub(crate) fn falls_asleep(&mut self, id: StreamId, waker: &Waker) -> bool {
        self.link().slot(id).is_some_and(|slot| {
            slot.sleeps = slot.reader.as_ref().is_some_and(|r| r.will_wake(waker));
            slot.sleeps
        })
    }

    /// The reader of a stream has slept, whatever has woken it.
    #[cfg(feature = "blocking")]
    pub(crate) fn has_come(&mut self, id: StreamId) {
        match self.link().slot(id) {
            Some(slot) if slot.sleeps => slot.sleeps = false,
            _ => self.coming = self.coming.saturating_sub(1),
        }
    }

    fn waiting(&mut self) -> &mut Waiting {
        self.waiting.get_or_insert_default()
    }

    /// Takes note of how much of the output that was taken is not written yet.
    pub(crate) fn written(&mut self, left: usize, woken: &mut Woken) {
        self.link().set_writing(left);
        if let Some(waiting) = &mut self.waiting {
            waiting.settle(woken);
            self.wake_senders(woken);
        }
    }

    /// Wakes those that wait for room and for whom there is some; says whether there were any.
    pub(crate) fn wake_senders(&mut self, woken: &mut Woken) -> bool {
        let Some(waiting) = self.waiting.as_mut().filter(|_| !self.blocked) else {
            return false;
        };
        waiting.senders.wake(self.endpoint.link(), woken)
    }

    /// Ends the connection: every call fails with `error`, and whatever works for one
    /// is stopped.
    pub(crate) fn fail(&mut self, error: Error, woken: &mut Woken) {
        self.ended.get_or_insert_with(|| error.clone());
        for slot in self.endpoint.fail(error) {
            woken.end(slot);
        }
        if let Some(mut waiting) = self.waiting.take() {
            waiting.settle(woken);
            waiting.senders.end_all(woken);
            woken.end(Slot {
                ctx: waiting.ending.take().map(CancelOnDrop),
                ..Slot::default()
            });
        }
    }

    /// Why the connection has ended, once it has.
    pub(crate) fn ended(&self) -> Option<&Error> {
        self.ended.as_ref()
    }

    /// What is cancelled when the connection ends.
    pub(super) fn ending(&mut self) -> Arc<Token> {
        let has_ended = self.ended.is_some();
        let token = Arc::clone(self.waiting().ending.get_or_insert_default());
        if has_ended {
            token.cancel();
        }
        token
    }

    pub(super) fn poll_receive(
        &mut self,
        id: StreamId,
        into: &mut VecDeque<Run>,
        since: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Taken> {
        let waits = |slot: &mut Slot| match &mut slot.reader {
            Some(reader) => reader.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        };
        match self.endpoint.receive(id, into) {
            Received::Messages => {
                let open = self.link().slot_of_open(id);
                Poll::Ready(Taken::Messages(open.map(waits).map(|()| since)))
            }
            Received::End(end) => Poll::Ready(Taken::End(end)),
            Received::Nothing => {
                self.link().slot(id).map(waits);
                Poll::Pending
            }
        }
    }

    /// Whether somebody has waited to send on a stream, and may now, be there room or not.
    fn takes_turn(&mut self, id: StreamId, waker: &Waker) -> bool {
        let Some(waiting) = &mut self.waiting else {
            return false;
        };
        let Some(slot) = self.endpoint.link().slot(id) else {
            return false;
        };
        let may_send = std::mem::take(&mut slot.may_send);
        if may_send && slot.turn != 0 {
            waiting.senders.leave(slot, waker);
        }
        may_send
    }

    /// Waits for room in the output for something on a stream, unless that is over.
    #[cold]
    pub(super) fn wait_for_room(
        &mut self,
        id: StreamId,
        size: Size,
        cx: &mut Context<'_>,
    ) -> Poll<Result<()>> {
        self.endpoint.check_sending(id)?;
        if let Some(slot) = self.endpoint.link().slot(id) {
            let waiting = self.waiting.get_or_insert_default();
            waiting.senders.wait(id, slot, size, cx.waker());
        }
        Poll::Pending
    }

    pub(super) fn poll_send(
        &mut self,
        batch: &mut Batch,
        cx: &mut Context<'_>,
    ) -> Poll<Result<()>> {
        let id = batch.stream();
        let others_wait = self.waiting.as_ref().is_some_and(|w| w.senders.any_wait());
        let waits = !self.endpoint.has_room() || self.blocked || others_wait;
        if !self.takes_turn(id, cx.waker()) && waits {
            return self.wait_for_room(id, batch.size(), cx);
        }
        Poll::Ready(self.endpoint.send_all(batch))
    }
}

impl Waiting {
    /// Wakes the threads that wait until something is over.
    fn settle(&mut self, #[allow(unused)] woken: &mut Woken) {
        #[cfg(feature = "blocking")]
        wake_all(&mut self.settling, woken);
    }
}

#[cfg(feature = "blocking")]
fn wake_all(wakers: &mut Vec<Waker>, woken: &mut Woken) {
    let wakers = wakers.drain(..);
    wakers.for_each(|waker| woken.wake(Some(waker)));
}

#[cfg(feature = "blocking")]
fn register(wakers: &mut Vec<Waker>, waker: &Waker) {
    if !wakers.iter().any(|w| w.will_wake(waker)) {
        wakers.push(waker.clone());
    }
}
