//! The envelopes are those of protobuf: what prost decodes is what the runtime decodes, and
//! both encode the same.

#![no_main]

use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use prost::{DecodeError, Message};
use ttrpc_fuzz::seeds;
use ttrpc_runtime::envelope::{self, MAX_REPEATED, RequestHead};
use ttrpc_runtime::{Any, Code, Metadata, Status};

fuzz_target!(init: seeds::write(seeds::envelopes), |bytes: &[u8]| {
    request(bytes);
    response(bytes);
});

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(string, tag = "1")]
    service: String,
    #[prost(string, tag = "2")]
    method: String,
    #[prost(bytes = "bytes", tag = "3")]
    payload: Bytes,
    #[prost(int64, tag = "4")]
    timeout_nano: i64,
    #[prost(message, repeated, tag = "5")]
    metadata: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(message, optional, tag = "1")]
    status: Option<RpcStatus>,
    #[prost(bytes = "bytes", tag = "2")]
    payload: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<RpcAny>,
}

#[derive(Clone, PartialEq, Message)]
struct RpcAny {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// What both made of it, if it is something; prost counts the depth of groups otherwise.
fn both<P, O>(
    theirs: Result<P, DecodeError>,
    ours: Option<O>,
    repeated: fn(&P) -> usize,
) -> Option<(P, O)> {
    match (theirs, ours) {
        (Ok(theirs), None) => assert!(
            repeated(&theirs) > MAX_REPEATED,
            "{theirs:?} is refused",
            theirs = repeated(&theirs)
        ),
        (Err(why), Some(_)) => assert!(why.to_string().contains("recursion limit"), "{why}"),
        (Ok(theirs), Some(ours)) => return Some((theirs, ours)),
        (Err(_), None) => {}
    }
    None
}

fn request(bytes: &[u8]) {
    let data = Bytes::copy_from_slice(bytes);
    let ours = envelope::Request::decode(data);
    let Some((theirs, mut ours)) = both(Request::decode(bytes), ours, |it| it.metadata.len())
    else {
        return;
    };
    assert_eq!(ours.service(), theirs.service);
    assert_eq!(ours.method(), theirs.method);
    assert_eq!(ours.has_payload(), !theirs.payload.is_empty());
    let timeout = match theirs.timeout_nano {
        ..0 => Err(envelope::TimeIsUp),
        0 => Ok(None),
        nano => Ok(Some(Duration::from_nanos(nano as u64))),
    };
    assert_eq!(ours.timeout(), timeout);
    let metadata = ours.take_metadata();
    let pairs = theirs.metadata.iter();
    assert!(
        metadata
            .iter()
            .eq(pairs.map(|pair| (&pair.key[..], &pair.value[..])))
    );
    assert_eq!(ours.clone().into_payload(), theirs.payload);

    // Keys that are set are in lower case, and no call is sent once its time is up.
    let metadata: Metadata = metadata.iter().collect();
    let theirs = Request {
        timeout_nano: theirs.timeout_nano.max(0),
        metadata: metadata
            .iter()
            .map(|(key, value)| KeyValue {
                key: key.to_owned(),
                value: value.to_owned(),
            })
            .collect(),
        ..theirs
    };
    let head = RequestHead {
        service: &theirs.service,
        method: &theirs.method,
        timeout: timeout.unwrap_or(None),
        metadata: &metadata,
    };
    let mut encoded = Vec::new();
    head.put_before(theirs.payload.len(), &mut encoded);
    encoded.extend_from_slice(&theirs.payload);
    head.put_after(&mut encoded);
    assert_eq!(encoded, theirs.encode_to_vec());
    assert_eq!(encoded.len(), head.encoded_len(theirs.payload.len()));
}

fn response(bytes: &[u8]) {
    let ours = envelope::Response::decode(Bytes::copy_from_slice(bytes));
    let details = |it: &Response| it.status.as_ref().map_or(0, |status| status.details.len());
    let Some((theirs, ours)) = both(Response::decode(bytes), ours, details) else {
        return;
    };
    assert_eq!(*ours.payload, *theirs.payload);
    let status = theirs.status.map(|status| Status {
        code: Code(status.code),
        message: status.message,
        details: status
            .details
            .into_iter()
            .map(|any| Any {
                type_url: any.type_url,
                value: any.value,
            })
            .collect(),
    });
    assert_eq!(
        ours.error,
        status.clone().filter(|status| status.code != Code::OK)
    );

    let mut encoded = Vec::new();
    envelope::put_before_reply(ours.payload.len(), &mut encoded);
    encoded.extend_from_slice(&ours.payload);
    assert_eq!(encoded.len(), envelope::reply_len(ours.payload.len()));
    assert_eq!(
        encoded,
        Response {
            status: None,
            payload: theirs.payload
        }
        .encode_to_vec()
    );
    if let Some(status) = status {
        let mut encoded = Vec::new();
        envelope::put_error(&status, &mut encoded);
        assert_eq!(encoded.len(), envelope::error_len(&status));
        let theirs = RpcStatus {
            code: status.code.0,
            message: status.message,
            details: status
                .details
                .into_iter()
                .map(|any| RpcAny {
                    type_url: any.type_url,
                    value: any.value,
                })
                .collect(),
        };
        assert_eq!(
            encoded,
            Response {
                status: Some(theirs),
                payload: Bytes::new()
            }
            .encode_to_vec()
        );
    }
}
