//! Where an answer goes: to the connection, or back through interceptors.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Context as TaskContext;

use bytes::Bytes;

use crate::cancel::CancelOnDrop;
use crate::codec::{Codec, Encoded, Raw, to_bytes};
use crate::connection::{Answers, Room};
use crate::envelope::Request;
use crate::error::{Error, Result};
use crate::frame::StreamId;
use crate::interceptor::{Body, Invocation};
use crate::proto::CallKind;
use crate::service::{Call, Input, Reply, Service};
use crate::status::Status;
use crate::streaming::{StreamRef, Streaming};

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
    pub(crate) fn fail(&self, error: Error) {
        match self {
            Self::Wire(wire) => wire.fail(error),
            Self::Captured(captured) => captured.set(Err(error)),
        }
    }

    pub(crate) async fn reply<C: Codec<Rep>, Rep>(self, result: Result<Rep>) {
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

    pub(crate) async fn stream<C: Codec<Rep>, Rep: Send + 'static>(
        self,
        result: Result<Streaming<Rep>>,
    ) {
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

/// A call of a connection, for what may outlive both.
pub(crate) struct CallRef {
    connection: Weak<dyn Answers>,
    id: StreamId,
}

impl CallRef {
    /// Ends a context when the call is over: at once if it is.
    pub(crate) fn ends_with(&self, ctx: CancelOnDrop) {
        if let Some(connection) = self.connection.upgrade() {
            connection.keep(self.id, ctx);
        }
    }
}

/// Answers one call of a connection.
#[derive(Clone)]
pub(crate) struct WireResponder {
    pub(crate) connection: Arc<dyn Answers>,
    pub(crate) id: StreamId,
}

impl WireResponder {
    pub(crate) fn call_ref(&self) -> CallRef {
        CallRef {
            connection: Arc::downgrade(&self.connection),
            id: self.id,
        }
    }

    fn stream_ref(&self) -> StreamRef {
        StreamRef {
            streams: Arc::clone(&self.connection).streams(),
            id: self.id,
        }
    }

    /// Tells the connection what kind of call it is, if that is news.
    pub(crate) fn accept(&self, guess: CallKind, kind: CallKind) {
        if guess != kind {
            self.connection.accept(self.id, kind);
        }
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
    pub(crate) fn body(&self, request: Request, kind: CallKind) -> Body {
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
        self.connection.finish(self.id, Err(error));
    }

    async fn reply<C: Codec<Rep>, Rep>(self, reply: Rep) {
        let room = |cx: &mut TaskContext<'_>| self.connection.poll_room(self.id, Room::Reply, cx);
        // Otherwise the call is over: it is too late.
        if poll_fn(room).await.is_ok() {
            let reply = Encoded::<C, Rep>::new(&reply);
            self.connection.respond(self.id, &reply);
        }
    }

    async fn stream<C: Codec<Rep>, Rep: Send + 'static>(self, replies: Streaming<Rep>) {
        if let Some(run) = replies.send_to::<C>(self.stream_ref()) {
            run.await;
        }
    }
}
