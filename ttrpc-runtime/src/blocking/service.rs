//! What a server of the blocking flavour calls: services, and the calls that they answer.

use super::streaming::Streaming;
use crate::codec::Codec;
use crate::context::CallContext;
use crate::error::Result;
use crate::service;
use crate::status::Status;

/// A service that a [`Server`](super::Server) serves; implemented by the generated
/// `…Server` types.
pub trait Service: Send + Sync + 'static {
    /// The service's name on the wire: `package.Service`.
    fn name(&self) -> &'static str;

    /// Answers a call, by one of the methods of [`Call`]. What takes time belongs into the
    /// handler that it is given: this is also asked where no thread is left for handlers.
    fn call(&self, call: Call) -> Reply;
}

/// What a generated trait does for a method that is not implemented.
///
/// # Errors
/// Always, with the code UNIMPLEMENTED.
pub fn unimplemented<T>(service: &str, method: &str) -> Result<T> {
    Err(Status::unimplemented(format!("{service} does not implement {method}")).into())
}

/// A call that has come in and is to be answered.
pub struct Call(service::Call);

/// An answer, or the work that leads to one. Only a [`Call`] gives it.
#[must_use]
pub struct Reply(service::Reply);

impl Call {
    /// The method's name, as the client sent it.
    pub fn method(&self) -> &str {
        self.0.method()
    }

    /// The method's name as bytes: what generated code looks at, since it saves a check for
    /// UTF-8.
    pub fn method_bytes(&self) -> &[u8] {
        self.0.method_bytes()
    }

    /// Answers that there is no such method.
    pub fn unimplemented(self) -> Reply {
        Reply(self.0.unimplemented())
    }

    /// Answers a call with one message each way.
    pub fn unary<C, Req, Rep, F>(self, codec: C, handler: F) -> Reply
    where
        C: Codec<Req> + Codec<Rep>,
        Req: Send + 'static,
        Rep: Send + 'static,
        F: FnOnce(CallContext, Req) -> Result<Rep> + Send + 'static,
    {
        let handler = async move |ctx, request| handler(ctx, request);
        Reply(self.0.unary(codec, handler))
    }

    /// Answers a call with one message, and a stream of messages back.
    pub fn server_streaming<C, Req, Rep, F>(self, codec: C, handler: F) -> Reply
    where
        C: Codec<Req> + Codec<Rep>,
        Req: Send + 'static,
        Rep: Send + 'static,
        F: FnOnce(CallContext, Req) -> Result<Streaming<Rep>> + Send + 'static,
    {
        let handler = async move |ctx, request| Ok(handler(ctx, request)?.0);
        Reply(self.0.server_streaming(codec, handler))
    }

    /// Answers a call with a stream of messages, and one message back.
    pub fn client_streaming<C, Req, Rep, F>(self, codec: C, handler: F) -> Reply
    where
        C: Codec<Req> + Codec<Rep>,
        Req: Send + 'static,
        Rep: Send + 'static,
        F: FnOnce(CallContext, Streaming<Req>) -> Result<Rep> + Send + 'static,
    {
        let handler = async move |ctx, requests| handler(ctx, Streaming(requests));
        Reply(self.0.client_streaming(codec, handler))
    }

    /// Answers a call with a stream of messages each way.
    pub fn bidi_streaming<C, Req, Rep, F>(self, codec: C, handler: F) -> Reply
    where
        C: Codec<Req> + Codec<Rep>,
        Req: Send + 'static,
        Rep: Send + 'static,
        F: FnOnce(CallContext, Streaming<Req>) -> Result<Streaming<Rep>> + Send + 'static,
    {
        let handler = async move |ctx, requests| Ok(handler(ctx, Streaming(requests))?.0);
        Reply(self.0.bidi_streaming(codec, handler))
    }
}

/// A service whose handlers run when its work is polled, to their end.
pub(super) struct Threaded<S>(pub(super) S);

impl<S: Service> service::Service for Threaded<S> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn call(&self, call: service::Call) -> service::Reply {
        self.0.call(Call(call)).0
    }
}
