//! A peer that speaks the protocol by hand.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

pub struct Peer(pub UnixStream);

impl Peer {
    /// Sends a frame.
    pub fn frame(&mut self, id: u32, kind: u8, flags: u8, data: &[u8]) {
        let mut frame = (data.len() as u32).to_be_bytes().to_vec();
        frame.extend(id.to_be_bytes());
        frame.extend([kind, flags]);
        frame.extend(data);
        self.0.write_all(&frame).unwrap();
    }

    /// Sends a request; without a time for `nanos` of zero.
    pub fn request(
        &mut self,
        id: u32,
        flags: u8,
        service: &str,
        method: &str,
        payload: &[u8],
        nanos: u64,
    ) {
        let mut data = Vec::new();
        for (field, bytes) in [
            (1, service.as_bytes()),
            (2, method.as_bytes()),
            (3, payload),
        ] {
            data.push(field << 3 | 2);
            varint(&mut data, bytes.len() as u64);
            data.extend(bytes);
        }
        if nanos > 0 {
            data.push(4 << 3);
            varint(&mut data, nanos);
        }
        self.frame(id, 1, flags, &data);
    }

    /// The next frame: its id, type, flags and data; `None` at the end.
    pub fn next(&mut self) -> Option<(u32, u8, u8, Vec<u8>)> {
        let mut header = [0; 10];
        self.0.read_exact(&mut header).ok()?;
        let [l0, l1, l2, l3, i0, i1, i2, i3, kind, flags] = header;
        let mut data = vec![0; u32::from_be_bytes([l0, l1, l2, l3]) as usize];
        self.0.read_exact(&mut data).ok()?;
        Some((u32::from_be_bytes([i0, i1, i2, i3]), kind, flags, data))
    }

    /// The id and the code of the next response, which nothing else comes before.
    pub fn response(&mut self) -> Option<(u32, u8)> {
        let (id, kind, _, data) = self.next()?;
        assert_eq!(kind, 2);
        // Field 1 is the status, and the code is the first thing in it.
        let code = match data[..] {
            [0x0a, ref status @ ..] => {
                let begin = status.iter().position(|byte| *byte < 0x80).unwrap() + 1;
                assert_eq!(status[begin], 8);
                status[begin + 1]
            }
            _ => 0,
        };
        Some((id, code))
    }
}

fn varint(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}
