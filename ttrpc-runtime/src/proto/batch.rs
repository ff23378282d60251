//! Messages that are queued together.

use super::output::{Data, Output, Size};
use crate::codec::Payload;
use crate::error::Result;
use crate::frame::{Flags, MessageType, StreamId, sendable};

/// Messages of one stream, as the frames that they are sent as: to encode them takes no
/// connection, and to queue them is one step.
#[derive(Debug)]
pub struct Batch {
    stream: StreamId,
    pub(super) frames: Output,
}

impl Batch {
    /// No messages yet.
    pub fn new(stream: StreamId) -> Self {
        Self {
            stream,
            frames: Output::default(),
        }
    }

    /// The stream that the messages are for.
    pub fn stream(&self) -> StreamId {
        self.stream
    }

    /// How many bytes the frames have.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// How much the frames take.
    pub(crate) fn size(&self) -> Size {
        Size {
            bytes: self.frames.len(),
            copied: self.frames.copied(),
        }
    }

    /// Whether there are no messages.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Adds a message.
    ///
    /// # Errors
    /// The message can't be sent, and nothing of it is added.
    pub fn push(&mut self, message: &dyn Payload) -> Result<()> {
        let len = sendable(message.encoded_len()?, |len| len)?;
        let data = Data {
            len,
            before: |_: &mut Vec<u8>| {},
            payload: message,
            payload_len: len,
            after: |_: &mut Vec<u8>| {},
        };
        let id = self.stream;
        Ok(self.frames.put(id, MessageType::DATA, Flags::NONE, data)?)
    }
}
