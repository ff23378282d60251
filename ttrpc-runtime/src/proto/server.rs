//! The server's end of a connection (PROTOCOL.md §6.2, §8.1, §8.2).

mod call;
mod fresh;

use std::collections::VecDeque;
use std::sync::Arc;

pub use self::call::Call;
use self::fresh::Fresh;
use super::decoder::{Frame, Incoming};
use super::inbox::Run;
use super::link::{Expired, Link};
use super::output::Data;
use super::stream::{CallKind, End, Received, Receiving};
use super::{Endpoint, Event, Step};
use crate::clock::Now;
use crate::codec::Payload;
use crate::envelope::{self, TimeIsUp};
use crate::error::{Error, Result};
use crate::frame::{Flags, Header, MAX_DATA_LEN, MessageType, StreamId, sendable};
use crate::limits::Limits;
use crate::status::Status;

/// The server's end of a connection; `S` is what the driver keeps with each stream.
#[derive(Debug)]
pub struct Connection<S> {
    link: Link<S>,
    /// The highest id seen, or none, which is 0: a new one has to be higher.
    last_id: StreamId,
    /// Frames for streams that do not exist.
    strays: u32,
    /// Streams that this end has ended and the client has not: data that was under way
    /// is late, not stray. They are in order.
    ended_early: Vec<StreamId>,
    fresh: Option<Fresh>,
}

impl<S: Default> Connection<S> {
    /// A connection that has just been accepted.
    pub fn new(limits: impl Into<Arc<Limits>>) -> Self {
        Self {
            link: Link::new(limits.into()),
            last_id: StreamId::new(0),
            strays: 0,
            ended_early: Vec::new(),
            fresh: None,
        }
    }

    /// Gives the calls that came last streams, if they have none and are not answered.
    fn admit(&mut self) {
        if self.fresh.is_some() {
            self.admit_fresh();
        }
    }

    #[inline(never)]
    fn admit_fresh(&mut self) {
        let fresh = self.fresh.take();
        for (id, stream) in fresh.into_iter().flat_map(Fresh::streams) {
            self.link.open(id, stream);
        }
    }

    /// From now on new calls are answered with UNAVAILABLE; those that run go on, and
    /// the connection ends with the last of them.
    pub fn shut_down(&mut self) {
        self.link.drain();
    }

    /// Says what kind of call a stream is, now that its method is known.
    pub fn accept(&mut self, id: StreamId, kind: CallKind) {
        self.admit();
        if let Some(stream) = self.link.streams.get_mut(id) {
            let guess = std::mem::replace(&mut stream.kind, kind);
            if guess.client_streams() && !kind.client_streams() && !stream.remote_closed {
                // Its client sends all the same, and will be late.
                self.remember(id);
            }
        }
    }

    /// Ends a stream with its single reply, or with an error. Too late, it does nothing.
    ///
    /// A reply that can't be sent becomes the error that says so. Gives back the slot
    /// of the stream, if the call has had one by then.
    pub fn respond(&mut self, id: StreamId, result: Result<&dyn Payload>) -> Option<S> {
        if !self.is_open(id) {
            return None;
        }
        // While the call is open: where the reply panics, it can still be answered.
        if let Err(error) = result.and_then(|reply| self.put_reply(id, reply)) {
            self.put_error(id, &error.into_status());
        }
        match Fresh::take_first(&mut self.fresh, id) {
            Some((kind, remote_closed)) => {
                self.closed(id, kind, remote_closed);
                self.link.settle();
                None
            }
            None => self.close(id),
        }
    }

    /// Whether a call is not over, be it that it has a stream or that it needs none yet.
    fn is_open(&mut self, id: StreamId) -> bool {
        if self.fresh.as_ref().is_some_and(|fresh| fresh.is_first(id)) {
            return true;
        }
        if self.link.streams.get(id).is_none() {
            // One of those that came last may be answered before its turn.
            self.admit();
        }
        self.link.streams.get(id).is_some()
    }

    fn put_reply(&mut self, id: StreamId, reply: &dyn Payload) -> Result<()> {
        let payload_len = reply.encoded_len()?;
        let data = Data {
            len: sendable(payload_len, envelope::reply_len)?,
            before: |run: &mut Vec<u8>| envelope::put_before_reply(payload_len, run),
            payload: reply,
            payload_len,
            after: |_: &mut Vec<u8>| {},
        };
        let output = &mut self.link.output;
        output.put(id, MessageType::RESPONSE, Flags::NONE, data)?;
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn put_error(&mut self, id: StreamId, status: &Status) {
        let mut len = envelope::error_len(status);
        let shorter;
        let mut status = status;
        if len > MAX_DATA_LEN {
            // The code says the most; what does not fit is left out.
            shorter = Status::new(
                status.code,
                format!(
                    "the error's message and details take {len} bytes, over the limit of {MAX_DATA_LEN}"
                ),
            );
            status = &shorter;
            len = envelope::error_len(status);
        }
        self.link
            .output
            .put_plain(id, MessageType::RESPONSE, Flags::NONE, len, |run| {
                envelope::put_error(status, run);
            });
    }

    /// Removes a stream, and gives its slot back.
    fn close(&mut self, id: StreamId) -> Option<S> {
        let stream = self.link.streams.get(id)?;
        let (kind, remote_closed) = (stream.kind, stream.remote_closed);
        self.closed(id, kind, remote_closed);
        self.link.close(id)
    }

    /// Remembers a stream that is over while the client may not know.
    fn closed(&mut self, id: StreamId, kind: CallKind, remote_closed: bool) {
        if kind.client_streams() && !remote_closed {
            self.remember(id);
        }
    }

    /// Remembers a stream that is over and whose client may still send (PROTOCOL.md §6.3).
    #[inline(never)]
    fn remember(&mut self, id: StreamId) {
        if let Err(place) = self.ended_early.binary_search(&id) {
            self.ended_early.insert(place, id);
        }
        if self.ended_early.len() > self.link.limits.max_streams {
            self.ended_early.remove(0);
        }
    }

    /// Refuses a call whose id was legal.
    #[cold]
    #[inline(never)]
    fn refuse(&mut self, header: Header, status: Status) -> Step<S> {
        if CallKind::of_request(header.flags).client_streams() {
            self.remember(header.stream_id);
        }
        self.reject(header.stream_id, status)
    }

    /// Answers a frame that its stream has no use for, and leaves the stream alone.
    #[cold]
    #[inline(never)]
    fn reject(&mut self, id: StreamId, status: Status) -> Step<S> {
        self.put_error(id, &status);
        Step::Done
    }

    /// Ends a stream with an error.
    #[cold]
    #[inline(never)]
    fn end(&mut self, id: StreamId, error: Error) -> Step<S> {
        Step::ended(self.respond(id, Err(error)))
    }

    #[cold]
    #[inline(never)]
    fn on_too_large(&mut self, header: Header) -> Result<Step<S>> {
        let id = header.stream_id;
        let error = Error::too_large(header.length as usize, MAX_DATA_LEN);
        match header.message_type {
            MessageType::REQUEST => Ok(match self.check_new_id(id) {
                Ok(()) => self.refuse(header, error.into_status()),
                Err(status) => self.reject(id, status),
            }),
            MessageType::DATA => match self.link.streams.get(id) {
                Some(stream) if stream.kind.client_streams() => Ok(self.end(id, error)),
                Some(_) => Ok(self.reject(id, error.into_status())),
                None => self.on_stray(header),
            },
            _ => Ok(Step::Done),
        }
    }

    fn on_frame(
        &mut self,
        mut frame: Frame,
        now: &mut Now,
        call: &mut Option<Call>,
    ) -> Result<Step<S>> {
        match frame.header.message_type {
            MessageType::REQUEST => Ok(self.on_request(&mut frame, now, call)),
            MessageType::DATA => self.on_data(&mut frame, now),
            // Where there is none, it has crossed the answer.
            MessageType::CANCEL => Ok(Step::ended(self.link.close(frame.header.stream_id))),
            // A response makes no sense here; other types may come to exist.
            _ => Ok(Step::Done),
        }
    }

    /// A client's ids are odd and grow (PROTOCOL.md §2.4).
    fn check_new_id(&mut self, id: StreamId) -> Result<(), Status> {
        if !id.is_client() {
            return Err(Status::invalid_argument(format!(
                "stream id {id} is not odd, as those of a client are"
            )));
        }
        let last = self.last_id;
        if id <= last {
            return Err(Status::invalid_argument(format!(
                "stream id {id} does not follow {last}: ids have to grow"
            )));
        }
        self.last_id = id;
        Ok(())
    }

    fn on_request(
        &mut self,
        frame: &mut Frame,
        now: &mut Now,
        place: &mut Option<Call>,
    ) -> Step<S> {
        let header = frame.header;
        if let Err(status) = self.check_new_id(header.stream_id) {
            return self.reject(header.stream_id, status);
        }
        let call = place.get_or_insert_default();
        match self.begin(header, &frame.data, now, call) {
            Ok(()) => {
                call.request.put_data(frame.take_data());
                Step::Call
            }
            Err(status) => {
                *place = None;
                self.refuse(header, status)
            }
        }
    }

    /// Begins a call.
    #[inline(always)]
    fn begin(
        &mut self,
        header: Header,
        data: &[u8],
        now: &mut Now,
        call: &mut Call,
    ) -> Result<(), Status> {
        call.request.read(data).ok_or_else(|| {
            Status::invalid_argument("the data of the request frame is no ttrpc Request, or has over 1024 values of metadata")
        })?;
        if self.link.is_draining() {
            return Err(Status::unavailable("the server is shutting down"));
        }
        let most = self.link.limits.max_streams;
        if self.link.streams.len() >= most {
            return Err(Status::resource_exhausted(format!(
                "the connection has {most} calls open, as many as the server allows"
            )));
        }
        let timeout = call.request.timeout();
        let timeout = timeout.map_err(|TimeIsUp| Error::timeout().into_status())?;
        call.deadline = timeout.and_then(|timeout| now.get().checked_add(timeout));
        call.id = header.stream_id;
        call.kind = CallKind::of_request(header.flags);
        self.fresh = Some(Fresh::new(header, call.deadline));
        // A client that works may be late at times; a flood has no calls between.
        self.strays = self.strays.saturating_sub(1);
        Ok(())
    }

    /// The id that the next frame has to have to be a call that needs nothing but to be
    /// answered, as those that came last do.
    fn next_alike(&self) -> Option<StreamId> {
        let fresh = self.fresh.as_ref().filter(|fresh| fresh.takes_more())?;
        let open = self.link.streams.len() + fresh.count();
        let takes_more = open < self.link.limits.max_streams
            && !self.link.is_draining()
            && self.link.has_reply_room();
        // Nothing has come since, or they would have streams.
        self.last_id.next().filter(|_| takes_more)
    }

    fn on_data(&mut self, frame: &mut Frame, now: &mut Now) -> Result<Step<S>> {
        let id = frame.header.stream_id;
        let Some(stream) = self.link.streams.get(id) else {
            return self.on_stray(frame.header);
        };
        if stream.remote_closed {
            let status = Status::invalid_argument(format!(
                "data on stream {id} after the client had closed it"
            ));
            return Ok(self.end(id, status.into()));
        }
        if !stream.kind.client_streams() {
            let status = Status::invalid_argument(format!("data on stream {id}, which takes none"));
            return Ok(self.reject(id, status));
        }
        Ok(match self.link.deliver(frame, now) {
            true => Step::Readable(id),
            false => Step::Done,
        })
    }

    #[cold]
    #[inline(never)]
    fn on_stray(&mut self, header: Header) -> Result<Step<S>> {
        let id = header.stream_id;
        if let Ok(place) = self.ended_early.binary_search(&id) {
            if header.flags.contains(Flags::REMOTE_CLOSED) {
                self.ended_early.remove(place);
            }
        } else {
            self.strays += 1;
            if self.strays > self.link.limits.stray_frames {
                return Err(Error::protocol(format!(
                    "the client has sent {} frames on streams that do not exist",
                    self.strays
                )));
            }
        }
        let status = Status::invalid_argument(format!("stream {id} is not open"));
        Ok(self.reject(id, status))
    }
}

impl<S: Default> Endpoint for Connection<S> {
    type Slot = S;

    fn link(&mut self) -> &mut Link<S> {
        self.admit();
        &mut self.link
    }

    fn has_room(&self) -> bool {
        self.link.has_room()
    }

    fn has_reply_room(&self) -> bool {
        self.link.has_reply_room()
    }

    fn poll(&mut self, now: &mut Now, call: &mut Option<Call>) -> Result<Option<Event<'_, S>>> {
        self.admit();
        let step = loop {
            if !self.link.has_reply_room() {
                // What is not read can't end.
                self.link.stop_frame_time();
            }
            let step = if let Some(expired) = self.link.expire(now)? {
                match expired {
                    Expired::Deadline(id) => self.end(id, Error::timeout()),
                    Expired::Stalled(id) => self.end(id, stalled(&self.link.limits).into()),
                }
            } else if !self.link.has_reply_room() {
                // Replies that nobody takes must not pile up.
                return Ok(None);
            } else if let Some(step) = self.link.deliver_run(CallKind::client_streams) {
                step
            } else if let Some(frame) = self.link.next_whole() {
                self.on_frame(frame, now, call)?
            } else {
                match self.link.next_frame(now)? {
                    None => return Ok(None),
                    Some(Incoming::Frame(frame)) => self.on_frame(frame, now, call)?,
                    Some(Incoming::TooLarge(header)) => self.on_too_large(header)?,
                }
            };
            if !matches!(step, Step::Done) {
                break step;
            }
        };
        Ok(step.into_event(&mut self.link))
    }

    fn next_call(&mut self, place: &mut Option<Call>) -> bool {
        let Some((header, data)) = self.link.peek_whole() else {
            return false;
        };
        let (id, alike) = (header.stream_id, self.next_alike());
        let is_unary = header.message_type == MessageType::REQUEST && header.flags == Flags::NONE;
        if alike != Some(id) || !is_unary {
            return false;
        }
        let call = place.get_or_insert_default();
        if call.request.read(data).is_none() || call.request.timeout() != Ok(None) {
            *place = None;
            return false;
        }
        let Some(frame) = self.link.next_whole() else {
            return false;
        };
        call.request.put_data(frame.data);
        (call.id, call.kind, call.deadline) = (id, CallKind::Unary, None);
        self.fresh.iter_mut().for_each(Fresh::add);
        self.last_id = id;
        self.strays = self.strays.saturating_sub(1);
        true
    }

    fn wants_read(&mut self) -> bool {
        self.link.has_reply_room() && !self.link.is_stalled()
    }

    fn check_sending(&mut self, id: StreamId) -> Result<()> {
        self.admit();
        match self.link.streams.get(id) {
            Some(_) => Ok(()),
            None => Err(Error::cancelled()),
        }
    }

    fn finish(&mut self, id: StreamId, result: Result<()>) -> Option<S> {
        match result {
            Ok(()) => {
                self.admit();
                let slot = self.close(id)?;
                self.link.put_close(id);
                Some(slot)
            }
            Err(error) => self.respond(id, Err(error)),
        }
    }

    fn receive(&mut self, id: StreamId, into: &mut VecDeque<Run>) -> Received {
        self.admit();
        self.link
            .receive(id, into)
            .unwrap_or_else(|| Received::End(End::Failed(Error::cancelled())))
    }

    fn abandon(&mut self, id: StreamId) -> Option<S> {
        self.admit();
        if let Some(stream) = self.link.streams.get_mut(id) {
            stream.inbox.clear();
            if matches!(stream.receiving, Receiving::Open) {
                stream.receiving = Receiving::Unwanted;
            }
            self.link.unstall(id);
        }
        None
    }

    fn fail(&mut self, _: Error) -> Vec<S> {
        self.fresh = None;
        self.link.close_all()
    }
}

/// Why a stream ends whose reader has let its inbox fill up.
pub(super) fn stalled(limits: &Limits) -> Status {
    Status::resource_exhausted(format!(
        "{} bytes have waited for their reader for {} ms",
        limits.inbox_bytes,
        limits.stall_timeout.as_millis() as u64
    ))
}
