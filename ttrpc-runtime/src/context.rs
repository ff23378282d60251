//! `Context`: what travels with a call beside its messages.

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
#[cfg(any(feature = "tokio", feature = "blocking"))]
use std::sync::OnceLock;
use std::time::{Duration, Instant};

#[cfg(any(feature = "tokio", feature = "blocking"))]
use crate::cancel::CancelOnDrop;
use crate::cancel::{Cancelled, Token};
use crate::metadata::Metadata;
use crate::peer::Peer;
#[cfg(any(feature = "tokio", feature = "blocking"))]
use crate::serving::CallRef;

/// The deadline, the metadata, the cancellation and the peer of a call.
///
/// A caller makes one; a handler gets one, and passes on what is left of the deadline,
/// the metadata and the cancellation when it gives it to a client in turn.
///
/// `Context::default()` has no deadline, no metadata and is never cancelled; it
/// allocates nothing.
///
/// ```
/// use std::time::Duration;
/// use ttrpc_runtime::Context;
///
/// let mut ctx = Context::default().with_timeout(Duration::from_secs(2));
/// ctx.metadata_mut().set("trace-id", "7");
/// assert!(ctx.time_left().unwrap() <= Duration::from_secs(2));
/// ```
#[derive(Clone, Default)]
pub struct Context {
    deadline: Option<Instant>,
    metadata: Option<Arc<Metadata>>,
    cancellation: Cancellation,
    connection: Connected,
}

/// What is known of the connection that a call has come in on.
#[derive(Clone, Default)]
pub(crate) enum Connected {
    #[default]
    Unknown,
    Peer(Peer),
    /// The peer, if it is known, and what the server's handshake has found.
    Greeted(Arc<(Option<Peer>, Box<dyn Any + Send + Sync>)>),
}

impl Connected {
    pub(crate) fn to(peer: Option<Peer>) -> Self {
        peer.map_or(Self::Unknown, Self::Peer)
    }

    pub(crate) fn peer(&self) -> Option<&Peer> {
        match self {
            Self::Unknown => None,
            Self::Peer(peer) => Some(peer),
            Self::Greeted(greeted) => greeted.0.as_ref(),
        }
    }
}

impl Context {
    /// The same as [`Context::default`].
    pub fn new() -> Self {
        Self::default()
    }

    /// The context of a call that has come in, and is cancelled when that is over.
    #[cfg(any(feature = "tokio", feature = "blocking"))]
    pub(crate) fn of_call(
        deadline: Option<Instant>,
        metadata: Metadata,
        call: CallRef,
        connection: Connected,
    ) -> Self {
        Self {
            deadline,
            metadata: (!metadata.is_empty()).then(|| Arc::new(metadata)),
            cancellation: Cancellation::OfCall(OnceLock::new(), call),
            connection,
        }
    }

    /// When the call has to have ended; `None` for no deadline, the default.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// How long there is until the deadline; zero once it has passed.
    pub fn time_left(&self) -> Option<Duration> {
        self.deadline
            .map(|deadline| deadline.saturating_duration_since(crate::clock::now()))
    }

    /// Moves the deadline to `timeout` from now, unless it is earlier already.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        match crate::clock::now().checked_add(timeout) {
            Some(deadline) => self.with_deadline(deadline),
            // Past the end of the clock.
            None => self,
        }
    }

    /// Moves the deadline to `deadline`, unless it is earlier already: whoever is
    /// called can't have more time than the caller.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(self.deadline.map_or(deadline, |d| d.min(deadline)));
        self
    }

    /// The metadata of the call.
    pub fn metadata(&self) -> &Metadata {
        static NONE: Metadata = Metadata::new();
        self.metadata.as_deref().unwrap_or(&NONE)
    }

    /// The metadata, to be changed; clones made before keep theirs.
    pub fn metadata_mut(&mut self) -> &mut Metadata {
        Arc::make_mut(self.metadata.get_or_insert_default())
    }

    /// A context that ends with this one, or when the [`Canceller`] says so.
    pub fn with_cancel(self) -> (Self, Canceller) {
        let token = Token::child_of(self.cancellation.token().cloned());
        let ctx = Self {
            cancellation: Cancellation::Possible(Arc::clone(&token)),
            ..self
        };
        (ctx, Canceller(token))
    }

    /// Whether the call is over: for a handler, because it has returned, its deadline
    /// has passed or its connection has ended; for a caller, because its
    /// [`Canceller`] said so.
    pub fn is_cancelled(&self) -> bool {
        self.cancellation
            .token()
            .is_some_and(|token| token.is_cancelled())
    }

    /// Waits until [`is_cancelled`](Self::is_cancelled) becomes true, which it may
    /// never do. It is cancel-safe.
    pub async fn cancelled(&self) {
        match self.cancellation.token() {
            Some(token) => Cancelled::new(Arc::clone(token)).await,
            None => std::future::pending().await,
        }
    }

    /// Sleeps for `at_most` that long, or until [`is_cancelled`](Self::is_cancelled) becomes
    /// true; says whether it is. What a handler of the blocking flavour does instead of
    /// sleeping.
    #[cfg(feature = "blocking")]
    pub fn wait_cancelled(&self, at_most: Duration) -> bool {
        crate::blocking::wait(self.cancelled(), at_most);
        self.is_cancelled()
    }

    /// Who called, where the connection tells: on Unix sockets and vsock. A caller's own
    /// context has none.
    pub fn peer(&self) -> Option<&Peer> {
        self.connection.peer()
    }

    /// What the server's handshake has found out about
    /// the connection, if it gave a `T`.
    pub fn handshake<T: 'static>(&self) -> Option<&T> {
        match &self.connection {
            Connected::Greeted(greeted) => greeted.1.downcast_ref(),
            _ => None,
        }
    }

    /// What a call with this context has to watch for; nothing, if it can't be cancelled.
    pub(crate) fn watch(&self) -> Option<Cancelled> {
        self.cancellation
            .token()
            .map(|token| Cancelled::new(Arc::clone(token)))
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("time_left", &self.time_left())
            .field("metadata", self.metadata())
            .field("cancelled", &self.is_cancelled())
            .field("peer", &self.peer())
            .finish()
    }
}

/// Cancels the calls made with a context, see [`Context::with_cancel`]. Dropping it
/// cancels nothing.
#[derive(Clone)]
pub struct Canceller(Arc<Token>);

impl Canceller {
    /// Ends every call made with the context, with the code CANCELLED.
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canceller")
            .field("cancelled", &self.0.is_cancelled())
            .finish()
    }
}

/// Whether and by what a context can be cancelled.
#[derive(Default)]
enum Cancellation {
    #[default]
    Never,
    Possible(Arc<Token>),
    /// By the end of a call. The token is made, and known to the call, when somebody first
    /// asks for it, so that a call whose handler never does pays nothing.
    #[cfg(any(feature = "tokio", feature = "blocking"))]
    OfCall(OnceLock<Arc<Token>>, CallRef),
}

impl Cancellation {
    fn token(&self) -> Option<&Arc<Token>> {
        match self {
            Self::Never => None,
            Self::Possible(token) => Some(token),
            #[cfg(any(feature = "tokio", feature = "blocking"))]
            Self::OfCall(token, call) => Some(token.get_or_init(|| {
                let token = Arc::default();
                call.ends_with(CancelOnDrop(Arc::clone(&token)));
                token
            })),
        }
    }

    /// Whether it is that of a call which has come in.
    fn is_of_call(&self) -> bool {
        match self {
            #[cfg(any(feature = "tokio", feature = "blocking"))]
            Self::OfCall(..) => true,
            _ => false,
        }
    }

    /// The token, if anybody has asked for it.
    fn existing_token(&self) -> Option<&Arc<Token>> {
        match self {
            #[cfg(any(feature = "tokio", feature = "blocking"))]
            Self::OfCall(token, _) => token.get(),
            _ => self.token(),
        }
    }
}

impl Clone for Cancellation {
    fn clone(&self) -> Self {
        self.token().cloned().map_or(Self::Never, Self::Possible)
    }
}

/// The context that a handler is given; a `Context` in every respect.
///
/// It ends with the handler: whoever cloned it sees it cancelled then. For a handler
/// that returns a stream the call goes on, and so does the context.
#[derive(Debug)]
pub struct CallContext {
    ctx: Context,
    ends_with_handler: bool,
}

impl CallContext {
    pub(crate) fn new(mut ctx: Context, ends_with_handler: bool) -> Self {
        if ends_with_handler && !ctx.cancellation.is_of_call() {
            // An interceptor has put it there, and others may have it, too.
            (ctx, _) = ctx.with_cancel();
        }
        Self {
            ctx,
            ends_with_handler,
        }
    }
}

impl Deref for CallContext {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.ctx
    }
}

impl Drop for CallContext {
    fn drop(&mut self) {
        if self.ends_with_handler {
            if let Some(token) = self.ctx.cancellation.existing_token() {
                token.cancel();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::Poll;

    use super::*;
    use crate::wakes::Wakes;

    #[test]
    fn a_deadline_only_ever_moves_closer() {
        let now = Instant::now();
        let ctx = Context::new().with_deadline(now + Duration::from_secs(1));
        let later = ctx.clone().with_deadline(now + Duration::from_secs(2));
        assert_eq!(later.deadline(), ctx.deadline());
        let sooner = ctx.with_deadline(now);
        assert_eq!(sooner.deadline(), Some(now));
        assert_eq!(sooner.time_left(), Some(Duration::ZERO));
        let forever = Context::new().with_timeout(Duration::MAX);
        assert_eq!(forever.deadline(), None);
    }

    #[test]
    fn cancelling_reaches_clones_and_children_but_not_parents() {
        let (parent, cancel_parent) = Context::new().with_cancel();
        let (child, cancel_child) = parent.clone().with_cancel();
        let other = parent.clone();
        cancel_child.cancel();
        assert!(child.is_cancelled());
        assert!(!parent.is_cancelled());
        cancel_parent.cancel();
        assert!(parent.is_cancelled() && other.is_cancelled());
    }

    #[test]
    fn whoever_waits_is_woken_once_and_leaves_nothing_behind() {
        let (parent, canceller) = Context::new().with_cancel();
        let (child, _) = parent.with_cancel();
        let wakes = Arc::<Wakes>::default();
        let waker = wakes.waker();
        let mut cx = std::task::Context::from_waker(&waker);
        {
            let mut abandoned = pin!(child.cancelled());
            assert!(abandoned.as_mut().poll(&mut cx).is_pending());
        }
        let mut waiting = pin!(child.cancelled());
        for _ in 0..3 {
            assert!(waiting.as_mut().poll(&mut cx).is_pending());
        }
        canceller.cancel();
        assert_eq!(wakes.count(), 1);
        assert_eq!(waiting.as_mut().poll(&mut cx), Poll::Ready(()));
    }
}
