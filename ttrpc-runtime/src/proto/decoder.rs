//! From bytes to frames (PROTOCOL.md §2.5, §9.4).

use bytes::{Buf, Bytes};

use super::body::{Body, OWN_BUFFER_LEN};
use super::inbox::Run;
use crate::error::{Error, Result};
use crate::frame::{Flags, HEADER_LEN, Header, MAX_DATA_LEN, MessageType, StreamId};

/// Puts frames together from what was read.
#[derive(Debug, Default)]
pub struct Decoder {
    /// What was read and is not decoded.
    chunk: Bytes,
    /// How much memory the chunk takes, however little of it is left, and which it is.
    chunk_len: usize,
    chunk_number: u64,
    /// A large frame; without it while that is being read.
    large: Option<Box<Option<Body>>>,
    /// Bytes of an oversize frame that are yet to be dropped.
    skip: usize,
    /// How long the last frame was, with its header, if it was a large one: the next one is
    /// expected to be as long, and read to where it would stay.
    expected: usize,
    /// How long the longest of the large ones was.
    longest: usize,
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

impl Frame {
    pub(super) fn take_data(&mut self) -> Bytes {
        std::mem::take(&mut self.data)
    }
}

impl Decoder {
    /// The large frame that is to be read now, if one is or is expected to be; to be given
    /// back by [`push_body`](Self::push_body) once it does not [go on](Body::goes_on), or
    /// before.
    pub fn take_body(&mut self) -> Option<Body> {
        match self.large.as_deref_mut() {
            Some(body) => body.take(),
            None if self.expected > 0 && self.chunk.is_empty() => {
                Some(Body::expected(self.expected))
            }
            None => None,
        }
    }

    /// Takes what was read of a large frame, or of what was expected to be one.
    pub fn push_body(&mut self, mut body: Body) {
        body.goes_on();
        if body.is_known() {
            **self.large.get_or_insert_default() = Some(body);
        } else if body.is_empty() {
            body.leave();
        } else {
            self.push(&body.into_bytes());
        }
    }

    /// Takes what was read.
    pub fn push(&mut self, mut read: &[u8]) {
        self.expected = 0;
        (self.chunk, self.chunk_len) = if self.chunk.is_empty() {
            let skipped = self.skip.min(read.len());
            self.skip -= skipped;
            read = &read[skipped..];
            if let Some((frames, len, come)) = split_large(read) {
                self.begin_large(len, come);
                read = frames;
            }
            chunk_of(read)
        } else {
            let chunk = [&self.chunk[..], read].concat();
            let len = chunk.len();
            (chunk.into(), len)
        };
        self.chunk_number += 1;
    }

    fn begin_large(&mut self, len: usize, come: &[u8]) {
        self.large = Some(Box::new(Some(Body::begun(len, come, self.longest))));
    }

    /// Whether there may be a frame that has come whole.
    pub(super) fn has_frames(&self) -> bool {
        let is_whole = |body: &Option<Body>| body.as_ref().is_some_and(Body::is_whole);
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

    /// The next frame, if it lies whole in what was read, left where it is.
    #[inline(always)]
    pub(super) fn peek_whole(&self) -> Option<(Header, &[u8])> {
        let (header, behind) = self.chunk.split_first_chunk()?;
        let header = Header::from_bytes(*header);
        Some((header, behind.get(..header.length as usize)?))
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
            self.begin_large(HEADER_LEN + len, &chunk);
        } else {
            self.compact();
        }
        Ok(None)
    }

    /// The large frame, if that has come whole. Frames in the chunk have come before it.
    fn take_large(&mut self) -> Option<Frame> {
        let body = self.large.as_deref_mut()?.take_if(|body| body.is_whole())?;
        let mut bytes = body.into_bytes();
        if bytes.capacity() / 2 > bytes.len() {
            // A longer one was expected, and what is kept is counted by what came.
            bytes.shrink_to_fit();
        }
        let header = Header::from_bytes(*bytes.first_chunk()?);
        self.large = None;
        self.chunk_number += 1;
        self.expected = bytes.len();
        self.longest = self.longest.max(bytes.len());
        let memory = (self.chunk_number, bytes.len());
        let mut data = Bytes::from(bytes);
        data.advance(HEADER_LEN);
        Some(Frame {
            header,
            data,
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

/// A small request or reply that comes alone lies beside its counter of references: one
/// block of memory where two are usual.
struct Small {
    len: usize,
    bytes: [u8; Small::MOST],
}

impl Small {
    const MOST: usize = 240;
}

impl AsRef<[u8]> for Small {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// What was read, to be decoded, and how much memory it takes.
fn chunk_of(read: &[u8]) -> (Bytes, usize) {
    // Streams keep messages for long, and their memory is bounded.
    let is_data = read.get(8) == Some(&MessageType::DATA.0);
    if read.len() > Small::MOST || is_data {
        return (Bytes::copy_from_slice(read), read.len());
    }
    let mut small = Small {
        len: read.len(),
        bytes: [0; Small::MOST],
    };
    small.bytes[..read.len()].copy_from_slice(read);
    (Bytes::from_owner(small), size_of::<Small>())
}

/// Less than this is not searched for the beginning of a large frame: to copy it once
/// more costs nothing.
const SEARCHED_LEN: usize = 4 << 10;

/// The frames of which all has come, and the length and the beginning of a large one behind
/// them of which a part has: that is copied to where it stays.
fn split_large(read: &[u8]) -> Option<(&[u8], usize, &[u8])> {
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
                return Some((frames, HEADER_LEN + len, rest));
            }
            None => break,
        }
    }
    None
}

#[cfg(test)]
mod tests;
