//! The blocking flavour, as a user writes against it.

mod protos {
    include!(concat!(env!("OUT_DIR"), "/mod.rs"));
}

use std::collections::VecDeque;
use std::path::Path;

use bench_kit::{Lap, blocking::Caller, serving};
use bytes::Bytes;
use protos::bench::v1::{Amount, Payload};
use protos::bench_ttrpc::blocking::{Bench, BenchClient, BenchServer};
use ttrpc_runtime::blocking::{Client, Sender, Server, Streaming};
use ttrpc_runtime::{Context, Limits, Listener, Result};

struct Echo;

impl Bench for Echo {
    fn unary(&self, _: &Context, request: Payload) -> Result<Payload> {
        Ok(request)
    }

    fn server_stream(&self, _: &Context, request: Amount) -> Result<Streaming<Payload>> {
        let reply = Payload {
            data: vec![7; request.size as usize].into(),
        };
        let replies = (0..request.messages).map(move |_| reply.clone());
        Ok(Streaming::from_iter(replies))
    }

    fn client_stream(&self, _: &Context, mut requests: Streaming<Payload>) -> Result<Amount> {
        let mut messages = 0;
        while requests.message()?.is_some() {
            messages += 1;
        }
        Ok(Amount { messages, size: 0 })
    }

    fn bidi(&self, _: &Context, requests: Streaming<Payload>) -> Result<Streaming<Payload>> {
        Ok(requests)
    }
}

/// Serves until it is killed.
pub fn serve(socket: String, ready: fn()) {
    let mut limits = Limits::default();
    if let Some(most) = serving::number("--max-streams") {
        limits.max_streams = most;
    }
    let echo = BenchServer::new(Echo);
    let server = Server::builder()
        .limits(limits)
        .service(echo)
        .build()
        .unwrap();
    let listener = Listener::bind(Path::new(&socket)).unwrap();
    ready();
    server.serve(listener).unwrap();
}

#[derive(Clone)]
pub struct Ours {
    client: Client,
    bench: BenchClient,
}

impl Caller for Ours {
    type Held = (Sender<Payload>, Streaming<Payload>);

    fn connect(socket: &str) -> Self {
        let client = Client::connect(format!("unix://{socket}").as_str()).unwrap();
        let bench = BenchClient::new(client.clone());
        Self { client, bench }
    }

    fn unary(&self, data: Bytes) -> usize {
        let reply = self.bench.unary(&Context::new(), Payload { data });
        reply.unwrap().data.len()
    }

    const HAS_PENDING: bool = true;

    fn unary_each(data: Bytes, loads: Vec<(&Self, Lap)>) {
        let request = Payload { data };
        let begin = |ours: &Self| {
            let unary = BenchClient::UNARY;
            ours.client.start(&Context::new(), unary, request.clone())
        };
        let loads = loads.into_iter();
        let mut calls: VecDeque<_> = loads.map(|(ours, lap)| (begin(ours), ours, lap)).collect();
        while let Some((oldest, ours, mut lap)) = calls.pop_front() {
            assert_eq!(oldest.wait().unwrap().data.len(), request.data.len());
            if lap.call() {
                calls.push_back((begin(ours), ours, lap));
            }
        }
    }

    fn server_stream(&self, messages: u64, size: usize, lap: &mut Lap) -> u64 {
        let request = Amount {
            messages: messages as i64,
            size: size as i32,
        };
        let replies = self.bench.server_stream(&Context::new(), request);
        let mut count = 0;
        for reply in replies.unwrap() {
            assert_eq!(reply.unwrap().data.len(), size);
            lap.message();
            count += 1;
        }
        count
    }

    fn client_stream(&self, data: Bytes, messages: u64) -> u64 {
        let request = Payload { data };
        let requests = (0..messages).map(move |_| request.clone());
        let requests = Streaming::from_iter(requests);
        let reply = self.bench.client_stream(&Context::new(), requests);
        reply.unwrap().messages as u64
    }

    fn bidi(&self, data: Bytes, lap: &mut Lap) {
        let request = Payload { data };
        let (requests, mut replies) = self.open();
        loop {
            requests.send(request.clone()).unwrap();
            let reply = replies.message().unwrap().unwrap();
            assert_eq!(reply.data.len(), request.data.len());
            if !lap.call() {
                return;
            }
        }
    }

    fn hold(&self, data: Bytes) -> Self::Held {
        let (requests, mut replies) = self.open();
        requests.send(Payload { data }).unwrap();
        replies.message().unwrap().unwrap();
        (requests, replies)
    }
}

impl Ours {
    fn open(&self) -> (Sender<Payload>, Streaming<Payload>) {
        let (sender, requests) = Streaming::channel(1);
        let replies = self.bench.bidi(&Context::new(), requests);
        (sender, replies.unwrap())
    }
}
