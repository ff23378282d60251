//! What a change of a connection leaves to be done without its lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use super::Slot;

/// How often somebody was woken on a connection. Whoever has left a waker with a stream knows
/// by it, without the lock, that the waker is still there: nothing has come since.
#[derive(Default)]
pub(crate) struct News(AtomicU64);

impl News {
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// To be said before somebody is woken who may look by this whether anything has come.
    pub(super) fn tell(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// What is to be done once the lock is free: to wake whoever waited, and to drop what
/// may do anything when it is dropped.
#[derive(Default)]
pub(crate) struct Woken {
    /// Most often it is one.
    first: Option<Waker>,
    more: Option<Box<More>>,
}

#[derive(Default)]
struct More {
    wakers: Vec<Waker>,
    ended: Vec<Slot>,
}

impl Woken {
    pub(crate) fn wake(&mut self, waker: Option<Waker>) {
        if self.first.is_none() {
            self.first = waker;
        } else if let Some(waker) = waker {
            self.more().wakers.push(waker);
        }
    }

    pub(super) fn end(&mut self, mut slot: Slot) {
        self.wake(slot.reader.take());
        #[cfg(feature = "blocking")]
        drop(slot.watch.take());
        if slot.work.is_some() || slot.ctx.is_some() {
            self.more().ended.push(slot);
        }
    }

    #[inline(never)]
    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    /// Whether there is nothing to be done.
    #[cfg(feature = "blocking")]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none() && self.more.is_none()
    }

    /// Does it, now that the lock is free.
    #[inline]
    pub(crate) fn run(&mut self, news: &News) {
        if self.first.is_some() || self.more.is_some() {
            self.run_all(news);
        }
    }

    fn run_all(&mut self, news: &News) {
        news.tell();
        if let Some(first) = self.first.take() {
            first.wake();
        }
        if self.more.is_some() {
            self.run_more();
        }
    }

    /// Seldom, and much code: not where every change of a connection is.
    #[inline(never)]
    fn run_more(&mut self) {
        if let Some(more) = self.more.take() {
            drop(more.ended);
            more.wakers.into_iter().for_each(Waker::wake);
        }
    }
}
