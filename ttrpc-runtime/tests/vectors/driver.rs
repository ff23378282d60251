//! A driver without a socket, under a clock that moves only when it is told to.

use std::io::IoSlice;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ttrpc_runtime::Error;
use ttrpc_runtime::frame::StreamId;
use ttrpc_runtime::proto::{Body, Endpoint, Event, Output, server};

/// An event, by the id of its stream.
pub enum Occurrence {
    Call(server::Call),
    Readable(StreamId),
    Ended(StreamId),
}

/// What a real driver is, with two buffers for a socket. The slot of each stream holds
/// its id.
pub struct Driver<E> {
    pub endpoint: E,
    pub now: Instant,
    /// Whether the connection is closed.
    pub closed: bool,
    unread: BytesMut,
    /// How many bytes come at once, at most.
    cut: usize,
    body: Option<Body>,
}

impl<E: Endpoint<Slot = u32>> Driver<E> {
    pub fn new(endpoint: E, cut: usize) -> Self {
        Self {
            endpoint,
            now: Instant::now(),
            closed: false,
            unread: BytesMut::new(),
            cut,
            body: None,
        }
    }

    /// Lets bytes arrive; [`next`](Self::next) reads them.
    pub fn arrive(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    pub fn advance(&mut self, time: Duration) {
        self.now += time;
    }

    /// Closes the connection.
    pub fn close(&mut self, error: Error) {
        self.closed = true;
        self.endpoint.fail(error);
    }

    /// Keeps its id with a stream that is new.
    pub fn name(&mut self, id: StreamId) {
        *self.endpoint.link().slot(id).expect("a new stream") = id.get();
    }

    /// The next event; reads as long as there is none.
    pub fn next(&mut self) -> Option<Occurrence> {
        while !self.closed {
            let mut call = None;
            match self.endpoint.poll(&mut self.now.into(), &mut call) {
                Ok(Some(Event::Call)) => {
                    let call = call?;
                    self.name(call.id);
                    return Some(Occurrence::Call(call));
                }
                Ok(Some(Event::Readable(id))) => {
                    return Some(Occurrence::Readable(StreamId::new(*id)));
                }
                Ok(Some(Event::Ended(id))) => return Some(Occurrence::Ended(StreamId::new(*id))),
                Err(error) => {
                    self.close(error);
                    return None;
                }
                Ok(None) => {}
            }
            if self.unread.is_empty() || !self.endpoint.wants_read() {
                return None;
            }
            self.read();
        }
        None
    }

    fn read(&mut self) {
        let len = self.cut.min(self.unread.len());
        if self.body.is_none() {
            self.body = self.endpoint.link().take_body();
        }
        let Some(body) = &mut self.body else {
            let chunk = Bytes::copy_from_slice(&self.unread.split_to(len));
            self.endpoint.link().received(&chunk);
            return;
        };
        let (buffer, missing) = body.buffer();
        let len = len.min(missing).min(buffer.capacity() - buffer.len());
        buffer.extend_from_slice(&self.unread.split_to(len));
        if !body.goes_on() {
            let body = self.body.take().expect("it is being read");
            self.endpoint.link().received_body(body);
        }
    }

    /// Writes all that waits to be written.
    pub fn write(&mut self) -> Vec<u8> {
        let mut output = Output::default();
        self.endpoint.link().take_output(&mut output);
        let mut written = Vec::new();
        while !output.is_empty() {
            let mut slices = [IoSlice::new(&[]); 8];
            let used = output.slices(&mut slices);
            let before = written.len();
            slices[..used]
                .iter()
                .for_each(|s| written.extend_from_slice(s));
            output.advance(written.len() - before);
        }
        self.endpoint.link().set_writing(0);
        written
    }
}
