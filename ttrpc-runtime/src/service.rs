//! What a server calls: services, and the calls that they answer.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use crate::codec::Codec;
use crate::connection::BoxFuture;
use crate::context::{CallContext, Context};
use crate::envelope::Request;
use crate::error::{Error, Result};
use crate::interceptor::{Body, Invocation};
use crate::proto::CallKind;
use crate::responder::{Responder, WireResponder};
use crate::status::Status;
use crate::streaming::Streaming;

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
    pub(crate) input: Input,
    pub(crate) responder: Responder,
}

/// What a call brings: its names and its requests.
pub(crate) enum Input {
    /// Straight from the connection, with the kind of call that the client took it for.
    Request(Request, CallKind),
    /// From interceptors.
    Invocation(Invocation),
}

/// An answer, or the work that leads to one. Only a [`Call`] gives it.
#[must_use]
pub struct Reply(pub(crate) Option<BoxFuture<()>>);

impl Call {
    /// The method's name, as the client sent it.
    pub fn method(&self) -> &str {
        match &self.input {
            Input::Request(request, _) => request.method(),
            Input::Invocation(call) => call.method(),
        }
    }

    fn service(&self) -> &str {
        match &self.input {
            Input::Request(request, _) => request.service(),
            Input::Invocation(call) => call.service(),
        }
    }

    /// Answers that there is no such method.
    pub fn unimplemented(self) -> Reply {
        let (service, method) = (self.service(), self.method());
        let status = Status::unimplemented(format!("{service} has no method {method:?}"));
        self.responder.fail(status.into());
        Reply(None)
    }

    /// Answers a call with one message each way.
    pub fn unary<C, Req, Rep, F, Fut>(self, _: C, handler: F) -> Reply
    where
        C: Codec<Req> + Codec<Rep>,
        Rep: Send,
        F: FnOnce(CallContext, Req) -> Fut,
        Fut: Future<Output = Result<Rep>> + Send + 'static,
    {
        self.with_request::<C, Req>(CallKind::Unary, |ctx, request, responder| {
            let reply = handler(ctx, request);
            Box::pin(async move { responder.reply::<C, Rep>(reply.await).await })
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
        Rep: Send,
        F: FnOnce(CallContext, Streaming<Req>) -> Fut,
        Fut: Future<Output = Result<Rep>> + Send + 'static,
    {
        let (ctx, requests, responder) = self.with_requests::<C, Req>(CallKind::ClientStreaming);
        let reply = handler(ctx, requests);
        Reply(Some(Box::pin(async move {
            responder.reply::<C, Rep>(reply.await).await;
        })))
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
        self,
        kind: CallKind,
        answer: impl FnOnce(CallContext, Req, Responder) -> BoxFuture<()>,
    ) -> Reply {
        let (ctx, input, responder) = self.accept(kind);
        let payload = match input {
            Input::Request(request, _) => request.into_payload(),
            Input::Invocation(call) => match call.body {
                Body::One(payload) => payload,
                // The client took it for another kind of call. What it has sent with the
                // request itself is there at once.
                Body::Stream(mut messages) => messages.take_ready().unwrap_or_default(),
            },
        };
        match C::decode(payload) {
            Ok(request) => Reply(Some(answer(ctx, request, responder))),
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
        let (ctx, input, responder) = self.accept(kind);
        let requests = match (input, &responder) {
            (Input::Request(request, _), Responder::Wire(wire)) => wire.requests::<C, _>(request),
            (Input::Invocation(call), _) => {
                let decode = |message| Ok(C::decode(message)?);
                call.body.into_stream().map(decode)
            }
            (Input::Request(..), Responder::Captured(_)) => Streaming::from_iter([]),
        };
        (ctx, requests, responder)
    }

    fn accept(self, kind: CallKind) -> (CallContext, Input, Responder) {
        let Self {
            ctx,
            input,
            responder,
        } = self;
        if let (Input::Request(_, guess), Responder::Wire(wire)) = (&input, &responder) {
            wire.accept(*guess, kind);
        }
        let ctx = CallContext::new(ctx, !kind.server_streams());
        (ctx, input, responder)
    }
}

/// A call that is being answered; a handler that panics fails that call alone.
pub(crate) struct Running {
    work: BoxFuture<()>,
    responder: WireResponder,
}

impl Running {
    /// Gives the call to the service; `None` where it is answered already.
    pub(crate) fn start(
        service: &dyn Service,
        ctx: Context,
        input: Input,
        responder: WireResponder,
    ) -> Option<Self> {
        let call = Call {
            ctx,
            input,
            responder: Responder::Wire(responder.clone()),
        };
        match catch_unwind(AssertUnwindSafe(|| service.call(call))) {
            Ok(reply) => reply.0.map(|work| Self { work, responder }),
            Err(_) => {
                responder.fail(panicked());
                None
            }
        }
    }

    /// Answers the call with what `work` comes to.
    pub(crate) fn new(
        work: impl Future<Output = Result<Body>> + Send + 'static,
        responder: WireResponder,
    ) -> Self {
        let answering = responder.clone();
        let work = Box::pin(async move { answering.answer(work.await).await });
        Self { work, responder }
    }
}

impl Future for Running {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        catch_unwind(AssertUnwindSafe(|| self.work.as_mut().poll(cx))).unwrap_or_else(|_| {
            self.responder.fail(panicked());
            Poll::Ready(())
        })
    }
}

fn panicked() -> Error {
    Status::internal("the handler of the call panicked").into()
}
