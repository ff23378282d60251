//! Frames written and read by hand, so that the core is not measured with itself.

pub const REQUEST: u8 = 1;
pub const RESPONSE: u8 = 2;
pub const DATA: u8 = 3;

/// The flags of a unary request, of a response, and of a message with more to come.
pub const NONE: u8 = 0;
/// `remote closed`: the sender sends no more data.
pub const CLOSED: u8 = 0x01;
/// `remote open`, of a request: the client goes on to send data.
pub const OPEN: u8 = 0x02;
/// `no data`: the frame carries no message.
pub const NO_DATA: u8 = 0x04;

/// The most data of a frame.
pub const MIB_4: usize = 4 * 1024 * 1024;

/// The header of a frame that may claim any length.
pub fn header(length: u32, id: u32, message_type: u8, flags: u8) -> Vec<u8> {
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(id.to_be_bytes());
    bytes.extend([message_type, flags]);
    bytes
}

/// A whole frame.
pub fn frame(id: u32, message_type: u8, flags: u8, data: &[u8]) -> Vec<u8> {
    [&header(data.len() as u32, id, message_type, flags), data].concat()
}

pub fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A field of bytes, left out where it is empty.
pub fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    match bytes.len() {
        0 => Vec::new(),
        len => [&[number << 3 | 2][..], &varint(len as u64), bytes].concat(),
    }
}

/// The data of a request for `s.S/M`; `more` are the fields behind the payload.
pub fn envelope(payload: &[u8], more: &[u8]) -> Vec<u8> {
    [
        &field(1, b"s.S")[..],
        &field(2, b"M"),
        &field(3, payload),
        more,
    ]
    .concat()
}

/// A request for `s.S/M`.
pub fn request(id: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    frame(id, REQUEST, flags, &envelope(payload, &[]))
}

/// A request for `s.S/M` with a timeout in nanoseconds.
pub fn request_within(id: u32, flags: u8, timeout_nano: i64) -> Vec<u8> {
    let timeout = [vec![0x20], varint(timeout_nano as u64)].concat();
    frame(id, REQUEST, flags, &envelope(b"", &timeout))
}

/// A message on a stream, or its end.
pub fn data(id: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    frame(id, DATA, flags, payload)
}

/// A response with a reply.
pub fn reply(id: u32, payload: &[u8]) -> Vec<u8> {
    frame(id, RESPONSE, NONE, &field(2, payload))
}

/// A response with an error.
pub fn failure(id: u32, code: u8) -> Vec<u8> {
    let status = [&[0x08, code][..], &field(2, b"no")].concat();
    frame(id, RESPONSE, NONE, &field(1, &status))
}

/// What an end has sent. Responses have no flags, a reply has no status, and an error
/// has a message and no reply: anything else does not parse.
#[derive(Clone, PartialEq, Eq)]
pub enum Sent {
    /// A Request frame: stream id, flags, data.
    Request(u32, u8, Vec<u8>),
    /// A Response frame that carries a reply: stream id, payload.
    Reply(u32, Vec<u8>),
    /// A Response frame that carries an error: stream id, code.
    Failure(u32, u64),
    /// A Data frame: stream id, flags, data.
    Data(u32, u8, Vec<u8>),
}

impl std::fmt::Debug for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let some = |bytes: &[u8]| (bytes.len(), bytes[..bytes.len().min(20)].to_vec());
        match self {
            Self::Request(id, flags, bytes) => {
                write!(f, "Request({id}, {flags}, {:?})", some(bytes))
            }
            Self::Reply(id, bytes) => write!(f, "Reply({id}, {:?})", some(bytes)),
            Self::Failure(id, code) => write!(f, "Failure({id}, {code})"),
            Self::Data(id, flags, bytes) => write!(f, "Data({id}, {flags}, {:?})", some(bytes)),
        }
    }
}

/// Reads bytes that have to be whole frames, each of a known type.
pub fn parse(mut bytes: &[u8]) -> Vec<Sent> {
    let mut sent = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<10>() {
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let id = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        assert!(length <= MIB_4, "a frame of {length} bytes was sent");
        let (data, rest) = rest.split_at(length);
        bytes = rest;
        sent.push(match (head[8], head[9]) {
            (REQUEST, flags) => Sent::Request(id, flags, data.to_vec()),
            (DATA, flags) => Sent::Data(id, flags, data.to_vec()),
            (RESPONSE, NONE) => response(id, data),
            (message_type, flags) => panic!("a frame of type {message_type} with flags {flags}"),
        });
    }
    assert!(bytes.is_empty(), "{} bytes are no frame", bytes.len());
    sent
}

fn response(id: u32, data: &[u8]) -> Sent {
    match &fields(data)[..] {
        [] => Sent::Reply(id, Vec::new()),
        [(0x12, payload)] => Sent::Reply(id, payload.to_vec()),
        [(0x0a, status)] => match &fields(status)[..] {
            [(0x08, code), (0x12, message), ..] if !message.is_empty() => {
                Sent::Failure(id, read_varint(&mut &code[..]))
            }
            other => panic!("a status of {other:?}"),
        },
        other => panic!("a response of {} fields", other.len()),
    }
}

/// The tags of fields, and their bytes or, of numbers, their varints.
fn fields(mut data: &[u8]) -> Vec<(u8, &[u8])> {
    let mut found = Vec::new();
    while let Some((&tag, rest)) = data.split_first() {
        data = rest;
        let before = data;
        let value = read_varint(&mut data);
        let bytes = match tag & 7 {
            0 => &before[..before.len() - data.len()],
            2 => {
                let (bytes, rest) = data.split_at(value as usize);
                data = rest;
                bytes
            }
            other => panic!("wire type {other}"),
        };
        found.push((tag, bytes));
    }
    found
}

fn read_varint(data: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    while let Some((&byte, rest)) = data.split_first() {
        *data = rest;
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            break;
        }
    }
    value
}
