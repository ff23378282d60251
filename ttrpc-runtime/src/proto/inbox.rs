//! Messages that wait for their reader.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

use crate::frame::{HEADER_LEN, Header};

/// Messages of one stream that have come in one go, and are taken out one by one: they stay
/// together as they came, so that many small ones are handed on like one.
#[derive(Debug)]
pub struct Run {
    /// The next message, and the frames of those behind it.
    rest: Bytes,
    /// How long the next one is.
    len: u32,
    /// How many there are.
    left: u32,
}

impl Run {
    /// A single message.
    pub fn one(message: Bytes) -> Self {
        Self {
            len: message.len() as u32,
            left: 1,
            rest: message,
        }
    }

    /// The messages of so many frames, which are whole and of one stream.
    pub(super) fn of_frames(mut frames: Bytes, len: u32, left: u32) -> Self {
        frames.advance(HEADER_LEN);
        Self {
            rest: frames,
            len,
            left,
        }
    }
}

impl Iterator for Run {
    type Item = Bytes;

    #[inline(always)]
    fn next(&mut self) -> Option<Bytes> {
        self.left = self.left.checked_sub(1)?;
        if self.left == 0 {
            // The last one takes the rest over, which needs no second reference.
            return Some(std::mem::take(&mut self.rest));
        }
        let message = self.rest.split_to(self.len as usize);
        self.len = Header::from_bytes(*self.rest.first_chunk()?).length;
        self.rest.advance(HEADER_LEN);
        Some(message)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for Run {}

/// Messages that wait for their reader, and the memory that they keep in use
/// (PROTOCOL.md §9.2).
#[derive(Debug, Default)]
pub(super) struct Inbox {
    runs: VecDeque<Run>,
    memory: usize,
    /// How much of the memory is that of chunks, of which messages are slices.
    chunks: usize,
    /// The last chunk that a message was a slice of.
    chunk: u64,
}

/// What messages take in the queue, however short they are.
const PLACE: usize = size_of::<Run>();

impl Inbox {
    /// What slices of the chunk of that number and size add to the memory of chunks.
    fn added(&self, (chunk, size): (u64, usize)) -> usize {
        if self.chunks > 0 && self.chunk == chunk {
            0
        } else {
            size
        }
    }

    /// Whether no more than `most` bytes are in use with slices of such a chunk, however
    /// many.
    pub fn fits(&self, chunk: (u64, usize), most: usize) -> bool {
        self.memory + PLACE + self.added(chunk) <= most
    }

    /// Adds messages, slices of the chunk of that number and size. Says whether no more than
    /// `most` bytes are in use.
    pub fn push(&mut self, run: Run, chunk: (u64, usize), most: usize) -> bool {
        if self.fits(chunk, most) || self.runs.is_empty() {
            let added = self.added(chunk);
            self.chunk = chunk.0;
            self.chunks += added;
            self.memory += PLACE + added;
            self.runs.push_back(run);
        } else {
            // A chunk is too much: the messages are copied together, unless that has
            // been done and gained little; then this one is copied alone.
            if self.chunks > self.memory / 2 {
                self.compact();
            }
            self.memory += PLACE + run.rest.len();
            let rest = Bytes::copy_from_slice(&run.rest);
            self.runs.push_back(Run { rest, ..run });
        }
        self.memory <= most || self.runs.len() == 1
    }

    /// Copies the messages together, so that they keep nothing alive but themselves.
    #[cold]
    #[inline(never)]
    fn compact(&mut self) {
        let mut bytes = Vec::new();
        for run in &self.runs {
            bytes.extend_from_slice(&run.rest);
        }
        let mut together = Bytes::from(bytes);
        self.memory = together.len() + self.runs.len() * PLACE;
        for run in &mut self.runs {
            run.rest = together.split_to(run.rest.len());
        }
        self.chunks = 0;
    }

    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Moves all messages to the end of `into`.
    pub fn take(&mut self, into: &mut VecDeque<Run>) {
        (self.memory, self.chunks) = (0, 0);
        if into.is_empty() {
            std::mem::swap(&mut self.runs, into);
        } else {
            while let Some(run) = self.runs.pop_front() {
                into.push_back(run);
            }
        }
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Flags, MessageType, StreamId};

    #[test]
    fn a_run_is_its_messages_in_order_also_when_it_was_copied() {
        let frame = |n: u8| {
            let header = Header {
                length: u32::from(n),
                stream_id: StreamId::FIRST,
                message_type: MessageType::DATA,
                flags: Flags::NONE,
            };
            [&header.to_bytes()[..], &vec![n; usize::from(n)]].concat()
        };
        let lens = [0, 3, 0, 0, 200, 1];
        let frames = Bytes::from(lens.map(frame).concat());
        let run = || Run::of_frames(frames.clone(), lens[0].into(), lens.len() as u32);
        let mut inbox = Inbox::default();
        assert!(inbox.push(run(), (1, 1000), 2000));
        assert!(inbox.push(run(), (1, 1000), 2000));
        assert!(inbox.push(Run::one(Bytes::from_static(b"x")), (2, 1000), 2000));
        assert!(inbox.memory < 1000, "they were copied");
        let mut taken = VecDeque::new();
        inbox.take(&mut taken);
        assert_eq!(
            taken.iter().map(Run::len).sum::<usize>(),
            2 * lens.len() + 1
        );
        let mut taken = taken.into_iter().flatten();
        for n in [lens, lens].concat() {
            assert_eq!(taken.next().unwrap(), vec![n; usize::from(n)]);
        }
        assert_eq!(taken.next().unwrap(), "x");
        assert!(taken.next().is_none());
    }

    #[test]
    fn an_inbox_is_charged_for_the_chunks_that_it_keeps() {
        let mut inbox = Inbox::default();
        let chunk = Bytes::from(vec![7; 1000]);
        assert!(inbox.push(Run::one(chunk.slice(0..10)), (1, 1000), 1500));
        assert!(inbox.push(Run::one(chunk.slice(10..20)), (1, 1000), 1500));
        assert_eq!(inbox.memory, 1000 + 2 * PLACE);
        // A second chunk would be too much: the messages are copied together instead.
        assert!(inbox.push(Run::one(chunk.slice(20..40)), (2, 1000), 1500));
        assert_eq!(inbox.memory, 40 + 3 * PLACE);
        let mut taken = VecDeque::new();
        inbox.take(&mut taken);
        let taken: Vec<_> = taken.into_iter().flatten().collect();
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
        assert!(inbox.push(Run::one(Bytes::from(vec![0; 500])), (1, 500), 100));
        assert!(!inbox.push(Run::one(Bytes::from_static(b"x")), (2, 1), 100));
    }

    #[test]
    fn empty_messages_are_not_free() {
        let mut inbox = Inbox::default();
        let most = 100 * PLACE;
        let fits = (0..1000)
            .take_while(|i| inbox.push(Run::one(Bytes::new()), (*i, 10_000), most))
            .count();
        assert_eq!(fits, 100);
    }
}
