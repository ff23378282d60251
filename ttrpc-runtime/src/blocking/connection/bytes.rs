//! What a connection's threads read and write.

use std::io::{self, IoSlice};

use super::{After, Connection, Guard, Host, Shared};
use crate::connection::{MAX_SLICES, SCRATCH, SCRATCH_LEN};
use crate::error::{Error, Result};
use crate::proto::{Body, Output};
use crate::socket;

/// Where what is read is to go: to a large frame, if one has begun, or to the thread's buffer.
pub(in super::super) struct Room {
    body: Option<Body>,
    /// How much goes to the thread's buffer at once.
    most: usize,
}

/// What became of an attempt to read.
pub(in super::super) enum Read {
    /// So many bytes came, and that was all.
    Some(usize),
    /// So many came as there was room for.
    Full(usize),
    /// Nothing yet.
    Nothing,
    /// The socket takes bytes again, or failed.
    Writable,
}

impl<H: Host> Connection<H> {
    /// Writes as much as the socket takes.
    pub(super) fn write(&self, output: &mut Output) -> io::Result<()> {
        while !output.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let used = output.slices(&mut slices);
            match socket::send(&self.socket, &slices[..used], libc::MSG_DONTWAIT) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(len) => output.advance(len),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads once.
    pub(in super::super) fn read(&self, to: &mut Room, flags: i32) -> Result<Read> {
        let mut room = to.most;
        let read = loop {
            let read = match &mut to.body {
                Some(body) => {
                    let (buffer, missing) = body.buffer();
                    room = missing.min(buffer.capacity() - buffer.len());
                    socket::receive_more(&self.socket, buffer, room, flags)
                }
                None => SCRATCH.with_borrow_mut(|scratch| {
                    socket::receive(&self.socket, &mut scratch[..room], flags)
                }),
            };
            match read {
                // Whoever waits looks what time it is: the system begins to wait anew.
                Err(error) if error.kind() == io::ErrorKind::Interrupted && flags == 0 => {
                    return Ok(Read::Nothing);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        match read {
            Ok(0) => Err(Error::closed(match to.body {
                Some(_) => "the peer closed the connection within a frame",
                None => "the peer closed the connection",
            })),
            Ok(len) if len == room => Ok(Read::Full(len)),
            Ok(len) => Ok(Read::Some(len)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Read::Nothing),
            Err(error) => Err(Error::connection_lost(error)),
        }
    }

    /// Prepares an attempt to read: what comes from now on is news.
    pub(in super::super) fn begin_read(shared: &mut Shared<H>) -> Room {
        shared.drained = true;
        let link = shared.state.link();
        link.set_being_read(true);
        Room {
            body: link.take_body(),
            most: link.read_len(SCRATCH_LEN),
        }
    }

    /// Takes what an attempt to read gave.
    pub(in super::super) fn take_read<'a>(
        &'a self,
        read: Result<Read>,
        room: Room,
        after: &mut After<'_, H>,
    ) -> Guard<'a, H> {
        let mut shared = self.lock();
        let is_body = room.body.is_some();
        if let Some(body) = room.body {
            shared.state.link().received_body(body);
        }
        shared.state.link().set_being_read(false);
        shared.drained &= !matches!(read, Ok(Read::Full(_)));
        match read {
            Err(error) => self.end(&mut shared, error, after),
            Ok(Read::Writable) => shared = self.flush(shared, true, after),
            Ok(Read::Some(len) | Read::Full(len)) if !is_body => {
                SCRATCH.with_borrow(|scratch| shared.state.link().received(&scratch[..len]));
            }
            Ok(_) => {}
        }
        shared
    }
}
