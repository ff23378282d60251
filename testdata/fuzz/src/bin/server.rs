//! Whatever comes to a server and whatever it does: nothing panics, every bound holds, and
//! what it sends are frames that answer what the client has sent.

#![no_main]

use std::collections::BTreeSet;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use ttrpc_fuzz::driver::{Driver, Happened};
use ttrpc_fuzz::frames::take_frames;
use ttrpc_fuzz::script::Script;
use ttrpc_fuzz::{limits, seeds};
use ttrpc_runtime::envelope::Response;
use ttrpc_runtime::frame::{Flags, MessageType, StreamId};
use ttrpc_runtime::proto::{CallKind, Endpoint, server};
use ttrpc_runtime::{Error, Status};

fuzz_target!(init: seeds::write(seeds::server), |bytes: &[u8]| run(bytes));

struct Server {
    driver: Driver<server::Connection<u32>>,
    /// Whether calls are answered when they come.
    at_once: bool,
    sent: Vec<u8>,
    /// The calls that have come, and those of them that were answered.
    calls: BTreeSet<StreamId>,
    answered: BTreeSet<StreamId>,
}

fn run(bytes: &[u8]) {
    let mut server = Server {
        driver: Driver::new(server::Connection::new(limits())),
        at_once: false,
        sent: Vec::new(),
        calls: BTreeSet::new(),
        answered: BTreeSet::new(),
    };
    let mut script = Script::new(bytes);
    while let Some(what) = script.next() {
        server.act(what % 16, &mut script);
    }
    // However it stands: time, and a client that reads, bring it to the end.
    for turn in 0.. {
        assert!(turn < 10_000, "some bytes are not read");
        server.write(usize::MAX);
        server.read(usize::MAX);
        if server.driver.is_over() {
            break;
        }
    }
    server.write(usize::MAX);
    assert!(server.sent.is_empty(), "half a frame was sent");
    server.driver.fail(Error::closed("the client has gone"));
    let ids: Vec<_> = server.calls.iter().copied().collect();
    for id in ids {
        assert!(server.driver.endpoint.check_sending(id).is_err());
    }
    assert_eq!(server.driver.endpoint.link().streams(), 0);
}

impl Server {
    fn act(&mut self, what: u8, script: &mut Script<'_>) {
        match self.driver.act(what, script) {
            Some(10) => self.read(usize::from(script.byte()).pow(2)),
            Some(11) => self.write(script.byte().into()),
            Some(12) => {
                let (id, reply) = (script.id(), Bytes::copy_from_slice(script.bytes()));
                if self.driver.endpoint.has_reply_room() {
                    let id = StreamId::new(id);
                    self.driver.endpoint.respond(id, Ok(&reply));
                }
            }
            Some(13) => {
                let id = StreamId::new(script.id());
                let error = Status::aborted("x").into();
                self.driver.endpoint.respond(id, Err(error));
            }
            Some(14) => self.at_once = !self.at_once,
            Some(_) => self.driver.endpoint.shut_down(),
            None => {}
        }
    }

    fn read(&mut self, cut: usize) {
        while let Some(happened) = self.driver.next(cut) {
            if let Happened::Call(call) = happened {
                self.take(call);
            }
        }
    }

    fn take(&mut self, call: server::Call) {
        let endpoint = &mut self.driver.endpoint;
        assert!(self.calls.insert(call.id), "{} came twice", call.id);
        // What the call says of itself.
        let service = call.request.service();
        assert_eq!(service.as_bytes(), call.request.service_bytes());
        let kind = match service.len() % 8 {
            0 => CallKind::ClientStreaming,
            1 => CallKind::Unary,
            _ => call.kind,
        };
        if self.at_once {
            let mut reply = call.request.into_payload();
            reply.truncate(255);
            endpoint.respond(call.id, Ok(&reply));
        } else {
            endpoint.accept(call.id, kind);
            *endpoint.link().slot(call.id).unwrap() = call.id.get();
            // A handler reads first, and then waits to be told.
            self.driver.tell(call.id.get());
        }
    }

    /// Writes, and looks at what that is.
    fn write(&mut self, most: usize) {
        self.sent.extend(self.driver.write(most));
        for (header, data) in take_frames(&mut self.sent) {
            let id = header.stream_id;
            assert!(self.driver.names.contains(id), "{id} was never named");
            let answers = match header.message_type {
                MessageType::DATA => {
                    assert!(!self.answered.contains(&id), "{id} is over");
                    assert!(self.calls.contains(&id), "there is no call {id}");
                    header.flags.contains(Flags::REMOTE_CLOSED)
                }
                MessageType::RESPONSE => {
                    let response = Response::decode(data.into()).expect("a response");
                    response.error.is_none()
                }
                other => panic!("a server sends no {other:?}"),
            };
            if answers {
                assert!(self.calls.contains(&id), "there is no call {id}");
                assert!(self.answered.insert(id), "{id} is answered twice");
            }
        }
    }
}
