//! Messages of prost.

use std::any::type_name;

use bytes::buf::UninitSlice;
use bytes::{Buf, BufMut, Bytes};
use prost::Message;

use super::{Buffer, Codec, CodecError, SHARED_LEN, not_a};
use crate::envelope::Slice;

/// The codec of prost's messages (the crate `prost`, version 0.14).
#[derive(Clone, Copy, Debug)]
pub struct Prost;

impl<M: Message + Default + 'static> Codec<M> for Prost {
    fn encoded_len(message: &M) -> Result<usize, CodecError> {
        Ok(message.encoded_len())
    }

    fn encode(message: &M, buffer: &mut Buffer) {
        // Knows the length already, unlike `encode`, which would ask for it again.
        message.encode_raw(&mut Sharing(buffer));
    }

    // So that what they give is not moved once more right after it was written.
    #[inline(always)]
    fn decode(payload: Bytes) -> Result<M, CodecError> {
        read(payload, 0)
    }

    #[inline(always)]
    fn decode_slice(slice: Slice) -> Result<M, CodecError> {
        let (payload, at) = slice.into_tail();
        read(payload, at)
    }
}

#[inline(always)]
fn read<M: Message + Default>(payload: Bytes, at: usize) -> Result<M, CodecError> {
    M::decode(Reading { payload, at }).map_err(|error| not_a(type_name::<M>(), &error))
}

/// Takes shared fields as they are.
struct Sharing<'a>(&'a mut Buffer);

// SAFETY: what the trait asks for is what the `Vec` that everything is handed to does.
#[allow(unsafe_code)] // The trait is an unsafe one, and prost encodes to nothing else.
unsafe impl BufMut for Sharing<'_> {
    fn remaining_mut(&self) -> usize {
        self.0.run.remaining_mut()
    }

    unsafe fn advance_mut(&mut self, len: usize) {
        // SAFETY: the caller has written so many bytes to what `chunk_mut` gave, which is
        // the room of this.
        unsafe { self.0.run.advance_mut(len) }
    }

    fn chunk_mut(&mut self) -> &mut UninitSlice {
        self.0.run.chunk_mut()
    }

    fn put<T: Buf>(&mut self, mut bytes: T) {
        let len = bytes.remaining();
        if len < SHARED_LEN {
            self.0.run.put(bytes);
        } else {
            // Of a field of the type `Bytes` this is another reference and no copy.
            self.0.put_large(bytes.copy_to_bytes(len));
        }
    }

    fn put_slice(&mut self, bytes: &[u8]) {
        self.0.put_slice(bytes);
    }

    fn put_u8(&mut self, byte: u8) {
        self.0.run.push(byte);
    }
}

/// A payload that is being read.
///
/// `Bytes` itself would do, but not as quickly: what it reads it strikes off, and to take
/// the rest as a field right after that makes the CPU wait for its own stores.
struct Reading {
    payload: Bytes,
    at: usize,
}

impl Buf for Reading {
    fn remaining(&self) -> usize {
        self.payload.len() - self.at
    }

    fn chunk(&self) -> &[u8] {
        &self.payload[self.at..]
    }

    fn advance(&mut self, len: usize) {
        assert!(len <= self.remaining());
        self.at += len;
    }

    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        let at = self.at;
        self.advance(len);
        if self.has_remaining() {
            return self.payload.slice(at..self.at);
        }
        // The last field takes the payload over, which needs no second reference.
        self.at = 0;
        let mut rest = std::mem::take(&mut self.payload);
        rest.advance(at);
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_fields_are_shared_and_small_ones_copied() {
        for len in [0, 5, SHARED_LEN - 1, SHARED_LEN, 1 << 20] {
            let field = Bytes::from(vec![7; len]);
            let mut buffer = Buffer::default();
            // To prost a `Bytes` is a message with one field.
            Prost::encode(&field, &mut buffer);
            assert_eq!(buffer.len(), field.encoded_len());
            let shared = buffer.large.front().map(|(_, bytes)| bytes.as_ptr());
            assert_eq!(shared, (len >= SHARED_LEN).then(|| field.as_ptr()));
            assert!(buffer.into_bytes() == field.encode_to_vec());
        }
    }
}
