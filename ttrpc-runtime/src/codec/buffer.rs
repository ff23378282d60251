//! Where messages are encoded to.

use std::collections::VecDeque;

use bytes::Bytes;

/// Shared bytes from this on stay where they are: what is sent are they themselves.
pub(crate) const SHARED_LEN: usize = 4 << 10;

/// What is written by a function is from this on written to a `Vec` of its own: what is
/// behind it need not move when it comes or goes.
const OWN_LEN: usize = 96 << 10;

/// Encoded bytes, in order: one run of them with large pieces between, which are not copied.
#[derive(Debug, Default)]
pub struct Buffer {
    pub(crate) run: Vec<u8>,
    /// Large pieces, each with the place in the run that it comes before.
    pub(crate) large: VecDeque<(usize, Bytes)>,
    pub(crate) large_len: usize,
}

/// How far a buffer was filled at some time.
pub(crate) struct Mark {
    run: usize,
    large: usize,
    large_len: usize,
}

impl Buffer {
    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.run.len() + self.large_len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends a copy of bytes.
    pub fn put_slice(&mut self, bytes: &[u8]) {
        self.run.extend_from_slice(bytes);
    }

    /// Appends shared bytes: from 4 KiB on they are not copied but kept until they have
    /// been sent.
    pub fn put_bytes(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARED_LEN {
            self.put_slice(bytes);
        } else {
            self.put_large(bytes.clone());
        }
    }

    /// Appends `len` bytes that a function writes to a `Vec`, behind what may be in there.
    pub fn put_with(&mut self, len: usize, write: impl FnOnce(&mut Vec<u8>)) {
        if len < OWN_LEN {
            self.run.reserve(len);
            write(&mut self.run);
        } else {
            let mut bytes = Vec::with_capacity(len);
            write(&mut bytes);
            self.put_large(bytes.into());
        }
    }

    pub(crate) fn put_large(&mut self, bytes: Bytes) {
        self.large_len += bytes.len();
        self.large.push_back((self.run.len(), bytes));
    }

    /// Appends all of another buffer, which is then empty.
    pub(crate) fn append(&mut self, other: &mut Self) {
        let at = self.run.len();
        self.run.append(&mut other.run);
        while let Some((place, bytes)) = other.large.pop_front() {
            self.large.push_back((at + place, bytes));
        }
        self.large_len += std::mem::take(&mut other.large_len);
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark {
            run: self.run.len(),
            large: self.large.len(),
            large_len: self.large_len,
        }
    }

    /// Drops all that was appended since.
    pub(crate) fn truncate(&mut self, mark: &Mark) {
        self.run.truncate(mark.run);
        self.large.truncate(mark.large);
        self.large_len = mark.large_len;
    }

    /// All of it in one piece.
    pub(crate) fn into_bytes(self) -> Bytes {
        if self.large.is_empty() {
            return self.run.into();
        }
        let mut bytes = Vec::with_capacity(self.len());
        let mut at = 0;
        for (place, large) in &self.large {
            bytes.extend_from_slice(&self.run[at..*place]);
            bytes.extend_from_slice(large);
            at = *place;
        }
        bytes.extend_from_slice(&self.run[at..]);
        bytes.into()
    }
}
