//! Interceptors of the blocking flavour.

use std::fmt;

use bytes::Bytes;

use super::park::block_on;
use super::streaming::Streaming;
use crate::context::Context;
use crate::error::Result;
use crate::interceptor;
use crate::proto::CallKind;

/// Stands around every call of a client or a server.
///
/// It can change the context and the messages on their way in, answer itself instead of
/// calling [`Next::run`], and see and change what comes back. The first one that was
/// added is the outermost.
///
/// ```
/// use std::time::Instant;
/// use ttrpc_runtime::Result;
/// use ttrpc_runtime::blocking::{Body, Interceptor, Invocation, Next};
///
/// struct Timing;
///
/// impl Interceptor for Timing {
///     fn intercept(&self, mut call: Invocation, next: Next) -> Result<Body> {
///         call.ctx.metadata_mut().set("timed", "yes");
///         let what = format!("{}/{}", call.service(), call.method());
///         let begun = Instant::now();
///         let outcome = next.run(call);
///         println!("{what}: {:?} in {:?}", outcome.as_ref().err(), begun.elapsed());
///         outcome
///     }
/// }
/// ```
///
/// Where the replies are a stream, [`Next::run`] returns when it has begun: to see its
/// messages and its end, wrap it with [`Streaming::from_results`].
pub trait Interceptor: Send + Sync + 'static {
    /// Handles a call: usually by `next.run(call)`, with something before or after.
    ///
    /// # Errors
    /// As the call is to end.
    fn intercept(&self, call: Invocation, next: Next) -> Result<Body>;
}

/// A call on its way to its handler, its messages encoded.
#[derive(Debug)]
pub struct Invocation {
    service: String,
    method: String,
    kind: CallKind,
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

impl From<interceptor::Body> for Body {
    fn from(body: interceptor::Body) -> Self {
        match body {
            interceptor::Body::One(message) => Self::One(message),
            interceptor::Body::Stream(messages) => Self::Stream(Streaming(messages)),
        }
    }
}

impl From<Body> for interceptor::Body {
    fn from(body: Body) -> Self {
        match body {
            Body::One(message) => Self::One(message),
            Body::Stream(messages) => Self::Stream(messages.0),
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
#[derive(Debug)]
pub struct Next(interceptor::Next);

impl Next {
    /// Goes on with the call.
    ///
    /// # Errors
    /// As the call ended.
    pub fn run(self, call: Invocation) -> Result<Body> {
        let Invocation {
            service,
            method,
            kind,
            ctx,
            body,
        } = call;
        let call = interceptor::Invocation {
            service,
            method,
            kind,
            ctx,
            body: body.into(),
        };
        block_on(self.0.run(call)).map(Body::from)
    }
}

/// An interceptor that runs when it is polled, to its end.
pub(super) struct Threaded<I>(pub(super) I);

impl<I: Interceptor> interceptor::Interceptor for Threaded<I> {
    async fn intercept(
        &self,
        call: interceptor::Invocation,
        next: interceptor::Next,
    ) -> Result<interceptor::Body> {
        let interceptor::Invocation {
            service,
            method,
            kind,
            ctx,
            body,
        } = call;
        let call = Invocation {
            service,
            method,
            kind,
            ctx,
            body: body.into(),
        };
        self.0.intercept(call, Next(next)).map(Into::into)
    }
}
