//! The codec of `Zeros`, for the servers on sockets.

use bytes::Bytes;
use ttrpc_runtime::codec::{Buffer, Codec, CodecError, Raw};

use crate::demo;

/// The request of `Zeros`, a number; its reply is encoded already.
pub struct Number;

impl Codec<usize> for Number {
    fn encoded_len(_: &usize) -> Result<usize, CodecError> {
        Ok(4)
    }

    fn encode(number: &usize, buffer: &mut Buffer) {
        buffer.put_slice(&(*number as u32).to_be_bytes());
    }

    fn decode(payload: Bytes) -> Result<usize, CodecError> {
        demo::number(&payload)
    }
}

impl Codec<Bytes> for Number {
    fn encoded_len(message: &Bytes) -> Result<usize, CodecError> {
        Raw::encoded_len(message)
    }

    fn encode(message: &Bytes, buffer: &mut Buffer) {
        Raw::encode(message, buffer);
    }

    fn decode(payload: Bytes) -> Result<Bytes, CodecError> {
        Raw::decode(payload)
    }
}
