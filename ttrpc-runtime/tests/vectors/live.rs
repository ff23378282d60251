//! A server on a real socket.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Notify;
use ttrpc_runtime::codec::Raw;
use ttrpc_runtime::{Call, Listener, Reply, Result, Server, Service, Streaming, unimplemented};

use crate::demo;
use crate::file::{Step, Vector};
use crate::number::Number;
use crate::replay::{PROBE, check_probe, differs};

/// The service as a user would write it without generated code.
#[derive(Default)]
struct Demo {
    released: Arc<Notify>,
}

impl Service for Demo {
    fn name(&self) -> &'static str {
        demo::SERVICE
    }

    fn call(&self, call: Call) -> Reply {
        let released = Arc::clone(&self.released);
        match call.method() {
            "Echo" => call.unary(Raw, async |_, request: Bytes| Ok(request)),
            "Metadata" => call.unary(Raw, async |ctx, _: Bytes| Ok(demo::list(ctx.metadata()))),
            "Zeros" => call.unary(Number, async |_, count| Ok(Bytes::from(vec![0; count]))),
            "Fail" => call.unary(Raw, async |_, _: Bytes| fail::<Bytes>()),
            "Panic" => call.unary(Raw, async |_, _: Bytes| panicking()),
            "Missing" => call.unary(Raw, async |_, _: Bytes| {
                unimplemented::<Bytes>(demo::SERVICE, "Missing").await
            }),
            "Hold" => call.unary(Raw, async move |_, request: Bytes| {
                released.notified().await;
                Ok(request)
            }),
            "Release" => call.unary(Raw, async move |_, _: Bytes| {
                released.notify_waiters();
                Ok(Bytes::new())
            }),
            "Twice" => call.server_streaming(Raw, async |_, request: Bytes| {
                Ok(Streaming::from_iter([request.clone(), request]))
            }),
            "OnceAndFail" => call.server_streaming(Raw, async |_, request: Bytes| {
                Ok(Streaming::produce(async move |replies| {
                    replies.send(request).await?;
                    fail()
                }))
            }),
            "Join" => call.client_streaming(Raw, async |_, mut requests: Streaming<Bytes>| {
                let mut reply = Vec::new();
                while let Some(request) = requests.message().await? {
                    demo::join(&mut reply, &request);
                }
                Ok(Bytes::from(reply))
            }),
            "First" => call.client_streaming(Raw, async |_, mut requests: Streaming<Bytes>| {
                Ok(requests.message().await?.unwrap_or_default())
            }),
            "Chat" => call.bidi_streaming(Raw, async |_, requests: Streaming<Bytes>| Ok(requests)),
            "Deaf" => call.bidi_streaming(Raw, async move |_, requests: Streaming<Bytes>| {
                released.notified().await;
                drop(requests);
                Ok(Streaming::from_iter([]))
            }),
            _ => call.unimplemented(),
        }
    }
}

fn fail<T>() -> Result<T> {
    Err(demo::failure().into())
}

fn panicking() -> Result<Bytes> {
    panic!("as it was asked to")
}

/// Replays a vector against a server of its own.
pub async fn replay(vector: &Vector) -> Result<(), String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("ttrpc-vector-{}-{number}.sock", std::process::id());
    let path = std::env::temp_dir().join(name);
    let server = Server::builder()
        .service(Demo::default())
        .limits(vector.limits())
        .build()
        .unwrap();
    let listener = Listener::bind(&path).unwrap();
    let serving = server.clone();
    let serving = tokio::spawn(async move { serving.serve(listener).await });
    let peer = Peer(UnixStream::connect(&path).await.unwrap());
    let replayed = tokio::time::timeout(Duration::from_secs(20), peer.replay(vector));
    let result = replayed.await;
    server.close();
    serving.await.unwrap().unwrap();
    result.unwrap_or_else(|_| Err(format!("[{}] something never comes", vector.name)))
}

/// The other end of the connection.
struct Peer(UnixStream);

impl Peer {
    async fn replay(mut self, vector: &Vector) -> Result<(), String> {
        for round in vector.rounds() {
            let context = |why: &str| format!("[{}] {}: {why}", vector.name, round.text);
            match round.step {
                Step::In(bytes) => {
                    let sent = self.0.write_all(bytes).await;
                    sent.map_err(|error| context(&error.to_string()))?;
                }
                Step::Eof => self.0.shutdown().await.unwrap(),
                Step::Closed if self.read(1).await.is_empty() => {}
                Step::Closed => return Err(context("something comes")),
                _ => return Err(context("a server has no caller and no clock")),
            }
            let got = self.read(round.expected.len()).await;
            if got != round.expected {
                return Err(differs(vector, round.text, &round.expected, &got));
            }
        }
        if vector.closes() {
            return Ok(());
        }
        let sent = self.0.write_all(&PROBE).await;
        sent.map_err(|error| format!("[{}] in the end {error}", vector.name))?;
        let mut answer = self.read(10).await;
        if let Some(length) = answer.first_chunk::<4>() {
            let len = u32::from_be_bytes(*length) as usize;
            answer.extend(self.read(len).await);
        }
        check_probe(&answer).map_err(|why| format!("[{}] in the end {why}", vector.name))
    }

    /// Reads so many bytes, or up to the end of the connection.
    async fn read(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let mut read = 0;
        while read < len {
            match self.0.read(&mut bytes[read..]).await {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) => panic!("{error}"),
            }
        }
        bytes.truncate(read);
        bytes
    }
}
