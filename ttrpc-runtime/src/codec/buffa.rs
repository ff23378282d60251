//! Messages of buffa.

use buffa::{EncodeSink, Message};
use bytes::Bytes;

use super::{Buffer, Codec, CodecError, not_a};

/// The codec of buffa's messages (the crate `buffa`, version 0.9).
#[derive(Clone, Copy, Debug)]
pub struct Buffa;

impl<M: Message + 'static> Codec<M> for Buffa {
    fn encoded_len(message: &M) -> Result<usize, CodecError> {
        let length = message.try_encoded_len();
        let length = length.map_err(|error| CodecError::new(error.to_string()))?;
        Ok(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn encode(message: &M, buffer: &mut Buffer) {
        // What is too large has failed above.
        let _ = message.try_encode(buffer);
    }

    fn decode(mut payload: Bytes) -> Result<M, CodecError> {
        M::decode(&mut payload).map_err(|error| not_a(std::any::type_name::<M>(), &error))
    }
}

/// Shared fields are taken as they are.
impl EncodeSink for Buffer {
    const IS_SEGMENTED: bool = true;

    fn put_u8(&mut self, value: u8) {
        self.run.push(value);
    }

    fn put_slice(&mut self, bytes: &[u8]) {
        Buffer::put_slice(self, bytes);
    }

    fn put_u32_le(&mut self, value: u32) {
        Buffer::put_slice(self, &value.to_le_bytes());
    }

    fn put_u64_le(&mut self, value: u64) {
        Buffer::put_slice(self, &value.to_le_bytes());
    }

    fn put_shared(&mut self, bytes: Bytes) {
        self.put_bytes(&bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::super::SHARED_LEN;
    use super::*;

    #[test]
    fn large_fields_are_shared_and_small_ones_copied() {
        for len in [5, SHARED_LEN - 1, SHARED_LEN, 1 << 20] {
            let field = Bytes::from(vec![7; len]);
            let (mut buffer, mut expected) = (Buffer::default(), Vec::new());
            buffa::types::put_shared_bytes_field(1, &field, &mut buffer);
            buffa::types::put_shared_bytes_field(1, &field, &mut expected);
            let shared = buffer.large.front().map(|(_, bytes)| bytes.as_ptr());
            assert_eq!(shared, (len >= SHARED_LEN).then(|| field.as_ptr()));
            assert!(buffer.into_bytes() == expected);
        }
    }
}
