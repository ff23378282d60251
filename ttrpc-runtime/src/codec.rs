//! How messages become bytes and back.
//!
//! The runtime knows no message crate. Generated code names the codec of the one that
//! its messages come from.

use bytes::Bytes;

use crate::envelope::Slice;
use crate::error::Error;

#[cfg(feature = "buffa")]
mod buffa;
mod buffer;
#[cfg(feature = "prost")]
mod prost;
#[cfg(feature = "protobuf")]
mod protobuf;

#[cfg(feature = "buffa")]
pub use self::buffa::Buffa;
pub use self::buffer::Buffer;
pub(crate) use self::buffer::{Mark, SHARED_LEN};
#[cfg(feature = "prost")]
pub use self::prost::Prost;
#[cfg(feature = "protobuf")]
pub use self::protobuf::Protobuf;
/// The crate whose [`Bytes`] payloads and generated messages are made of.
pub use bytes;

/// Why bytes are no message of a type. The path to it is its program's own business.
#[cfg(any(feature = "buffa", feature = "prost", feature = "protobuf"))]
#[cold]
#[inline(never)]
fn not_a(path: &str, error: &dyn std::fmt::Display) -> CodecError {
    let colon = path.bytes().rposition(|byte| byte == b':');
    let name = colon.map_or(path, |colon| &path[colon + 1..]);
    CodecError::new(format!("not a {name}: {error}"))
}

/// Encodes and decodes messages of type `M`.
///
/// A codec is a type of one value, which generated code hands over with each call so
/// that the type is known.
pub trait Codec<M>: Send + Sync + 'static {
    /// How many bytes `message` takes, encoded.
    ///
    /// # Errors
    /// The message can't be encoded, for example because a required field is missing.
    fn encoded_len(message: &M) -> Result<usize, CodecError>;

    /// Appends `message` to `buffer`: exactly as many bytes as
    /// [`encoded_len`](Self::encoded_len) said, which is always called first.
    fn encode(message: &M, buffer: &mut Buffer);

    /// Reads a message out of `payload`, whose bytes it may keep.
    ///
    /// # Errors
    /// The bytes are no such message.
    fn decode(payload: Bytes) -> Result<M, CodecError>;

    /// Reads a message out of a part of what has come; a codec may do so without cutting it
    /// out first.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    #[inline(always)]
    fn decode_slice(slice: Slice) -> Result<M, CodecError> {
        Self::decode(slice.into_bytes())
    }
}

/// Why a message does not encode or decode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodecError(String);

impl CodecError {
    /// An error that says `what` is wrong.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl std::fmt::Display for CodecError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CodecError {}

impl From<CodecError> for Error {
    fn from(error: CodecError) -> Self {
        Self::codec(error.0)
    }
}

/// Bytes that go into a frame, written in place behind their envelope.
pub trait Payload {
    /// How many bytes [`write`](Self::write) appends.
    ///
    /// # Errors
    /// The payload can't be written.
    fn encoded_len(&self) -> Result<usize, CodecError>;

    /// Appends the bytes to `buffer`.
    fn write(&self, buffer: &mut Buffer);
}

/// The codec of messages that are bytes already.
#[derive(Clone, Copy, Debug)]
pub struct Raw;

impl Codec<Bytes> for Raw {
    fn encoded_len(message: &Bytes) -> Result<usize, CodecError> {
        Ok(message.len())
    }

    fn encode(message: &Bytes, buffer: &mut Buffer) {
        buffer.put_bytes(message);
    }

    fn decode(payload: Bytes) -> Result<Bytes, CodecError> {
        Ok(payload)
    }
}

/// Encodes a message into bytes of its own.
pub(crate) fn to_bytes(message: &dyn Payload) -> Result<Bytes, CodecError> {
    message.encoded_len()?;
    let mut buffer = Buffer::default();
    message.write(&mut buffer);
    Ok(buffer.into_bytes())
}

/// Bytes that are already encoded.
impl Payload for Bytes {
    fn encoded_len(&self) -> Result<usize, CodecError> {
        Ok(self.len())
    }

    fn write(&self, buffer: &mut Buffer) {
        buffer.put_bytes(self);
    }
}

/// A message with its codec, as a payload.
pub(crate) struct Encoded<'a, C, M> {
    message: &'a M,
    codec: std::marker::PhantomData<C>,
}

impl<'a, C, M> Encoded<'a, C, M> {
    pub(crate) fn new(message: &'a M) -> Self {
        Self {
            message,
            codec: std::marker::PhantomData,
        }
    }
}

impl<C: Codec<M>, M> Payload for Encoded<'_, C, M> {
    fn encoded_len(&self) -> Result<usize, CodecError> {
        C::encoded_len(self.message)
    }

    fn write(&self, buffer: &mut Buffer) {
        C::encode(self.message, buffer);
    }
}
