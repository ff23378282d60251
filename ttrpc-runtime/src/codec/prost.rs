//! Messages of prost.

use bytes::Bytes;
use prost::Message;

use super::{Codec, CodecError, name_of};

/// The codec of prost's messages (the crate `prost`, version 0.14).
#[derive(Clone, Copy, Debug)]
pub struct Prost;

impl<M: Message + Default + 'static> Codec<M> for Prost {
    fn encoded_len(message: &M) -> Result<usize, CodecError> {
        Ok(message.encoded_len())
    }

    fn encode(message: &M, buffer: &mut Vec<u8>) {
        // Knows the length already, unlike `encode`, which would ask for it again.
        message.encode_raw(buffer);
    }

    fn decode(payload: Bytes) -> Result<M, CodecError> {
        M::decode(payload)
            .map_err(|error| CodecError::new(format!("not a {}: {error}", name_of::<M>())))
    }
}
