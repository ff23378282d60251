//! From frames to bytes.

use std::io::IoSlice;

use bytes::Buf;

use super::spare::Spares;
use crate::codec::{Buffer, CodecError, Mark, Payload, SHARED_LEN};
use crate::frame::{Flags, HEADER_LEN, Header, MAX_DATA_LEN, MessageType, StreamId};

/// An emptied buffer above this is given back.
const KEPT_LEN: usize = 256 << 10;

thread_local! {
    static SPARE: Spares<Box<Queue>> = const { Spares::new() };
}

/// Frames that wait to be written.
///
/// Where none wait it has no memory: that goes round among the connections of a thread.
#[derive(Debug, Default)]
pub struct Output(Option<Box<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    buffer: Buffer,
    /// How much of the buffer's run has been written. Large pieces are dropped as they are.
    written: usize,
}

/// A queue that this thread has kept, or a new one.
#[inline(never)]
fn spare() -> Box<Queue> {
    // A thread that ends has none.
    let spare = SPARE.try_with(|spare| spare.take(|_| true));
    spare.ok().flatten().unwrap_or_default()
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

/// How much there is, or may be, of what is queued.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Size {
    /// Bytes, wherever they lie.
    pub bytes: usize,
    /// Those of them that were copied.
    pub copied: usize,
}

impl Size {
    /// What is left of it; `None` if one of both is used up.
    pub(crate) fn without(self, other: Self) -> Option<Self> {
        let left = Self {
            bytes: self.bytes.checked_sub(other.bytes)?,
            copied: self.copied.checked_sub(other.copied)?,
        };
        (left.bytes > 0 && left.copied > 0).then_some(left)
    }
}

impl Output {
    /// Drops all that waits.
    #[inline(never)]
    pub(crate) fn discard(&mut self) {
        *self = Self::default();
    }

    /// How many bytes wait.
    pub fn len(&self) -> usize {
        let len = |queue: &Queue| queue.buffer.len() - queue.written;
        self.0.as_deref().map_or(0, len)
    }

    /// How many of them were copied here.
    pub(super) fn copied(&self) -> usize {
        let copied = |queue: &Queue| queue.buffer.run.len() - queue.written;
        self.0.as_deref().map_or(0, copied)
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
        let header = Header {
            length: data.len as u32,
            stream_id,
            message_type,
            flags,
        };
        let mut all = AllOrNothing::begin(self.buffer());
        let buffer = &mut *all.buffer;
        if data.len < SHARED_LEN {
            buffer.run.reserve(HEADER_LEN + data.len);
        }
        buffer.run.extend_from_slice(&header.to_bytes());
        (data.before)(&mut buffer.run);
        let before = buffer.len();
        data.payload.write(buffer);
        let written = buffer.len() - before;
        check_len(written, data.payload_len)?;
        (data.after)(&mut buffer.run);
        all.is_all = true;
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
        let run = &mut self.buffer().run;
        run.extend_from_slice(&header.to_bytes());
        data(run);
    }

    /// Takes the frames of another queue, of which none have been written.
    pub(super) fn append(&mut self, frames: &mut Self) {
        if self.is_empty() {
            std::mem::swap(self, frames);
        } else if let Some(queue) = &mut frames.0 {
            self.buffer().append(&mut queue.buffer);
        }
        frames.give_back();
    }

    fn buffer(&mut self) -> &mut Buffer {
        &mut self.0.get_or_insert_with(spare).buffer
    }

    /// All that waits, where it is one piece.
    pub fn as_slice(&self) -> Option<&[u8]> {
        let queue = self.0.as_deref()?;
        let is_one = queue.buffer.large.is_empty();
        is_one.then(|| &queue.buffer.run[queue.written..])
    }

    /// The bytes to be written next, in order; says how many of `slices` it has set.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let Some(Queue { buffer, written }) = self.0.as_deref() else {
            return 0;
        };
        let (mut used, mut at) = (0, *written);
        let runs = buffer.large.iter().map(|(end, bytes)| (*end, &bytes[..]));
        for (end, large) in runs.chain([(buffer.run.len(), &[][..])]) {
            for bytes in [&buffer.run[at..end], large] {
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

    /// Takes the data frames of a stream back; says whether the last of them was among these.
    /// Nothing may have been written yet.
    pub(super) fn take_back(&mut self, stream_id: StreamId) -> bool {
        let Some(queue) = &mut self.0 else {
            return false;
        };
        debug_assert_eq!(queue.written, 0);
        let Buffer { run, mut large, .. } = std::mem::take(&mut queue.buffer);
        let kept = &mut queue.buffer;
        let (mut at, mut is_last) = (0, false);
        while let Some(header) = run[at..].first_chunk::<HEADER_LEN>() {
            let header = Header::from_bytes(*header);
            let is_kept = header.stream_id != stream_id || header.message_type != MessageType::DATA;
            let mut end = at + HEADER_LEN + header.length as usize;
            while let Some((place, bytes)) = large.pop_front() {
                if place + bytes.len() > end {
                    large.push_front((place, bytes));
                    break;
                }
                end -= bytes.len();
                if is_kept {
                    kept.large_len += bytes.len();
                    kept.large.push_back((kept.run.len() + place - at, bytes));
                }
            }
            if is_kept {
                kept.put_slice(&run[at..end]);
            } else {
                is_last = header.flags.contains(Flags::REMOTE_CLOSED);
            }
            at = end;
        }
        if self.is_empty() {
            self.give_back();
        }
        is_last
    }

    /// Says that `len` bytes have been written.
    pub fn advance(&mut self, len: usize) {
        if len == self.len() {
            self.give_back();
        } else {
            self.advance_in(len);
        }
    }

    /// Says that `len` bytes have been written, and some have not.
    fn advance_in(&mut self, mut len: usize) {
        let Some(Queue { buffer, written }) = self.0.as_deref_mut() else {
            return;
        };
        while len > 0 {
            let end = buffer
                .large
                .front()
                .map_or(buffer.run.len(), |(end, _)| *end);
            let run = len.min(end - *written);
            *written += run;
            len -= run;
            let Some((_, large)) = buffer.large.front_mut().filter(|_| *written == end) else {
                break;
            };
            let part = len.min(large.len());
            large.advance(part);
            buffer.large_len -= part;
            len -= part;
            if large.is_empty() {
                buffer.large.pop_front();
            }
        }
    }

    /// Leaves the memory to the thread's other connections.
    fn give_back(&mut self) {
        let Some(mut queue) = self.0.take() else {
            return;
        };
        queue.written = 0;
        queue.buffer.run.clear();
        queue.buffer.large.clear();
        queue.buffer.large_len = 0;
        if queue.buffer.run.capacity() > KEPT_LEN {
            queue.buffer.run = Vec::new();
        }
        let _ = SPARE.try_with(|spare| spare.put(queue));
    }
}

/// Takes the beginning of a frame back whose payload fails to write itself, or panics.
struct AllOrNothing<'a> {
    buffer: &'a mut Buffer,
    beginning: Mark,
    is_all: bool,
}

impl<'a> AllOrNothing<'a> {
    fn begin(buffer: &'a mut Buffer) -> Self {
        Self {
            beginning: buffer.mark(),
            buffer,
            is_all: false,
        }
    }
}

impl Drop for AllOrNothing<'_> {
    fn drop(&mut self) {
        if !self.is_all {
            self.buffer.truncate(&self.beginning);
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
    use bytes::Bytes;

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
        let payloads = [0, 5, SHARED_LEN, SHARED_LEN + 1, 1, 150_000]
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
    fn what_is_taken_back_takes_its_large_pieces_with_it() {
        struct Pieces(Vec<Bytes>);
        impl Payload for Pieces {
            fn encoded_len(&self) -> Result<usize, CodecError> {
                Ok(self.0.iter().map(Bytes::len).sum())
            }
            fn write(&self, buffer: &mut Buffer) {
                self.0.iter().for_each(|piece| buffer.put_bytes(piece));
            }
        }
        let piece = |len: usize, byte: u8| Bytes::from(vec![byte; len]);
        let put = |output: &mut Output, id: u32, pieces: &Pieces| {
            let payload_len = pieces.encoded_len().unwrap();
            let data = Data {
                len: payload_len,
                before: |_: &mut Vec<u8>| {},
                payload: pieces,
                payload_len,
                after: |_: &mut Vec<u8>| {},
            };
            let id = StreamId::new(id);
            output.put(id, MessageType::DATA, Flags::NONE, data)
        };
        let frames = [
            Pieces(vec![
                piece(SHARED_LEN, 1),
                piece(SHARED_LEN, 2),
                piece(3, 3),
            ]),
            Pieces(vec![]),
            Pieces(vec![piece(5, 4), piece(2 * SHARED_LEN, 5)]),
            Pieces(vec![
                piece(7, 6),
                piece(SHARED_LEN, 7),
                piece(SHARED_LEN, 8),
            ]),
            Pieces(vec![piece(9, 9)]),
        ];
        for taken in [1, 3] {
            let (mut all, mut kept) = (Output::default(), Output::default());
            for (n, frame) in frames.iter().enumerate() {
                let id = [1, 3][n % 2];
                put(&mut all, id, frame).unwrap();
                if id != taken {
                    put(&mut kept, id, frame).unwrap();
                }
            }
            all.take_back(StreamId::new(taken));
            let bytes = |output: &Output| {
                let mut slices = [IoSlice::new(&[]); 16];
                let used = output.slices(&mut slices);
                slices[..used]
                    .iter()
                    .flat_map(|s| s.to_vec())
                    .collect::<Vec<_>>()
            };
            assert_eq!(all.len(), kept.len());
            assert!(bytes(&all) == bytes(&kept));
        }
    }

    #[test]
    fn a_message_that_panics_queues_nothing() {
        struct Panics;
        impl Payload for Panics {
            fn encoded_len(&self) -> Result<usize, CodecError> {
                Ok(SHARED_LEN + 1)
            }
            fn write(&self, buffer: &mut Buffer) {
                buffer.put_bytes(&Bytes::from(vec![0; SHARED_LEN]));
                panic!("in the middle of a message");
            }
        }
        let mut output = Output::default();
        put(&mut output, &Bytes::from_static(b"first"));
        let len = output.len();
        let put = std::panic::AssertUnwindSafe(|| {
            let data = Data {
                len: SHARED_LEN + 1,
                before: |_: &mut Vec<u8>| {},
                payload: &Panics,
                payload_len: SHARED_LEN + 1,
                after: |_: &mut Vec<u8>| {},
            };
            output.put(StreamId::FIRST, MessageType::DATA, Flags::NONE, data)
        });
        assert!(std::panic::catch_unwind(put).is_err());
        assert_eq!(output.len(), len);
        assert!(output.as_slice().is_some());
    }

    #[test]
    fn a_codec_that_lies_about_its_length_queues_nothing() {
        struct Liar(usize);
        impl Payload for Liar {
            fn encoded_len(&self) -> Result<usize, CodecError> {
                Ok(self.0)
            }
            fn write(&self, buffer: &mut Buffer) {
                buffer.put_slice(&[0]);
            }
        }
        let mut output = Output::default();
        put(&mut output, &Bytes::from_static(b"first"));
        let len = output.len();
        for said in [0, 2, SHARED_LEN] {
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
