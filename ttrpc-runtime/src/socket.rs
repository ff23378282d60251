//! Sockets, as far as neither std nor socket2 goes. The only module with unsafe code, but for
//! a trait of `bytes` that the codec of prost implements.

use std::io::{self, IoSlice};
#[cfg(feature = "blocking")]
use std::mem::MaybeUninit;
#[cfg(feature = "tokio")]
use std::os::fd::OwnedFd;
use std::os::fd::{AsFd, AsRawFd};
#[cfg(feature = "blocking")]
use std::time::Duration;

use socket2::SockRef;

use crate::peer::{Peer, Who};

/// A peer that is gone is an error of the write, not a signal that ends the process.
#[cfg(not(target_vendor = "apple"))]
const SEND_FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
#[cfg(target_vendor = "apple")]
const SEND_FLAGS: i32 = libc::MSG_DONTWAIT;

/// Writes what the socket takes of the slices at once.
pub(crate) fn send(socket: &impl AsFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let socket = SockRef::from(socket);
    match slices {
        [one] => socket.send_with_flags(one, SEND_FLAGS),
        several => socket.send_vectored_with_flags(several, SEND_FLAGS),
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

/// Who is at the other end of a connected socket, if the system tells.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[allow(unsafe_code)]
pub(crate) fn peer(socket: &impl AsFd) -> Option<Peer> {
    let mut peer = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut len = size_of_val(&peer) as libc::socklen_t;
    // SAFETY: the pointers are to a `ucred` and to its size, as the option takes them.
    let failed = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &mut len,
        )
    };
    // Of what is no Unix socket the ids are all ones.
    if failed == 0 && peer.uid != u32::MAX {
        return Some(Peer(Who::Process {
            pid: (peer.pid > 0).then_some(peer.pid),
            uid: peer.uid,
            gid: peer.gid,
        }));
    }
    let address = SockRef::from(socket).peer_addr().ok()?;
    let (cid, _) = address.as_vsock_address()?;
    Some(Peer(Who::Machine { cid }))
}

/// Who is at the other end of a connected socket, if the system tells.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[allow(unsafe_code)]
pub(crate) fn peer(socket: &impl AsFd) -> Option<Peer> {
    let (mut uid, mut gid) = (0, 0);
    // SAFETY: the pointers are to where the ids are to be written.
    let failed = unsafe { libc::getpeereid(socket.as_fd().as_raw_fd(), &mut uid, &mut gid) };
    let pid = None;
    (failed == 0).then_some(Peer(Who::Process { pid, uid, gid }))
}

/// A socket of a task, which others may share.
#[cfg(feature = "tokio")]
pub(crate) trait Stream: AsFd + AsRawFd + Unpin {}

#[cfg(feature = "tokio")]
impl Stream for OwnedFd {}
#[cfg(feature = "tokio")]
impl Stream for std::sync::Arc<OwnedFd> {}

/// Tells the runtime of a socket.
#[cfg(feature = "tokio")]
#[allow(unsafe_code)]
pub(crate) fn register<S: Stream>(
    stream: S,
    interest: tokio::io::Interest,
) -> io::Result<tokio::io::unix::AsyncFd<S>> {
    use tokio::io::unix::AsyncFd;

    // SAFETY: an `OwnedFd`, shared or not, always gives the same descriptor, and closes it
    // only when it is dropped.
    unsafe { AsyncFd::register_with_interest(stream, interest) }.map_err(io::Error::from)
}

/// Receives what is there into the room that a task's buffer has; says how many bytes.
#[cfg(feature = "tokio")]
#[allow(unsafe_code)]
pub(crate) fn receive_for_task(
    socket: &impl AsFd,
    buffer: &mut tokio::io::ReadBuf<'_>,
) -> io::Result<usize> {
    // SAFETY: `recv` only ever writes initialised bytes to it.
    let unfilled = unsafe { buffer.unfilled_mut() };
    let len = SockRef::from(socket).recv_with_flags(unfilled, libc::MSG_DONTWAIT)?;
    // SAFETY: the system has written that many bytes to the beginning.
    unsafe { buffer.assume_init(len) };
    buffer.advance(len);
    Ok(len)
}

/// Receives into a buffer; says how many bytes.
#[cfg(feature = "blocking")]
#[allow(unsafe_code)]
pub(crate) fn receive(socket: &impl AsFd, buffer: &mut [u8], flags: i32) -> io::Result<usize> {
    let buffer = &raw mut *buffer as *mut [MaybeUninit<u8>];
    // SAFETY: the two have the same layout, and `recv` writes initialised bytes only.
    SockRef::from(socket).recv_with_flags(unsafe { &mut *buffer }, flags)
}

/// Receives up to `most` bytes to the end of a buffer, which has room for them.
#[cfg(feature = "blocking")]
#[allow(unsafe_code)]
pub(crate) fn receive_more(
    socket: &impl AsFd,
    buffer: &mut Vec<u8>,
    most: usize,
    flags: i32,
) -> io::Result<usize> {
    let room = buffer.spare_capacity_mut();
    let most = most.min(room.len());
    let len = SockRef::from(socket).recv_with_flags(&mut room[..most], flags)?;
    // SAFETY: the system has written that many bytes behind those there are.
    unsafe { buffer.set_len(buffer.len() + len) };
    Ok(len)
}

/// What is asked of a descriptor.
#[cfg(feature = "blocking")]
pub(crate) fn asked(file: &impl AsRawFd, events: i16) -> libc::pollfd {
    libc::pollfd {
        fd: file.as_raw_fd(),
        events,
        revents: 0,
    }
}

/// Waits until one of the descriptors has what is asked of it, or the time is over.
#[cfg(feature = "blocking")]
#[allow(unsafe_code)]
pub(crate) fn poll(files: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<()> {
    let len = files.len() as libc::nfds_t;
    #[cfg(target_os = "linux")]
    let outcome = {
        let timeout = timeout.map(|timeout| libc::timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let timeout = timeout.as_ref().map_or(std::ptr::null(), |t| &raw const *t);
        // SAFETY: `files` are as many, and the time is valid or none; no signal mask.
        unsafe { libc::ppoll(files.as_mut_ptr(), len, timeout, std::ptr::null()) }
    };
    #[cfg(not(target_os = "linux"))]
    let outcome = {
        // Rounded up, so that the time is over when it returns.
        let millis = |timeout: Duration| timeout.as_nanos().div_ceil(1_000_000);
        let timeout = timeout.map_or(-1, |t| millis(t).try_into().unwrap_or(i32::MAX));
        // SAFETY: `files` are as many.
        unsafe { libc::poll(files.as_mut_ptr(), len, timeout) }
    };
    if outcome < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
