//! The asynchronous flavour, as a user writes against it.

mod protos {
    include!(concat!(env!("OUT_DIR"), "/mod.rs"));
}

use std::path::Path;

use bench_kit::{Lap, asynchronous::Caller, serving};
use bytes::Bytes;
use protos::bench::v1::{Amount, Payload};
use protos::bench_ttrpc::{Bench, BenchClient, BenchServer};
use ttrpc_runtime::{Client, Context, Limits, Listener, Result, Sender, Server, Streaming};

struct Echo;

impl Bench for Echo {
    async fn unary(&self, _: &Context, request: Payload) -> Result<Payload> {
        Ok(request)
    }

    async fn server_stream(&self, _: &Context, request: Amount) -> Result<Streaming<Payload>> {
        let reply = Payload {
            data: vec![7; request.size as usize].into(),
        };
        let replies = (0..request.messages).map(move |_| reply.clone());
        Ok(Streaming::from_iter(replies))
    }

    async fn client_stream(&self, _: &Context, mut requests: Streaming<Payload>) -> Result<Amount> {
        let mut messages = 0;
        while requests.message().await?.is_some() {
            messages += 1;
        }
        Ok(Amount { messages, size: 0 })
    }

    async fn bidi(&self, _: &Context, requests: Streaming<Payload>) -> Result<Streaming<Payload>> {
        Ok(requests)
    }
}

/// Serves until it is killed.
pub async fn serve(socket: String, ready: fn()) {
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
    server.serve(listener).await.unwrap();
}

#[derive(Clone)]
pub struct Ours(BenchClient);

impl Caller for Ours {
    type Held = (Sender<Payload>, Streaming<Payload>);

    async fn connect(socket: &str) -> Self {
        let client = Client::connect(format!("unix://{socket}").as_str()).await;
        Self(BenchClient::new(client.unwrap()))
    }

    async fn unary(&self, data: Bytes) -> usize {
        let reply = self.0.unary(&Context::new(), Payload { data }).await;
        reply.unwrap().data.len()
    }

    async fn server_stream(&self, messages: u64, size: usize, lap: &mut Lap) -> u64 {
        let request = Amount {
            messages: messages as i64,
            size: size as i32,
        };
        let replies = self.0.server_stream(&Context::new(), request).await;
        let mut replies = replies.unwrap();
        let mut count = 0;
        while let Some(reply) = replies.message().await.unwrap() {
            assert_eq!(reply.data.len(), size);
            lap.message();
            count += 1;
        }
        count
    }

    async fn client_stream(&self, data: Bytes, messages: u64) -> u64 {
        let request = Payload { data };
        let requests = (0..messages).map(move |_| request.clone());
        let requests = Streaming::from_iter(requests);
        let reply = self.0.client_stream(&Context::new(), requests).await;
        reply.unwrap().messages as u64
    }

    async fn bidi(&self, data: Bytes, lap: &mut Lap) {
        let request = Payload { data };
        let (requests, mut replies) = self.open().await;
        loop {
            requests.send(request.clone()).await.unwrap();
            let reply = replies.message().await.unwrap().unwrap();
            assert_eq!(reply.data.len(), request.data.len());
            if !lap.call() {
                return;
            }
        }
    }

    async fn hold(&self, data: Bytes) -> Self::Held {
        let (requests, mut replies) = self.open().await;
        requests.send(Payload { data }).await.unwrap();
        replies.message().await.unwrap().unwrap();
        (requests, replies)
    }
}

impl Ours {
    async fn open(&self) -> (Sender<Payload>, Streaming<Payload>) {
        let (sender, requests) = Streaming::channel(1);
        let replies = self.0.bidi(&Context::new(), requests).await;
        (sender, replies.unwrap())
    }
}
