//! What a server calls: services, and the calls that they answer.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;

use crate::codec::{Codec, Encoded};
use crate::connection::{Shared, Slot, Streams};
use crate::context::{CallContext, Context};
use crate::envelope::Request;
use crate::error::{Error, Result};
use crate::frame::StreamId;
use crate::proto::{CallKind, server};
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
    pub(crate) request: Request,
    pub(crate) kind: CallKind,
    pub(crate) responder: Responder,
}

/// An answer, or the work that leads to one. Only a [`Call`] gives it.
#[must_use]
pub struct Reply(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Call {
    /// The method's name, as the client sent it.
    pub fn method(&self) -> &str {
        self.request.method()
    }

    /// Answers that there is no such method.
    pub fn unimplemented(self) -> Reply {
        let (service, method) = (self.request.service(), self.request.method());
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
        answer: impl FnOnce(CallContext, Req, Responder) -> Pin<Box<dyn Future<Output = ()> + Send>>,
    ) -> Reply {
        let (ctx, payload, responder) = self.accept(kind);
        match C::decode(payload) {
            Ok(request) => Reply(Some(answer(ctx, request, responder))),
            Err(error) => responder.refuse(error.into()),
        }
    }

    /// Takes the requests of a call.
    fn with_requests<C: Codec<Req>, Req>(
        self,
        kind: CallKind,
    ) -> (CallContext, Streaming<Req>, Responder) {
        let (ctx, payload, responder) = self.accept(kind);
        // An empty payload is no message here; some clients send the first one with it.
        let first = Some(payload).filter(|payload| !payload.is_empty());
        let requests = Streaming::from_wire::<C>(responder.stream_ref(), first, None);
        (ctx, requests, responder)
    }

    fn accept(self, kind: CallKind) -> (CallContext, Bytes, Responder) {
        let Self {
            ctx,
            request,
            kind: guess,
            responder,
        } = self;
        if kind == CallKind::Unary {
            if guess != kind {
                let id = responder.id;
                responder.shared.with(|server| server.accept(id, kind));
            }
        } else {
            // The call outlives its handler, and so does what ends its context.
            let ends_ctx = ctx.cancel_on_drop();
            responder.with_slot(kind, |slot| slot.ctx = ends_ctx);
        }
        let ctx = CallContext::new(ctx, !kind.server_streams());
        (ctx, request.into_payload(), responder)
    }
}

/// Answers one call.
#[derive(Clone)]
pub(crate) struct Responder {
    pub(crate) shared: Arc<Shared<server::Connection<Slot>>>,
    pub(crate) id: StreamId,
}

impl Responder {
    fn stream_ref(&self) -> StreamRef {
        StreamRef {
            streams: Arc::clone(&self.shared) as Arc<dyn Streams>,
            id: self.id,
        }
    }

    fn with_slot(&self, kind: CallKind, f: impl FnOnce(&mut Slot)) {
        self.shared.with(|server| {
            use crate::proto::Endpoint;
            server.accept(self.id, kind);
            server.link().slot(self.id).map(f);
        });
    }

    pub(crate) fn fail(&self, error: Error) {
        self.shared.finish(self.id, Err(error));
    }

    fn refuse(self, error: Error) -> Reply {
        self.fail(error);
        Reply(None)
    }

    async fn reply<C: Codec<Rep>, Rep>(self, result: Result<Rep>) {
        let room = poll_fn(|cx| self.shared.poll_room(self.id, cx)).await;
        match (result, room) {
            (Ok(reply), Ok(())) => {
                let reply = Encoded::<C, Rep>::new(&reply);
                drop(
                    self.shared
                        .with(|server| server.respond(self.id, Ok(&reply))),
                );
            }
            (Err(error), _) => self.fail(error),
            // Too late: the call is over.
            (Ok(_), Err(_)) => {}
        }
    }

    async fn stream<C: Codec<Rep>, Rep: Send + 'static>(self, result: Result<Streaming<Rep>>) {
        match result {
            Ok(replies) => {
                if let Some(run) = replies.send_to::<C>(self.stream_ref()) {
                    run.await;
                }
            }
            Err(error) => self.fail(error),
        }
    }
}

/// A call that is being answered; a handler that panics fails that call alone.
pub(crate) struct Running {
    work: Pin<Box<dyn Future<Output = ()> + Send>>,
    responder: Responder,
}

impl Running {
    /// Gives the call to the service; `None` where it is answered already.
    pub(crate) fn start(service: &dyn Service, call: Call) -> Option<Self> {
        let responder = call.responder.clone();
        match catch_unwind(AssertUnwindSafe(|| service.call(call))) {
            Ok(reply) => reply.0.map(|work| Self { work, responder }),
            Err(_) => {
                responder.fail(panicked());
                None
            }
        }
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
