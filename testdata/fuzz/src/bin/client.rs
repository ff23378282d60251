//! Whatever comes to a client and whatever its callers do: nothing panics, every bound holds,
//! and what it sends are frames that keep to the protocol.

#![no_main]

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use ttrpc_fuzz::driver::Driver;
use ttrpc_fuzz::frames::take_frames;
use ttrpc_fuzz::script::Script;
use ttrpc_fuzz::{limits, seeds};
use ttrpc_runtime::codec::Payload;
use ttrpc_runtime::frame::{Flags, MessageType, StreamId};
use ttrpc_runtime::proto::{CallKind, Endpoint, client};
use ttrpc_runtime::{Error, Metadata};

fuzz_target!(init: seeds::write(seeds::client), |bytes: &[u8]| run(bytes));

const KINDS: [CallKind; 4] = [
    CallKind::Unary,
    CallKind::ServerStreaming,
    CallKind::ClientStreaming,
    CallKind::BidiStreaming,
];

struct Client {
    driver: Driver<client::Connection<u32>>,
    cancels: bool,
    sent: Vec<u8>,
    /// What may be sent on the streams that were opened.
    streams: BTreeMap<StreamId, Sending>,
}

#[derive(PartialEq, PartialOrd)]
enum Sending {
    Messages,
    /// Nothing but that the call is given up.
    Cancel,
    Nothing,
}

fn run(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let (first, cancels) = (script.id() | 1, script.byte() % 2 == 1);
    let endpoint = client::Connection::with_first_id(limits(), StreamId::new(first));
    let mut client = Client {
        driver: Driver::new(endpoint.send_cancel(cancels)),
        cancels,
        sent: Vec::new(),
        streams: BTreeMap::new(),
    };
    while let Some(what) = script.next() {
        client.act(what % 16, &mut script);
    }
    // However it stands: time brings it to the end.
    for turn in 0.. {
        assert!(turn < 10_000, "some bytes are not read");
        client.write(usize::MAX);
        client.read(usize::MAX);
        if client.driver.is_over() {
            break;
        }
    }
    client.write(usize::MAX);
    assert!(client.sent.is_empty(), "half a frame was sent");
    client.driver.fail(Error::closed("the server has gone"));
    assert!(client.driver.endpoint.failed().is_some());
    let ids: Vec<_> = client.streams.keys().copied().collect();
    for id in ids {
        assert!(client.driver.endpoint.check_sending(id).is_err());
        let (_, end) = client.driver.receive(id.get());
        assert!(end.is_some(), "a call without an end");
    }
    assert_eq!(client.driver.endpoint.link().streams(), 0);
}

impl Client {
    fn act(&mut self, what: u8, script: &mut Script<'_>) {
        match self.driver.act(what, script) {
            Some(10) => self.read(usize::from(script.byte()).pow(2)),
            Some(11) => self.write(script.byte().into()),
            Some(12..15) => self.open(script),
            Some(_) => self.driver.endpoint.shut_down(),
            None => {}
        }
    }

    fn read(&mut self, cut: usize) {
        while self.driver.next(cut).is_some() {}
    }

    fn open(&mut self, script: &mut Script<'_>) {
        let (kind, within) = (script.byte(), script.byte());
        let kind = KINDS[usize::from(kind % 4)];
        let request = Bytes::copy_from_slice(script.bytes());
        let within = Duration::from_millis(u64::from(within).pow(2));
        let deadline = self.driver.now.checked_add(within);
        let call = client::Call {
            service: "s.S",
            method: "M",
            kind,
            deadline: deadline.filter(|_| !within.is_zero()),
            metadata: &Metadata::new(),
            request: (!kind.client_streams()).then_some(&request as &dyn Payload),
        };
        let endpoint = &mut self.driver.endpoint;
        let many = endpoint.link().streams() >= limits().max_streams;
        if many || !endpoint.has_room() {
            return;
        }
        if let Ok(id) = endpoint.open(&call, self.driver.now) {
            assert!(self.driver.failure.is_none(), "a call after the end");
            *endpoint.link().slot(id).unwrap() = id.get();
        }
    }

    /// Writes, and looks at what that is.
    fn write(&mut self, most: usize) {
        self.sent.extend(self.driver.write(most));
        for (header, _) in take_frames(&mut self.sent) {
            let id = header.stream_id;
            if header.message_type == MessageType::REQUEST {
                let grows = self
                    .streams
                    .last_key_value()
                    .is_none_or(|(last, _)| *last < id);
                assert!(id.is_client() && grows, "{id} is opened");
                let streams = header.flags.contains(Flags::REMOTE_OPEN);
                let may = if streams {
                    Sending::Messages
                } else {
                    Sending::Cancel
                };
                self.streams.insert(id, may);
                continue;
            }
            let may = self.streams.get_mut(&id).expect("a stream was opened");
            match header.message_type {
                MessageType::DATA => {
                    assert!(*may == Sending::Messages, "more on {id}");
                    if header.flags.contains(Flags::REMOTE_CLOSED) {
                        *may = Sending::Cancel;
                    }
                }
                MessageType::CANCEL => {
                    assert!(self.cancels && *may < Sending::Nothing, "{id} is cancelled");
                    *may = Sending::Nothing;
                }
                other => panic!("a client sends no {other:?}"),
            }
        }
    }
}
