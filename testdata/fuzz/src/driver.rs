//! What drives an endpoint, without a socket, under a clock that moves only when it is told
//! to; and what every endpoint promises to its driver.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ttrpc_runtime::frame::StreamId;
use ttrpc_runtime::proto::{Body, End, Endpoint, Event, Output, Received, server};
use ttrpc_runtime::{Error, Status};

use self::writing::write;
use crate::frames::{Names, header};
use crate::limits;
use crate::script::Script;

#[path = "../../../ttrpc-runtime/tests/protocol/writing.rs"]
mod writing;

const LONG: Duration = Duration::from_secs(1 << 30);

/// What the output may grow to: the bound, one message, and an error for each stream.
const MOST_BACKLOG: usize = 4000;

/// An event.
pub enum Happened {
    Call(server::Call),
    Readable(u32),
    Ended(u32),
}

/// What a reader knows.
#[derive(Clone, Copy, PartialEq)]
enum Told {
    There,
    Perhaps,
}

/// An endpoint whose streams have their ids in their slots.
pub struct Driver<E> {
    pub endpoint: E,
    pub now: Instant,
    /// Why the connection has ended, once it has.
    pub failure: Option<Error>,
    /// Which ids the peer has named.
    pub names: Names,
    unread: BytesMut,
    body: Option<Body>,
    writing: Output,
    /// The streams of which was said that there is something to receive, or may be.
    told: BTreeMap<u32, Told>,
    /// How much there may yet come of large frames.
    filler: usize,
}

impl<E: Endpoint<Slot = u32>> Driver<E> {
    pub fn new(endpoint: E) -> Self {
        Self {
            endpoint,
            now: Instant::now(),
            failure: None,
            names: Names::default(),
            unread: BytesMut::new(),
            body: None,
            writing: Output::default(),
            told: BTreeMap::new(),
            filler: 80 << 10,
        }
    }

    /// Lets bytes arrive; [`next`](Self::next) reads them.
    pub fn arrive(&mut self, bytes: &[u8]) {
        self.names.read(bytes);
        self.unread.extend_from_slice(bytes);
    }

    /// The next event; as long as there is none, reads pieces of up to `cut` bytes.
    pub fn next(&mut self, cut: usize) -> Option<Happened> {
        while self.failure.is_none() {
            let mut call = None;
            // Calls are taken together or not.
            if cut % 2 == 0 && self.endpoint.next_call(&mut call) {
                return call.map(Happened::Call);
            }
            match self.endpoint.poll(&mut self.now.into(), &mut call) {
                Ok(Some(Event::Call)) => return call.map(Happened::Call),
                Ok(Some(Event::Readable(id))) => {
                    let id = *id;
                    assert_ne!(id, 0, "a stream that nobody has opened");
                    self.told.insert(id, Told::There);
                    return Some(Happened::Readable(id));
                }
                Ok(Some(Event::Ended(id))) => {
                    assert_ne!(*id, 0, "a stream that nobody has opened");
                    self.told.insert(*id, Told::There);
                    return Some(Happened::Ended(*id));
                }
                Ok(None) => self.check_promises(),
                Err(error) => {
                    self.fail(error);
                    return None;
                }
            }
            if self.unread.is_empty() || !self.endpoint.wants_read() {
                return None;
            }
            self.read(cut.max(1));
        }
        None
    }

    /// Whatever is said of the time to come is so.
    fn check_promises(&mut self) {
        let (now, link) = (self.now, self.endpoint.link());
        let timeout = link.timeout();
        assert!(timeout.is_none_or(|at| at > now), "a time that has passed");
        let silent = match link.is_quiet() {
            true => now.checked_add(LONG),
            false => timeout.map(|at| at - Duration::from_nanos(1)),
        };
        if let Some(at) = silent {
            let found = self.endpoint.poll(&mut at.into(), &mut None);
            assert!(matches!(found, Ok(None)), "too early: {found:?}");
        }
        self.check_bounds();
    }

    fn check_bounds(&mut self) {
        let link = self.endpoint.link();
        let (streams, backlog) = (link.streams(), link.backlog());
        assert!(streams <= limits().max_streams, "{streams} streams");
        assert!(backlog <= MOST_BACKLOG, "{backlog} bytes to write");
    }

    fn read(&mut self, cut: usize) {
        let len = cut.min(self.unread.len());
        if self.body.is_none() {
            self.body = self.endpoint.link().take_body();
        }
        let Some(body) = &mut self.body else {
            let piece = self.unread.split_to(len);
            self.endpoint.link().received(&piece);
            return;
        };
        let (buffer, missing) = body.buffer();
        let len = len.min(missing).min(buffer.capacity() - buffer.len());
        assert!(len > 0, "a body without room");
        buffer.extend_from_slice(&self.unread.split_to(len));
        if !body.goes_on() {
            self.endpoint
                .link()
                .received_body(self.body.take().unwrap());
        }
    }

    /// Ends the connection: for good, and for all of its streams.
    pub fn fail(&mut self, error: Error) {
        for id in self.endpoint.fail(error.clone()) {
            self.tell(id);
        }
        self.failure = Some(error);
        assert!(self.endpoint.link().timeout().is_none());
    }

    /// Writes up to `most` bytes of the output.
    pub fn write(&mut self, most: usize) -> Vec<u8> {
        write(&mut self.endpoint, &mut self.writing, most)
    }

    /// Receives all there is on a stream: that is something if it was said, and nothing if it
    /// was not.
    pub fn receive(&mut self, id: u32) -> (Vec<Bytes>, Option<End>) {
        let (stream, mut all) = (StreamId::new(id), Vec::new());
        let is_open = self.endpoint.link().slot(stream).is_some();
        let told = self.told.remove(&id);
        loop {
            let mut messages = VecDeque::new();
            match self.endpoint.receive(stream, &mut messages) {
                Received::Nothing => {
                    let nothing = told == Some(Told::There) && all.is_empty();
                    assert!(!nothing, "nothing has come on {id}");
                    return (all, None);
                }
                Received::End(end) => {
                    assert!(
                        told.is_some() || !is_open,
                        "nobody was told of the end of {id}"
                    );
                    return (all, Some(end));
                }
                Received::Messages => {
                    assert!(told.is_some(), "nobody was told of messages on {id}");
                    all.extend(messages.into_iter().flatten());
                    check_inbox(&all);
                }
            }
        }
    }

    /// Has the reader of a stream look what is there.
    pub fn tell(&mut self, id: u32) {
        self.told.entry(id).or_insert(Told::Perhaps);
    }

    /// Ends this side of a stream.
    pub fn finish(&mut self, id: u32, result: Result<(), Error>) {
        if let Some(id) = self.endpoint.finish(StreamId::new(id), result) {
            self.tell(id);
        }
    }

    /// Lets bytes of large frames arrive.
    fn fill(&mut self, len: usize) {
        let len = len.min(self.filler);
        self.filler -= len;
        self.arrive(&vec![0; len]);
    }

    /// Does what the script says, as far as both ends do it; gives back what is not done.
    pub fn act(&mut self, what: u8, script: &mut Script<'_>) -> Option<u8> {
        match what {
            0 => self.arrive(script.bytes()),
            1 => {
                let (id, kind, flags) = (script.id(), script.byte(), script.byte());
                let data = script.bytes();
                self.arrive(&header(data.len() as u32, id, kind, flags));
                self.arrive(data);
            }
            // Large frames, of which any part comes, and more of it.
            2 => {
                let (id, kind, flags) = (script.id(), script.byte(), script.byte());
                let length = u32::from_be_bytes([0, script.byte(), script.byte(), script.byte()]);
                self.arrive(&header(length, id, kind, flags));
                self.fill(length as usize * usize::from(script.byte()) / 255);
            }
            3 => self.fill(usize::from(script.byte())),
            4 => self.now += Duration::from_millis(u64::from(script.byte()).pow(2)),
            5 => {
                let id = script.id();
                self.receive(id);
            }
            6 => {
                let (id, message) = (script.id(), Bytes::copy_from_slice(script.bytes()));
                if self.endpoint.has_room() {
                    let sent = self.endpoint.send(StreamId::new(id), &message);
                    assert!(sent.is_err() || self.failure.is_none());
                }
            }
            7 => {
                let id = script.id();
                self.finish(id, Ok(()));
            }
            8 => {
                let id = script.id();
                self.finish(id, Err(Status::aborted("x").into()));
            }
            9 => {
                let id = script.id();
                self.endpoint.abandon(StreamId::new(id));
                self.told.remove(&id);
                if self.endpoint.link().slot(StreamId::new(id)).is_some() {
                    // Who reads on all the same may find the end that had come before.
                    self.tell(id);
                }
            }
            what => return Some(what),
        }
        None
    }

    /// Whether all has come to its end; otherwise time goes on to what is next.
    pub fn is_over(&mut self) -> bool {
        if self.failure.is_some() || self.unread.is_empty() {
            return true;
        }
        if !self.endpoint.wants_read() {
            let at = self.endpoint.link().timeout();
            self.now = at
                .filter(|_| self.endpoint.has_reply_room())
                .unwrap_or(self.now);
        }
        false
    }
}

/// All but the first message and the last fit into the bound.
fn check_inbox(messages: &[Bytes]) {
    if let [_, between @ .., _] = messages {
        let len: usize = between.iter().map(Bytes::len).sum();
        assert!(len <= limits().inbox_bytes, "{len} bytes waited");
    }
}
