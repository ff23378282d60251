//! The client's end of a connection (PROTOCOL.md §6.1, §8.3).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::decoder::{Frame, Incoming};
use super::inbox::Run;
use super::link::{Expired, Link};
use super::output::Data;
use super::server::{self, stalled};
use super::stream::{CallKind, End, Received, Receiving, Stream};
use super::{Endpoint, Event, Step};
use crate::clock::Now;
use crate::codec::Payload;
use crate::envelope::{RequestHead, Response, Slice};
use crate::error::{Error, Result};
use crate::frame::{Flags, Header, MAX_DATA_LEN, MessageType, StreamId, sendable};
use crate::limits::Limits;
use crate::metadata::Metadata;

/// A call that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The service's name, as in `package.Service`.
    pub service: &'a str,
    /// The method's name, as in the .proto.
    pub method: &'a str,
    /// Which of the four kinds it is.
    pub kind: CallKind,
    /// When it has to have ended.
    pub deadline: Option<Instant>,
    /// What travels with it.
    pub metadata: &'a Metadata,
    /// The request, for the kinds that have a single one.
    pub request: Option<&'a dyn Payload>,
}

impl std::fmt::Debug for dyn Payload + '_ {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Payload")
    }
}

/// The client's end of a connection; `S` is what the driver keeps with each stream.
#[derive(Debug)]
pub struct Connection<S> {
    link: Link<S>,
    /// The id of the next call, unless they have run out.
    next_id: Option<StreamId>,
    /// Why the connection has ended, once it has.
    failed: Option<Error>,
    send_cancel: bool,
}

impl<S: Default> Connection<S> {
    /// A connection that has just been made.
    pub fn new(limits: impl Into<Arc<Limits>>) -> Self {
        Self::with_first_id(limits, StreamId::FIRST)
    }

    /// A connection whose first call has the given id: for tests of what happens when
    /// they run out.
    pub fn with_first_id(limits: impl Into<Arc<Limits>>, id: StreamId) -> Self {
        Self {
            link: Link::new(limits.into()),
            next_id: Some(id),
            failed: None,
            send_cancel: false,
        }
    }

    /// Tells the server of calls that are given up, by frames of the type
    /// [`MessageType::CANCEL`], which is no part of ttrpc 1.2 (PROTOCOL.md §10). Default: off.
    #[must_use]
    pub fn send_cancel(mut self, send_cancel: bool) -> Self {
        self.send_cancel = send_cancel;
        self
    }

    /// Why the connection has ended, once it has.
    pub fn failed(&self) -> Option<&Error> {
        self.failed.as_ref()
    }

    /// Whether there are ids left for more calls.
    pub fn has_ids(&self) -> bool {
        self.next_id.is_some()
    }

    /// Ends the connection once the last call is over.
    pub fn shut_down(&mut self) {
        self.link.drain();
    }

    /// Opens a call: takes an id and queues its frame in one step, so that ids grow on
    /// the wire (PROTOCOL.md §2.4).
    ///
    /// # Errors
    /// Nothing is sent and no id is used: the connection has ended, the ids have run
    /// out, the deadline has passed, or the request can't be sent.
    pub fn open(&mut self, call: &Call<'_>, now: Instant) -> Result<StreamId> {
        self.open_with(call, &mut now.into(), S::default)
    }

    /// The same; the time is asked for if there is a deadline, and what `slot` gives is kept
    /// with the stream.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(
        &mut self,
        call: &Call<'_>,
        now: &mut Now,
        slot: impl FnOnce() -> S,
    ) -> Result<StreamId> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if self.link.is_draining() {
            return Err(Error::closed("the connection is being closed"));
        }
        let id = self.next_id.ok_or_else(Error::stream_ids_exhausted)?;
        let timeout = match call.deadline {
            None => None,
            Some(at) => {
                let left = at.saturating_duration_since(now.get());
                if left.is_zero() {
                    return Err(Error::timeout());
                }
                Some(left)
            }
        };
        let head = RequestHead {
            service: call.service,
            method: call.method,
            timeout,
            metadata: call.metadata,
        };
        let nothing = Bytes::new();
        let payload = call.request.unwrap_or(&nothing);
        let payload_len = payload.encoded_len()?;
        let data = Data {
            len: sendable(payload_len, |len| head.encoded_len(len))?,
            before: |run: &mut Vec<u8>| head.put_before(payload_len, run),
            payload,
            payload_len,
            after: |run: &mut Vec<u8>| head.put_after(run),
        };
        let flags = call.kind.request_flags();
        self.link
            .output
            .put(id, MessageType::REQUEST, flags, data)?;
        self.next_id = id.next();
        let mut stream = Stream::new(call.kind, call.deadline, slot());
        stream.sending = call.kind.client_streams();
        self.link.open(id, stream);
        Ok(id)
    }

    /// Ends a stream here, if it was not over yet, and tells whoever has to know. What the
    /// server still sends on it is dropped.
    #[inline(never)]
    fn end(&mut self, id: StreamId, end: End) -> Step<S> {
        self.end_with(id, || end)
    }

    /// The same; the end is made where it is to be.
    #[inline(always)]
    fn end_with(&mut self, id: StreamId, end: impl FnOnce() -> End) -> Step<S> {
        let Some(stream) = self.link.streams.get_mut(id) else {
            return Step::Done;
        };
        stream.sending = false;
        let deadline = stream.deadline.take();
        let step = match stream.receiving {
            // The server was first.
            Receiving::Ended(_) => Step::Done,
            _ if stream.kind.client_streams() => {
                Step::ended(Some(std::mem::take(&mut stream.slot)))
            }
            // Nothing feeds it: there is nobody but the reader.
            _ => Step::Readable(id),
        };
        if !matches!(step, Step::Done) {
            stream.receiving = Receiving::Ended(end());
        }
        self.link.forget_deadline(id, deadline);
        self.link.unstall(id);
        step
    }

    /// The slot of a stream that has been ended.
    fn slot_of(&mut self, step: Step<S>) -> Option<S> {
        match step {
            Step::Ended(slot) => Some(*slot),
            Step::Readable(id) => self.link.slot(id).map(std::mem::take),
            _ => None,
        }
    }

    /// Tells the server, as far as that is possible, that nobody waits for the replies of
    /// a call that is not over.
    ///
    /// Without the extension: where the requests are a stream beside that of the replies,
    /// that there will be no more of them. A stream of requests that is to be answered
    /// once is not closed, because the server would take what it has got for all there is
    /// (PROTOCOL.md §7.3).
    fn put_given_up(&mut self, id: StreamId) {
        let Some(stream) = self.link.streams.get_mut(id) else {
            return;
        };
        if self.failed.is_some() || matches!(stream.receiving, Receiving::Ended(_)) {
            return;
        }
        let (kind, sending) = (stream.kind, std::mem::take(&mut stream.sending));
        // Nobody will miss it, and the server may be done by the time it comes. A close that
        // has not left is none.
        let is_open = self.take_requests_back(id, kind) || sending;
        if self.send_cancel {
            let output = &mut self.link.output;
            output.put_plain(id, MessageType::CANCEL, Flags::NONE, 0, |_| {});
        } else if is_open && kind.server_streams() {
            self.link.put_close(id);
        }
    }

    /// The next thing that has taken too long, unless what has come counts first.
    fn expire(&mut self, now: &mut Now) -> Result<Option<Expired>> {
        #[cfg(feature = "blocking")]
        if self.link.catches_up {
            return Ok(None);
        }
        self.link.expire(now)
    }

    /// Ends a stream because the server has.
    fn end_by_server(&mut self, id: StreamId, kind: CallKind, end: End) -> Step<S> {
        self.take_requests_back(id, kind);
        self.end(id, end)
    }

    /// Some servers die of what follows their end. Says whether the close was taken back, too.
    fn take_requests_back(&mut self, id: StreamId, kind: CallKind) -> bool {
        kind.client_streams() && self.link.take_back(id)
    }

    /// Ends a stream with an error: what waits to be received is not waited for. The server
    /// is told, unless it knows as well.
    fn end_at_once(&mut self, id: StreamId, error: Error, knows: bool) -> Step<S> {
        let Some(stream) = self.link.streams.get_mut(id) else {
            return Step::Done;
        };
        if !matches!(stream.receiving, Receiving::Ended(_)) {
            stream.inbox.clear();
            let kind = stream.kind;
            if self.send_cancel || !knows {
                self.put_given_up(id);
            } else {
                self.take_requests_back(id, kind);
            }
        }
        self.end(id, End::Failed(error))
    }

    fn on_too_large(&mut self, header: Header) -> Step<S> {
        let id = header.stream_id;
        match (header.message_type, self.link.streams.get(id)) {
            (MessageType::RESPONSE | MessageType::DATA, Some(stream)) => {
                let error = Error::too_large(header.length as usize, MAX_DATA_LEN);
                let kind = stream.kind;
                self.end_by_server(id, kind, End::Failed(error))
            }
            _ => Step::Done,
        }
    }

    fn on_response(&mut self, frame: &mut Frame, now: &mut Now) -> Step<S> {
        let id = frame.header.stream_id;
        let Some(stream) = self.link.streams.get(id) else {
            // Late: nobody waits for it any more.
            return Step::Done;
        };
        let kind = stream.kind;
        let end = match Response::read(&frame.data) {
            Some((None, at)) if !kind.server_streams() => {
                self.take_requests_back(id, kind);
                return self.end_with(id, || End::Reply(Slice::new(frame.take_data(), at)));
            }
            Some((None, at)) => {
                // Not how a stream should end, but what it says is clear.
                let payload = Slice::new(frame.take_data(), at);
                if !payload.is_empty() {
                    frame.header.flags = Flags::NONE;
                    frame.data = payload.into_bytes();
                    self.link.deliver(frame, now);
                }
                End::Closed
            }
            Some((Some(status), _)) => End::Failed(status.into()),
            None => End::Failed(Error::protocol(
                "the data of the response frame is no ttrpc Response",
            )),
        };
        self.end_by_server(id, kind, end)
    }

    fn on_frame(&mut self, mut frame: Frame, now: &mut Now) -> Step<S> {
        match frame.header.message_type {
            MessageType::RESPONSE => self.on_response(&mut frame, now),
            MessageType::DATA => self.on_data(&mut frame, now),
            // A request makes no sense here; other types may come to exist.
            _ => Step::Done,
        }
    }

    fn on_data(&mut self, frame: &mut Frame, now: &mut Now) -> Step<S> {
        let id = frame.header.stream_id;
        let flags = frame.header.flags;
        let Some(stream) = self.link.streams.get(id) else {
            // Late: nobody waits for it any more.
            return Step::Done;
        };
        let kind = stream.kind;
        if !kind.server_streams() {
            let error = Error::protocol("data came for a call that has a single reply");
            return self.end_by_server(id, kind, End::Failed(error));
        }
        if !matches!(stream.receiving, Receiving::Open) {
            return Step::Done;
        }
        if flags.contains(Flags::REMOTE_CLOSED) {
            frame.header.flags = Flags(flags.0 & !Flags::REMOTE_CLOSED.0);
            self.link.deliver(frame, now);
            return self.end_by_server(id, kind, End::Closed);
        }
        match self.link.deliver(frame, now) {
            true => Step::Readable(id),
            false => Step::Done,
        }
    }
}

impl<S: Default> Endpoint for Connection<S> {
    type Slot = S;

    fn link(&mut self) -> &mut Link<S> {
        &mut self.link
    }

    fn has_room(&self) -> bool {
        self.link.has_room()
    }

    fn has_reply_room(&self) -> bool {
        self.link.has_reply_room()
    }

    fn poll(
        &mut self,
        now: &mut Now,
        _: &mut Option<server::Call>,
    ) -> Result<Option<Event<'_, S>>> {
        let step = loop {
            let step = if let Some(expired) = self.expire(now)? {
                match expired {
                    Expired::Deadline(id) => self.end_at_once(id, Error::timeout(), true),
                    Expired::Stalled(id) => {
                        let status = stalled(&self.link.limits);
                        self.put_given_up(id);
                        self.end(id, End::Failed(status.into()))
                    }
                }
            } else if let Some(step) = self.link.deliver_run(CallKind::server_streams) {
                step
            } else if let Some(frame) = self.link.next_whole() {
                self.on_frame(frame, now)
            } else {
                match self.link.next_frame(now)? {
                    None => return Ok(None),
                    Some(Incoming::Frame(frame)) => self.on_frame(frame, now),
                    Some(Incoming::TooLarge(header)) => self.on_too_large(header),
                }
            };
            if !matches!(step, Step::Done) {
                break step;
            }
        };
        Ok(step.into_event(&mut self.link))
    }

    fn wants_read(&mut self) -> bool {
        !self.link.is_stalled()
    }

    fn check_sending(&mut self, id: StreamId) -> Result<()> {
        match self.link.streams.get(id) {
            // Some servers die of data on a stream that they have ended.
            Some(stream) if stream.sending => Ok(()),
            _ => Err(self.failed.clone().unwrap_or_else(Error::cancelled)),
        }
    }

    fn finish(&mut self, id: StreamId, result: Result<()>) -> Option<S> {
        let stream = self.link.streams.get_mut(id)?;
        match result {
            Ok(()) if stream.sending => {
                stream.sending = false;
                self.link.put_close(id);
                None
            }
            Ok(()) => None,
            // There is no frame that says so: to the server it is a call that is given up.
            Err(error) => {
                let step = self.end_at_once(id, error, false);
                self.slot_of(step)
            }
        }
    }

    fn receive(&mut self, id: StreamId, into: &mut VecDeque<Run>) -> Received {
        match self.link.receive(id, into) {
            Some(Received::End(end)) => {
                self.link.remove(id);
                Received::End(end)
            }
            Some(received) => received,
            // It was given up, by whoever watches for the caller's context.
            None => {
                let error = self.failed.clone().unwrap_or_else(Error::cancelled);
                Received::End(End::Failed(error))
            }
        }
    }

    fn abandon(&mut self, id: StreamId) -> Option<S> {
        self.put_given_up(id);
        self.link.close(id)
    }

    fn fail(&mut self, error: Error) -> Vec<S> {
        let error = self.failed.get_or_insert(error).clone();
        self.link.stop_frame_time();
        let ids: Vec<_> = self.link.streams.ids().collect();
        ids.into_iter()
            .filter_map(|id| {
                let step = self.end(id, End::Failed(error.clone()));
                self.slot_of(step)
            })
            .collect()
    }
}
