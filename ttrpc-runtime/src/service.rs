//! What a server calls: services, and the calls that they answer.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;

use crate::codec::{Codec, Encoded, Raw, to_bytes};
use crate::connection::{Shared, Slot, Streams};
use crate::context::{CallContext, Context};
use crate::envelope::Request;
use crate::error::{Error, Result};
use crate::frame::StreamId;
use crate::interceptor::{Body, Invocation};
use crate::proto::{CallKind, Endpoint, server};
use crate::status::Status;
use crate::streaming::{StreamRef, Streaming};

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

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
pub struct Reply(Option<BoxFuture<()>>);

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
        self.responder.refuse(status.into())
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
            Err(error) => responder.refuse(error.into()),
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
            wire.accept(*guess, kind, &ctx);
        }
        let ctx = CallContext::new(ctx, !kind.server_streams());
        (ctx, input, responder)
    }
}

/// Answers one call.
#[derive(Clone)]
pub(crate) enum Responder {
    /// To the connection that it came from.
    Wire(WireResponder),
    /// To the interceptors that it came through.
    Captured(Captured),
}

/// An answer on its way back through interceptors.
#[derive(Clone, Default)]
pub(crate) struct Captured(Arc<Mutex<Option<Result<Body>>>>);

impl Captured {
    fn set(&self, result: Result<Body>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
    }

    /// The answer to a call, once the service has done its work.
    pub(crate) async fn answer(service: &dyn Service, call: Invocation) -> Result<Body> {
        let captured = Self::default();
        let call = Call {
            ctx: call.ctx.clone(),
            input: Input::Invocation(call),
            responder: Responder::Captured(captured.clone()),
        };
        if let Reply(Some(work)) = service.call(call) {
            work.await;
        }
        let answer = captured
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        answer.unwrap_or_else(|| Err(Status::internal("the service did not answer").into()))
    }
}

impl Responder {
    fn fail(&self, error: Error) {
        match self {
            Self::Wire(wire) => wire.fail(error),
            Self::Captured(captured) => captured.set(Err(error)),
        }
    }

    fn refuse(self, error: Error) -> Reply {
        self.fail(error);
        Reply(None)
    }

    async fn reply<C: Codec<Rep>, Rep>(self, result: Result<Rep>) {
        match (result, self) {
            (Ok(reply), Self::Wire(wire)) => wire.reply::<C, Rep>(reply).await,
            (Ok(reply), Self::Captured(captured)) => {
                captured.set(
                    to_bytes::<C, Rep>(&reply)
                        .map(Body::One)
                        .map_err(Error::from),
                );
            }
            (Err(error), responder) => responder.fail(error),
        }
    }

    async fn stream<C: Codec<Rep>, Rep: Send + 'static>(self, result: Result<Streaming<Rep>>) {
        match (result, self) {
            (Ok(replies), Self::Wire(wire)) => wire.stream::<C, Rep>(replies).await,
            (Ok(replies), Self::Captured(captured)) => {
                let replies = replies.map(|reply| Ok(to_bytes::<C, Rep>(&reply)?));
                captured.set(Ok(Body::Stream(replies)));
            }
            (Err(error), responder) => responder.fail(error),
        }
    }
}

/// Answers one call of a connection.
#[derive(Clone)]
pub(crate) struct WireResponder {
    pub(crate) shared: Arc<Shared<server::Connection<Slot>>>,
    pub(crate) id: StreamId,
}

impl WireResponder {
    fn stream_ref(&self) -> StreamRef {
        StreamRef {
            streams: Arc::clone(&self.shared) as Arc<dyn Streams>,
            id: self.id,
        }
    }

    /// Tells the connection what kind of call it is, if that is news.
    fn accept(&self, guess: CallKind, kind: CallKind, ctx: &Context) {
        if kind == CallKind::Unary {
            if guess != kind {
                self.shared.with(|server| server.accept(self.id, kind));
            }
            return;
        }
        // The call outlives its handler, and so does what ends its context.
        let ends_ctx = ctx.cancel_on_drop();
        self.shared.with(|server| {
            server.accept(self.id, kind);
            if let Some(slot) = server.link().slot(self.id) {
                slot.ctx = ends_ctx;
            }
        });
    }

    fn requests<C: Codec<Req>, Req: Send + 'static>(&self, request: Request) -> Streaming<Req> {
        // An empty payload is no message here; some clients send the first one with it.
        let first = Some(request.into_payload()).filter(|payload| !payload.is_empty());
        Streaming::from_wire::<C>(self.stream_ref(), first, None)
    }

    /// The requests of a call, encoded, for interceptors.
    pub(crate) fn body(&self, request: Request, kind: CallKind, ctx: &Context) -> Body {
        self.accept(CallKind::Unary, kind, ctx);
        if kind.client_streams() {
            Body::Stream(self.requests::<Raw, Bytes>(request))
        } else {
            Body::One(request.into_payload())
        }
    }

    /// Answers with what came back through interceptors.
    pub(crate) async fn answer(self, result: Result<Body>) {
        match result {
            Ok(Body::One(reply)) => self.reply::<Raw, Bytes>(reply).await,
            Ok(Body::Stream(replies)) => self.stream::<Raw, Bytes>(replies).await,
            Err(error) => self.fail(error),
        }
    }

    pub(crate) fn fail(&self, error: Error) {
        self.shared.finish(self.id, Err(error));
    }

    async fn reply<C: Codec<Rep>, Rep>(self, reply: Rep) {
        let room = poll_fn(|cx| self.shared.poll_room(self.id, cx)).await;
        // Otherwise the call is over: it is too late.
        if room.is_ok() {
            let reply = Encoded::<C, Rep>::new(&reply);
            drop(
                self.shared
                    .with(|server| server.respond(self.id, Ok(&reply))),
            );
        }
    }

    async fn stream<C: Codec<Rep>, Rep: Send + 'static>(self, replies: Streaming<Rep>) {
        if let Some(run) = replies.send_to::<C>(self.stream_ref()) {
            run.await;
        }
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
