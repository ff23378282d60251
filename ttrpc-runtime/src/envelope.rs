//! The envelopes: what the data of a Request and of a Response frame is (PROTOCOL.md §3).
//!
//! ```proto
//! message Request {
//!   string service = 1;  string method = 2;  bytes payload = 3;
//!   int64 timeout_nano = 4;  repeated KeyValue metadata = 5;
//! }
//! message Response { google.rpc.Status status = 1;  bytes payload = 2; }
//! ```
//!
//! They are coded by hand, so that a payload is a slice of what was read and is
//! written once, behind its envelope.

use std::ops::Deref;
use std::time::Duration;

use bytes::{Buf, Bytes};

use crate::metadata::Metadata;
use crate::status::{Any, Code, Status};
use crate::wire::{
    Fields, Malformed, Span, bytes_field_len, bytes_tag, put_bytes, put_bytes_head,
    put_varint_field, varint_field_len, varint_tag,
};

// The tags of the fields above, and of those of the messages in them, by type and number.
const BYTES_1: u32 = bytes_tag(1);
const BYTES_2: u32 = bytes_tag(2);
const BYTES_3: u32 = bytes_tag(3);
const BYTES_5: u32 = bytes_tag(5);
const VARINT_1: u32 = varint_tag(1);
const VARINT_4: u32 = varint_tag(4);

/// Values of metadata that a Request may have, and details that a status may have; more
/// are refused. A pair takes 2 bytes on the wire and 48 in memory, so that a peer could
/// make one of the other's frames cost a hundred megabytes (PROTOCOL.md §9.1).
pub const MAX_REPEATED: usize = 1024;

/// A part of what was read. It is cut out where it is needed: before, it would be moved right
/// after that was written in pieces, which the CPU has to wait for.
#[derive(Clone, Debug, Default)]
pub struct Slice {
    data: Bytes,
    at: Span,
}

impl Slice {
    pub(crate) fn new(data: Bytes, at: Span) -> Self {
        Self { data, at }
    }

    /// The part alone, without a second reference to the rest where none is needed.
    #[inline(always)]
    pub fn into_bytes(self) -> Bytes {
        let (mut data, start) = self.into_tail();
        data.advance(start);
        data
    }

    /// Bytes that end where it ends, and where in them it begins.
    #[inline(always)]
    pub(crate) fn into_tail(self) -> (Bytes, usize) {
        let (start, end) = (self.at.start() as usize, self.at.end() as usize);
        match self.data.len() == end {
            true => (self.data, start),
            false => (beginning(self.data, end), start),
        }
    }
}

#[inline(never)]
fn beginning(mut data: Bytes, len: usize) -> Bytes {
    data.truncate(len);
    data
}

impl From<Bytes> for Slice {
    fn from(data: Bytes) -> Self {
        // No message is longer than that by far.
        let at = Span::new(0, u32::try_from(data.len()).unwrap_or(u32::MAX));
        Self { data, at }
    }
}

impl Deref for Slice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.at.of(&self.data)
    }
}

/// A Request as it was received.
#[derive(Clone, Debug, Default)]
pub struct Request {
    data: Bytes,
    service: Span,
    method: Span,
    payload: Span,
    timeout_nano: i64,
    /// `None` where there is none: it is handed on less often than it would be moved.
    metadata: Option<Box<Metadata>>,
}

impl Request {
    /// Reads the data of a Request frame; `None` where it is none (PROTOCOL.md §3.3).
    pub fn decode(data: Bytes) -> Option<Self> {
        let mut request = Self::default();
        request.read(&data)?;
        request.data = data;
        Some(request)
    }

    /// Takes note of where what is in the data, which is yet to be [put in](Self::put_data).
    ///
    /// Where the request is: it would be moved right after it was written in pieces, which
    /// the CPU has to wait for.
    #[inline(always)]
    pub(crate) fn read(&mut self, data: &[u8]) -> Option<()> {
        let (mut service, mut method, mut payload) = Default::default();
        let (mut timeout_nano, mut metadata) = (0, None);
        let mut fields = Fields::new(data);
        while let Some(tag) = fields.tag().ok()? {
            match tag {
                BYTES_1 => replace_text(&mut service, fields.bytes().ok()?, data)?,
                BYTES_2 => replace_text(&mut method, fields.bytes().ok()?, data)?,
                BYTES_3 => payload = fields.bytes().ok()?,
                VARINT_4 => timeout_nano = fields.varint().ok()? as i64,
                BYTES_5 => add_pair(&mut metadata, fields.bytes().ok()?.of(data)).ok()?,
                _ => fields = fields.skip(tag, 5).ok()?,
            }
        }
        check_names(service, method, data).ok()?;
        (self.service, self.method, self.payload) = (service, method, payload);
        (self.timeout_nano, self.metadata) = (timeout_nano, metadata);
        Some(())
    }

    /// Takes over the data that was [read](Self::read).
    pub(crate) fn put_data(&mut self, data: Bytes) {
        self.data = data;
    }

    /// The service's name, as in `package.Service`.
    pub fn service(&self) -> &str {
        // It was looked at when it came.
        std::str::from_utf8(self.service_bytes()).unwrap_or_default()
    }

    /// The method's name, as in the .proto.
    pub fn method(&self) -> &str {
        std::str::from_utf8(self.method_bytes()).unwrap_or_default()
    }

    /// The service's name as bytes, which don't have to be looked at again.
    pub fn service_bytes(&self) -> &[u8] {
        self.service.of(&self.data)
    }

    /// The method's name as bytes.
    pub fn method_bytes(&self) -> &[u8] {
        self.method.of(&self.data)
    }

    /// How much time the caller gives; `None` for as much as it takes (PROTOCOL.md §4.2).
    ///
    /// # Errors
    /// The time is up already: the caller's clock had passed the deadline.
    pub fn timeout(&self) -> Result<Option<Duration>, TimeIsUp> {
        match u64::try_from(self.timeout_nano) {
            Ok(0) => Ok(None),
            Ok(nanoseconds) => Ok(Some(Duration::from_nanos(nanoseconds))),
            Err(_) => Err(TimeIsUp),
        }
    }

    /// Takes the metadata out.
    pub fn take_metadata(&mut self) -> Metadata {
        match &self.metadata {
            // Nothing is written to what is about to be moved.
            None => Metadata::new(),
            Some(_) => *self.metadata.take().unwrap_or_default(),
        }
    }

    /// Whether there is a payload that is not empty.
    pub fn has_payload(&self) -> bool {
        self.payload.start() < self.payload.end()
    }

    /// The payload, a slice of what was read.
    pub fn into_payload(mut self) -> Bytes {
        self.take_payload().into_bytes()
    }

    /// Takes the payload out, and leaves a request without names.
    pub(crate) fn take_payload(&mut self) -> Slice {
        (self.service, self.method) = Default::default();
        Slice {
            data: std::mem::take(&mut self.data),
            at: std::mem::take(&mut self.payload),
        }
    }
}

/// A timeout that was negative when it came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeIsUp;

/// What a client sends beside the payload of a Request.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The service's name, as in `package.Service`.
    pub service: &'a str,
    /// The method's name, as in the .proto.
    pub method: &'a str,
    /// How much time is left; `None` for no deadline.
    pub timeout: Option<Duration>,
    /// What travels with the request.
    pub metadata: &'a Metadata,
}

impl RequestHead<'_> {
    fn timeout_nano(&self) -> u64 {
        // 292 years are as good as none.
        self.timeout.map_or(0, |left| {
            u64::try_from(left.as_nanos())
                .unwrap_or(u64::MAX)
                .min(i64::MAX as u64)
        })
    }

    /// Bytes of the envelope with a payload of `payload` bytes.
    pub fn encoded_len(&self, payload: usize) -> usize {
        let metadata: usize = self
            .metadata
            .iter()
            .map(|(key, value)| {
                let pair = bytes_field_len(key.len()) + bytes_field_len(value.len());
                // An empty pair is a pair all the same.
                bytes_field_len(pair).max(2)
            })
            .sum();
        bytes_field_len(self.service.len())
            + bytes_field_len(self.method.len())
            + bytes_field_len(payload)
            + varint_field_len(self.timeout_nano())
            + metadata
    }

    /// Appends what stands before the payload (PROTOCOL.md §3.2).
    pub fn put_before(&self, payload: usize, buffer: &mut Vec<u8>) {
        put_bytes(buffer, 1, self.service.as_bytes());
        put_bytes(buffer, 2, self.method.as_bytes());
        put_bytes_head(buffer, 3, payload);
    }

    /// Appends what stands behind the payload.
    pub fn put_after(&self, buffer: &mut Vec<u8>) {
        put_varint_field(buffer, 4, self.timeout_nano());
        for (key, value) in self.metadata.iter() {
            let len = bytes_field_len(key.len()) + bytes_field_len(value.len());
            put_message_head(buffer, 5, len);
            put_bytes(buffer, 1, key.as_bytes());
            put_bytes(buffer, 2, value.as_bytes());
        }
    }
}

/// A Response as it was received.
#[derive(Clone, Debug)]
pub struct Response {
    /// How the call failed; `None` where it succeeded.
    pub error: Option<Status>,
    /// The reply.
    pub payload: Slice,
}

impl Response {
    /// Reads the data of a Response frame; `None` where it is none.
    pub fn decode(data: Bytes) -> Option<Self> {
        let (error, at) = Self::read(&data)?;
        Some(Self {
            error,
            payload: Slice { data, at },
        })
    }

    /// How the call failed, if it did, and where the reply is.
    #[inline(always)]
    pub(crate) fn read(data: &[u8]) -> Option<(Option<Status>, Span)> {
        let (mut status, mut payload) = (None, Span::default());
        let mut fields = Fields::new(data);
        while let Some(tag) = fields.tag().ok()? {
            match tag {
                BYTES_1 => merge_status(&mut status, fields.bytes().ok()?.of(data)).ok()?,
                BYTES_2 => payload = fields.bytes().ok()?,
                _ => fields = fields.skip(tag, 2).ok()?,
            }
        }
        Some((status.filter(|status| status.code != Code::OK), payload))
    }
}

/// Bytes of a Response with a reply of `payload` bytes.
pub fn reply_len(payload: usize) -> usize {
    bytes_field_len(payload)
}

/// Appends what stands before the reply in a Response; nothing follows it, and a
/// success sends no status (PROTOCOL.md §3.2).
pub fn put_before_reply(payload: usize, buffer: &mut Vec<u8>) {
    put_bytes_head(buffer, 2, payload);
}

/// Appends a Response that carries an error.
pub fn put_error(status: &Status, buffer: &mut Vec<u8>) {
    put_message_head(buffer, 1, status_len(status));
    // Negative numbers are ten bytes long: sign-extended.
    put_varint_field(buffer, 1, i64::from(status.code.0) as u64);
    put_bytes(buffer, 2, status.message.as_bytes());
    for detail in &status.details {
        put_message_head(buffer, 3, any_len(detail));
        put_bytes(buffer, 1, detail.type_url.as_bytes());
        put_bytes(buffer, 2, &detail.value);
    }
}

/// Bytes of a Response that carries `status`.
pub fn error_len(status: &Status) -> usize {
    message_field_len(status_len(status))
}

fn status_len(status: &Status) -> usize {
    let details: usize = status
        .details
        .iter()
        .map(|detail| message_field_len(any_len(detail)))
        .sum();
    varint_field_len(i64::from(status.code.0) as u64)
        + bytes_field_len(status.message.len())
        + details
}

fn any_len(any: &Any) -> usize {
    bytes_field_len(any.type_url.len()) + bytes_field_len(any.value.len())
}

/// Bytes of a message's field: an empty one is written too, for its presence counts.
fn message_field_len(len: usize) -> usize {
    bytes_field_len(len).max(2)
}

fn put_message_head(buffer: &mut Vec<u8>, number: u8, len: usize) {
    match len {
        0 => buffer.extend([number << 3 | 2, 0]),
        len => put_bytes_head(buffer, number, len),
    }
}

#[cold]
#[inline(never)]
fn merge_status(status: &mut Option<Status>, data: &[u8]) -> Result<(), Malformed> {
    let status = status.get_or_insert_default();
    let mut fields = Fields::new(data);
    while let Some(tag) = fields.tag()? {
        match tag {
            VARINT_1 => status.code = Code(fields.varint()? as i32),
            BYTES_2 => status.message = text(fields.bytes()?.of(data))?.to_owned(),
            BYTES_3 => {
                status.details.push(any(fields.bytes()?.of(data))?);
                check_count(status.details.len())?;
            }
            _ => fields = fields.skip(tag, 3)?,
        }
    }
    Ok(())
}

fn any(data: &[u8]) -> Result<Any, Malformed> {
    let mut any = Any::default();
    let mut fields = Fields::new(data);
    while let Some(tag) = fields.tag()? {
        match tag {
            BYTES_1 => any.type_url = text(fields.bytes()?.of(data))?.to_owned(),
            BYTES_2 => any.value = Bytes::copy_from_slice(fields.bytes()?.of(data)),
            _ => fields = fields.skip(tag, 2)?,
        }
    }
    Ok(any)
}

/// Adds a pair of a Request's metadata.
#[inline(never)]
fn add_pair(metadata: &mut Option<Box<Metadata>>, data: &[u8]) -> Result<(), Malformed> {
    let metadata = metadata.get_or_insert_default();
    let (key, value) = key_value(data)?;
    metadata.push_received(key, value);
    check_count(metadata.len())
}

fn key_value(data: &[u8]) -> Result<(String, String), Malformed> {
    let (mut key, mut value) = (String::new(), String::new());
    let mut fields = Fields::new(data);
    while let Some(tag) = fields.tag()? {
        match tag {
            BYTES_1 => key = text(fields.bytes()?.of(data))?.to_owned(),
            BYTES_2 => value = text(fields.bytes()?.of(data))?.to_owned(),
            _ => fields = fields.skip(tag, 2)?,
        }
    }
    Ok((key, value))
}

fn check_count(count: usize) -> Result<(), Malformed> {
    match count {
        0..=MAX_REPEATED => Ok(()),
        _ => Err(Malformed),
    }
}

fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed)
}

/// Takes the place of a name in `data`; the one before, if there was one, has to be text, too.
fn replace_text(name: &mut Span, by: Span, data: &[u8]) -> Option<()> {
    let before = std::mem::replace(name, by);
    match before.end() {
        0 => Some(()),
        _ => text(before.of(data)).ok().map(drop),
    }
}

/// Checks that two names are text. They lie side by side, and that of services is ASCII.
fn check_names(one: Span, other: Span, data: &[u8]) -> Result<(), Malformed> {
    let both = Span::new(one.start().min(other.start()), one.end().max(other.end()));
    match both.of(data).is_ascii() {
        true => Ok(()),
        false => text(one.of(data)).and(text(other.of(data))).map(drop),
    }
}

#[cfg(test)]
mod tests;
