//! Both ends, a service with a method of each kind, and calls made at random.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use ttrpc_runtime::proto::{CallKind, Endpoint, client};
use ttrpc_runtime::{Metadata, Status};

use crate::pipes::Pair;
use crate::simulation::{Got, Random, Server, stream_id};

use CallKind::{BidiStreaming, ClientStreaming, ServerStreaming, Unary};

/// The methods: `unary` gives its request back, `list` in pieces; `collect` joins its
/// requests; `chat` gives each back; `quit` does so three times and then fails.
const METHODS: [(&str, CallKind); 5] = [
    ("unary", Unary),
    ("list", ServerStreaming),
    ("collect", ClientStreaming),
    ("chat", BidiStreaming),
    ("quit", BidiStreaming),
];

/// Bytes of a piece that `list` sends.
const PIECE: usize = 300;

struct Handler {
    method: String,
    kind: CallKind,
    replies: VecDeque<Bytes>,
    collected: Vec<u8>,
    received: usize,
    closed: bool,
}

/// The service: its calls in flight.
#[derive(Default)]
pub struct Service {
    handlers: BTreeMap<u32, Handler>,
}

impl Service {
    /// Goes on with every call for which `goes_on`, as far as there is room.
    pub fn run(&mut self, server: &mut Server, mut goes_on: impl FnMut() -> bool) {
        while let Some(call) = server.calls.pop_front() {
            let (id, method) = (call.id, call.request.method().to_owned());
            let (_, kind) = METHODS
                .into_iter()
                .find(|(name, _)| *name == method)
                .unwrap();
            server.endpoint.accept(id, kind);
            let payload = call.request.into_payload();
            let replies = match kind {
                Unary => VecDeque::from([payload]),
                ServerStreaming => payload.chunks(PIECE).map(Bytes::copy_from_slice).collect(),
                _ => VecDeque::new(),
            };
            let handler = Handler {
                method,
                kind,
                replies,
                collected: vec![],
                received: 0,
                closed: false,
            };
            self.handlers.insert(id.get(), handler);
        }
        self.handlers
            .retain(|id, handler| !goes_on() || !handler.run(*id, server));
    }
}

impl Handler {
    /// Says whether it has come to its end.
    fn run(&mut self, id: u32, server: &mut Server) -> bool {
        if self.kind.client_streams() && !self.closed {
            for got in server.receive(id) {
                match got {
                    Got::Message(message) if self.kind == ClientStreaming => {
                        self.collected.extend_from_slice(&message);
                    }
                    Got::Message(message) => self.replies.push_back(message),
                    Got::Closed => self.closed = true,
                    other => panic!("stream {id}: {other:?}"),
                }
            }
        }
        if self.kind.server_streams() {
            while server.link().has_room() {
                if self.method == "quit" && self.received == 3 {
                    server.finish(id, Err(Status::aborted("enough").into()));
                    return true;
                }
                let Some(reply) = self.replies.pop_front() else {
                    break;
                };
                server.send(id, &reply).unwrap();
                self.received += 1;
            }
        }
        let done = self.replies.is_empty() && (self.closed || !self.kind.client_streams());
        match self.kind {
            Unary => drop(server.respond(id, Ok(&self.replies[0]))),
            ClientStreaming if done => drop(server.respond(id, Ok(&self.collected))),
            ServerStreaming | BidiStreaming if done => drop(server.finish(id, Ok(()))),
            _ => return false,
        }
        true
    }
}

/// A call that is made: what is to be sent, what has come, what is to come.
struct Caller {
    id: u32,
    messages: VecDeque<Bytes>,
    closes: bool,
    got: Vec<Got>,
    expected: Vec<Got>,
}

impl Caller {
    fn open(pair: &mut Pair, method: &str, messages: Vec<Bytes>) -> Self {
        let (_, kind) = METHODS
            .into_iter()
            .find(|(name, _)| *name == method)
            .unwrap();
        let all = Bytes::from(messages.concat());
        let id = pair
            .client
            .open_call(&client::Call {
                service: "s.S",
                method,
                kind,
                deadline: None,
                metadata: &Metadata::new(),
                request: if kind.client_streams() {
                    None
                } else {
                    Some(&all)
                },
            })
            .unwrap();
        let echo = messages.iter().cloned().map(Got::Message);
        let expected = match method {
            "unary" | "collect" => vec![Got::Reply(all)],
            "list" => {
                let pieces = all
                    .chunks(PIECE)
                    .map(|p| Got::Message(Bytes::copy_from_slice(p)));
                pieces.chain([Got::Closed]).collect()
            }
            "quit" if messages.len() >= 3 => echo.take(3).chain([Got::Failed(10)]).collect(),
            _ => echo.chain([Got::Closed]).collect(),
        };
        let closes = kind.client_streams();
        let messages = if closes {
            messages.into()
        } else {
            VecDeque::new()
        };
        Self {
            id,
            messages,
            closes,
            got: Vec::new(),
            expected,
        }
    }

    /// Says whether it has come to its end.
    fn run(&mut self, pair: &mut Pair) -> bool {
        let client = &mut pair.client;
        while client.link().has_room() && client.endpoint.check_sending(stream_id(self.id)).is_ok()
        {
            let Some(message) = self.messages.pop_front() else {
                if std::mem::take(&mut self.closes) {
                    client.finish(self.id, Ok(()));
                }
                break;
            };
            client.send(self.id, &message).unwrap();
        }
        self.got.extend(client.receive(self.id));
        let done = self
            .got
            .last()
            .is_some_and(|got| !matches!(got, Got::Message(_)));
        if done {
            assert!(
                self.got == self.expected,
                "{} is not as it should be",
                self.id
            );
        }
        done
    }
}

fn random_messages(random: &mut Random) -> Vec<Bytes> {
    let count = random.below(12);
    let mut message = || {
        let len = match random.below(30) {
            0..10 => random.below(8),
            10..28 => random.below(500),
            28 => random.below(20_000),
            _ => random.below(80_000),
        };
        let first = random.below(256);
        (0..len).map(|i| (first + i) as u8).collect()
    };
    (0..count).map(|_| message()).collect()
}

/// Runs callers to their ends, each going on at random.
fn run(pair: &mut Pair, service: &mut Service, mut callers: Vec<Caller>) {
    let mut steps = 0;
    while !callers.is_empty() {
        let mut random = Random::new(pair.random.next());
        callers.retain_mut(|caller| random.below(3) == 0 || !caller.run(pair));
        service.run(&mut pair.server, || random.below(3) != 0);
        pair.carry();
        steps += 1;
        assert!(
            steps < 100_000,
            "{} calls do not come to an end",
            callers.len()
        );
    }
    pair.settle();
    service.run(&mut pair.server, || true);
    pair.settle();
}

/// Makes a few rounds of calls and gives what is characteristic of the run.
fn simulate(seed: u64) -> (usize, u64) {
    let mut pair = Pair::with(seed, 1, |limits| {
        limits.output_bytes = 4000;
        limits.backlog_bytes = 4000;
    });
    let mut service = Service::default();
    for _ in 0..4 {
        let mut callers = Vec::new();
        for _ in 0..1 + pair.random.below(10) {
            let (method, _) = METHODS[pair.random.below(METHODS.len())];
            let messages = random_messages(&mut pair.random);
            callers.push(Caller::open(&mut pair, method, messages));
        }
        run(&mut pair, &mut service, callers);
        pair.assert_idle();
    }
    (pair.carried, pair.random.next())
}

#[test]
fn all_kinds_of_call_come_through_pipes_that_cut_anywhere() {
    for seed in 0..40 {
        simulate(seed);
    }
}

/// A seed that finds something finds it again.
#[test]
fn simulation_is_the_same_each_time() {
    assert_eq!(simulate(7), simulate(7));
}

fn numbered(from: u32, to: u32) -> Vec<Bytes> {
    (from..to)
        .map(|n| Bytes::copy_from_slice(&n.to_be_bytes()))
        .collect()
}

#[test]
fn ten_thousand_messages_stay_in_order_both_ways() {
    let (mut pair, mut service) = (Pair::new(1), Service::default());
    let caller = Caller::open(&mut pair, "chat", numbered(0, 10_000));
    run(&mut pair, &mut service, vec![caller]);
    pair.assert_idle();
}

#[test]
fn interleaved_streams_keep_their_own_order() {
    let (mut pair, mut service) = (Pair::new(2), Service::default());
    let mut callers = Vec::new();
    for n in 0..20 {
        let method = ["chat", "collect", "list"][n as usize % 3];
        callers.push(Caller::open(
            &mut pair,
            method,
            numbered(n * 1000, n * 1000 + 500),
        ));
    }
    run(&mut pair, &mut service, callers);
    pair.assert_idle();
}

/// "server returned early while we were sending": it fails, or answers, while thousands of
/// messages are on their way; they are late, not stray, and other calls do not notice.
#[test]
fn server_that_returns_early_ends_the_call_while_the_client_still_sends() {
    let (mut pair, mut service) = (Pair::new(3), Service::default());
    let mut callers = Vec::new();
    for _ in 0..3 {
        callers.push(Caller::open(&mut pair, "quit", numbered(0, 20_000)));
        callers.push(Caller::open(&mut pair, "chat", numbered(0, 500)));
    }
    run(&mut pair, &mut service, callers);
    pair.assert_idle();
}

/// "ids that run out give their own error and never wrap"
#[test]
fn last_ids_are_served() {
    let mut pair = Pair::with(4, u32::MAX - 8, |_| {});
    let mut service = Service::default();
    let mut callers = Vec::new();
    for (method, _) in METHODS {
        callers.push(Caller::open(&mut pair, method, numbered(0, 10)));
    }
    assert_eq!(callers[4].id, u32::MAX);
    let error = pair.client.try_open(Unary, None, None).unwrap_err();
    assert!(error.is_stream_ids_exhausted());
    run(&mut pair, &mut service, callers);
    pair.assert_idle();
}
