//! Where an answer goes: to the connection, or back through interceptors.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;

use crate::codec::{Codec, Encoded, Payload, Raw, to_bytes};
use crate::connection::Answers;
use crate::context::Context;
use crate::envelope::Request;
use crate::error::{Error, Result};
use crate::frame::StreamId;
use crate::interceptor::{Body, Invocation};
use crate::proto::CallKind;
use crate::service::{Call, Input, Reply, Service};
use crate::status::Status;
use crate::streaming::{StreamRef, Streaming};

/// Answers one call.
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
            input: Input::Invocation(Box::new(call)),
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
    #[cold]
    #[inline(never)]
    pub(crate) fn fail(&self, error: Error) {
        match self {
            Self::Wire(wire) => wire.fail(error),
            Self::Captured(captured) => captured.set(Err(error)),
        }
    }

    pub(crate) async fn reply<C: Codec<Rep>, Rep>(self, result: Result<Rep>) {
        match result {
            Ok(reply) => {
                let answer = move |cx: &mut TaskContext<'_>| {
                    self.poll_reply(&Encoded::<C, Rep>::new(&reply), cx)
                };
                poll_fn(answer).await;
            }
            Err(error) => self.fail(error),
        }
    }

    /// Ends the call with its single reply, once there is room for it.
    fn poll_reply(&self, reply: &dyn Payload, cx: &mut TaskContext<'_>) -> Poll<()> {
        match self {
            Self::Wire(wire) => wire.connection.poll_respond(wire.id, reply, cx),
            Self::Captured(captured) => {
                captured.set(to_bytes(reply).map(Body::One).map_err(Error::from));
                Poll::Ready(())
            }
        }
    }

    pub(crate) async fn stream<C: Codec<Rep>, Rep: Send + 'static>(
        self,
        result: Result<Streaming<Rep>>,
    ) {
        match (result, self) {
            (Ok(replies), Self::Wire(wire)) => wire.stream::<C, Rep>(replies).await,
            (Ok(replies), Self::Captured(captured)) => {
                let replies = replies.map(|reply| Ok(to_bytes(&Encoded::<C, Rep>::new(&reply))?));
                captured.set(Ok(Body::Stream(replies)));
            }
            (Err(error), responder) => responder.fail(error),
        }
    }
}

/// Answers one call of a connection; with an error, if a panic takes it away from whoever
/// was to answer.
pub(crate) struct WireResponder {
    pub(crate) connection: Arc<dyn Answers>,
    pub(crate) id: StreamId,
}

impl Drop for WireResponder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.panicked();
        }
    }
}

impl WireResponder {
    #[cold]
    #[inline(never)]
    fn panicked(&self) {
        self.fail(Status::internal("the handler of the call panicked").into());
    }

    fn stream_ref(&self) -> StreamRef {
        StreamRef {
            streams: Arc::clone(&self.connection).streams(),
            id: self.id,
        }
    }

    /// Tells the connection what kind of call it is, if that is news.
    pub(crate) fn accept(&self, guess: CallKind, kind: CallKind, ctx: &Context) {
        // Where the end of a call drops its handler, that ends the context too.
        if kind == CallKind::Unary && !self.connection.is_threaded() {
            if guess != kind {
                self.connection.accept(self.id, kind, None);
            }
            return;
        }
        // The call and its handler may outlive each other: what ends the context stays with
        // the call.
        let ctx = ctx.cancel_on_drop();
        self.connection.accept(self.id, kind, ctx);
    }

    pub(crate) fn requests<C: Codec<Req>, Req: Send + 'static>(
        &self,
        request: Request,
    ) -> Streaming<Req> {
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
            Ok(Body::One(reply)) => Responder::Wire(self).reply::<Raw, Bytes>(Ok(reply)).await,
            Ok(Body::Stream(replies)) => self.stream::<Raw, Bytes>(replies).await,
            Err(error) => self.fail(error),
        }
    }

    pub(crate) fn fail(&self, error: Error) {
        self.connection.finish(self.id, Err(error));
    }

    async fn stream<C: Codec<Rep>, Rep: Send + 'static>(self, replies: Streaming<Rep>) {
        if let Some(run) = replies.send_to::<C>(self.stream_ref()) {
            run.await;
        }
    }
}
