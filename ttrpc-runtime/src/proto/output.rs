//! From frames to bytes.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

use crate::codec::{CodecError, Payload};
use crate::frame::{Flags, HEADER_LEN, Header, MAX_DATA_LEN, MessageType, StreamId};

/// A payload from this on is encoded into a buffer of its own and written from there:
/// what is behind it need not move when it comes or goes.
const OWN_BUFFER_LEN: usize = 96 << 10;

/// An emptied buffer above this is given back.
const KEPT_LEN: usize = 256 << 10;

/// How many emptied buffers a thread keeps for its connections: an idle one has none.
const KEPT: usize = 2;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Frames that wait to be written: one run of bytes with large payloads between.
#[derive(Debug, Default)]
pub struct Output {
    run: Vec<u8>,
    /// How much of the run has been written.
    written: usize,
    /// Large payloads, each with the place in the run that it comes before.
    large: VecDeque<(usize, Bytes)>,
    large_len: usize,
}

/// The parts of a frame's data, in order.
pub(super) struct Data<'a, B, A> {
    /// Bytes of all three parts.
    pub len: usize,
    pub before: B,
    pub payload: &'a dyn Payload,
    pub payload_len: usize,
    pub after: A,
}

impl Output {
    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.run.len() - self.written + self.large_len
    }

    /// Whether none wait.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Queues a frame around a payload, or nothing at all.
    ///
    /// # Errors
    /// The payload wrote another length than it had said.
    pub(super) fn put<B, A>(
        &mut self,
        stream_id: StreamId,
        message_type: MessageType,
        flags: Flags,
        data: Data<'_, B, A>,
    ) -> Result<(), CodecError>
    where
        B: FnOnce(&mut Vec<u8>),
        A: FnOnce(&mut Vec<u8>),
    {
        debug_assert!(data.len <= MAX_DATA_LEN);
        self.borrow_buffer();
        let header = Header {
            length: data.len as u32,
            stream_id,
            message_type,
            flags,
        };
        let beginning = self.run.len();
        let own = if data.payload_len < OWN_BUFFER_LEN {
            0
        } else {
            data.payload_len
        };
        self.run.reserve(HEADER_LEN + data.len - own);
        if data.payload_len >= OWN_BUFFER_LEN {
            let mut payload = Vec::with_capacity(data.payload_len);
            data.payload.write(&mut payload);
            check_len(payload.len(), data.payload_len)?;
            self.run.extend_from_slice(&header.to_bytes());
            (data.before)(&mut self.run);
            self.large_len += payload.len();
            self.large.push_back((self.run.len(), payload.into()));
        } else {
            self.run.extend_from_slice(&header.to_bytes());
            (data.before)(&mut self.run);
            let before = self.run.len();
            data.payload.write(&mut self.run);
            let written = self.run.len() - before;
            check_len(written, data.payload_len).inspect_err(|_| self.run.truncate(beginning))?;
        }
        (data.after)(&mut self.run);
        Ok(())
    }

    /// Queues a frame whose data is written by `data`: `len` bytes.
    pub(super) fn put_plain(
        &mut self,
        stream_id: StreamId,
        message_type: MessageType,
        flags: Flags,
        len: usize,
        data: impl FnOnce(&mut Vec<u8>),
    ) {
        let header = Header {
            length: len as u32,
            stream_id,
            message_type,
            flags,
        };
        self.borrow_buffer();
        self.run.extend_from_slice(&header.to_bytes());
        data(&mut self.run);
    }

    /// Takes a buffer that the thread has kept, if there is none.
    fn borrow_buffer(&mut self) {
        if self.run.capacity() == 0 {
            // A thread that ends has none.
            let spare = SPARE.try_with(|spare| spare.borrow_mut().pop());
            self.run = spare.ok().flatten().unwrap_or_default();
        }
    }

    /// The bytes to be written next, in order; says how many of `slices` it has set.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let (mut used, mut at) = (0, self.written);
        let runs = self.large.iter().map(|(end, bytes)| (*end, &bytes[..]));
        for (end, large) in runs.chain([(self.run.len(), &[][..])]) {
            for bytes in [&self.run[at..end], large] {
                if !bytes.is_empty() {
                    let Some(slice) = slices.get_mut(used) else {
                        return used;
                    };
                    *slice = IoSlice::new(bytes);
                    used += 1;
                }
            }
            at = end;
        }
        used
    }

    /// Takes the data frames of a stream back. Nothing may have been written yet.
    pub(super) fn take_back(&mut self, stream_id: StreamId) {
        debug_assert_eq!(self.written, 0);
        let mut kept = Self::default();
        let mut at = 0;
        while let Some(header) = self.run[at..].first_chunk::<HEADER_LEN>() {
            let header = Header::from_bytes(*header);
            let mut end = at + HEADER_LEN + header.length as usize;
            let is_its = |(place, bytes): &&(usize, Bytes)| place + bytes.len() <= end;
            let large = self
                .large
                .front()
                .filter(is_its)
                .map(|(_, bytes)| bytes.len());
            let large = large.and_then(|len| {
                end -= len;
                self.large.pop_front()
            });
            if header.stream_id != stream_id || header.message_type != MessageType::DATA {
                if let Some((place, bytes)) = large {
                    kept.large_len += bytes.len();
                    kept.large.push_back((kept.run.len() + place - at, bytes));
                }
                kept.run.extend_from_slice(&self.run[at..end]);
            }
            at = end;
        }
        *self = kept;
    }

    /// Says that `len` bytes have been written.
    pub fn advance(&mut self, mut len: usize) {
        while len > 0 {
            let end = self.large.front().map_or(self.run.len(), |(end, _)| *end);
            let run = len.min(end - self.written);
            self.written += run;
            len -= run;
            let Some((_, large)) = self.large.front_mut().filter(|_| self.written == end) else {
                break;
            };
            let part = len.min(large.len());
            large.advance(part);
            self.large_len -= part;
            len -= part;
            if large.is_empty() {
                self.large.pop_front();
            }
        }
        if self.is_empty() {
            self.written = 0;
            self.run.clear();
            if self.run.capacity() > KEPT_LEN {
                self.run = Vec::new();
            }
        }
    }

    /// Gives the memory of an empty buffer back, for the thread's other connections.
    pub fn release(&mut self) {
        if !self.is_empty() {
            return;
        }
        let run = std::mem::take(self).run;
        if run.capacity() > 0 {
            let _ = SPARE.try_with(|spare| {
                let mut spare = spare.borrow_mut();
                if spare.len() < KEPT {
                    spare.push(run);
                }
            });
        }
    }
}

fn check_len(written: usize, said: usize) -> Result<(), CodecError> {
    if written == said {
        return Ok(());
    }
    Err(CodecError::new(format!(
        "a message said that it takes {said} bytes and wrote {written}: its codec is broken"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(output: &mut Output, payload: &Bytes) {
        let data = Data {
            len: payload.len() + 2,
            before: |run: &mut Vec<u8>| run.push(b'<'),
            payload,
            payload_len: payload.len(),
            after: |run: &mut Vec<u8>| run.push(b'>'),
        };
        output
            .put(StreamId::FIRST, MessageType::DATA, Flags::NONE, data)
            .unwrap();
    }

    #[test]
    fn bytes_leave_in_order_however_they_are_written() {
        let payloads = [0, 5, OWN_BUFFER_LEN, OWN_BUFFER_LEN + 1, 1, 150_000]
            .map(|len| Bytes::from((0..len).map(|i| (i % 13) as u8).collect::<Vec<_>>()));
        for step in [997, 20_000, usize::MAX] {
            for most in [1, 2, 16] {
                let (mut output, mut expected, mut got) =
                    (Output::default(), Vec::new(), Vec::new());
                for payload in &payloads {
                    put(&mut output, payload);
                    let header = Header {
                        length: payload.len() as u32 + 2,
                        stream_id: StreamId::FIRST,
                        message_type: MessageType::DATA,
                        flags: Flags::NONE,
                    };
                    expected.extend(header.to_bytes());
                    expected.extend([b"<", &payload[..], b">"].concat());
                }
                while !output.is_empty() {
                    let mut slices = vec![IoSlice::new(&[]); most];
                    let used = output.slices(&mut slices);
                    assert!(used > 0);
                    let bytes: Vec<u8> = slices[..used].iter().flat_map(|s| s.to_vec()).collect();
                    let n = step.min(bytes.len());
                    got.extend_from_slice(&bytes[..n]);
                    output.advance(n);
                    assert_eq!(output.len(), expected.len() - got.len());
                }
                assert!(got == expected);
            }
        }
    }

    #[test]
    fn a_codec_that_lies_about_its_length_queues_nothing() {
        struct Liar(usize);
        impl Payload for Liar {
            fn encoded_len(&self) -> Result<usize, CodecError> {
                Ok(self.0)
            }
            fn write(&self, buffer: &mut Vec<u8>) {
                buffer.push(0);
            }
        }
        let mut output = Output::default();
        put(&mut output, &Bytes::from_static(b"first"));
        let len = output.len();
        for said in [0, 2, OWN_BUFFER_LEN] {
            let data = Data {
                len: said,
                before: |_: &mut Vec<u8>| {},
                payload: &Liar(said),
                payload_len: said,
                after: |_: &mut Vec<u8>| {},
            };
            output
                .put(StreamId::FIRST, MessageType::DATA, Flags::NONE, data)
                .unwrap_err();
            assert_eq!(output.len(), len);
        }
    }
}
