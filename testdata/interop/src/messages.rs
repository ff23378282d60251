//! The messages of the service, and short ways to make them.

pub use protobuf::well_known_types::empty::Empty;
pub use protobuf::well_known_types::wrappers::{BytesValue, Int64Value, StringValue};

pub fn bytes(value: impl Into<Vec<u8>>) -> BytesValue {
    let mut message = BytesValue::new();
    message.value = value.into();
    message
}

pub fn text(value: impl Into<String>) -> StringValue {
    let mut message = StringValue::new();
    message.value = value.into();
    message
}

pub fn int(value: i64) -> Int64Value {
    let mut message = Int64Value::new();
    message.value = value;
    message
}

/// Bytes that differ from place to place and from `seed` to `seed`.
pub fn pattern(seed: usize, len: usize) -> BytesValue {
    let byte = |at: usize| (at.wrapping_mul(31) ^ (at >> 8) ^ seed) as u8;
    bytes((0..len).map(byte).collect::<Vec<_>>())
}
