//! `Limits`: every bound that a connection holds its peer and itself to (PROTOCOL.md §9).

use std::time::Duration;

/// The bounds of a connection. The peer may be hostile: nothing that it sends makes
/// a connection keep more than these allow.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Calls that a client may have open at once on one connection; one more is
    /// answered with RESOURCE_EXHAUSTED. Default: [`Limits::MAX_STREAMS`].
    pub max_streams: usize,
    /// Bytes that may wait on one stream for its reader. Default:
    /// [`Limits::INBOX_BYTES`]. One message always fits, however large (PROTOCOL.md §9.2).
    pub inbox_bytes: usize,
    /// How long a stream's reader may leave a full inbox untouched. Meanwhile the
    /// connection is not read; then that stream alone ends with RESOURCE_EXHAUSTED.
    /// Default: [`Limits::STALL_TIMEOUT`].
    pub stall_timeout: Duration,
    /// Bytes that may wait to be written before those who send streams wait. Default:
    /// [`Limits::OUTPUT_BYTES`]. One message always fits.
    pub output_bytes: usize,
    /// Bytes that may wait to be written before a server leaves requests unread and
    /// single replies wait. Default: [`Limits::BACKLOG_BYTES`]. One reply always fits.
    pub backlog_bytes: usize,
    /// Frames for streams that do not exist that a client may send before its
    /// connection is closed. Default: [`Limits::STRAY_FRAMES`] (PROTOCOL.md §6.3, §9.1).
    pub stray_frames: u32,
    /// How long a frame may take from its first byte to its last; longer closes the
    /// connection. Default: no limit.
    pub frame_timeout: Option<Duration>,
}

impl Limits {
    /// Far more than any known client has, few enough for a small process.
    pub const MAX_STREAMS: usize = 4096;
    /// 1 MiB: a burst of messages fits, a flood does not.
    pub const INBOX_BYTES: usize = 1 << 20;
    /// As the Go implementation does it since 1.2.10.
    pub const STALL_TIMEOUT: Duration = Duration::from_secs(1);
    /// 256 KiB: enough to fill a socket's buffer in one write.
    pub const OUTPUT_BYTES: usize = 256 << 10;
    /// 4 MiB: Go's clients up to 1.2.2 read no reply while a write of theirs is blocked, so
    /// that a server which soon stops reading would wait for them for ever.
    pub const BACKLOG_BYTES: usize = 4 << 20;
    /// A peer that is merely late never comes near; a flood gets there at once.
    pub const STRAY_FRAMES: u32 = 1024;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_streams: Self::MAX_STREAMS,
            inbox_bytes: Self::INBOX_BYTES,
            stall_timeout: Self::STALL_TIMEOUT,
            output_bytes: Self::OUTPUT_BYTES,
            backlog_bytes: Self::BACKLOG_BYTES,
            stray_frames: Self::STRAY_FRAMES,
            frame_timeout: None,
        }
    }
}
