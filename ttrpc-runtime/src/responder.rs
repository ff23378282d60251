//! Where an answer goes: to the connection, or back through interceptors.

use std::future::{Future, ready};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use pin_project_lite::pin_project;

use crate::codec::{Codec, Encoded, Payload, Raw, to_bytes};
use crate::connection::Answers;
use crate::envelope::Request;
use crate::error::{Error, Result};
use crate::frame::StreamId;
use crate::interceptor::{Body, Invocation};
use crate::proto::CallKind;
use crate::service::{Call, Origin, Reply, Service};
use crate::status::Status;
use crate::streaming::{Messages, StreamRef, Streaming};

/// Answers one call.
pub(crate) enum Responder {
    /// To the connection that it came from.
    Wire(WireResponder),
    /// To the interceptors that it came through.
    Intercepted(Arc<dyn Intercepted>),
}

/// A call that has come through interceptors. Only what puts one up makes one, so that a
/// server without any has none of its code.
pub(crate) trait Intercepted: Send + Sync {
    fn service(&self) -> &str;
    fn method(&self) -> &str;

    /// The single request.
    fn payload(&self) -> Bytes;

    /// Where the requests come from.
    fn requests(&self) -> StreamRef;

    /// Answers with a single reply.
    fn reply(&self, reply: &dyn Payload);

    /// Answers with a stream.
    fn stream(&self, replies: Box<dyn Messages>);

    /// Answers with an error.
    fn fail(&self, error: Error);
}

/// A call on its way from interceptors and back.
struct Captured {
    service: String,
    method: String,
    /// What the client took it for.
    guess: CallKind,
    body: Mutex<Option<Body>>,
    answer: Mutex<Option<Result<Body>>>,
}

/// The answer to a call that has come through interceptors, once the service has done its
/// work.
pub(crate) async fn answer(service: &dyn Service, call: Invocation) -> Result<Body> {
    let captured = Arc::new(Captured {
        service: call.service,
        method: call.method,
        guess: call.kind,
        body: Mutex::new(Some(call.body)),
        answer: Mutex::new(None),
    });
    let origin = Origin::Intercepted(Arc::clone(&captured) as Arc<dyn Intercepted>);
    let ctx = call.ctx;
    if let Reply(Some(work)) = service.call(Call { ctx, origin }) {
        work.await;
    }
    let answer = take(&captured.answer);
    answer.unwrap_or_else(|| Err(Status::internal("the service did not answer").into()))
}

fn take<T>(place: &Mutex<Option<T>>) -> Option<T> {
    let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
    place.take()
}

impl Captured {
    fn answer(&self, answer: Result<Body>) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
    }
}

impl Intercepted for Captured {
    fn service(&self) -> &str {
        &self.service
    }

    fn method(&self) -> &str {
        &self.method
    }

    fn payload(&self) -> Bytes {
        match take(&self.body) {
            Some(Body::One(payload)) => payload,
            // The client took it for another kind of call. What it has sent with the
            // request itself is there at once.
            Some(Body::Stream(mut messages)) => messages.take_ready().unwrap_or_default(),
            None => Bytes::new(),
        }
    }

    fn requests(&self) -> StreamRef {
        let is_none = |body: &Body| matches!(body, Body::One(payload) if payload.is_empty());
        // An empty payload is no message here, unless an interceptor made it one.
        let body = take(&self.body).filter(|body| self.guess.client_streams() || !is_none(body));
        let requests = body.map_or_else(|| Streaming::from_iter([]), Body::into_stream);
        requests.into_wire()
    }

    fn reply(&self, reply: &dyn Payload) {
        self.answer(to_bytes(reply).map(Body::One).map_err(Error::from));
    }

    fn stream(&self, replies: Box<dyn Messages>) {
        self.answer(Ok(Body::Stream(Streaming::encoded(replies))));
    }

    fn fail(&self, error: Error) {
        self.answer(Err(error));
    }
}

impl Responder {
    #[cold]
    #[inline(never)]
    pub(crate) fn fail(&self, error: Error) {
        match self {
            Self::Wire(wire) => wire.fail(error),
            Self::Intercepted(call) => call.fail(error),
        }
    }

    /// Ends the call with its single reply, once there is room for it.
    fn poll_reply(&self, reply: &dyn Payload, cx: &mut TaskContext<'_>) -> Poll<()> {
        match self {
            Self::Wire(wire) => wire.connection.poll_respond(wire.id, reply, cx),
            Self::Intercepted(call) => {
                call.reply(reply);
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
            (Ok(replies), Self::Intercepted(call)) => call.stream(replies.into_messages::<C>()),
            (Err(error), responder) => responder.fail(error),
        }
    }
}

pin_project! {
    /// A handler, then its single reply until there is room for that.
    ///
    /// An `async` block would have two places for each of them, and copy them from one to the
    /// other.
    pub(crate) struct Answering<C, Rep, Fut> {
        #[pin]
        handler: Fut,
        reply: Option<Rep>,
        responder: Option<Responder>,
        codec: PhantomData<fn(C)>,
    }
}

impl<C, Rep, Fut> Answering<C, Rep, Fut> {
    pub(crate) fn new(handler: Fut, responder: Responder) -> Self {
        Self {
            handler,
            reply: None,
            responder: Some(responder),
            codec: PhantomData,
        }
    }
}

impl<C, Rep, Fut> Future for Answering<C, Rep, Fut>
where
    C: Codec<Rep>,
    Fut: Future<Output = Result<Rep>>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let this = self.project();
        // Not in its place meanwhile: a panic of the handler drops it, and so answers.
        let Some(responder) = this.responder.take() else {
            return Poll::Ready(());
        };
        let result = match this.reply.take() {
            Some(reply) => Poll::Ready(Ok(reply)),
            None => this.handler.poll(cx),
        };
        match result {
            Poll::Ready(Ok(reply)) => {
                let encoded = Encoded::<C, Rep>::new(&reply);
                if responder.poll_reply(&encoded, cx).is_ready() {
                    return Poll::Ready(());
                }
                *this.reply = Some(reply);
            }
            Poll::Ready(Err(error)) => {
                responder.fail(error);
                return Poll::Ready(());
            }
            Poll::Pending => {}
        }
        *this.responder = Some(responder);
        Poll::Pending
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
        if crate::is_panicking() {
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
    pub(crate) fn accept(&self, guess: CallKind, kind: CallKind) {
        if guess != kind {
            self.connection.accept(self.id, kind);
        }
    }

    /// Where the requests come from, and the first of them if it is there.
    pub(crate) fn requests(&self, request: Request) -> (StreamRef, Option<Bytes>) {
        // An empty payload is no message here; some clients send the first one with it.
        let first = Some(request.into_payload()).filter(|payload| !payload.is_empty());
        (self.stream_ref(), first)
    }

    /// The requests of a call, encoded, for interceptors.
    pub(crate) fn body(&self, request: Request, kind: CallKind) -> Body {
        if kind.client_streams() {
            let (stream, first) = self.requests(request);
            Body::Stream(Streaming::from_wire::<Raw>(stream, first, None))
        } else {
            Body::One(request.into_payload())
        }
    }

    /// Answers with what came back through interceptors.
    pub(crate) async fn answer(self, result: Result<Body>) {
        match result {
            Ok(Body::One(reply)) => {
                Answering::<Raw, Bytes, _>::new(ready(Ok(reply)), Responder::Wire(self)).await;
            }
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
