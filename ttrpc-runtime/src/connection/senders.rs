//! Who waits for room in the output of a connection: one after the other.

use std::collections::VecDeque;
use std::ops::Range;
use std::task::Waker;

use super::{Slot, Woken};
use crate::frame::StreamId;
use crate::proto::{Link, Size};

/// Those who wait to send on streams, in the order in which they began to.
///
/// As many are woken as there is room for what they have, and each of those may queue it even
/// if others have taken the room meanwhile: it is in memory one way or the other, and nobody
/// waits forever.
#[derive(Default)]
pub(super) struct Senders {
    /// By turn. Those of a stream that is over are left in place, without a waker.
    queue: VecDeque<Waiting>,
    /// How many those are.
    gone: usize,
    last_turn: u64,
}

struct Waiting {
    turn: u64,
    stream: StreamId,
    /// What is to be sent.
    size: Size,
    waker: Option<Waker>,
}

impl Senders {
    /// The places of those whose turn it is together: they send on the same stream.
    fn places(&self, turn: u64) -> Range<usize> {
        let first = self.queue.partition_point(|waiting| waiting.turn < turn);
        let rest = self.queue.range(first..);
        let count = rest.take_while(|waiting| waiting.turn == turn).count();
        first..first + count
    }

    /// Has someone wait to send so much on a stream.
    pub(super) fn wait(&mut self, stream: StreamId, slot: &mut Slot, size: Size, waker: &Waker) {
        if slot.turn == 0 {
            self.last_turn += 1;
            slot.turn = self.last_turn;
        }
        let places = self.places(slot.turn);
        let is_same =
            |waiting: &Waiting| waiting.waker.as_ref().is_some_and(|w| w.will_wake(waker));
        if !self.queue.range(places.clone()).any(is_same) {
            let waiting = Waiting {
                turn: slot.turn,
                stream,
                size,
                waker: Some(waker.clone()),
            };
            self.queue.insert(places.end, waiting);
        }
    }

    /// Whether anybody waits: then whoever comes now has to, too.
    pub(super) fn any_wait(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Wakes those whose turn it is; says whether there were any.
    pub(super) fn wake(&mut self, link: &mut Link<Slot>, woken: &mut Woken) -> bool {
        let (mut room, mut any) = (link.room(), false);
        while room.is_some() {
            let Some(waiting) = self.queue.pop_front() else {
                break;
            };
            let Some(waker) = waiting.waker else {
                self.gone -= 1;
                continue;
            };
            let is_last = (self.queue.front()).is_none_or(|next| next.turn != waiting.turn);
            if let Some(slot) = link.slot(waiting.stream) {
                slot.may_send = true;
                if is_last {
                    slot.turn = 0;
                }
            }
            room = room.and_then(|room| room.without(waiting.size));
            woken.wake(Some(waker));
            any = true;
        }
        any
    }

    /// A stream is over: whoever waits to send on it is woken.
    pub(super) fn end(&mut self, slot: &Slot, woken: &mut Woken) {
        if slot.turn == 0 {
            return;
        }
        for waiting in self.queue.range_mut(self.places(slot.turn)) {
            woken.wake(waiting.waker.take());
            self.gone += 1;
        }
        if self.gone > self.queue.len() / 2 {
            self.queue.retain(|waiting| waiting.waker.is_some());
            self.gone = 0;
        }
    }

    /// Wakes all: there is nothing to wait for any more.
    pub(super) fn end_all(&mut self, woken: &mut Woken) {
        for waiting in std::mem::take(self).queue {
            woken.wake(waiting.waker);
        }
    }
}
