//! What is kept with each stream of a connection.

use std::task::Waker;

use crate::cancel::CancelOnDrop;
#[cfg(feature = "blocking")]
use crate::cancel::Cancelled;

/// What is kept with each stream. Dropping it stops all that works for the stream.
#[derive(Default)]
pub(crate) struct Slot {
    /// Whoever waits for messages or the end.
    pub reader: Option<Waker>,
    /// What answers or feeds the stream.
    pub work: Option<Work>,
    /// The context of the call.
    pub ctx: Option<CancelOnDrop>,
    /// What gives the call up when the caller's context is cancelled, where those who work
    /// for the stream can't watch for that themselves.
    #[cfg(feature = "blocking")]
    pub watch: Option<Box<Cancelled>>,
    /// The turn of whoever waits for room to send on the stream; zero if nobody does.
    pub turn: u64,
    /// Whether somebody who has waited may send now, be there room or not.
    pub may_send: bool,
    /// Whether the reader is a thread that sleeps until it is woken.
    pub sleeps: bool,
}

/// Work for a stream, which is stopped when this is dropped.
pub(crate) enum Work {
    /// A task: it ends where it waits.
    #[cfg(feature = "tokio")]
    Task(tokio::task::AbortHandle),
    /// A thread, or what waits for one: it is woken from where it waits, and sees that the
    /// stream is gone.
    #[cfg(feature = "blocking")]
    Thread(Waker),
}

impl Drop for Work {
    fn drop(&mut self) {
        match self {
            #[cfg(feature = "tokio")]
            Self::Task(task) => task.abort(),
            #[cfg(feature = "blocking")]
            Self::Thread(waker) => waker.wake_by_ref(),
        }
    }
}
