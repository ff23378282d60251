//! The crate ttrpc, asynchronous, as its users write against it.

mod protos {
    pub use bench_messages::payload;

    #[allow(clippy::all, dead_code, unused_imports)]
    pub mod bench_ttrpc {
        include!(concat!(env!("OUT_DIR"), "/bench_ttrpc.rs"));
    }
}

use std::sync::Arc;

use async_trait::async_trait;
use bench_kit::{Lap, asynchronous::Caller};
use bench_messages::payload::{Amount, Payload};
use bench_messages::{amount, message};
use bytes::Bytes;
use protos::bench_ttrpc::{Bench, BenchClient, create_bench};
use ttrpc::Result;
use ttrpc::r#async::{
    Client, ClientStream, Server, ServerStream, ServerStreamReceiver, ServerStreamSender,
    TtrpcContext,
};
use ttrpc::context::Context;

struct Echo;

#[async_trait]
impl Bench for Echo {
    async fn unary(&self, _: &TtrpcContext, request: Payload) -> Result<Payload> {
        Ok(request)
    }

    async fn server_stream(
        &self,
        _: &TtrpcContext,
        request: Amount,
        replies: ServerStreamSender<Payload>,
    ) -> Result<()> {
        let reply = message(vec![7; request.size as usize].into());
        for _ in 0..request.messages {
            replies.send(&reply).await?;
        }
        Ok(())
    }

    async fn client_stream(
        &self,
        _: &TtrpcContext,
        mut requests: ServerStreamReceiver<Payload>,
    ) -> Result<Amount> {
        let mut messages = 0;
        while requests.recv().await?.is_some() {
            messages += 1;
        }
        Ok(amount(messages, 0))
    }

    async fn bidi(
        &self,
        _: &TtrpcContext,
        mut stream: ServerStream<Payload, Payload>,
    ) -> Result<()> {
        while let Some(request) = stream.recv().await? {
            stream.send(&request).await?;
        }
        Ok(())
    }
}

/// Serves until it is killed.
pub async fn serve(socket: String, ready: fn()) {
    let mut server = Server::new()
        .bind(&format!("unix://{socket}"))
        .unwrap()
        .register_service(create_bench(Arc::new(Echo)));
    server.start().await.unwrap();
    ready();
    std::future::pending().await
}

#[derive(Clone)]
pub struct Rival(BenchClient);

impl Caller for Rival {
    type Held = ClientStream<Payload, Payload>;

    async fn connect(socket: &str) -> Self {
        let client = Client::connect(&format!("unix://{socket}")).await;
        Self(BenchClient::new(client.unwrap()))
    }

    async fn unary(&self, data: Bytes) -> usize {
        let reply = self.0.unary(Context::default(), &message(data)).await;
        reply.unwrap().data.len()
    }

    async fn server_stream(&self, messages: u64, size: usize, lap: &mut Lap) -> u64 {
        let request = amount(messages, size);
        let replies = self.0.server_stream(Context::default(), &request).await;
        let mut replies = replies.unwrap();
        let mut count = 0;
        while let Some(reply) = replies.recv().await.unwrap() {
            assert_eq!(reply.data.len(), size);
            lap.message();
            count += 1;
        }
        count
    }

    async fn client_stream(&self, data: Bytes, messages: u64) -> u64 {
        let request = message(data);
        let stream = self.0.client_stream(Context::default()).await;
        let mut stream = stream.unwrap();
        for _ in 0..messages {
            stream.send(&request).await.unwrap();
        }
        stream.close_and_recv().await.unwrap().messages as u64
    }

    async fn bidi(&self, data: Bytes, lap: &mut Lap) {
        let request = message(data);
        let mut stream = self.0.bidi(Context::default()).await.unwrap();
        loop {
            stream.send(&request).await.unwrap();
            let reply = stream.recv().await.unwrap();
            assert_eq!(reply.data.len(), request.data.len());
            if !lap.call() {
                return;
            }
        }
    }

    async fn hold(&self, data: Bytes) -> Self::Held {
        let mut stream = self.0.bidi(Context::default()).await.unwrap();
        stream.send(&message(data)).await.unwrap();
        stream.recv().await.unwrap();
        stream
    }
}
