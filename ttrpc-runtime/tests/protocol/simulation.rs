//! A driver without a socket: an endpoint, a clock that moves only when it is told to,
//! and bytes that come and go in pieces of any size.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ttrpc_runtime::codec::Payload;
use ttrpc_runtime::frame::StreamId;
use ttrpc_runtime::proto::{
    Body, CallKind, End, Endpoint, Event, Link, Output, Received, client, server,
};
use ttrpc_runtime::{Error, Limits, Metadata, Result};

use crate::frames::{Sent, parse};
use crate::writing::write;

/// Bytes that a driver reads at once, at most.
const READ_LEN: usize = 64 << 10;

/// An event, by the id of its stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Happened {
    Call(u32),
    Readable(u32),
    Ended(u32),
}

impl Happened {
    /// What tells a client that a call is over.
    pub fn over(kind: CallKind, id: u32) -> Self {
        match kind.client_streams() {
            true => Self::Ended(id),
            false => Self::Readable(id),
        }
    }
}

/// What was received on a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Got {
    Message(Bytes),
    Closed,
    Reply(Bytes),
    Failed(i32),
}

/// A message that was received.
pub fn message(bytes: &'static [u8]) -> Got {
    Got::Message(Bytes::from_static(bytes))
}

pub fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

/// Why a connection was lost.
pub fn lost(kind: std::io::ErrorKind) -> Error {
    std::io::Error::from(kind).into()
}

pub fn stream_id(id: u32) -> StreamId {
    StreamId::new(id)
}

/// Numbers that look random and are the same each time (xorshift).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, most: usize) -> usize {
        (self.next() >> 16) as usize % most
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| (self.next() >> 16) as u8).collect()
    }
}

pub type Server = Driver<server::Connection<u32>>;
pub type Client = Driver<client::Connection<u32>>;

/// What a real driver is, with its socket replaced by two buffers.
pub struct Driver<E> {
    pub endpoint: E,
    /// The virtual clock.
    pub now: Instant,
    /// Calls that have come in and are not handled.
    pub calls: VecDeque<server::Call>,
    /// Why the connection has to be closed, once it has.
    pub failure: Option<Error>,
    /// Bytes that have arrived and are not read.
    pub unread: BytesMut,
    body: Option<Body>,
    writing: Output,
    happened: Vec<Happened>,
}

impl<E: Endpoint<Slot = u32>> Driver<E> {
    pub fn new(endpoint: E) -> Self {
        Self {
            endpoint,
            now: Instant::now(),
            calls: VecDeque::new(),
            failure: None,
            unread: BytesMut::new(),
            body: None,
            writing: Output::default(),
            happened: Vec::new(),
        }
    }

    pub fn link(&mut self) -> &mut Link<u32> {
        self.endpoint.link()
    }

    /// Handles all events there are.
    pub fn poll(&mut self) {
        while self.failure.is_none() {
            let mut called = None;
            match self.endpoint.poll(&mut self.now.into(), &mut called) {
                Ok(None) => return,
                Ok(Some(Event::Readable(id))) => self.happened.push(Happened::Readable(*id)),
                Ok(Some(Event::Ended(id))) => self.happened.push(Happened::Ended(*id)),
                Ok(Some(Event::Call)) => self.take_calls(called),
                Err(error) => self.failure = Some(error),
            }
        }
    }

    /// Takes a call and those right behind it.
    fn take_calls(&mut self, first: Option<server::Call>) {
        let mut calls: Vec<_> = first.into_iter().collect();
        let mut next = None;
        while self.endpoint.next_call(&mut next) {
            calls.extend(next.take());
        }
        for call in calls {
            self.name(call.id);
            self.happened.push(Happened::Call(call.id.get()));
            self.calls.push_back(call);
        }
    }

    /// The slot of each stream holds its id.
    fn name(&mut self, id: StreamId) {
        *self.link().slot(id).expect("an open stream") = id.get();
    }

    /// Reads what has arrived in pieces of up to `cut()` bytes, as far as the endpoint
    /// wants to.
    pub fn read(&mut self, mut cut: impl FnMut() -> usize) {
        loop {
            self.poll();
            if self.failure.is_some() || self.unread.is_empty() || !self.endpoint.wants_read() {
                return;
            }
            let len = cut().min(self.unread.len()).min(READ_LEN);
            if self.body.is_none() {
                self.body = self.link().take_body();
            }
            let Some(body) = &mut self.body else {
                let chunk = Bytes::copy_from_slice(&self.unread.split_to(len));
                self.link().received(&chunk);
                continue;
            };
            let (buffer, missing) = body.buffer();
            let len = len.min(missing).min(buffer.capacity() - buffer.len());
            buffer.extend_from_slice(&self.unread.split_to(len));
            if !body.goes_on() {
                let body = self.body.take().expect("it is being read");
                self.link().received_body(body);
            }
        }
    }

    /// Lets bytes arrive and reads them.
    pub fn feed(&mut self, bytes: impl AsRef<[u8]>) {
        self.feed_cut(bytes, usize::MAX);
    }

    /// The same, in pieces of up to `cut` bytes.
    pub fn feed_cut(&mut self, bytes: impl AsRef<[u8]>, cut: usize) {
        self.unread.extend_from_slice(bytes.as_ref());
        self.read(|| cut);
    }

    /// Lets time pass.
    pub fn advance(&mut self, time: Duration) {
        self.now += time;
        self.poll();
    }

    /// How long it is until the endpoint wants to be polled.
    pub fn timeout(&mut self) -> Option<Duration> {
        let now = self.now;
        self.link()
            .timeout()
            .map(|at| at.saturating_duration_since(now))
    }

    /// Writes up to `most` bytes of the output.
    pub fn write(&mut self, most: usize) -> Vec<u8> {
        write(&mut self.endpoint, &mut self.writing, most)
    }

    /// Writes all of the output, and reads on where that had to wait for room.
    pub fn sent(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        loop {
            let written = self.write(usize::MAX);
            sent.extend(parse(&written));
            self.read(|| usize::MAX);
            if written.is_empty() {
                return sent;
            }
        }
    }

    /// The events since this was last asked.
    pub fn happened(&mut self) -> Vec<Happened> {
        std::mem::take(&mut self.happened)
    }

    /// Receives all there is on a stream, as a handler or a caller does.
    pub fn receive(&mut self, id: u32) -> Vec<Got> {
        let mut got = Vec::new();
        loop {
            let mut messages = VecDeque::new();
            match self.endpoint.receive(stream_id(id), &mut messages) {
                Received::Messages => got.extend(messages.into_iter().flatten().map(Got::Message)),
                Received::Nothing => return got,
                Received::End(end) => {
                    got.push(match end {
                        End::Closed => Got::Closed,
                        End::Reply(payload) => Got::Reply(payload.into_bytes()),
                        End::Failed(error) => Got::Failed(error.code().0),
                    });
                    return got;
                }
            }
        }
    }

    /// The error that a stream has ended with.
    pub fn receive_error(&mut self, id: u32) -> Error {
        match self.endpoint.receive(stream_id(id), &mut VecDeque::new()) {
            Received::End(End::Failed(error)) => error,
            other => panic!("stream {id}: {other:?}"),
        }
    }

    pub fn send(&mut self, id: u32, message: &[u8]) -> Result<()> {
        let message = Bytes::copy_from_slice(message);
        self.endpoint.send(stream_id(id), &message)
    }

    pub fn finish(&mut self, id: u32, result: Result<()>) -> Option<u32> {
        self.endpoint.finish(stream_id(id), result)
    }
}

impl Server {
    pub fn with(change: impl FnOnce(&mut Limits)) -> Self {
        Self::new(server::Connection::new(limits(change)))
    }

    pub fn respond(&mut self, id: u32, result: Result<&[u8]>) -> Option<u32> {
        let reply = result.map(Bytes::copy_from_slice);
        let result = reply.as_ref().map(|reply| reply as &dyn Payload);
        self.endpoint
            .respond(stream_id(id), result.map_err(Error::clone))
    }
}

impl Client {
    pub fn with(change: impl FnOnce(&mut Limits)) -> Self {
        Self::new(client::Connection::new(limits(change)))
    }

    /// Opens a call of `s.S/M`.
    pub fn open(&mut self, kind: CallKind, request: Option<&[u8]>) -> u32 {
        self.try_open(kind, request, None).expect("a call")
    }

    /// Opens a call of `s.S/M` that has to end within some time.
    pub fn try_open(
        &mut self,
        kind: CallKind,
        request: Option<&[u8]>,
        within: Option<Duration>,
    ) -> Result<u32> {
        let request = request.map(Bytes::copy_from_slice);
        let call = client::Call {
            service: "s.S",
            method: "M",
            kind,
            deadline: within.map(|time| self.now + time),
            metadata: &Metadata::new(),
            request: request.as_ref().map(|request| request as &dyn Payload),
        };
        self.open_call(&call)
    }

    pub fn open_call(&mut self, call: &client::Call<'_>) -> Result<u32> {
        let id = self.endpoint.open(call, self.now)?;
        self.name(id);
        Ok(id.get())
    }
}
