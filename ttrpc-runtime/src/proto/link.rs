//! What both ends of a connection have in common: bytes in, bytes out, streams, time.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Step;
use super::body::Body;
use super::decoder::{Decoder, Frame, Incoming};
use super::inbox::Run;
use super::output::{Output, Size};
use super::stream::{CallKind, End, Received, Receiving, Stream, Streams};
use crate::clock::Now;
use crate::error::{Error, Result};
use crate::frame::{Flags, Header, MessageType, StreamId};
use crate::limits::Limits;
use crate::timers::Timers;

/// So many bytes that were copied to the output are enough for a write: they are still in the
/// cache when it comes. Of what is sent from where it is a write takes as much as fits.
const COPIED_LEN: usize = 64 << 10;

/// A time that nobody lives to see, and that a clock can say.
const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// Room for more streams than that is given back.
const KEPT_STREAMS: usize = 64;

/// Room for streams, without any.
#[derive(Debug)]
pub(crate) struct StreamRoom<S>(Streams<S>);

/// The shared part of [`server::Connection`](super::server::Connection) and
/// [`client::Connection`](super::client::Connection).
#[derive(Debug)]
pub struct Link<S> {
    /// Shared by the connections of a server.
    pub(super) limits: Arc<Limits>,
    pub(super) decoder: Decoder,
    pub(super) output: Output,
    pub(super) streams: Streams<S>,
    /// Bytes that the driver has taken out of `output` and not written yet.
    writing: usize,
    /// Bytes that it has written, all in all.
    written: u64,
    /// The deadlines of the streams that have one.
    deadlines: Timers,
    /// What is waited for, and until when, before the next frame can be looked at.
    next: Option<(Next, Instant)>,
    attention: bool,
    draining: bool,
    /// Whether somebody reads at this moment.
    #[cfg(feature = "blocking")]
    being_read: bool,
    /// Whether what has come is handled as if no time had passed.
    #[cfg(feature = "blocking")]
    pub(super) catches_up: bool,
}

/// What is waited for before the next frame can be looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    /// The rest of the frame, which has begun.
    Rest,
    /// The reader of a stream, whose full inbox keeps the connection from being read.
    Reader(StreamId),
}

/// What time has run out.
pub(super) enum Expired {
    Deadline(StreamId),
    Stalled(StreamId),
}

impl<S: Default> Link<S> {
    pub(super) fn new(limits: Arc<Limits>) -> Self {
        Self {
            limits,
            decoder: Decoder::default(),
            output: Output::default(),
            streams: Streams::default(),
            writing: 0,
            written: 0,
            deadlines: Timers::default(),
            next: None,
            attention: false,
            draining: false,
            #[cfg(feature = "blocking")]
            being_read: false,
            #[cfg(feature = "blocking")]
            catches_up: false,
        }
    }

    /// The large frame that is to be read now, or is expected to come; where there is none,
    /// read anywhere and hand what came to [`received`](Self::received).
    pub fn take_body(&mut self) -> Option<Body> {
        self.decoder.take_body()
    }

    /// Says that somebody begins to read, or has read. Meanwhile others may look what has
    /// run out of time, and leave the frames alone: what is being read may be the rest of one
    /// that would now be found to need a buffer of its own.
    #[cfg(feature = "blocking")]
    pub(crate) fn set_being_read(&mut self, being_read: bool) {
        self.being_read = being_read;
    }

    /// Whether something has run out of time by now.
    #[cfg(feature = "blocking")]
    pub(crate) fn is_late(&self) -> bool {
        self.has_timeout() && self.timeout().is_some_and(|at| at <= crate::clock::now())
    }

    /// Begins to handle what has come as if no time had passed, or has done that.
    #[cfg(feature = "blocking")]
    pub(crate) fn set_catching_up(&mut self, catches_up: bool) {
        self.catches_up = catches_up;
    }

    /// Takes what was read of a large frame, or of what was expected to be one.
    pub fn received_body(&mut self, body: Body) {
        self.decoder.push_body(body);
    }

    /// Takes what was read.
    pub fn received(&mut self, read: &[u8]) {
        self.decoder.push(read);
    }

    /// Exchanges `written`, which is empty, for all that waits to be written.
    pub fn take_output(&mut self, written: &mut Output) {
        debug_assert!(written.is_empty());
        std::mem::swap(&mut self.output, written);
        self.writing = written.len();
    }

    /// Says how much of the output that was taken is not written yet.
    pub fn set_writing(&mut self, left: usize) {
        self.written += self.writing.saturating_sub(left) as u64;
        self.writing = left;
    }

    /// Drops what waits to be written: nobody is to get it.
    pub fn discard(&mut self) {
        self.output.discard();
        self.writing = 0;
    }

    /// Bytes that wait to be written.
    pub fn backlog(&self) -> usize {
        self.output.len() + self.writing
    }

    /// Bytes that have been written, all in all.
    #[cfg(feature = "blocking")]
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Whether more may be sent now; otherwise wait until bytes have been written
    /// (PROTOCOL.md §9.3).
    pub fn has_room(&self) -> bool {
        self.room().is_some()
    }

    /// How much room there is, if there is some.
    pub(crate) fn room(&self) -> Option<Size> {
        let all = Size {
            // Whatever the limit, one message fits.
            bytes: self.limits.output_bytes.max(1),
            copied: COPIED_LEN,
        };
        all.without(Size {
            bytes: self.backlog(),
            copied: self.output.copied(),
        })
    }

    /// Whether single replies may be sent, and a server may take requests: more than that
    /// must not pile up for a client that does not read.
    pub fn has_reply_room(&self) -> bool {
        self.backlog() < self.limits.backlog_bytes.max(1)
    }

    /// Takes over room for streams, if it has none.
    pub(crate) fn borrow_room(&mut self, spare: &Cell<Option<StreamRoom<S>>>) {
        if self.streams.capacity() == 0 {
            if let Some(StreamRoom(room)) = spare.take() {
                self.streams = room;
            }
        }
    }

    /// Leaves its room for streams to others, while it has no stream.
    pub(crate) fn leave_room(&mut self, spare: &Cell<Option<StreamRoom<S>>>) {
        if self.streams.is_empty() && self.streams.capacity() > 0 {
            let room = std::mem::take(&mut self.streams);
            if room.capacity() <= KEPT_STREAMS {
                spare.set(Some(StreamRoom(room)));
            }
        }
    }

    /// How many streams there are.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// From now on no stream is opened, and the connection ends with the last one.
    pub(crate) fn drain(&mut self) {
        self.draining = true;
        self.attention = true;
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining
    }

    /// Whether the connection has come to its end: the last stream is over and the last
    /// byte is written.
    pub fn is_drained(&self) -> bool {
        self.draining && self.streams.is_empty() && self.backlog() == 0
    }

    /// What the driver keeps with a stream, unless that is gone.
    pub fn slot(&mut self, id: StreamId) -> Option<&mut S> {
        self.streams.get_mut(id).map(|stream| &mut stream.slot)
    }

    /// The same, unless all has been received that can come on the stream.
    pub(crate) fn slot_of_open(&mut self, id: StreamId) -> Option<&mut S> {
        let stream = self.streams.get_mut(id)?;
        matches!(stream.receiving, Receiving::Open).then_some(&mut stream.slot)
    }

    /// Whether bytes wait that nobody has taken to write them.
    pub fn has_output(&self) -> bool {
        !self.output.is_empty() && self.writing == 0
    }

    /// Whether the driver has something to do since this was last asked, beside writing:
    /// to go on reading, to end, or to look at [`timeout`](Self::timeout) again.
    pub fn take_attention(&mut self) -> bool {
        std::mem::take(&mut self.attention)
    }

    /// When a stream has to have ended.
    pub fn deadline(&self, id: StreamId) -> Option<Instant> {
        self.streams.get(id).and_then(|stream| stream.deadline)
    }

    /// Whether [`poll`](super::Endpoint::poll) is sure to find nothing, whatever the time is.
    pub fn is_quiet(&self) -> bool {
        // A frame that has begun has a time to be begun with.
        let begins = self.limits.frame_timeout.is_some() && self.decoder.is_mid_frame();
        !begins && !self.decoder.has_frames() && !self.has_timeout()
    }

    /// Whether there is a [`timeout`](Self::timeout), which takes less than to say when.
    fn has_timeout(&self) -> bool {
        self.next.is_some() || !self.deadlines.is_empty()
    }

    /// When [`poll`](super::Endpoint::poll) has to be called again at the latest.
    #[inline(never)]
    pub fn timeout(&self) -> Option<Instant> {
        let deadline = self.deadlines.first().map(|(at, _)| at);
        earliest(deadline, self.next.map(|(_, at)| at))
    }

    /// Whether frames are to be looked at: a full inbox forbids it, and somebody who reads.
    fn takes_frames(&self) -> bool {
        #[cfg(feature = "blocking")]
        if self.being_read {
            return false;
        }
        !self.is_stalled()
    }

    /// The next frame, if it lies whole in what was read: the quick way of most.
    #[inline(always)]
    pub(super) fn next_whole(&mut self) -> Option<Frame> {
        if !self.takes_frames() {
            return None;
        }
        let frame = self.decoder.next_whole()?;
        self.next = None;
        Some(frame)
    }

    /// The next frame, if it lies whole in what was read, left where it is.
    #[inline(always)]
    pub(super) fn peek_whole(&self) -> Option<(Header, &[u8])> {
        if !self.takes_frames() {
            return None;
        }
        self.decoder.peek_whole()
    }

    /// The next frame.
    pub(super) fn next_frame(&mut self, now: &mut Now) -> Result<Option<Incoming>> {
        if !self.takes_frames() {
            return Ok(None);
        }
        let incoming = self.decoder.decode()?;
        self.next = match (&incoming, self.limits.frame_timeout) {
            (None, Some(timeout)) if self.decoder.is_mid_frame() => {
                let until = || Some((Next::Rest, now.get().checked_add(timeout)?));
                self.next.or_else(until)
            }
            _ => None,
        };
        Ok(incoming)
    }

    /// Stops the time of the frame that has begun, while this end does not read.
    pub(super) fn stop_frame_time(&mut self) {
        self.next = self.next.filter(|(next, _)| *next != Next::Rest);
    }

    /// Whether bytes may be read, as far as full inboxes go.
    pub(super) fn is_stalled(&self) -> bool {
        matches!(self.next, Some((Next::Reader(_), _)))
    }

    /// The next thing that has taken too long.
    pub(super) fn expire(&mut self, now: &mut Now) -> Result<Option<Expired>> {
        match self.next.filter(|(_, at)| *at <= now.get()) {
            Some((Next::Rest, _)) => {
                return Err(Error::protocol(
                    "the peer has not ended a frame in the time given",
                ));
            }
            Some((Next::Reader(id), _)) => {
                self.unstall(id);
                return Ok(Some(Expired::Stalled(id)));
            }
            None => {}
        }
        let due = self.deadlines.pop_due(now);
        Ok(due.map(|(_, id)| Expired::Deadline(StreamId::new(id as u32))))
    }

    pub(super) fn open(&mut self, id: StreamId, stream: Stream<S>) {
        if let Some(deadline) = stream.deadline {
            // The driver's timer may be set to a later time.
            self.attention |= self.timeout().is_none_or(|at| deadline < at);
            self.deadlines.insert(deadline, id.get().into());
        }
        self.streams.open(id, stream);
    }

    /// Removes a stream and all that belongs to it, and gives its slot back.
    pub(super) fn close(&mut self, id: StreamId) -> Option<S> {
        let slot = self.slot(id).map(std::mem::take);
        self.remove(id);
        slot
    }

    /// Removes a stream and all that belongs to it.
    pub(super) fn remove(&mut self, id: StreamId) {
        let deadline = self.deadline(id);
        self.streams.remove(id);
        self.forget_deadline(id, deadline);
        self.unstall(id);
        self.settle();
    }

    /// A call is over: it may have been the last one that was waited for.
    pub(super) fn settle(&mut self) {
        self.attention |= self.draining && self.streams.is_empty();
    }

    pub(super) fn forget_deadline(&mut self, id: StreamId, deadline: Option<Instant>) {
        if let Some(deadline) = deadline {
            self.deadlines.remove(deadline, id.get().into());
        }
    }

    /// Removes all streams and gives their slots back.
    pub(super) fn close_all(&mut self) -> Vec<S> {
        self.deadlines.clear();
        self.next = None;
        self.streams.take_all().map(|stream| stream.slot).collect()
    }

    /// Queues the messages that the next frame begins, as far as they lie whole and one
    /// behind the other in what was read: the quick way of most. Otherwise it does nothing;
    /// what they need is a stream that is open, whose kind `takes` them, and room.
    #[inline(always)]
    pub(super) fn deliver_run(&mut self, takes: fn(CallKind) -> bool) -> Option<Step<S>> {
        let id = self.decoder.begins_run()?;
        if !self.takes_frames() {
            return None;
        }
        let stream = self.streams.get_mut(id)?;
        let chunk = self.decoder.chunk();
        let most = self.limits.inbox_bytes;
        let is_open = takes(stream.kind) && matches!(stream.receiving, Receiving::Open);
        if !is_open || !stream.inbox.fits(chunk, most) {
            return None;
        }
        let is_news = stream.inbox.is_empty();
        stream.inbox.push(self.decoder.next_run()?, chunk, most);
        self.next = None;
        Some(if is_news {
            Step::Readable(id)
        } else {
            Step::Done
        })
    }

    /// Queues a message that has come on a stream that is open (PROTOCOL.md §5.3, §9.2).
    /// Says whether its reader has to be told: whoever was told of one takes them all.
    pub(super) fn deliver(&mut self, frame: &mut Frame, now: &mut Now) -> bool {
        let id = frame.header.stream_id;
        let Some(stream) = self.streams.get_mut(id) else {
            return false;
        };
        let flags = frame.header.flags;
        let (has_data, is_last) = (
            !flags.contains(Flags::NO_DATA),
            flags.contains(Flags::REMOTE_CLOSED),
        );
        stream.remote_closed |= is_last;
        if !matches!(stream.receiving, Receiving::Open) {
            return false;
        }
        let is_news = stream.inbox.is_empty();
        if has_data {
            let most = self.limits.inbox_bytes;
            let message = Run::one(frame.take_data());
            if !stream.inbox.push(message, frame.memory, most) {
                let most = self.limits.stall_timeout.min(FOREVER);
                let until = now.get().checked_add(most);
                self.next = until.map(|at| (Next::Reader(id), at));
            }
        }
        if is_last {
            stream.receiving = Receiving::Ended(End::Closed);
            // However much waits: it does not become more.
            self.unstall(id);
        }
        is_news && (has_data || is_last)
    }

    pub(super) fn unstall(&mut self, id: StreamId) {
        if self.next.is_some_and(|(next, _)| next == Next::Reader(id)) {
            self.next = None;
            self.attention = true;
        }
    }

    /// Takes what waits on a stream; `None` if there is no such stream.
    pub(super) fn receive(&mut self, id: StreamId, into: &mut VecDeque<Run>) -> Option<Received> {
        let stream = self.streams.get_mut(id)?;
        let received = if !stream.inbox.is_empty() {
            stream.inbox.take(into);
            Received::Messages
        } else {
            match std::mem::replace(&mut stream.receiving, Receiving::Unwanted) {
                Receiving::Ended(end) => Received::End(end),
                receiving => {
                    stream.receiving = receiving;
                    Received::Nothing
                }
            }
        };
        self.unstall(id);
        Some(received)
    }

    /// Takes the data back that waits to be sent on a stream; says whether its close did.
    pub(super) fn take_back(&mut self, id: StreamId) -> bool {
        !self.output.is_empty() && self.output.take_back(id)
    }

    /// Queues the frame that ends this side of a stream. It carries no message: some
    /// peers reject one on the closing frame (PROTOCOL.md §5.3).
    pub(super) fn put_close(&mut self, id: StreamId) {
        let flags = Flags::REMOTE_CLOSED | Flags::NO_DATA;
        self.output
            .put_plain(id, MessageType::DATA, flags, 0, |_| {});
    }
}

/// The first of two times that may be none.
pub(crate) fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
