//! What a connection's threads read and write.

use std::io::{self, IoSlice};

use super::{After, Connection, Guard, Host, Shared};
use crate::connection::{MAX_SLICES, SCRATCH, SCRATCH_LEN, end_of_input};
use crate::error::{Error, Result};
use crate::proto::{Body, Output};
use crate::socket;

/// Where what is read is to go: to a large frame, if one has begun or is expected, or to the
/// thread's buffer.
pub(in super::super) struct Room(Option<Body>);

impl Room {
    /// Gives up what is only expected: whoever waits for long keeps no room for it.
    pub(super) fn shrink(&mut self) {
        self.0.take_if(|body| body.is_empty());
    }
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
            let sent = match output.as_slice() {
                Some(one) => socket::send(&self.socket, &[IoSlice::new(one)]),
                None => {
                    let mut slices = [IoSlice::new(&[]); MAX_SLICES];
                    let used = output.slices(&mut slices);
                    socket::send(&self.socket, &slices[..used])
                }
            };
            match sent {
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
        let mut room = SCRATCH_LEN;
        let read = loop {
            let read = match &mut to.0 {
                Some(body) => {
                    let (buffer, missing) = body.buffer();
                    room = missing.min(buffer.capacity() - buffer.len());
                    socket::receive_more(&self.socket, buffer, room, flags)
                }
                None => {
                    SCRATCH.with_borrow_mut(|scratch| socket::receive(&self.socket, scratch, flags))
                }
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
            Ok(0) => Err(end_of_input(to.0.as_ref())),
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
        Room(link.take_body())
    }

    /// Reads what is there already, with the lock free meanwhile. Says whether there was some.
    pub(in super::super) fn read_now<'a>(
        &'a self,
        mut shared: Guard<'a, H>,
        after: &mut After<'_, H>,
    ) -> (Guard<'a, H>, bool) {
        let mut room = Self::begin_read(&mut shared);
        drop(shared);
        after.run();
        let read = self.read(&mut room, libc::MSG_DONTWAIT);
        let is_some = matches!(read, Ok(Read::Some(_) | Read::Full(_)));
        (self.take_read(read, room, after), is_some)
    }

    /// Takes what an attempt to read gave.
    pub(in super::super) fn take_read<'a>(
        &'a self,
        read: Result<Read>,
        room: Room,
        after: &mut After<'_, H>,
    ) -> Guard<'a, H> {
        let mut shared = self.lock();
        let is_body = room.0.is_some();
        if let Some(body) = room.0 {
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
