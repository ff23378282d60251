//! Interceptors: what stands around every call, on either side.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;

use crate::connection::BoxFuture;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::proto::CallKind;
use crate::streaming::Streaming;

/// Stands around every call of a client or a server.
///
/// It can change the context and the messages on their way in, answer itself instead of
/// calling [`Next::run`], and see and change what comes back. The first one that was
/// added is the outermost.
///
#[cfg_attr(feature = "tokio", doc = "```")]
#[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
/// use std::time::Instant;
/// use ttrpc_runtime::{Body, Interceptor, Invocation, Next, Result};
///
/// struct Timing;
///
/// impl Interceptor for Timing {
///     async fn intercept(&self, mut call: Invocation, next: Next) -> Result<Body> {
///         call.ctx.metadata_mut().set("timed", "yes");
///         let what = format!("{}/{}", call.service(), call.method());
///         let begun = Instant::now();
///         let outcome = next.run(call).await;
///         println!("{what}: {:?} in {:?}", outcome.as_ref().err(), begun.elapsed());
///         outcome
///     }
/// }
/// ```
///
/// Where the replies are a stream, [`Next::run`] returns when it has begun: to see its
/// messages and its end, wrap it with [`Streaming::from_stream`].
pub trait Interceptor: Send + Sync + 'static {
    /// Handles a call: usually by `next.run(call).await`, with something before or after.
    fn intercept(&self, call: Invocation, next: Next) -> impl Future<Output = Result<Body>> + Send;
}

/// A call on its way to its handler, its messages encoded.
#[derive(Debug)]
pub struct Invocation {
    pub(crate) service: String,
    pub(crate) method: String,
    pub(crate) kind: CallKind,
    /// The deadline, the metadata and the cancellation of the call. On a server the
    /// deadline that ends the call is the client's, whatever becomes of it here.
    pub ctx: Context,
    /// The request, or the stream of requests.
    pub body: Body,
}

impl Invocation {
    /// The service's name on the wire.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The method's name on the wire.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Which of the four kinds of call it is. On a server, as far as the request tells: a
    /// client-streaming call looks like a bidirectional one.
    pub fn kind(&self) -> CallKind {
        self.kind
    }
}

/// One side of a call: a message, or a stream of them, encoded.
pub enum Body {
    /// The only message.
    One(Bytes),
    /// Any number of messages.
    Stream(Streaming<Bytes>),
}

impl Body {
    pub(crate) fn into_one(self) -> Result<Bytes> {
        match self {
            Self::One(message) => Ok(message),
            Self::Stream(_) => Err(Error::protocol(
                "an interceptor made a stream of what has to be a single message",
            )),
        }
    }

    pub(crate) fn into_stream(self) -> Streaming<Bytes> {
        match self {
            Self::One(message) => Streaming::from_iter([message]),
            Self::Stream(messages) => messages,
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(message) => f.debug_tuple("One").field(&message.len()).finish(),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// What an interceptor stands before: the next one, or the call itself.
pub struct Next {
    /// Those that are left, the outermost last.
    left: Vec<Arc<dyn Erased>>,
    last: Last,
}

type Last = Box<dyn FnOnce(Invocation) -> BoxFuture<Result<Body>> + Send>;

impl Next {
    /// Goes on with the call.
    ///
    /// # Errors
    /// As the call ended.
    pub async fn run(mut self, call: Invocation) -> Result<Body> {
        match self.left.pop() {
            Some(interceptor) => interceptor.intercept(call, self).await,
            None => (self.last)(call).await,
        }
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next")
            .field("left", &self.left.len())
            .finish()
    }
}

/// An interceptor of any type.
trait Erased: Send + Sync {
    fn intercept(self: Arc<Self>, call: Invocation, next: Next) -> BoxFuture<Result<Body>>;
}

impl<I: Interceptor> Erased for I {
    fn intercept(self: Arc<Self>, call: Invocation, next: Next) -> BoxFuture<Result<Body>> {
        Box::pin(async move { Interceptor::intercept(&*self, call, next).await })
    }
}

/// The interceptors of a client or a server.
#[derive(Clone, Default)]
pub(crate) struct Chain {
    /// The outermost last.
    interceptors: Vec<Arc<dyn Erased>>,
}

impl Chain {
    /// Adds one inside of those there are.
    pub(crate) fn add(&mut self, interceptor: impl Interceptor) {
        self.interceptors.insert(0, Arc::new(interceptor));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.interceptors.is_empty()
    }

    /// Runs a call through all of them and then `last`.
    pub(crate) async fn run<F, Fut>(&self, call: Invocation, last: F) -> Result<Body>
    where
        F: FnOnce(Invocation) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Body>> + Send + 'static,
    {
        let next = Next {
            left: self.interceptors.clone(),
            last: Box::new(move |call| Box::pin(last(call))),
        };
        next.run(call).await
    }
}
