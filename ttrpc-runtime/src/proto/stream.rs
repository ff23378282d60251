//! One call on a connection, as one end sees it (PROTOCOL.md §6).
//!
//! ```text
//!               this end sends                        the peer sends
//!
//!          +------+  finish   +--------+        +------+  its last   +-------+
//!   open ->| open | --------> | closed |        | open | ----------> | ended |
//!          +------+           +--------+        +------+             +-------+
//!                                                   \   abandon   +----------+
//!                                                    `----------> | unwanted |
//!                                                                 +----------+
//! ```
//!
//! A server's stream is over, and gone, once the server has sent its last: a server
//! that is done is done, whatever the client still sends. A client's stream is over
//! once the server has sent its last, and gone once that was received or nobody is
//! left to receive it.

use std::time::Instant;

use super::inbox::Inbox;
use crate::envelope::Slice;
use crate::error::Error;
use crate::frame::{Flags, StreamId};
use crate::series::Series;

/// The four kinds of call (PROTOCOL.md §5.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallKind {
    /// One message each way.
    Unary,
    /// One message to the server, any number back.
    ServerStreaming,
    /// Any number of messages to the server, one back.
    ClientStreaming,
    /// Any number of messages both ways.
    BidiStreaming,
}

impl CallKind {
    /// Whether the client sends any number of messages.
    pub const fn client_streams(self) -> bool {
        matches!(self, Self::ClientStreaming | Self::BidiStreaming)
    }

    /// Whether the server sends any number of messages.
    pub const fn server_streams(self) -> bool {
        matches!(self, Self::ServerStreaming | Self::BidiStreaming)
    }

    /// The flags of the Request that opens such a call.
    pub const fn request_flags(self) -> Flags {
        match self {
            Self::Unary => Flags::NONE,
            Self::ServerStreaming => Flags::REMOTE_CLOSED,
            Self::ClientStreaming | Self::BidiStreaming => Flags::REMOTE_OPEN,
        }
    }

    /// The kind of call that the flags of a Request suggest, until its method is known.
    pub const fn of_request(flags: Flags) -> Self {
        if flags.contains(Flags::REMOTE_CLOSED) {
            Self::ServerStreaming
        } else if flags.contains(Flags::REMOTE_OPEN) {
            Self::BidiStreaming
        } else {
            Self::Unary
        }
    }
}

/// How what the peer sends on a stream ended.
#[derive(Debug)]
pub enum End {
    /// After its last message.
    Closed,
    /// With the single reply of a unary or client-streaming call.
    Reply(Slice),
    /// With an error: the peer's, or one that was found here.
    Failed(Error),
}

/// What there was to receive on a stream.
#[derive(Debug)]
pub enum Received {
    /// At least one message; more or an end may follow.
    Messages,
    /// Nothing yet: wait for [`Event::Readable`](super::Event::Readable).
    Nothing,
    /// Nothing more to come. It is said once; then the stream is gone.
    End(End),
}

/// What the peer may still send on a stream.
#[derive(Debug)]
pub(super) enum Receiving {
    Open,
    Ended(End),
    /// Whatever comes is dropped.
    Unwanted,
}

/// A call on a connection.
#[derive(Debug)]
pub(super) struct Stream<S> {
    pub slot: S,
    pub kind: CallKind,
    pub receiving: Receiving,
    pub sending: bool,
    /// Whether the peer has said that it sends no more data.
    pub remote_closed: bool,
    pub inbox: Inbox,
    pub deadline: Option<Instant>,
}

impl<S> Stream<S> {
    pub fn new(kind: CallKind, deadline: Option<Instant>, slot: S) -> Self {
        Self {
            slot,
            kind,
            receiving: Receiving::Open,
            sending: true,
            remote_closed: false,
            inbox: Inbox::default(),
            deadline,
        }
    }
}

/// The streams of a connection by their ids, which grow.
#[derive(Debug)]
pub(super) struct Streams<S>(Series<Stream<S>>);

/// Odd ids lie without gaps, and even ones, which nobody has, somewhere else.
fn key(id: StreamId) -> u64 {
    id.get().rotate_right(1).into()
}

impl<S> Default for Streams<S> {
    fn default() -> Self {
        Self(Series::default())
    }
}

impl<S> Streams<S> {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many streams there is room for.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Adds a stream whose id is greater than that of any before it.
    pub fn open(&mut self, id: StreamId, stream: Stream<S>) {
        self.0.push(key(id), stream);
    }

    pub fn get(&self, id: StreamId) -> Option<&Stream<S>> {
        self.0.get(key(id))
    }

    pub fn get_mut(&mut self, id: StreamId) -> Option<&mut Stream<S>> {
        self.0.get_mut(key(id))
    }

    pub fn remove(&mut self, id: StreamId) {
        self.0.discard(key(id));
    }

    pub fn ids(&self) -> impl Iterator<Item = StreamId> {
        let id = |(key, _)| StreamId::new((key as u32).rotate_left(1));
        self.0.iter().map(id)
    }

    pub fn take_all(&mut self) -> impl Iterator<Item = Stream<S>> {
        self.0.take_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_kinds() {
        for kind in [
            CallKind::Unary,
            CallKind::ServerStreaming,
            CallKind::BidiStreaming,
        ] {
            assert_eq!(CallKind::of_request(kind.request_flags()), kind);
        }
        // The incumbent Rust implementation opens its streams so.
        let both = Flags::REMOTE_OPEN | Flags::NO_DATA;
        assert_eq!(CallKind::of_request(both), CallKind::BidiStreaming);
    }
}
