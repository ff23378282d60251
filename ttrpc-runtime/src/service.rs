//! What a server calls: services, and the calls that they answer.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;

use crate::codec::Codec;
use crate::connection::BoxFuture;
use crate::context::{CallContext, Context};
use crate::envelope::{Request, Slice};
use crate::error::Result;
use crate::interceptor::Body;
use crate::proto::CallKind;
use crate::responder::{Answering, Intercepted, Responder, WireResponder};
use crate::status::Status;
use crate::streaming::{StreamRef, Streaming};

/// A service that a [`Server`](crate::Server) serves; implemented by the generated
/// `…Server` types.
pub trait Service: Send + Sync + 'static {
    /// The service's name on the wire: `package.Service`.
    fn name(&self) -> &'static str;

    /// Answers a call, by one of the methods of [`Call`].
    fn call(&self, call: Call) -> Reply;
}

/// What a generated trait does for a method that is not implemented.
///
/// # Errors
/// Always, with the code UNIMPLEMENTED.
pub async fn unimplemented<T>(service: &str, method: &str) -> Result<T> {
    Err(Status::unimplemented(format!("{service} does not implement {method}")).into())
}

/// A call that has come in and is to be answered.
pub struct Call {
    pub(crate) ctx: Context,
    pub(crate) origin: Origin,
}

/// Where a call comes from and its answer goes to.
pub(crate) enum Origin {
    /// A connection; with the kind of call that the client took it for.
    Wire(Request, CallKind, WireResponder),
    /// Interceptors.
    Intercepted(Arc<dyn Intercepted>),
}

/// An answer, or the work that leads to one. Only a [`Call`] gives it.
#[must_use]
pub struct Reply(pub(crate) Option<BoxFuture<()>>);

impl Call {
    /// The method's name, as the client sent it.
    pub fn method(&self) -> &str {
        match &self.origin {
            Origin::Wire(request, ..) => request.method(),
            Origin::Intercepted(call) => call.method(),
        }
    }

    /// The method's name as bytes: what generated code looks at, since it saves a check for
    /// UTF-8.
    pub fn method_bytes(&self) -> &[u8] {
        match &self.origin {
            Origin::Wire(request, ..) => request.method_bytes(),
            Origin::Intercepted(call) => call.method().as_bytes(),
        }
    }

    fn service(&self) -> &str {
        match &self.origin {
            Origin::Wire(request, ..) => request.service(),
            Origin::Intercepted(call) => call.service(),
        }
    }

    /// Answers that there is no such method.
    pub fn unimplemented(self) -> Reply {
        let (service, method) = (self.service(), self.method());
        let status = Status::unimplemented(format!("{service} has no method {method:?}"));
        let responder = match self.origin {
            Origin::Wire(_, _, wire) => Responder::Wire(wire),
            Origin::Intercepted(call) => Responder::Intercepted(call),
        };
        responder.fail(status.into());
        Reply(None)
    }

    /// Answers a call with one message each way.
    pub fn unary<C, Req, Rep, F, Fut>(self, _: C, handler: F) -> Reply
    where
        C: Codec<Req> + Codec<Rep>,
        Rep: Send + 'static,
        F: FnOnce(CallContext, Req) -> Fut,
        Fut: Future<Output = Result<Rep>> + Send + 'static,
    {
        self.with_request::<C, Req>(CallKind::Unary, |ctx, request, responder| {
            Box::pin(Answering::<C, Rep, _>::new(
                handler(ctx, request),
                responder,
            ))
        })
    }

    /// Answers a call with one message, and a stream of messages back.
    pub fn server_streaming<C, Req, Rep, F, Fut>(self, _: C, handler: F) -> Reply
    where
        C: Codec<Req> + Codec<Rep>,
        Rep: Send + 'static,
        F: FnOnce(CallContext, Req) -> Fut,
        Fut: Future<Output = Result<Streaming<Rep>>> + Send + 'static,
    {
        self.with_request::<C, Req>(CallKind::ServerStreaming, |ctx, request, responder| {
            let replies = handler(ctx, request);
            Box::pin(async move { responder.stream::<C, Rep>(replies.await).await })
        })
    }

    /// Answers a call with a stream of messages, and one message back.
    pub fn client_streaming<C, Req, Rep, F, Fut>(self, _: C, handler: F) -> Reply
    where
        C: Codec<Req> + Codec<Rep>,
        Req: Send + 'static,
        Rep: Send + 'static,
        F: FnOnce(CallContext, Streaming<Req>) -> Fut,
        Fut: Future<Output = Result<Rep>> + Send + 'static,
    {
        let (ctx, requests, responder) = self.with_requests::<C, Req>(CallKind::ClientStreaming);
        let reply = handler(ctx, requests);
        Reply(Some(Box::pin(Answering::<C, Rep, _>::new(
            reply, responder,
        ))))
    }

    /// Answers a call with a stream of messages each way.
    pub fn bidi_streaming<C, Req, Rep, F, Fut>(self, _: C, handler: F) -> Reply
    where
        C: Codec<Req> + Codec<Rep>,
        Req: Send + 'static,
        Rep: Send + 'static,
        F: FnOnce(CallContext, Streaming<Req>) -> Fut,
        Fut: Future<Output = Result<Streaming<Rep>>> + Send + 'static,
    {
        let (ctx, requests, responder) = self.with_requests::<C, Req>(CallKind::BidiStreaming);
        let replies = handler(ctx, requests);
        Reply(Some(Box::pin(async move {
            responder.stream::<C, Rep>(replies.await).await;
        })))
    }

    /// Takes the single request of a call.
    fn with_request<C: Codec<Req>, Req>(
        mut self,
        kind: CallKind,
        answer: impl FnOnce(CallContext, Req, Responder) -> BoxFuture<()>,
    ) -> Reply {
        let request = C::decode_slice(self.take_payload(kind));
        let responder = match self.origin {
            Origin::Wire(_, _, wire) => Responder::Wire(wire),
            Origin::Intercepted(call) => Responder::Intercepted(call),
        };
        match request {
            Ok(request) => {
                let ctx = CallContext::new(self.ctx, !kind.server_streams());
                Reply(Some(answer(ctx, request, responder)))
            }
            Err(error) => {
                responder.fail(error.into());
                Reply(None)
            }
        }
    }

    /// Takes the requests of a call.
    fn with_requests<C: Codec<Req>, Req: Send + 'static>(
        self,
        kind: CallKind,
    ) -> (CallContext, Streaming<Req>, Responder) {
        let (ctx, (stream, first), responder) = self.take_requests(kind);
        let requests = Streaming::from_wire::<C>(stream, first, None);
        (ctx, requests, responder)
    }

    // What does not depend on the messages is in a binary once.
    #[inline(never)]
    fn take_payload(&mut self, kind: CallKind) -> Slice {
        match &mut self.origin {
            Origin::Wire(request, guess, wire) => {
                wire.accept(*guess, kind);
                request.take_payload()
            }
            Origin::Intercepted(call) => call.payload().into(),
        }
    }

    #[inline(never)]
    fn take_requests(self, kind: CallKind) -> (CallContext, (StreamRef, Option<Bytes>), Responder) {
        let (requests, responder) = match self.origin {
            Origin::Wire(request, guess, wire) => {
                wire.accept(guess, kind);
                (wire.requests(request), Responder::Wire(wire))
            }
            Origin::Intercepted(call) => ((call.requests(), None), Responder::Intercepted(call)),
        };
        let ctx = CallContext::new(self.ctx, !kind.server_streams());
        (ctx, requests, responder)
    }
}

/// A call that is being answered, until it is; a handler that panics fails that call alone, also
/// where it does when it is dropped.
pub(crate) struct Running(Option<BoxFuture<()>>);

impl Running {
    /// Gives the call to the service; `None` where it is answered already.
    pub(crate) fn start(service: &dyn Service, call: Call) -> Option<Self> {
        // Where it panics, what is left of the call has answered it.
        let reply = catch_unwind(AssertUnwindSafe(|| service.call(call))).ok()?;
        reply.0.map(|work| Self(Some(work)))
    }

    /// Answers the call with what `work` comes to.
    pub(crate) fn new(
        work: impl Future<Output = Result<Body>> + Send + 'static,
        responder: WireResponder,
    ) -> Self {
        Self(Some(Box::pin(
            async move { responder.answer(work.await).await },
        )))
    }

    #[cold]
    fn give_up(work: BoxFuture<()>) {
        let _ = catch_unwind(AssertUnwindSafe(|| drop(work)));
    }
}

impl Future for Running {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let work = &mut self.0;
        let poll = || {
            let polled = work
                .as_mut()
                .map_or(Poll::Ready(()), |w| w.as_mut().poll(cx));
            if polled.is_ready() {
                *work = None;
            }
            polled
        };
        catch_unwind(AssertUnwindSafe(poll)).unwrap_or(Poll::Ready(()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(work) = self.0.take() {
            Self::give_up(work);
        }
    }
}
