//! Moves the same frames and does nothing else: what no implementation can beat.
//!
//! A frame is 10 bytes of header and a payload. All frames of a run are of one size, so that
//! nothing needs to be looked at. What could be batched is: all calls in flight leave in one
//! write, and all frames that one read brings go back in one.

mod client;
mod server;

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use bench_kit::Args;
pub use client::client;
use rustix::event::{PollFd, PollFlags, poll};
pub use server::server;

/// The bytes of a frame's header.
const HEADER: usize = 10;

/// Bytes that are read at once, at most, and written at once on streams.
const CHUNK: usize = 256 << 10;

/// Batches above this may not fit into the sockets' buffers: whoever writes one has to read
/// meanwhile.
const BLOCKING: usize = 96 << 10;

/// The bytes of a frame.
fn frame_len(args: &Args) -> usize {
    HEADER + args.size
}

/// The frames of a stream that are written at once: as many whole ones as fit a chunk.
fn batch_len(args: &Args) -> usize {
    let frame = frame_len(args);
    (CHUNK / frame).max(1) * frame
}

/// Moves bytes both ways as long as `send` has some to write; `received` is told what came
/// and may set more to be written.
fn duplex(
    mut stream: &UnixStream,
    data: &[u8],
    mut owed: usize,
    mut received: impl FnMut(usize) -> usize,
) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    let mut buffer = vec![0; CHUNK];
    loop {
        let mut idle = true;
        while owed > 0 {
            let Some(n) = unblocked(stream.write(&data[..owed.min(data.len())]))? else {
                break;
            };
            owed -= n;
            idle = false;
        }
        if let Some(n) = unblocked(stream.read(&mut buffer))? {
            if n == 0 {
                return Ok(());
            }
            owed += received(n);
            idle = false;
        }
        if idle {
            let mut events = PollFlags::IN;
            events.set(PollFlags::OUT, owed > 0);
            poll(&mut [PollFd::new(&stream, events)], None)?;
        }
    }
}

fn unblocked(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(n) => Ok(Some(n)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
