//! A server without I/O, with handlers that do what those of the live one do.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use ttrpc_runtime::codec::Payload;
use ttrpc_runtime::frame::StreamId;
use ttrpc_runtime::proto::{End, Endpoint, Received, server};
use ttrpc_runtime::{Error, Result, Status};

use crate::demo;
use crate::driver::{Driver, Occurrence};
use crate::file::{Step, Vector};
use crate::replay::{PROBE, Subject, check_probe};

pub struct Server {
    driver: Driver<server::Connection<u32>>,
    /// Those that wait for something.
    handlers: BTreeMap<StreamId, Handler>,
}

enum Handler {
    Hold(Bytes),
    Join(Vec<u8>),
    First,
    Chat,
    Deaf,
}

impl Server {
    pub fn new(vector: &Vector, cut: usize) -> Self {
        Self {
            driver: Driver::new(server::Connection::new(vector.limits()), cut),
            handlers: BTreeMap::new(),
        }
    }

    /// Handles all that has come.
    fn run(&mut self) {
        while let Some(occurrence) = self.driver.next() {
            match occurrence {
                Occurrence::Call(call) => self.start(call),
                Occurrence::Readable(id) => self.receive(id),
                Occurrence::Ended(id) => drop(self.handlers.remove(&id)),
            }
        }
    }

    fn respond(&mut self, id: StreamId, result: Result<Bytes>) {
        let result = match &result {
            Ok(reply) => Ok(reply as &dyn Payload),
            Err(error) => Err(error.clone()),
        };
        self.driver.endpoint.respond(id, result);
    }

    fn fail(&mut self, id: StreamId, error: impl Into<Error>) {
        self.respond(id, Err(error.into()));
    }

    /// Gives a call to its handler.
    fn start(&mut self, call: server::Call) {
        let server::Call {
            id, mut request, ..
        } = call;
        let (service, method) = (request.service().to_owned(), request.method().to_owned());
        if service != demo::SERVICE {
            let text = format!("there is no service {service:?} here");
            return self.fail(id, Status::unimplemented(text));
        }
        let Some(kind) = demo::kind(&method) else {
            let text = format!("{service} has no method {method:?}");
            return self.fail(id, Status::unimplemented(text));
        };
        self.driver.endpoint.accept(id, kind);
        let metadata = request.take_metadata();
        let payload = request.into_payload();
        match &method[..] {
            "Echo" => self.respond(id, Ok(payload)),
            "Metadata" => self.respond(id, Ok(demo::list(&metadata))),
            "Zeros" => match demo::number(&payload) {
                Ok(count) => self.respond(id, Ok(vec![0; count].into())),
                Err(error) => self.fail(id, error),
            },
            "Fail" => self.fail(id, demo::failure()),
            "Panic" => self.fail(id, Status::internal("the handler of the call panicked")),
            "Missing" => {
                let text = format!("{service} does not implement {method}");
                self.fail(id, Status::unimplemented(text));
            }
            "Hold" => drop(self.handlers.insert(id, Handler::Hold(payload))),
            "Release" => self.release(id),
            "Twice" | "OnceAndFail" => self.answer(id, &method, &payload),
            "Join" => self.open(id, Handler::Join(Vec::new()), payload),
            "First" => self.open(id, Handler::First, payload),
            "Chat" => self.open(id, Handler::Chat, payload),
            _ => drop(self.handlers.insert(id, Handler::Deaf)),
        }
    }

    /// Begins to read the requests of a call; the first may have come with it.
    fn open(&mut self, id: StreamId, handler: Handler, first: Bytes) {
        self.handlers.insert(id, handler);
        if !first.is_empty() {
            self.take_message(id, first);
        }
        self.receive(id);
    }

    fn release(&mut self, id: StreamId) {
        self.respond(id, Ok(Bytes::new()));
        let ids: Vec<_> = self.handlers.keys().copied().collect();
        for id in ids {
            match self.handlers.remove(&id) {
                Some(Handler::Hold(reply)) => self.respond(id, Ok(reply)),
                Some(Handler::Deaf) => drop(self.driver.endpoint.finish(id, Ok(()))),
                other => self.handlers.extend(other.map(|handler| (id, handler))),
            }
        }
    }

    fn answer(&mut self, id: StreamId, method: &str, payload: &Bytes) {
        self.send(id, payload);
        let result = match method {
            "Twice" => {
                self.send(id, payload);
                Ok(())
            }
            _ => Err(demo::failure().into()),
        };
        self.driver.endpoint.finish(id, result);
    }

    fn send(&mut self, id: StreamId, message: &Bytes) {
        if let Err(error) = self.driver.endpoint.send(id, message) {
            self.driver.endpoint.finish(id, Err(error));
        }
    }

    /// Gives its handler all that has come on a stream.
    fn receive(&mut self, id: StreamId) {
        let mut messages = VecDeque::new();
        let reads = |handler: &Handler| !matches!(handler, Handler::Deaf);
        while self.handlers.get(&id).is_some_and(reads) {
            match self.driver.endpoint.receive(id, &mut messages) {
                Received::Nothing => return,
                Received::Messages => {
                    messages
                        .drain(..)
                        .flatten()
                        .for_each(|m| self.take_message(id, m));
                }
                Received::End(End::Failed(_)) => drop(self.handlers.remove(&id)),
                Received::End(_) => match self.handlers.remove(&id) {
                    Some(Handler::Join(reply)) => self.respond(id, Ok(reply.into())),
                    Some(Handler::First) => self.respond(id, Ok(Bytes::new())),
                    _ => drop(self.driver.endpoint.finish(id, Ok(()))),
                },
            }
        }
    }

    fn take_message(&mut self, id: StreamId, message: Bytes) {
        match self.handlers.get_mut(&id) {
            Some(Handler::Join(reply)) => demo::join(reply, &message),
            Some(Handler::Chat) => self.send(id, &message),
            Some(Handler::First) => {
                self.handlers.remove(&id);
                self.respond(id, Ok(message));
            }
            Some(Handler::Hold(_) | Handler::Deaf) | None => {}
        }
    }
}

impl Subject for Server {
    fn take(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::In(bytes) => self.driver.arrive(bytes),
            Step::Advance(time) => self.driver.advance(*time),
            Step::Eof => self.driver.close(Error::closed("the peer has gone")),
            _ => return Err("a server has no caller".to_owned()),
        }
        self.run();
        Ok(())
    }

    fn sent(&mut self) -> Vec<u8> {
        let mut sent = Vec::new();
        loop {
            let written = self.driver.write();
            if written.is_empty() {
                return sent;
            }
            sent.extend(written);
            // Frames may have waited for room.
            self.run();
        }
    }

    fn is_closed(&self) -> bool {
        self.driver.closed
    }

    fn check_lives(&mut self) -> Result<(), String> {
        self.driver.arrive(&PROBE);
        self.run();
        check_probe(&self.sent())
    }
}
