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

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

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
    Reply(Bytes),
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

/// Messages that wait for their reader, and the memory that they keep in use
/// (PROTOCOL.md §9.2).
#[derive(Debug, Default)]
pub(super) struct Inbox {
    messages: VecDeque<Bytes>,
    memory: usize,
    /// How much of the memory is that of chunks, of which messages are slices.
    chunks: usize,
    /// The last chunk that a message was a slice of.
    chunk: u64,
}

/// What a message takes in the queue, however short it is.
const PLACE: usize = size_of::<Bytes>();

impl Inbox {
    /// Adds a message, a slice of the chunk of that number and size. Says whether no
    /// more than `most` bytes are in use.
    pub fn push(&mut self, message: Bytes, (chunk, size): (u64, usize), most: usize) -> bool {
        let size = if self.chunks > 0 && self.chunk == chunk {
            0
        } else {
            size
        };
        if self.memory + PLACE + size <= most || self.messages.is_empty() {
            self.chunk = chunk;
            self.chunks += size;
            self.memory += PLACE + size;
            self.messages.push_back(message);
        } else {
            // A chunk is too much: the messages are copied together, unless that has
            // been done and gained little; then this one is copied alone.
            if self.chunks > self.memory / 2 {
                self.compact();
            }
            self.memory += PLACE + message.len();
            self.messages.push_back(Bytes::copy_from_slice(&message));
        }
        self.memory <= most || self.messages.len() == 1
    }

    /// Copies the messages together, so that they keep nothing alive but themselves.
    #[cold]
    #[inline(never)]
    fn compact(&mut self) {
        let len: usize = self.messages.iter().map(Bytes::len).sum();
        let mut together = Bytes::from({
            let mut bytes = Vec::with_capacity(len);
            self.messages
                .iter()
                .for_each(|m| bytes.extend_from_slice(m));
            bytes
        });
        for message in &mut self.messages {
            *message = together.split_to(message.len());
        }
        self.memory = len + self.messages.len() * PLACE;
        self.chunks = 0;
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Moves all messages to the end of `into`.
    pub fn take(&mut self, into: &mut VecDeque<Bytes>) {
        (self.memory, self.chunks) = (0, 0);
        if into.is_empty() {
            std::mem::swap(&mut self.messages, into);
        } else {
            while let Some(message) = self.messages.pop_front() {
                into.push_back(message);
            }
        }
    }

    pub fn clear(&mut self) {
        *self = Self::default();
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
    fn an_inbox_is_charged_for_the_chunks_that_it_keeps() {
        let mut inbox = Inbox::default();
        let chunk = Bytes::from(vec![7; 1000]);
        assert!(inbox.push(chunk.slice(0..10), (1, 1000), 1500));
        assert!(inbox.push(chunk.slice(10..20), (1, 1000), 1500));
        assert_eq!(inbox.memory, 1000 + 2 * PLACE);
        // A second chunk would be too much: the messages are copied together instead.
        assert!(inbox.push(chunk.slice(20..40), (2, 1000), 1500));
        assert_eq!(inbox.memory, 40 + 3 * PLACE);
        let mut taken = VecDeque::new();
        inbox.take(&mut taken);
        assert_eq!(
            taken.iter().map(Bytes::len).collect::<Vec<_>>(),
            [10, 10, 20]
        );
        assert!(taken.iter().all(|m| m.iter().all(|byte| *byte == 7)));
        assert_eq!(inbox.memory, 0);
    }

    #[test]
    fn an_inbox_over_its_bound_says_so_but_always_holds_one_message() {
        let mut inbox = Inbox::default();
        assert!(inbox.push(Bytes::from(vec![0; 500]), (1, 500), 100));
        assert!(!inbox.push(Bytes::from_static(b"x"), (2, 1), 100));
    }

    #[test]
    fn empty_messages_are_not_free() {
        let mut inbox = Inbox::default();
        let most = 100 * PLACE;
        let fits = (0..1000)
            .take_while(|i| inbox.push(Bytes::new(), (*i, 10_000), most))
            .count();
        assert_eq!(fits, 100);
    }

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
