//! The service that the servers of the vectors have; their README says what it does.

use bytes::Bytes;
use ttrpc_runtime::codec::CodecError;
use ttrpc_runtime::{Any, CallKind, Status};

pub const SERVICE: &str = "demo.Demo";

pub fn kind(method: &str) -> Option<CallKind> {
    Some(match method {
        "Echo" | "Metadata" | "Zeros" | "Fail" | "Panic" | "Missing" | "Hold" | "Release" => {
            CallKind::Unary
        }
        "Twice" | "OnceAndFail" => CallKind::ServerStreaming,
        "Join" | "First" => CallKind::ClientStreaming,
        "Chat" | "Deaf" => CallKind::BidiStreaming,
        _ => return None,
    })
}

/// How `Fail` and `OnceAndFail` end.
pub fn failure() -> Status {
    Status::not_found("no such thing: größer").with_detail(Any {
        type_url: "type.googleapis.com/demo.Reason".to_owned(),
        value: Bytes::from_static(&[8, 1]),
    })
}

/// Reads the request of `Zeros`: how many are asked for.
pub fn number(payload: &[u8]) -> Result<usize, CodecError> {
    match payload.try_into() {
        Ok(bytes) => Ok(u32::from_be_bytes(bytes) as usize),
        Err(_) => Err(CodecError::new("a number takes 4 bytes")),
    }
}

/// Adds a message to the reply of `Join`.
pub fn join(reply: &mut Vec<u8>, message: &[u8]) {
    reply.extend((message.len() as u32).to_be_bytes());
    reply.extend_from_slice(message);
}

/// The reply of `Metadata`.
pub fn list(metadata: &ttrpc_runtime::Metadata) -> Bytes {
    let pairs = metadata
        .iter()
        .map(|(key, value)| format!("{key}={value};"));
    pairs.collect::<String>().into()
}
