//! The little of protobuf's wire format that the envelopes need.

/// How deep groups may be nested in what is skipped; protobuf's own limit.
const MAX_GROUP_DEPTH: usize = 100;

/// The tag of a field whose value is a string, bytes or a message.
pub(crate) const fn bytes_tag(number: u32) -> u32 {
    number << 3 | 2
}

/// The tag of a field whose value is a number or a boolean.
pub(crate) const fn varint_tag(number: u32) -> u32 {
    number << 3
}

/// A part of an encoded message: where it begins and, in the upper half, where it ends. One
/// number is handed on in one piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Span(u64);

impl Span {
    #[inline]
    pub(crate) fn new(start: u32, end: u32) -> Self {
        Self(u64::from(end) << 32 | u64::from(start))
    }

    #[inline]
    pub(crate) fn start(self) -> u32 {
        self.0 as u32
    }

    #[inline]
    pub(crate) fn end(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The part of `data` that it is.
    #[inline]
    pub(crate) fn of(self, data: &[u8]) -> &[u8] {
        &data[self.start() as usize..self.end() as usize]
    }
}

/// The fields of an encoded message, in order: a tag, and then its value is to be read or
/// skipped.
// What is rare gets it by value, so that a place in memory is not kept up to date for that.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    data: &'a [u8],
    at: usize,
}

/// The data is not protobuf, or no such message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl<'a> Fields<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    /// The next field's tag; none at the end.
    #[inline]
    pub(crate) fn tag(&mut self) -> Result<Option<u32>, Malformed> {
        if self.at == self.data.len() {
            return Ok(None);
        }
        match u32::try_from(self.varint()?) {
            Ok(tag) if tag >> 3 != 0 => Ok(Some(tag)),
            _ => Err(Malformed),
        }
    }

    /// Where the bytes are that are the value of a field.
    #[inline]
    pub(crate) fn bytes(&mut self) -> Result<Span, Malformed> {
        let len = self.varint()?;
        self.take(len)
    }

    /// Skips the value of a field that a message does not have, though it has those up to the
    /// number `known`, of other types; gives what follows.
    #[cold]
    #[inline(never)]
    pub(crate) fn skip(mut self, tag: u32, known: u32) -> Result<Self, Malformed> {
        let (number, wire_type) = (tag >> 3, tag & 7);
        if number <= known {
            return Err(Malformed);
        }
        match wire_type {
            0 => self.varint().map(drop),
            2 => self.bytes().map(drop),
            3 => self.skip_group(number),
            _ => self.skip_fixed(wire_type),
        }?;
        Ok(self)
    }

    /// The number that is the value of a field.
    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        match self.data.get(self.at) {
            // Most are one byte long.
            Some(byte) if *byte < 0x80 => {
                self.at += 1;
                Ok((*byte).into())
            }
            _ => {
                let value;
                (value, self.at) = long_varint(self.data, self.at)?;
                Ok(value)
            }
        }
    }

    #[inline]
    fn take(&mut self, len: u64) -> Result<Span, Malformed> {
        let left = self.data.len() - self.at;
        let len = usize::try_from(len).ok().filter(|len| *len <= left);
        let start = self.at;
        self.at += len.ok_or(Malformed)?;
        // No frame is as long as that.
        let end = u32::try_from(self.at).map_err(|_| Malformed)?;
        Ok(Span::new(start as u32, end))
    }

    fn skip_fixed(&mut self, wire_type: u32) -> Result<(), Malformed> {
        let len = match wire_type {
            1 => 8,
            5 => 4,
            _ => return Err(Malformed),
        };
        self.take(len).map(drop)
    }

    /// Skips to the end of a group, without recursion: the peer decides the depth.
    #[cold]
    fn skip_group(&mut self, number: u32) -> Result<(), Malformed> {
        let mut open = vec![number];
        while let Some(innermost) = open.last() {
            let tag = self.tag()?.ok_or(Malformed)?;
            let (number, wire_type) = (tag >> 3, tag & 7);
            match wire_type {
                0 => drop(self.varint()?),
                2 => self.bytes().map(|_| ())?,
                3 if open.len() < MAX_GROUP_DEPTH => open.push(number),
                4 if number == *innermost => drop(open.pop()),
                _ => self.skip_fixed(wire_type)?,
            }
        }
        Ok(())
    }
}

/// A varint that may be longer than a byte, and where it ends.
#[inline(never)]
fn long_varint(data: &[u8], mut at: usize) -> Result<(u64, usize), Malformed> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *data.get(at).ok_or(Malformed)?;
        at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            // Of the tenth byte only one bit fits.
            return if shift == 63 && byte > 1 {
                Err(Malformed)
            } else {
                Ok((value, at))
            };
        }
    }
    Err(Malformed)
}

/// Bytes that `value` takes as a varint.
pub(crate) fn varint_len(value: u64) -> usize {
    // Seven bits a byte, and at least one byte.
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Bytes of a field of `len` bytes; none where it is empty and so left out.
#[inline]
pub(crate) fn bytes_field_len(len: usize) -> usize {
    match len {
        0 => 0,
        1..0x80 => 2 + len,
        len => 1 + varint_len(len as u64) + len,
    }
}

/// Appends a varint.
pub(crate) fn put_varint(buffer: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        buffer.push(value as u8 | 0x80);
        value >>= 7;
    }
    buffer.push(value as u8);
}

/// Appends the tag and the length of a field of `len` bytes, unless it is empty.
pub(crate) fn put_bytes_head(buffer: &mut Vec<u8>, number: u8, len: usize) {
    match len {
        0 => {}
        1..0x80 => buffer.extend_from_slice(&[number << 3 | 2, len as u8]),
        _ => {
            buffer.push(number << 3 | 2);
            put_varint(buffer, len as u64);
        }
    }
}

/// Appends a field of bytes, unless it is empty.
pub(crate) fn put_bytes(buffer: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    put_bytes_head(buffer, number, bytes.len());
    buffer.extend_from_slice(bytes);
}

/// Bytes of a number's field; none where it is 0 and so left out.
pub(crate) fn varint_field_len(value: u64) -> usize {
    match value {
        0 => 0,
        value => 1 + varint_len(value),
    }
}

/// Appends a number, unless it is 0.
pub(crate) fn put_varint_field(buffer: &mut Vec<u8>, number: u8, value: u64) {
    if value != 0 {
        buffer.push(number << 3);
        put_varint(buffer, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(data: &[u8]) -> Result<usize, Malformed> {
        let (mut fields, mut n) = (Fields::new(data), 0);
        while let Some(tag) = fields.tag()? {
            fields = fields.skip(tag, 0)?;
            n += 1;
        }
        Ok(n)
    }

    #[test]
    fn varints_of_every_length() {
        for bits in 0..64 {
            for value in [1u64 << bits, (1 << bits) - 1, u64::MAX >> bits] {
                let mut buffer = Vec::new();
                put_varint(&mut buffer, value);
                assert_eq!(buffer.len(), varint_len(value), "{value}");
                assert_eq!(Fields::new(&buffer).varint(), Ok(value));
            }
        }
    }

    #[test]
    fn a_varint_over_64_bits_is_malformed() {
        let mut data = vec![0x08];
        data.extend([0xff; 9]);
        assert_eq!(count(&[&data[..], &[0x01]].concat()), Ok(1));
        assert_eq!(count(&[&data[..], &[0x02]].concat()), Err(Malformed));
        assert_eq!(count(&[&data[..], &[0xff, 0x01]].concat()), Err(Malformed));
    }

    #[test]
    fn unknown_fields_of_every_wire_type_are_skipped() {
        let data = [
            0x78, 0x01, // 15: varint
            0x79, 0, 0, 0, 0, 0, 0, 0, 0, // 15: 64 bits
            0x7a, 0x02, 0, 0, // 15: bytes
            0x7b, 0x08, 0x01, 0x13, 0x14, 0x7c, // 15: group with a group in it
            0x7d, 0, 0, 0, 0, // 15: 32 bits
        ];
        assert_eq!(count(&data), Ok(5));
        for end in 0..data.len() {
            // Cut anywhere it is either whole fields or malformed, never a panic.
            let _ = count(&data[..end]);
        }
    }

    #[test]
    fn groups_are_balanced_and_of_bounded_depth() {
        let nested = |depth: usize| [vec![0x0b; depth], vec![0x0c; depth]].concat();
        assert_eq!(count(&nested(MAX_GROUP_DEPTH)), Ok(1));
        assert_eq!(count(&nested(MAX_GROUP_DEPTH + 1)), Err(Malformed));
        assert_eq!(count(&[0x0b, 0x14]), Err(Malformed), "another group's end");
        assert_eq!(count(&[0x0c]), Err(Malformed), "an end without a beginning");
        assert_eq!(count(&[0x0b, 0x00, 0x01, 0x0c]), Err(Malformed), "field 0");
        assert_eq!(count(&vec![0x0b; 4 << 20]), Err(Malformed));
    }

    #[test]
    fn lengths_past_the_end_are_malformed() {
        assert_eq!(count(&[0x0a, 0x01]), Err(Malformed));
        let huge = [
            0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
        ];
        assert_eq!(count(&huge), Err(Malformed));
        assert_eq!(count(&[0x00, 0x01]), Err(Malformed), "field 0");
    }
}
