//! Frames of what is sent and of what comes.

use std::collections::BTreeSet;

use ttrpc_runtime::frame::{Flags, HEADER_LEN, Header, MAX_DATA_LEN, MessageType, StreamId};

pub fn header(length: u32, id: u32, message_type: u8, flags: u8) -> [u8; HEADER_LEN] {
    let header = Header {
        length,
        stream_id: StreamId::new(id),
        message_type: MessageType(message_type),
        flags: Flags(flags),
    };
    header.to_bytes()
}

/// Takes the frames out of what was sent that are whole.
pub fn take_frames(sent: &mut Vec<u8>) -> Vec<(Header, Vec<u8>)> {
    let mut frames = Vec::new();
    while let Some(header) = sent.first_chunk().copied().map(Header::from_bytes) {
        let len = header.length as usize;
        assert!(len <= MAX_DATA_LEN, "a frame of {len} bytes is sent");
        if sent.len() < HEADER_LEN + len {
            break;
        }
        let data = sent[HEADER_LEN..HEADER_LEN + len].to_vec();
        sent.drain(..HEADER_LEN + len);
        frames.push((header, data));
    }
    frames
}

/// Which ids are named by what comes, in pieces.
#[derive(Default)]
pub struct Names {
    ids: BTreeSet<u32>,
    header: Vec<u8>,
    skip: usize,
}

impl Names {
    pub fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let len = (HEADER_LEN - self.header.len()).min(bytes.len());
            self.header.extend_from_slice(&bytes[..len]);
            bytes = &bytes[len..];
            if let Some(header) = self.header.first_chunk().copied().map(Header::from_bytes) {
                self.ids.insert(header.stream_id.get());
                self.skip = header.length as usize;
                self.header.clear();
            }
        }
    }

    pub fn contains(&self, id: StreamId) -> bool {
        self.ids.contains(&id.get())
    }
}
