//! From bytes to frames (PROTOCOL.md §2.5, §9.4).

use bytes::{Buf, Bytes};

use super::inbox::Run;
use crate::error::{Error, Result};
use crate::frame::{Flags, HEADER_LEN, Header, MAX_DATA_LEN, MessageType, StreamId};

/// A frame above this that has not come whole is read into a buffer of its own instead
/// of being put together from chunks.
const OWN_BUFFER_LEN: usize = 32 << 10;

/// How much of a frame has to have come before its buffer gets room for all of it: what
/// the header claims is worth nothing.
const PROVEN_LEN: usize = 32 << 10;

/// How much room there is before that.
const FIRST_ROOM: usize = 68 << 10;

/// How much is read at once behind a large frame: if another one follows, the rest of that
/// is read to where it stays, and not copied there.
const READ_BEHIND_LARGE: usize = 1 << 10;

/// The capacity for a frame of `len` bytes of which `come` have come.
fn capacity(come: usize, len: usize) -> usize {
    if come < PROVEN_LEN {
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

/// Puts frames together from what was read.
#[derive(Debug, Default)]
pub struct Decoder {
    /// What was read and is not decoded.
    chunk: Bytes,
    /// How long the chunk was when it was read, and which it is.
    chunk_len: usize,
    chunk_number: u64,
    /// A large frame, and its data when that is not being read.
    large: Option<Box<(Header, Option<Body>)>>,
    /// Bytes of an oversize frame that are yet to be dropped.
    skip: usize,
    /// Whether the last frame was a large one.
    after_large: bool,
    /// How long the longest of the large ones was.
    longest: usize,
}

/// The data of a large frame, which is read straight to where it stays.
#[derive(Debug)]
pub struct Body {
    data: Vec<u8>,
    len: usize,
}

impl Body {
    /// The data of a frame of `len` bytes that begins with `come`.
    ///
    /// That may claim more than ever comes, unless as much has `proven` to come before.
    fn begun(len: usize, come: &[u8], proven: usize) -> Self {
        let proven = if len <= proven { len } else { come.len() };
        let mut data = Vec::with_capacity(capacity(proven, len));
        data.extend_from_slice(come);
        Self { data, len }
    }

    /// The buffer, with room for bytes that are to be read to its end, and how many
    /// are missing: no more may be read.
    pub fn buffer(&mut self) -> (&mut Vec<u8>, usize) {
        let missing = self.missing();
        let room = self.data.capacity() - self.data.len();
        if room == 0 || (self.data.len() >= PROVEN_LEN && room < missing) {
            self.data.reserve_exact(missing + spare(self.len));
        }
        (&mut self.data, missing)
    }

    /// How many bytes are missing.
    pub fn missing(&self) -> usize {
        self.len.saturating_sub(self.data.len())
    }
}

/// What the decoder finds.
#[derive(Debug)]
pub enum Incoming {
    /// A frame with its data.
    Frame(Frame),
    /// The header of a frame that is over the limit, whose data is dropped.
    TooLarge(Header),
}

/// A frame that has been received.
#[derive(Debug)]
pub struct Frame {
    /// Its header.
    pub header: Header,
    /// Its data, a slice of what was read.
    pub data: Bytes,
    /// Which read it came with, and how many bytes of memory it keeps in use.
    pub(super) memory: (u64, usize),
}

impl Decoder {
    /// The large frame that is to be read now, if one is; to be given back by
    /// [`push_body`](Self::push_body) once nothing is missing.
    pub fn take_body(&mut self) -> Option<Body> {
        self.large.as_deref_mut()?.1.take()
    }

    /// How much is to be read at once where there is no large frame: `most`, or less.
    pub(super) fn read_len(&self, most: usize) -> usize {
        if self.after_large {
            READ_BEHIND_LARGE.min(most)
        } else {
            most
        }
    }

    /// Takes what was read of a large frame.
    pub fn push_body(&mut self, body: Body) {
        if let Some((_, place)) = self.large.as_deref_mut() {
            *place = Some(body);
        }
    }

    /// Takes what was read.
    pub fn push(&mut self, mut read: &[u8]) {
        self.after_large = false;
        self.chunk = if self.chunk.is_empty() {
            let skipped = self.skip.min(read.len());
            self.skip -= skipped;
            read = &read[skipped..];
            if let Some((frames, header, data)) = split_large(read) {
                let body = Body::begun(header.length as usize, data, self.longest);
                self.large = Some(Box::new((header, Some(body))));
                read = frames;
            }
            Bytes::copy_from_slice(read)
        } else {
            [&self.chunk[..], read].concat().into()
        };
        self.chunk_len = self.chunk.len();
        self.chunk_number += 1;
    }

    /// Whether there may be a frame that has come whole.
    pub(super) fn has_frames(&self) -> bool {
        let is_whole = |(_, body): &(Header, Option<Body>)| {
            body.as_ref().is_some_and(|body| body.missing() == 0)
        };
        self.chunk.len() >= HEADER_LEN || self.large.as_deref().is_some_and(is_whole)
    }

    /// Whether a frame has begun and not ended.
    pub fn is_mid_frame(&self) -> bool {
        self.large.is_some() || self.skip > 0 || !self.chunk.is_empty()
    }

    /// The next frame, if it has come whole.
    ///
    /// # Errors
    /// The reserved byte is set: what comes are no frames.
    pub fn decode(&mut self) -> Result<Option<Incoming>> {
        match self.next_whole() {
            Some(frame) => Ok(Some(Incoming::Frame(frame))),
            None => match self.chunk.first_chunk() {
                Some(header) => self.decode_part(Header::from_bytes(*header)),
                None => {
                    self.compact();
                    Ok(self.take_large().map(Incoming::Frame))
                }
            },
        }
    }

    /// The stream of the next frame, if that is a message with more to come.
    #[inline(always)]
    pub(super) fn begins_run(&self) -> Option<StreamId> {
        let header = Header::from_bytes(*self.chunk.first_chunk()?);
        let is_message = header.message_type == MessageType::DATA && header.flags == Flags::NONE;
        is_message.then_some(header.stream_id)
    }

    /// The number of the chunk that is being decoded, and how many bytes of memory a slice
    /// of it keeps in use.
    pub(super) fn chunk(&self) -> (u64, usize) {
        (self.chunk_number, self.chunk_len)
    }

    /// The next frame and those behind it that differ in nothing but their data, as far as
    /// they lie whole in what was read.
    pub(super) fn next_run(&mut self) -> Option<Run> {
        let (mut end, mut count, mut first) = (0, 0, 0);
        while let Some(header) = self.chunk[end..].first_chunk::<HEADER_LEN>() {
            let len = Header::from_bytes(*header).length;
            let is_like = header[4..] == self.chunk[4..HEADER_LEN];
            let is_whole = self.chunk.len() - end >= HEADER_LEN + len as usize;
            if !is_like || !is_whole || len as usize > MAX_DATA_LEN {
                break;
            }
            if count == 0 {
                first = len;
            }
            end += HEADER_LEN + len as usize;
            count += 1;
        }
        if count == 0 {
            return None;
        }
        Some(Run::of_frames(self.split_chunk(end), first, count))
    }

    /// The beginning of the chunk, of which the last frame takes it over: that needs no
    /// second reference.
    #[inline(always)]
    fn split_chunk(&mut self, len: usize) -> Bytes {
        if len == self.chunk.len() {
            std::mem::take(&mut self.chunk)
        } else {
            self.chunk.split_to(len)
        }
    }

    /// The next frame, if it lies whole in what was read.
    // To hand a frame on from function to function takes longer than to find it.
    #[inline(always)]
    pub(super) fn next_whole(&mut self) -> Option<Frame> {
        let header = Header::from_bytes(*self.chunk.first_chunk()?);
        let len = header.length as usize;
        if len > MAX_DATA_LEN || self.chunk.len() < HEADER_LEN + len {
            return None;
        }
        let memory = self.chunk();
        let mut data = self.split_chunk(HEADER_LEN + len);
        data.advance(HEADER_LEN);
        Some(Frame {
            header,
            data,
            memory,
        })
    }

    /// Takes note of a frame that has not come whole, or never will.
    fn decode_part(&mut self, header: Header) -> Result<Option<Incoming>> {
        let len = header.length as usize;
        if header.length >> 24 != 0 {
            return Err(Error::protocol(format!(
                "a frame begins with a length of {:#010x}, whose first byte is reserved and has \
                 to be 0: the peer does not speak ttrpc",
                header.length
            )));
        }
        if len > MAX_DATA_LEN {
            self.chunk.advance(HEADER_LEN);
            let skipped = len.min(self.chunk.len());
            self.chunk.advance(skipped);
            self.skip = len - skipped;
            return Ok(Some(Incoming::TooLarge(header)));
        }
        if len > OWN_BUFFER_LEN {
            let chunk = std::mem::take(&mut self.chunk);
            let body = Body::begun(len, &chunk[HEADER_LEN..], self.longest);
            self.large = Some(Box::new((header, Some(body))));
        } else {
            self.compact();
        }
        Ok(None)
    }

    /// The large frame, if that has come whole. Frames in the chunk have come before it.
    fn take_large(&mut self) -> Option<Frame> {
        let (header, body) = self.large.as_deref_mut()?;
        let Body { data, .. } = body.take_if(|body| body.missing() == 0)?;
        let header = *header;
        self.large = None;
        self.chunk_number += 1;
        self.after_large = true;
        self.longest = self.longest.max(data.len());
        let memory = (self.chunk_number, data.len());
        Some(Frame {
            header,
            data: data.into(),
            memory,
        })
    }

    /// Keeps the beginning of a frame without keeping the whole chunk that it came in.
    fn compact(&mut self) {
        if self.chunk.len() < self.chunk_len {
            self.chunk = Bytes::copy_from_slice(&self.chunk);
            self.chunk_len = self.chunk.len();
        }
    }
}

/// Less than this is not searched for the beginning of a large frame: to copy it once
/// more costs nothing.
const SEARCHED_LEN: usize = 4 << 10;

/// The frames of which all has come, and the header and the data of a large one behind
/// them of which a part has: that is copied to where it stays.
fn split_large(read: &[u8]) -> Option<(&[u8], Header, &[u8])> {
    if read.len() < SEARCHED_LEN {
        return None;
    }
    let mut rest = read;
    while let Some(header) = rest.first_chunk::<HEADER_LEN>() {
        let header = Header::from_bytes(*header);
        let len = header.length as usize;
        if len > MAX_DATA_LEN {
            break;
        }
        match rest.get(HEADER_LEN + len..) {
            Some(behind) => rest = behind,
            None if len > OWN_BUFFER_LEN => {
                let frames = &read[..read.len() - rest.len()];
                return Some((frames, header, &rest[HEADER_LEN..]));
            }
            None => break,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(id: u32, len: usize) -> Vec<u8> {
        let header = Header {
            length: len as u32,
            stream_id: StreamId::new(id),
            message_type: MessageType::DATA,
            flags: Flags::NONE,
        };
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend((0..len).map(|i| (i % 251) as u8));
        bytes
    }

    /// Feeds `input` in pieces of `step` bytes and gives the ids and lengths found.
    fn feed(input: &[u8], step: usize) -> Result<Vec<(u32, usize)>> {
        let (mut decoder, mut found, mut rest) = (Decoder::default(), Vec::new(), input);
        loop {
            while let Some(incoming) = decoder.decode()? {
                match incoming {
                    Incoming::Frame(Frame { header, data, .. }) => {
                        assert!(data.iter().zip((0..251).cycle()).all(|(a, b)| *a == b));
                        assert_eq!(header.length as usize, data.len());
                        found.push((header.stream_id.get(), data.len()));
                    }
                    Incoming::TooLarge(header) => found.push((header.stream_id.get(), usize::MAX)),
                }
            }
            if rest.is_empty() {
                assert!(!decoder.is_mid_frame());
                return Ok(found);
            }
            let n = match decoder.take_body() {
                None => {
                    let n = step.min(rest.len());
                    decoder.push(&rest[..n]);
                    n
                }
                Some(mut body) => {
                    let (buffer, missing) = body.buffer();
                    assert!(buffer.len() >= PROVEN_LEN || buffer.capacity() <= FIRST_ROOM);
                    let n = step.min(rest.len()).min(missing);
                    buffer.extend_from_slice(&rest[..n]);
                    decoder.push_body(body);
                    n
                }
            };
            rest = &rest[n..];
        }
    }

    #[test]
    fn frames_come_whole_however_they_are_cut() {
        let lens = [
            0,
            1,
            100,
            0,
            OWN_BUFFER_LEN + 1,
            7,
            3 * FIRST_ROOM + 5,
            MAX_DATA_LEN,
            2,
        ];
        let mut input = Vec::new();
        let mut expected = Vec::new();
        for (i, len) in lens.into_iter().enumerate() {
            input.extend(frame(i as u32, len));
            expected.push((i as u32, len));
        }
        for step in [1000, 4096, 65_537, usize::MAX] {
            assert_eq!(feed(&input, step).unwrap(), expected, "{step}");
        }
        let small: Vec<u8> = (0..20).flat_map(|i| frame(i, i as usize)).collect();
        assert_eq!(feed(&small, 1).unwrap().len(), 20);
    }

    #[test]
    fn an_oversize_frame_is_dropped_and_the_next_one_is_found() {
        let input = [frame(1, MAX_DATA_LEN + 1), frame(3, 5)].concat();
        for step in [9, 100_000, usize::MAX] {
            assert_eq!(feed(&input, step).unwrap(), [(1, usize::MAX), (3, 5)]);
        }
    }

    #[test]
    fn the_reserved_byte_ends_it_before_anything_is_allocated() {
        let error = feed(&[1, 0, 0, 0, 0, 0, 0, 1, 3, 0], 10).unwrap_err();
        assert!(error.is_protocol());
    }

    #[test]
    fn a_claimed_length_allocates_nothing_much() {
        let mut decoder = Decoder::default();
        decoder.push(&frame(1, MAX_DATA_LEN)[..20]);
        assert!(decoder.decode().unwrap().is_none());
        let mut body = decoder
            .take_body()
            .expect("a large frame has its own buffer");
        let (buffer, missing) = body.buffer();
        assert_eq!(missing, MAX_DATA_LEN - 10);
        assert!(buffer.capacity() <= FIRST_ROOM);
    }

    #[test]
    fn a_length_that_has_come_before_is_believed() {
        const LEN: usize = 1 << 20;
        let mut decoder = Decoder::default();
        let mut first_room = |len: usize| {
            let frame = frame(1, len);
            decoder.push(&frame[..20]);
            assert!(decoder.decode().unwrap().is_none());
            let mut body = decoder.take_body().unwrap();
            let room = body.buffer().0.capacity();
            while body.missing() > 0 {
                let (buffer, missing) = body.buffer();
                let at = frame.len() - missing;
                let some = missing.min(buffer.capacity() - buffer.len());
                buffer.extend_from_slice(&frame[at..at + some]);
            }
            decoder.push_body(body);
            assert!(decoder.decode().unwrap().is_some());
            room
        };
        assert!(first_room(LEN) <= FIRST_ROOM);
        assert!(first_room(LEN) >= LEN);
        assert!(first_room(LEN + 1) <= FIRST_ROOM);
    }

    #[test]
    fn what_waits_for_more_does_not_keep_the_whole_chunk() {
        let mut decoder = Decoder::default();
        decoder.push(&[&frame(1, 60_000)[..], &frame(3, 9)[..12]].concat());
        assert!(decoder.decode().unwrap().is_some());
        assert!(decoder.decode().unwrap().is_none());
        assert_eq!((decoder.chunk.len(), decoder.chunk_len), (12, 12));
    }
}
