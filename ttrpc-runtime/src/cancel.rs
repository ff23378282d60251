//! The cancellation behind a `Context`.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// Something that is cancelled once, and whoever waits for it.
#[derive(Default)]
pub(crate) struct Token {
    cancelled: AtomicBool,
    waiting: Mutex<Waiting>,
    /// Cancelled with it: what is derived is never outlived by what it came from.
    parent: Option<Arc<Token>>,
}

#[derive(Default)]
struct Waiting {
    next_key: u64,
    wakers: Vec<(u64, Waker)>,
}

impl Token {
    /// A token that is cancelled with `parent`, if there is one, or before it.
    pub(crate) fn child_of(parent: Option<Arc<Token>>) -> Arc<Self> {
        Arc::new(Self {
            parent,
            ..Self::default()
        })
    }

    // Much code, wherever what cancels it is dropped.
    #[inline(never)]
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        let wakers = std::mem::take(&mut self.waiting().wakers);
        for (_, waker) in wakers {
            waker.wake();
        }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.line().any(|t| t.cancelled.load(Ordering::Acquire))
    }

    /// This token and those that it is cancelled with.
    fn line(&self) -> impl Iterator<Item = &Token> {
        std::iter::successors(Some(self), |token| token.parent.as_deref())
    }

    #[inline(never)]
    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Cancels a token when it is dropped.
pub(crate) struct CancelOnDrop(pub(crate) Arc<Token>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Waits until a token is cancelled.
pub(crate) struct Cancelled {
    token: Arc<Token>,
    /// The key of the waker with each token of the line.
    keys: Vec<u64>,
}

impl Cancelled {
    pub(crate) fn new(token: Arc<Token>) -> Self {
        Self {
            token,
            keys: Vec::new(),
        }
    }

    // Much code, wherever one is dropped.
    #[inline(never)]
    fn deregister(&mut self) {
        for (token, key) in self.token.line().zip(self.keys.drain(..)) {
            token.waiting().wakers.retain(|(k, _)| *k != key);
        }
    }
}

impl Future for Cancelled {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.token.is_cancelled() {
            return Poll::Ready(());
        }
        this.deregister();
        for token in this.token.line() {
            let mut waiting = token.waiting();
            let key = waiting.next_key;
            waiting.next_key += 1;
            waiting.wakers.push((key, cx.waker().clone()));
            this.keys.push(key);
        }
        // It may have happened in between, when nobody was there to be woken.
        if this.token.is_cancelled() {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Drop for Cancelled {
    fn drop(&mut self) {
        self.deregister();
    }
}

/// The output of `future`, unless `end` comes first.
pub(crate) async fn until<T>(
    mut end: Pin<&mut impl Future<Output = ()>>,
    future: impl Future<Output = T>,
) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|cx| match end.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(None),
        Poll::Pending => future.as_mut().poll(cx).map(Some),
    })
    .await
}
