//! Messages of rust-protobuf.

use bytes::Bytes;
use protobuf::{CodedOutputStream, Message, well_known_types};

use super::{Buffer, Codec, CodecError, not_a};
use crate::frame::MAX_DATA_LEN;
use crate::status::Any;

/// The codec of rust-protobuf's messages (the crate `protobuf`, version 3).
#[derive(Clone, Copy, Debug)]
pub struct Protobuf;

impl<M: Message> Codec<M> for Protobuf {
    fn encoded_len(message: &M) -> Result<usize, CodecError> {
        if !message.is_initialized() {
            return Err(CodecError::new(format!(
                "a required field of {} is not set",
                M::NAME
            )));
        }
        // Remembers the length of every nested message for `encode`.
        Ok(usize::try_from(message.compute_size()).unwrap_or(usize::MAX))
    }

    fn encode(message: &M, buffer: &mut Buffer) {
        let len = (message.cached_size() as usize).min(MAX_DATA_LEN);
        buffer.put_with(len, |bytes| {
            let mut stream = CodedOutputStream::vec(bytes);
            // Writing to memory can't fail; were it to, the length would be wrong, and
            // that is noticed where the frame is made.
            let _ = message.write_to_with_cached_sizes(&mut stream);
            let _ = stream.flush();
        });
    }

    fn decode(payload: Bytes) -> Result<M, CodecError> {
        M::parse_from_tokio_bytes(&payload).map_err(|error| not_a(M::NAME, &error))
    }
}

impl From<well_known_types::any::Any> for Any {
    fn from(any: well_known_types::any::Any) -> Self {
        Self {
            type_url: any.type_url,
            value: any.value.into(),
        }
    }
}

impl From<Any> for well_known_types::any::Any {
    fn from(any: Any) -> Self {
        let mut message = Self::new();
        message.type_url = any.type_url;
        message.value = any.value.into();
        message
    }
}
