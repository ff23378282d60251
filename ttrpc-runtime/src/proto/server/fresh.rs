//! Calls that have no streams.

use std::time::Instant;

use super::super::stream::{CallKind, End, Receiving, Stream};
use crate::frame::{Flags, Header, StreamId};

/// The calls that have come last, as long as nothing but their answers needs streams for them.
/// Most are answered before, and never have one.
#[derive(Debug)]
pub(super) struct Fresh {
    /// That of the first one.
    id: StreamId,
    /// How many others follow, each with the next id; these are unary and without deadlines.
    more: u16,
    kind: CallKind,
    remote_closed: bool,
    deadline: Option<Instant>,
}

impl Fresh {
    pub(super) fn new(header: Header, deadline: Option<Instant>) -> Self {
        Self {
            id: header.stream_id,
            more: 0,
            kind: CallKind::of_request(header.flags),
            remote_closed: header.flags.contains(Flags::REMOTE_CLOSED),
            deadline,
        }
    }

    pub(super) fn count(&self) -> usize {
        1 + usize::from(self.more)
    }

    /// Whether a unary call without a deadline can be one of them, if it has the next id.
    pub(super) fn takes_more(&self) -> bool {
        self.kind == CallKind::Unary && self.deadline.is_none() && self.more < u16::MAX
    }

    pub(super) fn add(&mut self) {
        self.more += 1;
    }

    pub(super) fn is_first(&self, id: StreamId) -> bool {
        self.id == id
    }

    /// Takes a call out if it is the first of them: gives its kind, and whether the client has
    /// said all.
    pub(super) fn take_first(place: &mut Option<Self>, id: StreamId) -> Option<(CallKind, bool)> {
        let fresh = place.as_mut().filter(|fresh| fresh.is_first(id))?;
        let taken = (fresh.kind, fresh.remote_closed);
        match (fresh.more.checked_sub(1), id.next()) {
            (Some(more), Some(next)) => (fresh.more, fresh.id) = (more, next),
            _ => *place = None,
        }
        Some(taken)
    }

    /// Their streams.
    pub(super) fn streams<S: Default>(self) -> impl Iterator<Item = (StreamId, Stream<S>)> {
        let ids = std::iter::successors(Some(self.id), |id| id.next()).take(self.count());
        ids.map(move |id| {
            let mut stream = Stream::new(self.kind, self.deadline, S::default());
            if self.remote_closed {
                stream.receiving = Receiving::Ended(End::Closed);
                stream.remote_closed = true;
            }
            (id, stream)
        })
    }
}
