//! The protocol without I/O: bytes and a clock go in; events, bytes to send and the
//! next time-out come out.
//!
//! ```text
//!            bytes read                                 bytes to write
//!                |                                             ^
//!                v                                             |
//!          +---------+   frames   +------------------+    +--------+
//!          | Decoder | ---------> | Connection::poll | -> | Output |
//!          +---------+            +------------------+    +--------+
//!                                   |  events   ^ send, finish,
//!                                   v           | receive, abandon
//!                                    the driver
//! ```
//!
//! [`server::Connection`] and [`client::Connection`] are the two ends. What they share
//! is [`Link`]; what a driver needs of either is [`Endpoint`]. There is no socket,
//! task, thread or clock in here, and nothing in here panics.
//!
//! This module is public for those who drive, simulate or fuzz the protocol
//! themselves; it may change in any minor release.
//!
#![doc = include_str!("../../PROTOCOL.md")]

mod batch;
mod body;
pub mod client;
mod decoder;
mod inbox;
mod link;
mod output;
pub mod server;
mod spare;
mod stream;

use std::collections::VecDeque;

pub use self::batch::Batch;
pub use self::body::Body;
pub use self::decoder::{Decoder, Frame, Incoming};
pub use self::inbox::Run;
pub use self::link::Link;
#[cfg(any(feature = "tokio", feature = "blocking"))]
pub(crate) use self::link::StreamRoom;
#[cfg(feature = "blocking")]
pub(crate) use self::link::earliest;
pub use self::output::Output;
#[cfg(any(feature = "tokio", feature = "blocking"))]
pub(crate) use self::output::Size;
pub use self::stream::{CallKind, End, Received};
pub use crate::clock::Now;

use crate::codec::Payload;
use crate::error::{Error, Result};
use crate::frame::StreamId;

/// What a driver has to act upon.
#[derive(Debug)]
pub enum Event<'a, S> {
    /// A call has come in; to a server only.
    Call,
    /// There is something to [`receive`](Endpoint::receive) on the stream of this slot:
    /// messages, which is said once for all that come until they are received; or the end of
    /// a call whose requests are no stream.
    Readable(&'a mut S),
    /// The stream of this slot is over and takes no more data: stop what feeds or answers it.
    // Seldom, and much to be handed on with each of the others.
    Ended(Box<S>),
}

/// What became of a frame, or of a time-out.
enum Step<S> {
    Done,
    /// A call has come in.
    Call,
    Readable(StreamId),
    Ended(Box<S>),
}

impl<S: Default> Step<S> {
    fn ended(slot: Option<S>) -> Self {
        slot.map_or(Self::Done, |slot| Self::Ended(Box::new(slot)))
    }

    fn into_event(self, link: &mut Link<S>) -> Option<Event<'_, S>> {
        match self {
            Self::Done => None,
            Self::Call => Some(Event::Call),
            Self::Ended(slot) => Some(Event::Ended(slot)),
            Self::Readable(id) => link.slot(id).map(Event::Readable),
        }
    }
}

/// One end of a connection, as its driver sees it. `Slot` is what the driver keeps with
/// each stream.
pub trait Endpoint {
    /// What the driver keeps with each stream.
    type Slot: Default;

    /// What both ends have in common.
    fn link(&mut self) -> &mut Link<Self::Slot>;

    /// As [`Link::has_room`], and as quick as that.
    fn has_room(&self) -> bool;

    /// As [`Link::has_reply_room`], and as quick as that.
    fn has_reply_room(&self) -> bool;

    /// The next event, until there is none, and the call, if it is one; to be called after
    /// bytes have been read, after bytes have been written, and when the
    /// [time](Link::timeout) has come. It asks for the time only where something depends on it.
    ///
    /// # Errors
    /// The connection is beyond repair: write what is in the output, then close it.
    // The call goes to where the driver has it at once: it is much to hand on, and not to be
    // kept with each connection.
    fn poll(
        &mut self,
        now: &mut Now,
        call: &mut Option<server::Call>,
    ) -> Result<Option<Event<'_, Self::Slot>>>;

    /// The call right behind the one that [`poll`](Self::poll) has just given, or this, where
    /// nothing else is to be done before. Says whether there is one.
    ///
    /// It may be left out. Who gives several calls to their services at once takes them
    /// together, and answers them in the order in which they came as long as that is no
    /// trouble.
    fn next_call(&mut self, _: &mut Option<server::Call>) -> bool {
        false
    }

    /// Whether bytes are to be read now, once [`poll`](Self::poll) has no event.
    fn wants_read(&mut self) -> bool;

    /// Whether messages may be sent on a stream.
    ///
    /// # Errors
    /// The stream is over, or this end of it is.
    fn check_sending(&mut self, id: StreamId) -> Result<()>;

    /// Queues messages on a stream, and leaves the batch empty.
    ///
    /// # Errors
    /// As [`check_sending`](Self::check_sending).
    fn send_all(&mut self, batch: &mut Batch) -> Result<()> {
        self.check_sending(batch.stream())?;
        self.link().output.append(&mut batch.frames);
        Ok(())
    }

    /// Queues a message on a stream.
    ///
    /// # Errors
    /// As [`check_sending`](Self::check_sending), or the message can't be sent.
    fn send(&mut self, id: StreamId, message: &dyn Payload) -> Result<()> {
        let mut batch = Batch::new(id);
        batch.push(message)?;
        self.send_all(&mut batch)
    }

    /// Ends this side of a stream: after its last message, or with an error.
    ///
    /// Gives back the slot of a stream that is over by this.
    fn finish(&mut self, id: StreamId, result: Result<()>) -> Option<Self::Slot>;

    /// Takes all messages that wait on a stream.
    fn receive(&mut self, id: StreamId, into: &mut VecDeque<Run>) -> Received;

    /// Says that nobody will receive on a stream again.
    ///
    /// Gives back the slot of a stream that is over by this.
    fn abandon(&mut self, id: StreamId) -> Option<Self::Slot>;

    /// Ends every stream because the connection has ended, and gives back their slots.
    fn fail(&mut self, error: Error) -> Vec<Self::Slot>;
}
