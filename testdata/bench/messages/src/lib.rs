//! The messages of `payload.proto`, by rust-protobuf, which is what `ttrpc` takes.

include!(concat!(env!("OUT_DIR"), "/protos/mod.rs"));

use bytes::Bytes;
use payload::{Amount, Payload};

/// A message with these bytes.
pub fn message(data: Bytes) -> Payload {
    Payload {
        data,
        ..Payload::default()
    }
}

/// So many messages, each so large.
pub fn amount(messages: u64, size: usize) -> Amount {
    Amount {
        messages: messages as i64,
        size: size as i32,
        ..Amount::default()
    }
}
