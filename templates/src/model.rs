//! The messages and the codec of the model service.

use ttrpc_runtime::codec::{Buffer, Codec, CodecError};

/// What the model's rpcs take.
#[derive(Debug, PartialEq)]
pub(crate) struct Request(pub(crate) u8);

/// What the model's rpcs give.
#[derive(Debug, PartialEq)]
pub(crate) struct Reply(pub(crate) u8);

/// One byte a message.
pub(crate) struct ModelCodec;

macro_rules! one_byte {
    ($message:ident) => {
        impl Codec<$message> for ModelCodec {
            fn encoded_len(_: &$message) -> Result<usize, CodecError> {
                Ok(1)
            }

            fn encode(message: &$message, buffer: &mut Buffer) {
                buffer.put_slice(&[message.0]);
            }

            fn decode(payload: bytes::Bytes) -> Result<$message, CodecError> {
                match payload[..] {
                    [byte] => Ok($message(byte)),
                    _ => Err(CodecError::new("a model message is one byte")),
                }
            }
        }
    };
}

one_byte!(Request);
one_byte!(Reply);
