//! Sockets, as far as neither std nor socket2 goes. The only module with unsafe code.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;

use socket2::SockRef;

/// A peer that is gone is an error of the write, not a signal that ends the process.
#[cfg(not(target_vendor = "apple"))]
const SEND_FLAGS: i32 = libc::MSG_NOSIGNAL;
#[cfg(target_vendor = "apple")]
const SEND_FLAGS: i32 = 0;

/// Writes some of the slices.
pub(crate) fn send(socket: &impl AsFd, slices: &[IoSlice<'_>], flags: i32) -> io::Result<usize> {
    let socket = SockRef::from(socket);
    match slices {
        [one] => socket.send_with_flags(one, SEND_FLAGS | flags),
        several => socket.send_vectored_with_flags(several, SEND_FLAGS | flags),
    }
}

pub(crate) fn would_block<T>(outcome: &io::Result<T>) -> bool {
    matches!(outcome, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// The user that this process acts as.
#[allow(unsafe_code)]
pub(crate) fn effective_uid() -> u32 {
    // SAFETY: it has no preconditions and can't fail.
    unsafe { libc::geteuid() }
}

/// Tells the runtime of a socket.
#[cfg(feature = "tokio")]
#[allow(unsafe_code)]
pub(crate) fn register(
    stream: std::os::unix::net::UnixStream,
    interest: tokio::io::Interest,
) -> io::Result<tokio::io::unix::AsyncFd<std::os::unix::net::UnixStream>> {
    use tokio::io::unix::AsyncFd;

    // SAFETY: a `UnixStream` owns its descriptor, always gives the same one, and closes
    // it only when it is dropped.
    unsafe { AsyncFd::register_with_interest(stream, interest) }.map_err(io::Error::from)
}

/// Receives bytes into the room that a task's buffer has; says how many.
#[cfg(feature = "tokio")]
#[allow(unsafe_code)]
pub(crate) fn receive(
    socket: &impl AsFd,
    buffer: &mut tokio::io::ReadBuf<'_>,
) -> io::Result<usize> {
    // SAFETY: `recv` only ever writes initialised bytes to it.
    let unfilled = unsafe { buffer.unfilled_mut() };
    let len = SockRef::from(socket).recv(unfilled)?;
    // SAFETY: the system has written that many bytes to the beginning.
    unsafe { buffer.assume_init(len) };
    buffer.advance(len);
    Ok(len)
}
