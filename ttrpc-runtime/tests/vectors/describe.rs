//! Frames in words, for the comments behind them.

use bytes::Bytes;
use ttrpc_runtime::envelope::{Request, Response};
use ttrpc_runtime::frame::{HEADER_LEN, Header, MessageType};

/// Describes what comes one after the other.
#[derive(Default)]
pub struct Describer {
    /// A header that has not come whole.
    header: Vec<u8>,
    /// Bytes of data that are to come.
    missing: usize,
}

impl Describer {
    pub fn describe(&mut self, mut bytes: &[u8]) -> String {
        let mut words = Vec::new();
        while !bytes.is_empty() {
            if self.missing > 0 {
                let data = take(&mut bytes, self.missing);
                self.missing -= data.len();
                words.push(self.amount(data.len()));
                continue;
            }
            let more = HEADER_LEN - self.header.len();
            self.header.extend_from_slice(take(&mut bytes, more));
            let Ok(header) = <[u8; HEADER_LEN]>::try_from(&self.header[..]) else {
                words.push(format!("{} of a header", bytes_of(self.header.len())));
                continue;
            };
            self.header.clear();
            let header = Header::from_bytes(header);
            let length = header.length as usize;
            let data = take(&mut bytes, length);
            self.missing = length - data.len();
            words.push(match self.missing {
                0 => frame(header, data),
                _ => format!("{}, {}", name(header), self.amount(data.len())),
            });
        }
        words.join("; ")
    }

    fn amount(&self, len: usize) -> String {
        match (len, self.missing) {
            (_, 0) => format!("its last {}", bytes_of(len)),
            (0, missing) => format!("{} to come", bytes_of(missing)),
            (_, missing) => format!("{}, {missing} to come", bytes_of(len)),
        }
    }
}

/// Takes up to `len` bytes off.
pub fn take<'a>(bytes: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(len.min(bytes.len()));
    *bytes = rest;
    taken
}

fn bytes_of(len: usize) -> String {
    match len {
        1 => "1 byte".to_owned(),
        _ => format!("{len} bytes"),
    }
}

/// The type, the stream and the flags.
fn name(header: Header) -> String {
    let kind = match header.message_type {
        MessageType::REQUEST => "Request".to_owned(),
        MessageType::RESPONSE => "Response".to_owned(),
        MessageType::DATA => "Data".to_owned(),
        MessageType::CANCEL => "Cancel".to_owned(),
        MessageType(other) => format!("Type {other} on"),
    };
    let mut name = format!("{kind} {}", header.stream_id);
    let flags = header.flags.0;
    if flags & 7 == 0 && header.message_type == MessageType::REQUEST {
        name += " unary";
    }
    for (flag, word) in [(1, " closed"), (2, " open"), (4, " no-data")] {
        if flags & flag != 0 {
            name += word;
        }
    }
    if flags & !7 != 0 {
        name += &format!(" and flags 0x{:02x}", flags & !7);
    }
    name
}

/// A whole frame.
fn frame(header: Header, data: &[u8]) -> String {
    let name = name(header);
    let len = data.len();
    let data = Bytes::copy_from_slice(data);
    let more = match header.message_type {
        MessageType::REQUEST => match Request::decode(data) {
            Some(request) => request_of(request),
            None => "no ttrpc Request".to_owned(),
        },
        MessageType::RESPONSE => match Response::decode(data) {
            None => "no ttrpc Response".to_owned(),
            Some(Response {
                error: Some(status),
                ..
            }) => format!("error {}", status.code.0),
            Some(Response { payload, .. }) => format!("a reply of {}", bytes_of(payload.len())),
        },
        _ if len == 0 => return name,
        _ => bytes_of(len),
    };
    format!("{name}, {more}")
}

fn request_of(mut request: Request) -> String {
    let mut words = format!("{}/{}", request.service(), request.method());
    match request.timeout() {
        Ok(None) => {}
        Ok(Some(timeout)) => words += &format!(", within {timeout:?}"),
        Err(_) => words += ", within no time",
    }
    let metadata = request.take_metadata();
    match metadata.len() {
        0..=4 => metadata
            .iter()
            .for_each(|(key, value)| words += &format!(", {key}={value}")),
        pairs => words += &format!(", {pairs} pairs of metadata"),
    }
    match request.into_payload().len() {
        0 => words,
        len => format!("{words}, {}", bytes_of(len)),
    }
}
