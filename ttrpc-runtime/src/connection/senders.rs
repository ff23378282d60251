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

impl Waiting {
    /// Whether it is whom this waker wakes.
    fn is(&self, waker: &Waker) -> bool {
        self.waker.as_ref().is_some_and(|w| w.will_wake(waker))
    }
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
        if !self.queue.range(places.clone()).any(|w| w.is(waker)) {
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

    /// Whoever sends on a stream waits no more, even if it was the turn of another one who
    /// does. What would wake it later would be missed by those behind.
    pub(super) fn leave(&mut self, slot: &mut Slot, waker: &Waker) {
        let places = self.places(slot.turn);
        if let Some(place) = self.queue.range(places.clone()).position(|w| w.is(waker)) {
            self.queue.remove(places.start + place);
            if places.len() == 1 {
                slot.turn = 0;
            }
        }
    }

    /// Nothing more is sent on a stream: whoever waits to do so is woken.
    pub(super) fn end(&mut self, slot: &mut Slot, woken: &mut Woken) {
        let turn = std::mem::take(&mut slot.turn);
        if turn == 0 {
            return;
        }
        for waiting in self.queue.range_mut(self.places(turn)) {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::{Context, Poll};

    use bytes::Bytes;

    use super::super::{News, State};
    use super::*;
    use crate::limits::Limits;
    use crate::metadata::Metadata;
    use crate::proto::{Batch, CallKind, client};
    use crate::wakes::Wakes;

    const LIMIT: usize = 100;

    /// Somebody who has more to send than there is ever room for.
    struct Sender {
        wakes: Arc<Wakes>,
        batch: Batch,
    }

    impl Sender {
        fn new(stream: StreamId) -> Self {
            let mut batch = Batch::new(stream);
            batch.push(&Bytes::from(vec![7; 2 * LIMIT])).unwrap();
            let wakes = Arc::default();
            Self { wakes, batch }
        }

        fn poll(&mut self, state: &mut State<client::Connection<Slot>>) -> Poll<()> {
            let waker = self.wakes.waker();
            let sent = state.poll_send(&mut self.batch, &mut Context::from_waker(&waker));
            sent.map(Result::unwrap)
        }

        fn was_woken(&self) -> bool {
            self.wakes.take()
        }
    }

    /// A client with two streams whose output is full.
    fn full() -> (State<client::Connection<Slot>>, [StreamId; 2]) {
        let limits = Limits {
            output_bytes: LIMIT,
            ..Limits::default()
        };
        let mut state = State::new(client::Connection::new(limits));
        let call = client::Call {
            service: "s.S",
            method: "M",
            kind: CallKind::BidiStreaming,
            deadline: None,
            metadata: &Metadata::new(),
            request: None,
        };
        let now = std::time::Instant::now();
        let ids = [(); 2].map(|()| state.endpoint.open(&call, now).unwrap());
        assert!(Sender::new(ids[0]).poll(&mut state).is_ready());
        (state, ids)
    }

    fn write_all(state: &mut State<client::Connection<Slot>>) {
        let mut output = crate::proto::Output::default();
        state.link().take_output(&mut output);
        let mut woken = Woken::default();
        state.written(0, &mut woken);
        woken.run(&News::default());
    }

    #[test]
    fn who_takes_the_turn_of_another_one_waits_no_more() {
        let (mut state, [one, other]) = full();
        let mut first = Sender::new(one);
        let mut second = Sender::new(one);
        let mut third = Sender::new(other);
        for sender in [&mut first, &mut second, &mut third] {
            assert!(sender.poll(&mut state).is_pending());
        }
        write_all(&mut state);
        assert!(first.was_woken() && !second.was_woken() && !third.was_woken());
        assert!(second.poll(&mut state).is_ready(), "it is quicker");
        assert!(first.poll(&mut state).is_pending());
        write_all(&mut state);
        assert!(third.was_woken() && third.poll(&mut state).is_ready());
        write_all(&mut state);
        assert!(first.was_woken() && first.poll(&mut state).is_ready());
        assert!(!second.was_woken());
    }

    #[test]
    fn who_waits_on_a_stream_that_is_closed_takes_no_turn() {
        let (mut state, [one, other]) = full();
        let mut first = Sender::new(one);
        let mut second = Sender::new(other);
        for sender in [&mut first, &mut second] {
            assert!(sender.poll(&mut state).is_pending());
        }
        let mut woken = Woken::default();
        state.finish(one, Ok(()), &mut woken);
        woken.run(&News::default());
        assert!(first.was_woken() && !second.was_woken());
        write_all(&mut state);
        assert!(second.was_woken() && second.poll(&mut state).is_ready());
    }
}
