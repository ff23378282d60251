//! What the users of a connection share under its lock.

use std::cell::Cell;
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::{Slot, Woken};
use crate::error::{Error, Result};
use crate::frame::StreamId;
use crate::proto::{Batch, End, Endpoint, Event, Link, Received, Run, StreamRoom, server};

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
    senders: Vec<Waker>,
    ending: Vec<Waker>,
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
    // To where the caller has it: wrapped up and unwrapped it would be moved five times.
    pub(crate) fn next_call(
        &mut self,
        now: Instant,
        woken: &mut Woken,
        next: &mut Option<server::Call>,
    ) -> Result<()> {
        self.borrow_room();
        loop {
            match self.endpoint.poll(now)? {
                Some(Event::Readable(slot)) => {
                    self.coming += usize::from(std::mem::take(&mut slot.sleeps));
                    woken.wake(slot.reader.take());
                }
                Some(Event::Ended(slot)) => self.end_of(Some(slot), woken),
                Some(Event::Call(call)) => {
                    *next = call.take();
                    return Ok(());
                }
                None => return Ok(()),
            }
        }
    }

    /// A stream is over, if it gave its slot back: nobody waits for it any more.
    pub(super) fn end_of(&mut self, slot: Option<Slot>, woken: &mut Woken) {
        if let Some(slot) = slot {
            self.coming += usize::from(slot.sleeps);
            woken.end(slot);
            self.wake_senders(woken);
        }
    }

    /// Wakes a thread that waits until the socket takes more, when those are woken that wait
    /// for room.
    #[cfg(feature = "blocking")]
    pub(crate) fn wake_with_senders(&mut self, waker: &Waker) {
        register(&mut self.waiting().senders, waker);
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

    fn wake_senders(&mut self, woken: &mut Woken) {
        if let Some(waiting) = &mut self.waiting {
            let senders = waiting.senders.drain(..);
            senders.for_each(|sender| woken.wake(Some(sender)));
        }
    }

    /// Takes note of how much of the output that was taken is not written yet.
    pub(crate) fn written(&mut self, left: usize, woken: &mut Woken) {
        self.link().set_writing(left);
        if self.endpoint.has_room() && !self.blocked {
            self.wake_senders(woken);
        }
    }

    /// Ends the connection: every call fails with `error`, and whatever works for one
    /// is stopped.
    pub(crate) fn fail(&mut self, error: Error, woken: &mut Woken) {
        self.ended.get_or_insert_with(|| error.clone());
        for slot in self.endpoint.fail(error) {
            woken.end(slot);
        }
        self.wake_senders(woken);
        if let Some(waiting) = self.waiting.take() {
            let ending = waiting.ending.into_iter();
            ending.for_each(|waker| woken.wake(Some(waker)));
        }
    }

    /// Why the connection has ended, once it has.
    pub(crate) fn ended(&self) -> Option<&Error> {
        self.ended.as_ref()
    }

    pub(super) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        if let Some(error) = &self.ended {
            return Poll::Ready(error.clone());
        }
        register(&mut self.waiting().ending, cx.waker());
        Poll::Pending
    }

    pub(super) fn poll_receive(
        &mut self,
        id: StreamId,
        into: &mut VecDeque<Run>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<End>> {
        match self.endpoint.receive(id, into) {
            Received::Messages => Poll::Ready(None),
            Received::End(end) => Poll::Ready(Some(end)),
            Received::Nothing => {
                if let Some(slot) = self.link().slot(id) {
                    match &mut slot.reader {
                        Some(reader) => reader.clone_from(cx.waker()),
                        none => *none = Some(cx.waker().clone()),
                    }
                }
                Poll::Pending
            }
        }
    }

    /// Waits for room in the output for something on a stream, unless that is over.
    #[cold]
    pub(super) fn wait_for_room(&mut self, id: StreamId, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.endpoint.check_sending(id)?;
        register(&mut self.waiting().senders, cx.waker());
        Poll::Pending
    }

    pub(super) fn poll_send(
        &mut self,
        batch: &mut Batch,
        cx: &mut Context<'_>,
    ) -> Poll<Result<()>> {
        if !self.endpoint.has_room() || self.blocked {
            return self.wait_for_room(batch.stream(), cx);
        }
        Poll::Ready(self.endpoint.send_all(batch))
    }
}

fn register(wakers: &mut Vec<Waker>, waker: &Waker) {
    if !wakers.iter().any(|w| w.will_wake(waker)) {
        wakers.push(waker.clone());
    }
}
