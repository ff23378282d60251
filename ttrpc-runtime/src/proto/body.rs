//! A large frame, while it is being read (PROTOCOL.md §2.5, §9.4).

use super::spare::Spares;
use crate::frame::{HEADER_LEN, Header, MAX_DATA_LEN};

/// A frame above this that has not come whole is read into a buffer of its own instead
/// of being put together from chunks.
pub(super) const OWN_BUFFER_LEN: usize = 32 << 10;

/// How much of a frame has to have come before its buffer gets room for all of it: what
/// the header claims is worth nothing.
pub(super) const PROVEN_LEN: usize = 32 << 10;

/// How much room there is before that.
pub(super) const FIRST_ROOM: usize = 68 << 10;

/// Room for an expected frame that has not come is kept up to this size.
const KEPT_LEN: usize = 256 << 10;

thread_local! {
    /// Room for frames that were expected on some connection and have not come yet: who looks
    /// before there is anything need not ask for it anew each time. A thread may well have both
    /// ends of a connection, and so two lengths.
    static SPARE: Spares<Vec<u8>> = const { Spares::new() };
}

/// Room of a length that this thread has kept, or new one.
fn kept_room(len: usize) -> Vec<u8> {
    // A thread that ends has none.
    let spare = SPARE.try_with(|spare| spare.take(|room| room.capacity() == len));
    let room = spare.ok().flatten();
    room.unwrap_or_else(|| Vec::with_capacity(len))
}

/// The capacity for `len` bytes of which as many as `proven` have come.
pub(super) fn capacity(proven: usize, len: usize) -> usize {
    if proven < PROVEN_LEN {
        FIRST_ROOM.min(len)
    } else {
        len + spare(len)
    }
}

/// Room beyond a frame of `len` bytes, which is never touched and so takes no memory.
///
/// glibc decides by the largest block that was freed how much freed memory it keeps. With
/// room for a request and no more, it gives that of the request and of the reply back at
/// each call, and every call pays for thousands of page faults.
fn spare(len: usize) -> usize {
    const FROM: usize = 128 << 10;
    if len < FROM { 0 } else { len / 2 }
}

/// A large frame, which is read straight to where it stays, or what may become one.
#[derive(Debug)]
pub struct Body {
    /// Its header and its data, as far as they have come.
    bytes: Vec<u8>,
    /// How many bytes that will be.
    len: usize,
    /// Whether the header has said so; before it is only expected.
    known: bool,
}

impl Body {
    /// A frame of `len` bytes that begins with `come`.
    ///
    /// That may claim more than ever comes, unless as much has `proven` to come before.
    pub(super) fn begun(len: usize, come: &[u8], proven: usize) -> Self {
        let proven = if len <= proven { len } else { come.len() };
        let mut bytes = Vec::with_capacity(capacity(proven, len));
        bytes.extend_from_slice(come);
        Self {
            bytes,
            len,
            known: true,
        }
    }

    /// Room for a frame that is expected to have `len` bytes.
    #[inline(never)]
    pub(super) fn expected(len: usize) -> Self {
        Self {
            bytes: kept_room(len),
            len,
            known: false,
        }
    }

    /// The buffer, with room for bytes that are to be read to its end, and how many may be.
    pub fn buffer(&mut self) -> (&mut Vec<u8>, usize) {
        let missing = self.len.saturating_sub(self.bytes.len());
        if !self.known {
            return (&mut self.bytes, missing.min(FIRST_ROOM));
        }
        let room = self.bytes.capacity() - self.bytes.len();
        if room == 0 || (self.bytes.len() >= PROVEN_LEN && room < missing) {
            self.bytes.reserve_exact(missing + spare(self.len));
        }
        (&mut self.bytes, missing)
    }

    /// Whether more is to be read to the buffer, now that something was.
    pub fn goes_on(&mut self) -> bool {
        if !self.known {
            // All of one frame, or its beginning: as much as the header says.
            let header = self.bytes.first_chunk().copied().map(Header::from_bytes);
            let len = header.map_or(0, |header| header.length as usize);
            self.known =
                OWN_BUFFER_LEN < len && len <= MAX_DATA_LEN && self.bytes.len() <= HEADER_LEN + len;
            if self.known {
                self.len = HEADER_LEN + len;
            }
        }
        self.known && !self.is_whole()
    }

    /// Whether nothing has come of what is only expected.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether all of it has come.
    pub(super) fn is_whole(&self) -> bool {
        self.bytes.len() >= self.len
    }

    /// Whether it is a large frame.
    pub(super) fn is_known(&self) -> bool {
        self.known
    }

    /// Leaves the room to the next one that is expected: nothing has come.
    #[inline(never)]
    pub(super) fn leave(self) {
        if self.bytes.capacity() <= KEPT_LEN {
            let _ = SPARE.try_with(|spare| spare.put(self.bytes));
        }
    }

    /// What has come.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}
