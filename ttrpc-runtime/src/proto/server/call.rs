//! What a server's driver gets of a call.

use std::time::Instant;

use crate::envelope::Request;
use crate::frame::StreamId;
use crate::proto::CallKind;

/// A call that has come in. Answer it by [`Connection::respond`](super::Connection::respond), or
/// [`Connection::accept`](super::Connection::accept) it as a stream.
#[derive(Debug)]
pub struct Call {
    /// The stream that it runs on.
    pub id: StreamId,
    /// What kind of call the client's flags suggest; the method knows it for sure.
    pub kind: CallKind,
    /// The service, the method, the payload and what travels with them.
    pub request: Request,
    /// When it has to have ended.
    pub deadline: Option<Instant>,
}

impl Default for Call {
    fn default() -> Self {
        Self {
            id: StreamId::FIRST,
            kind: CallKind::Unary,
            request: Request::default(),
            deadline: None,
        }
    }
}
