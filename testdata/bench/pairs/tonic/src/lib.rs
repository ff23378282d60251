//! tonic over a Unix socket, as its users write against it.

#[allow(clippy::all)]
mod protos {
    include!(concat!(env!("OUT_DIR"), "/bench.v1.rs"));
}

use std::pin::Pin;

use bench_kit::{Lap, asynchronous::Caller};
use bytes::Bytes;
use hyper_util::rt::TokioIo;
use protos::bench_client::BenchClient;
use protos::bench_server::{Bench, BenchServer};
use protos::{Amount, Payload};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tokio_stream::{Stream, StreamExt};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

/// A message, whose bytes are its own by default.
fn payload(data: &[u8]) -> Payload {
    Payload {
        data: data.to_vec(),
    }
}

struct Echo;

type Replies = Pin<Box<dyn Stream<Item = Result<Payload, Status>> + Send>>;

#[tonic::async_trait]
impl Bench for Echo {
    type ServerStreamStream = Replies;
    type BidiStream = Streaming<Payload>;

    async fn unary(&self, request: Request<Payload>) -> Result<Response<Payload>, Status> {
        Ok(Response::new(request.into_inner()))
    }

    async fn server_stream(&self, request: Request<Amount>) -> Result<Response<Replies>, Status> {
        let Amount { messages, size } = request.into_inner();
        let data = vec![7; size as usize];
        let replies = (0..messages).map(move |_| Ok(Payload { data: data.clone() }));
        Ok(Response::new(Box::pin(tokio_stream::iter(replies))))
    }

    async fn client_stream(
        &self,
        request: Request<Streaming<Payload>>,
    ) -> Result<Response<Amount>, Status> {
        let mut requests = request.into_inner();
        let mut messages = 0;
        while requests.message().await?.is_some() {
            messages += 1;
        }
        Ok(Response::new(Amount { messages, size: 0 }))
    }

    async fn bidi(
        &self,
        request: Request<Streaming<Payload>>,
    ) -> Result<Response<Streaming<Payload>>, Status> {
        Ok(Response::new(request.into_inner()))
    }
}

/// Serves until it is killed.
pub async fn serve(socket: String, ready: fn()) {
    let listener = UnixListener::bind(socket).unwrap();
    ready();
    Server::builder()
        .add_service(BenchServer::new(Echo))
        .serve_with_incoming(UnixListenerStream::new(listener))
        .await
        .unwrap();
}

#[derive(Clone)]
pub struct Rival(BenchClient<Channel>);

impl Caller for Rival {
    type Held = (mpsc::Sender<Payload>, Streaming<Payload>);

    async fn connect(socket: &str) -> Self {
        let socket = socket.to_owned();
        let connector = tower::service_fn(move |_| {
            let socket = socket.clone();
            async { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        // The address is not used.
        let endpoint = Endpoint::from_static("http://localhost");
        let channel = endpoint.connect_with_connector(connector).await;
        Self(BenchClient::new(channel.unwrap()))
    }

    async fn unary(&self, data: Bytes) -> usize {
        let reply = self.0.clone().unary(payload(&data)).await;
        reply.unwrap().into_inner().data.len()
    }

    async fn server_stream(&self, messages: u64, size: usize, lap: &mut Lap) -> u64 {
        let request = Amount {
            messages: messages as i64,
            size: size as i32,
        };
        let replies = self.0.clone().server_stream(request).await;
        let mut replies = replies.unwrap().into_inner();
        let mut count = 0;
        while let Some(reply) = replies.message().await.unwrap() {
            assert_eq!(reply.data.len(), size);
            lap.message();
            count += 1;
        }
        count
    }

    async fn client_stream(&self, data: Bytes, messages: u64) -> u64 {
        let requests = (0..messages).map(move |_| payload(&data));
        let requests = tokio_stream::iter(requests);
        let reply = self.0.clone().client_stream(requests).await;
        reply.unwrap().into_inner().messages as u64
    }

    async fn bidi(&self, data: Bytes, lap: &mut Lap) {
        let (requests, mut replies) = self.open().await;
        loop {
            requests.send(payload(&data)).await.unwrap();
            let reply = replies.next().await.unwrap().unwrap();
            assert_eq!(reply.data.len(), data.len());
            if !lap.call() {
                return;
            }
        }
    }

    async fn hold(&self, data: Bytes) -> Self::Held {
        let (requests, mut replies) = self.open().await;
        requests.send(payload(&data)).await.unwrap();
        replies.next().await.unwrap().unwrap();
        (requests, replies)
    }
}

impl Rival {
    async fn open(&self) -> (mpsc::Sender<Payload>, Streaming<Payload>) {
        let (sender, requests) = mpsc::channel(1);
        let requests = ReceiverStream::new(requests);
        let replies = self.0.clone().bidi(requests).await;
        (sender, replies.unwrap().into_inner())
    }
}
