//! A client without I/O, whose caller does what a vector says.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use ttrpc_runtime::codec::Payload;
use ttrpc_runtime::frame::StreamId;
use ttrpc_runtime::proto::{CallKind, End, Endpoint, Received, client};
use ttrpc_runtime::{Error, Metadata};

use crate::driver::Driver;
use crate::file::{Step, Vector, duration};
use crate::notation;
use crate::replay::Subject;

pub struct Client {
    driver: Driver<client::Connection<u32>>,
    /// What was received on a stream and no outcome asked for yet.
    received: BTreeMap<StreamId, VecDeque<String>>,
    /// The error that the caller's last act has met with.
    refused: Option<Error>,
}

impl Client {
    pub fn new(vector: &Vector, cut: usize) -> Self {
        let first = vector.setting("first_id").unwrap_or("1").parse().unwrap();
        let endpoint = client::Connection::with_first_id(vector.limits(), StreamId::new(first))
            .send_cancel(vector.setting("send_cancel") == Some("true"));
        Self {
            driver: Driver::new(endpoint, cut),
            received: BTreeMap::new(),
            refused: None,
        }
    }

    fn act(&mut self, act: &str) -> Result<(), Error> {
        let (words, bytes) = act.split_once(" : ").unwrap_or((act, ""));
        let message = Bytes::from(notation::read(bytes).0);
        let words: Vec<_> = words.split(' ').collect();
        let endpoint = &mut self.driver.endpoint;
        match words[..] {
            ["call", kind, name, ref how @ ..] => return self.call(kind, name, how, &message),
            ["send", id] => return endpoint.send(stream_id(id), &message),
            ["close", id] => drop(endpoint.finish(stream_id(id), Ok(()))),
            ["give-up", id] => drop(endpoint.abandon(stream_id(id))),
            ["shut-down"] => endpoint.shut_down(),
            _ => panic!("a caller can't {act}"),
        }
        Ok(())
    }

    fn call(
        &mut self,
        kind: &str,
        name: &str,
        how: &[&str],
        request: &dyn Payload,
    ) -> Result<(), Error> {
        let kind = match kind {
            "unary" => CallKind::Unary,
            "server-stream" => CallKind::ServerStreaming,
            "client-stream" => CallKind::ClientStreaming,
            "bidi" => CallKind::BidiStreaming,
            _ => panic!("no kind of call: {kind}"),
        };
        let (service, method) = name.split_once('/').expect("a service and a method");
        let (mut deadline, mut metadata) = (None, Metadata::new());
        for pair in how.chunks(2) {
            match pair {
                ["within", time] => deadline = Some(self.driver.now + duration(time)),
                ["with", pair] => {
                    let (key, value) = pair.split_once('=').expect("a key and a value");
                    metadata.append(key, value);
                }
                _ => panic!("no property of a call: {pair:?}"),
            }
        }
        let call = client::Call {
            service,
            method,
            kind,
            deadline,
            metadata: &metadata,
            request: (!kind.client_streams()).then_some(request),
        };
        let id = self.driver.endpoint.open(&call, self.driver.now)?;
        self.driver.name(id);
        Ok(())
    }

    /// What the caller gets to see.
    fn outcome(&mut self, of: &str) -> String {
        if of == "refused" {
            let error = self.refused.take();
            return error.map_or("nothing".to_owned(), |error| name(&error));
        }
        let id = stream_id(of);
        let received = self.received.entry(id).or_default();
        let mut messages = VecDeque::new();
        if received.is_empty() {
            let with = |word: &str, bytes: &[u8]| {
                format!("{word} {}", notation::write(bytes))
                    .trim()
                    .to_owned()
            };
            match self.driver.endpoint.receive(id, &mut messages) {
                Received::Nothing => {}
                Received::Messages => {
                    received.extend(messages.into_iter().flatten().map(|m| with("message", &m)))
                }
                Received::End(End::Closed) => received.push_back("end".to_owned()),
                Received::End(End::Reply(reply)) => received.push_back(with("reply", &reply)),
                Received::End(End::Failed(error)) => received.push_back(name(&error)),
            }
        }
        received.pop_front().unwrap_or_else(|| "nothing".to_owned())
    }
}

fn stream_id(word: &str) -> StreamId {
    StreamId::new(word.parse().unwrap_or_else(|_| panic!("no id: {word}")))
}

fn name(error: &Error) -> String {
    if error.is_closed() {
        "error closed".to_owned()
    } else if error.is_stream_ids_exhausted() {
        "error ids exhausted".to_owned()
    } else {
        format!("error {}", error.code().0)
    }
}

impl Subject for Client {
    fn take(&mut self, step: &Step) -> Result<(), String> {
        if let (Some(error), false) = (&self.refused, matches!(step, Step::Outcome(_))) {
            return Err(format!("before it a caller was refused: {error}"));
        }
        match step {
            Step::In(bytes) => self.driver.arrive(bytes),
            Step::Advance(time) => self.driver.advance(*time),
            Step::Eof => self.driver.close(Error::closed("the peer has gone")),
            Step::Act(act) => self.refused = self.act(act).err(),
            Step::Outcome(expected) if expected == "no call left" => {
                let left = self.driver.endpoint.link().streams();
                if left > 0 {
                    return Err(format!("{left} left"));
                }
            }
            Step::Outcome(expected) => {
                let (of, expected) = expected.split_once(' ').expect("of what");
                let got = self.outcome(of);
                if got != expected {
                    return Err(format!("got {got}"));
                }
            }
            Step::Note | Step::Out(_) | Step::Closed => {}
        }
        while self.driver.next().is_some() {}
        Ok(())
    }

    fn sent(&mut self) -> Vec<u8> {
        self.driver.write()
    }

    fn is_closed(&self) -> bool {
        self.driver.closed
    }

    fn check_lives(&mut self) -> Result<(), String> {
        match &self.refused {
            Some(error) => Err(format!("the caller was refused: {error}")),
            None => Ok(()),
        }
    }
}
