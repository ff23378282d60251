//! The frame: a 10-byte header, then up to 4 MiB of data (PROTOCOL.md §2.1).
//!
//! ```text
//!  0       4          8      9       10
//!  +-------+----------+------+-------+------------------
//!  | length| stream id| type | flags | data (length bytes)
//!  +-------+----------+------+-------+------------------
//!    u32     u32        u8     u8      all big-endian
//! ```

use std::fmt;
use std::ops::BitOr;

use crate::error::{Error, Result};

/// Bytes of a frame's header.
pub const HEADER_LEN: usize = 10;

/// The most data a frame may carry, in bytes: 4 MiB, and exactly 4 MiB is legal.
///
/// The first byte of the length is therefore always 0; it is reserved (PROTOCOL.md §2.5).
pub const MAX_DATA_LEN: usize = 4 << 20;

/// The number of a call on its connection.
///
/// A client's ids are odd, begin at 1 and grow strictly on the wire; they never
/// wrap, so that a connection carries at most 2³¹ calls (PROTOCOL.md §2.4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u32);

impl StreamId {
    /// The first id of a connection.
    pub const FIRST: Self = Self(1);

    /// An id as it stands on the wire, legal or not.
    pub const fn new(id: u32) -> Self {
        Self(id)
    }

    /// The number on the wire.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Whether a client may open a stream with this id: only odd ids are a client's.
    pub const fn is_client(self) -> bool {
        self.0 % 2 == 1
    }

    /// The id after this one, unless the ids have run out.
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(2) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamId({})", self.0)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a frame is. Types that are not named here are ignored on receipt (PROTOCOL.md
/// §2.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MessageType(pub u8);

impl MessageType {
    /// Opens a call; from client to server.
    pub const REQUEST: Self = Self(1);
    /// Ends a call with a reply or an error; from server to client.
    pub const RESPONSE: Self = Self(2);
    /// A message on an open stream, or its end; both ways.
    pub const DATA: Self = Self(3);
    /// Says that the client has given a call up; from client to server, without data.
    ///
    /// An extension: ttrpc 1.2 has not assigned the type, and peers ignore what they do
    /// not know. A server of this crate always understands it; a client sends it only
    /// where its user has turned it on (PROTOCOL.md §10).
    pub const CANCEL: Self = Self(0xC4);
}

/// The flags of a frame. Bits that are not named here are ignored on receipt
/// (PROTOCOL.md §2.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags(pub u8);

impl Flags {
    /// No flag: a unary request, a response, or a message with more to come.
    pub const NONE: Self = Self(0);
    /// The sender of this frame sends no more data on this stream.
    pub const REMOTE_CLOSED: Self = Self(0x01);
    /// On a request: the client goes on to send data on this stream.
    pub const REMOTE_OPEN: Self = Self(0x02);
    /// On data: this frame carries no message, not even an empty one.
    pub const NO_DATA: Self = Self(0x04);

    /// Whether every flag of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The header of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Bytes of data behind the header.
    pub length: u32,
    /// The stream that the frame belongs to.
    pub stream_id: StreamId,
    /// What the frame is.
    pub message_type: MessageType,
    /// What it says of the stream.
    pub flags: Flags,
}

impl Header {
    /// The header's bytes on the wire.
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let [a, b, c, d] = self.length.to_be_bytes();
        let [e, f, g, h] = self.stream_id.get().to_be_bytes();
        [a, b, c, d, e, f, g, h, self.message_type.0, self.flags.0]
    }

    /// Reads a header; any ten bytes are one.
    pub fn from_bytes(bytes: [u8; HEADER_LEN]) -> Self {
        let [a, b, c, d, e, f, g, h, message_type, flags] = bytes;
        Self {
            length: u32::from_be_bytes([a, b, c, d]),
            stream_id: StreamId(u32::from_be_bytes([e, f, g, h])),
            message_type: MessageType(message_type),
            flags: Flags(flags),
        }
    }
}

/// The length of a frame's data around a payload, if that may be sent.
pub(crate) fn sendable(payload: usize, frame: impl FnOnce(usize) -> usize) -> Result<usize> {
    // A payload over the limit has no frame, whatever its envelope adds.
    let len = if payload > MAX_DATA_LEN {
        payload
    } else {
        frame(payload)
    };
    if len > MAX_DATA_LEN {
        return Err(Error::too_large(len, MAX_DATA_LEN));
    }
    Ok(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_is_ten_bytes_big_endian() {
        let header = Header {
            length: 0x0003_0201,
            stream_id: StreamId::new(0x0403_0201),
            message_type: MessageType::DATA,
            flags: Flags::REMOTE_CLOSED | Flags::NO_DATA,
        };
        let bytes = header.to_bytes();
        assert_eq!(bytes, [0, 3, 2, 1, 4, 3, 2, 1, 3, 5]);
        assert_eq!(Header::from_bytes(bytes), header);
    }

    #[test]
    fn ids_are_odd_and_never_wrap() {
        assert!(StreamId::FIRST.is_client());
        assert!(!StreamId::new(0).is_client());
        assert_eq!(StreamId::FIRST.next(), Some(StreamId::new(3)));
        assert_eq!(StreamId::new(u32::MAX).next(), None);
    }
}
