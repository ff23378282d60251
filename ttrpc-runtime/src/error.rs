//! `Error`: everything that can go wrong around a call.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::status::{Code, Status};

/// What calls, handlers and streams return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call, a stream or a connection failed.
///
/// It is opaque: ask it by its predicates, or for the gRPC [`code`](Self::code) that
/// it always has. A handler returns a [`Status`], an [`io::Error`] or an `Error` that
/// it got from another call; all of them become the status that the caller sees.
#[derive(Clone)]
pub struct Error(Arc<Kind>);

enum Kind {
    /// A handler ended the call with this, here or at the peer.
    Status(Status),
    /// The deadline passed here.
    Timeout,
    /// The call was given up here.
    Cancelled,
    /// The connection has ended.
    Closed(&'static str),
    /// The connection has ended by this.
    Lost(io::Error),
    /// The peer broke the protocol.
    Protocol(String),
    /// A message that can't be sent or received.
    TooLarge { len: usize, max: usize },
    /// A message does not encode or decode.
    Codec(String),
    /// The connection has no stream id left.
    StreamIdsExhausted,
    /// The operating system refused.
    Io(io::Error),
}

impl Error {
    // Errors are made in many places, and seldom.
    #[cold]
    #[inline(never)]
    fn new(kind: Kind) -> Self {
        Self(Arc::new(kind))
    }

    pub(crate) fn timeout() -> Self {
        Self::new(Kind::Timeout)
    }

    pub(crate) fn cancelled() -> Self {
        Self::new(Kind::Cancelled)
    }

    /// The end of a connection, in words: "the peer closed the connection".
    pub fn closed(what: &'static str) -> Self {
        Self::new(Kind::Closed(what))
    }

    pub(crate) fn connection_lost(error: io::Error) -> Self {
        Self::new(Kind::Lost(error))
    }

    pub(crate) fn protocol(what: impl Into<String>) -> Self {
        Self::new(Kind::Protocol(what.into()))
    }

    pub(crate) fn codec(what: impl Into<String>) -> Self {
        Self::new(Kind::Codec(what.into()))
    }

    pub(crate) fn too_large(len: usize, max: usize) -> Self {
        Self::new(Kind::TooLarge { len, max })
    }

    pub(crate) fn stream_ids_exhausted() -> Self {
        Self::new(Kind::StreamIdsExhausted)
    }

    /// The gRPC code that describes this error best.
    pub fn code(&self) -> Code {
        match &*self.0 {
            Kind::Status(status) => status.code,
            Kind::Timeout => Code::DEADLINE_EXCEEDED,
            Kind::Cancelled => Code::CANCELLED,
            Kind::Closed(_) | Kind::Lost(_) | Kind::StreamIdsExhausted => Code::UNAVAILABLE,
            Kind::Protocol(_) | Kind::Codec(_) => Code::INTERNAL,
            Kind::TooLarge { .. } => Code::RESOURCE_EXHAUSTED,
            Kind::Io(error) => code_of_io(error.kind()),
        }
    }

    /// The status that a handler ended the call with, if that is what happened.
    pub fn status(&self) -> Option<&Status> {
        match &*self.0 {
            Kind::Status(status) => Some(status),
            _ => None,
        }
    }

    /// The status that a caller sees of this error.
    pub fn into_status(mut self) -> Status {
        match Arc::get_mut(&mut self.0) {
            Some(Kind::Status(status)) => std::mem::take(status),
            _ => match &*self.0 {
                Kind::Status(status) => status.clone(),
                _ => Status::new(self.code(), self.to_string()),
            },
        }
    }

    /// Whether the deadline passed, here or at the server.
    pub fn is_timeout(&self) -> bool {
        self.code() == Code::DEADLINE_EXCEEDED
    }

    /// Whether the call was given up, here or at the server.
    pub fn is_cancelled(&self) -> bool {
        self.code() == Code::CANCELLED
    }

    /// Whether the connection has ended; whether the call reached its handler is then
    /// not known.
    pub fn is_closed(&self) -> bool {
        matches!(*self.0, Kind::Closed(_) | Kind::Lost(_))
    }

    /// Whether the peer broke the protocol.
    pub fn is_protocol(&self) -> bool {
        matches!(*self.0, Kind::Protocol(_))
    }

    /// Whether the operating system refused something, such as to connect.
    pub fn is_io(&self) -> bool {
        matches!(*self.0, Kind::Io(_))
    }

    /// Whether the connection has no stream id left: a new connection has.
    pub fn is_stream_ids_exhausted(&self) -> bool {
        matches!(*self.0, Kind::StreamIdsExhausted)
    }

    /// For a message over the limit: its length and the limit, in bytes.
    pub fn too_large_by(&self) -> Option<(usize, usize)> {
        match *self.0 {
            Kind::TooLarge { len, max } => Some((len, max)),
            _ => None,
        }
    }
}

/// The code of an I/O error that a handler returns, as the Go implementation has it.
fn code_of_io(kind: io::ErrorKind) -> Code {
    match kind {
        io::ErrorKind::NotFound => Code::NOT_FOUND,
        io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty => Code::ALREADY_EXISTS,
        io::ErrorKind::PermissionDenied => Code::PERMISSION_DENIED,
        io::ErrorKind::InvalidInput => Code::INVALID_ARGUMENT,
        io::ErrorKind::TimedOut => Code::DEADLINE_EXCEEDED,
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::WriteZero => {
            Code::FAILED_PRECONDITION
        }
        _ => Code::UNKNOWN,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Status(status) => status.fmt(f),
            Kind::Timeout => f.write_str("the deadline passed before the call ended"),
            Kind::Cancelled => f.write_str("the call was cancelled"),
            Kind::Closed(what) => f.write_str(what),
            Kind::Lost(error) => write!(f, "the connection was lost: {error}"),
            Kind::Protocol(what) | Kind::Codec(what) => f.write_str(what),
            Kind::TooLarge { len, max } => write!(
                f,
                "a message of {len} bytes is over the limit of {max} bytes: \
                 send less at once, or as a stream"
            ),
            Kind::StreamIdsExhausted => {
                f.write_str("the connection has no stream id left: connect again")
            }
            Kind::Io(error) => error.fmt(f),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In words: that is what `main` and `unwrap` show.
        write!(f, "Error({self})")
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.0 {
            Kind::Lost(error) | Kind::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::new(Kind::Status(status))
    }
}

impl From<io::Error> for Error {
    /// Keeps the kind, which decides the code that a caller sees: what is not found is
    /// NOT_FOUND, what exists ALREADY_EXISTS, what is not permitted PERMISSION_DENIED,
    /// and so on as in the Go implementation; the rest is UNKNOWN.
    fn from(error: io::Error) -> Self {
        Self::new(Kind::Io(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_word() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }

    #[test]
    fn io_errors_keep_their_text_and_get_a_code() {
        let error = Error::from(io::Error::new(io::ErrorKind::NotFound, "no such container"));
        assert!(error.is_io());
        assert_eq!(error.to_string(), "no such container");
        assert_eq!(error.into_status(), Status::not_found("no such container"));
    }

    #[test]
    fn codes_of_io_errors_are_those_of_go() {
        for (kind, code) in [
            (io::ErrorKind::NotFound, Code::NOT_FOUND),
            (io::ErrorKind::AlreadyExists, Code::ALREADY_EXISTS),
            // To Go, what is left in a directory exists.
            (io::ErrorKind::DirectoryNotEmpty, Code::ALREADY_EXISTS),
            (io::ErrorKind::PermissionDenied, Code::PERMISSION_DENIED),
            (io::ErrorKind::InvalidInput, Code::INVALID_ARGUMENT),
            (io::ErrorKind::TimedOut, Code::DEADLINE_EXCEEDED),
            (io::ErrorKind::UnexpectedEof, Code::FAILED_PRECONDITION),
            (io::ErrorKind::NotADirectory, Code::UNKNOWN),
        ] {
            assert_eq!(Error::from(io::Error::from(kind)).code(), code, "{kind}");
        }
    }

    #[test]
    fn a_lost_connection_says_why() {
        let error = Error::connection_lost(io::Error::from(io::ErrorKind::ConnectionReset));
        assert!(error.is_closed());
        assert_eq!(
            error.to_string(),
            "the connection was lost: connection reset"
        );
        assert!(std::error::Error::source(&error).is_some());
    }

    #[test]
    fn an_oversize_message_keeps_its_lengths() {
        let error = Error::too_large(5, 4);
        assert_eq!(error.too_large_by(), Some((5, 4)));
        assert_eq!(error.code(), Code::RESOURCE_EXHAUSTED);
    }
}
