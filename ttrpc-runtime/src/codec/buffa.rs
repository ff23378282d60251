//! Messages of buffa.

use buffa::Message;
use bytes::Bytes;

use super::{Codec, CodecError, name_of};

/// The codec of buffa's messages (the crate `buffa`, version 0.9).
#[derive(Clone, Copy, Debug)]
pub struct Buffa;

impl<M: Message + 'static> Codec<M> for Buffa {
    fn encoded_len(message: &M) -> Result<usize, CodecError> {
        let length = message.try_encoded_len();
        let length = length.map_err(|error| CodecError::new(error.to_string()))?;
        Ok(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn encode(message: &M, buffer: &mut Vec<u8>) {
        // What is too large has failed above.
        let _ = message.try_encode(buffer);
    }

    fn decode(mut payload: Bytes) -> Result<M, CodecError> {
        M::decode(&mut payload)
            .map_err(|error| CodecError::new(format!("not a {}: {error}", name_of::<M>())))
    }
}
