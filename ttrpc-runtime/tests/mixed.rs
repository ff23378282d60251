//! Calls of all kinds and sizes at once on one connection, in any order: what comes together
//! now and then, and what nobody has thought of.

#![cfg(all(feature = "tokio", feature = "blocking"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use ttrpc_runtime::codec::Raw;
use ttrpc_runtime::{Context, Limits, Listener, Result, blocking};

const SERVICE: &str = "test.Mixed";
const LENGTHS: [usize; 7] = [0, 3, 100, 5000, 70_000, 300_000, 1_000_000];
const REPLIES: usize = 20;

/// How long all of it may take: far longer than it does.
const PATIENCE: Duration = Duration::from_secs(120);

/// A reader that is late is no mistake here, however busy the machine.
fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.stall_timeout = 2 * PATIENCE;
    limits
}

struct OfTasks;

impl ttrpc_runtime::Service for OfTasks {
    fn name(&self) -> &'static str {
        SERVICE
    }

    fn call(&self, call: ttrpc_runtime::Call) -> ttrpc_runtime::Reply {
        use ttrpc_runtime::Streaming;
        match call.method() {
            "Echo" => call.unary(Raw, async |_, request: Bytes| Ok(request)),
            "Repeat" => call.server_streaming(Raw, async |_, request: Bytes| -> Result<_> {
                Ok(Streaming::from_iter(vec![request; REPLIES]))
            }),
            "Sum" => call.client_streaming(Raw, async |_, mut requests: Streaming<Bytes>| {
                let mut sum = 0;
                while let Some(request) = requests.message().await? {
                    sum += request.len();
                }
                Ok(Bytes::from(sum.to_string()))
            }),
            "Chat" => call.bidi_streaming(Raw, async |_, requests: Streaming<Bytes>| Ok(requests)),
            _ => call.unimplemented(),
        }
    }
}

struct OfThreads;

impl blocking::Service for OfThreads {
    fn name(&self) -> &'static str {
        SERVICE
    }

    fn call(&self, call: blocking::Call) -> blocking::Reply {
        use blocking::Streaming;
        match call.method() {
            "Echo" => call.unary(Raw, |_, request: Bytes| Ok(request)),
            "Repeat" => call.server_streaming(Raw, |_, request: Bytes| -> Result<_> {
                Ok(Streaming::from_iter(vec![request; REPLIES]))
            }),
            "Sum" => call.client_streaming(Raw, |_, requests: Streaming<Bytes>| {
                let lengths = requests.map(|request| request.map(|r| r.len()));
                let sum: usize = lengths.sum::<Result<_>>()?;
                Ok(Bytes::from(sum.to_string()))
            }),
            "Chat" => call.bidi_streaming(Raw, |_, requests: Streaming<Bytes>| Ok(requests)),
            _ => call.unimplemented(),
        }
    }
}

/// Numbers without pattern, the same for each run.
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 as usize % most
    }

    fn payload(&mut self) -> Bytes {
        let byte = self.below(256) as u8;
        Bytes::from(vec![byte; LENGTHS[self.below(LENGTHS.len())]])
    }
}

fn socket(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("ttrpc-mixed-{name}-{}.sock", std::process::id()))
}

async fn call(client: ttrpc_runtime::Client, mut random: Random) {
    use ttrpc_runtime::Streaming;
    let ctx = Context::new();
    let payload = random.payload();
    match random.below(6) {
        0 => {
            let reply = client.unary(Raw, &ctx, SERVICE, "Echo", payload.clone());
            assert!(reply.await.unwrap() == payload);
        }
        1 => {
            let replies = client.server_streaming(Raw, &ctx, SERVICE, "Repeat", payload.clone());
            let mut replies: Streaming<Bytes> = replies.await.unwrap();
            for _ in 0..REPLIES {
                assert!(replies.message().await.unwrap().unwrap() == payload);
            }
            assert!(replies.message().await.unwrap().is_none());
        }
        2 => {
            let count = random.below(20);
            let sum = (count * payload.len()).to_string();
            let requests = Streaming::from_iter(vec![payload; count]);
            let reply = client.client_streaming(Raw, &ctx, SERVICE, "Sum", requests);
            let reply: Bytes = reply.await.unwrap();
            assert_eq!(reply, sum);
        }
        3 => {
            let count = random.below(9);
            let requests = Streaming::from_iter(vec![payload.clone(); count]);
            let replies = client.bidi_streaming(Raw, &ctx, SERVICE, "Chat", requests);
            let mut replies: Streaming<Bytes> = replies.await.unwrap();
            for _ in 0..count {
                assert!(replies.message().await.unwrap().unwrap() == payload);
            }
            assert!(replies.message().await.unwrap().is_none());
        }
        kind => {
            let (sender, requests) = Streaming::channel(1);
            let replies = client.bidi_streaming(Raw, &ctx, SERVICE, "Chat", requests);
            let mut replies: Streaming<Bytes> = replies.await.unwrap();
            for _ in 0..3 {
                if kind == 4 {
                    sender.send(payload.clone()).await.unwrap();
                    assert!(replies.message().await.unwrap().unwrap() == payload);
                } else {
                    // Given up while it waits, as likely as not; and nobody reads.
                    let time = Duration::from_micros(random.below(300) as u64);
                    let _ = tokio::time::timeout(time, sender.send(payload.clone())).await;
                }
            }
        }
    }
}

fn of_tasks(name: &str, runtime: &tokio::runtime::Runtime) {
    let (path, mut random) = (socket(name), Random(7));
    let all = async {
        let server = ttrpc_runtime::Server::builder().limits(limits());
        let server = server.service(OfTasks).build().unwrap();
        let serving = tokio::spawn({
            let (server, listener) = (server.clone(), Listener::bind(&path).unwrap());
            async move { server.serve(listener).await }
        });
        for _ in 0..60 {
            let client = ttrpc_runtime::Client::builder().limits(limits());
            let client = client.connect(&path).await.unwrap();
            let tasks: Vec<_> = (0..1 + random.below(40))
                .map(|_| {
                    (0..8)
                        .map(|_| Random(1 + random.below(1 << 30) as u64))
                        .collect()
                })
                .map(|calls: Vec<_>| {
                    let client = client.clone();
                    tokio::spawn(async move {
                        for random in calls {
                            call(client.clone(), random).await;
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        }
        server.close();
        serving.await.unwrap().unwrap();
    };
    let done = runtime.block_on(async { tokio::time::timeout(PATIENCE, all).await });
    done.expect("it hangs");
}

#[test]
fn by_tasks_on_one_thread() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    of_tasks("one", &runtime.enable_all().build().unwrap());
}

#[test]
fn by_tasks_on_several_threads() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    of_tasks(
        "several",
        &runtime.worker_threads(3).enable_all().build().unwrap(),
    );
}

fn call_blocking(client: &blocking::Client, mut random: Random) {
    use blocking::Streaming;
    let ctx = Context::new();
    let payload = random.payload();
    let count = random.below(9);
    let messages = || vec![payload.clone(); count];
    let requests = Streaming::from_iter(messages());
    match random.below(5) {
        0 => {
            let reply = client.unary(Raw, &ctx, SERVICE, "Echo", payload.clone());
            assert!(reply.unwrap() == payload);
        }
        1 => {
            let replies = client.server_streaming(Raw, &ctx, SERVICE, "Repeat", payload.clone());
            let replies: Streaming<Bytes> = replies.unwrap();
            assert!(replies.map(Result::unwrap).eq(vec![payload; REPLIES]));
        }
        2 => {
            let reply = client.client_streaming(Raw, &ctx, SERVICE, "Sum", requests);
            let reply: Bytes = reply.unwrap();
            assert_eq!(reply, (count * payload.len()).to_string());
        }
        kind => {
            let replies = client.bidi_streaming(Raw, &ctx, SERVICE, "Chat", requests);
            let mut replies: Streaming<Bytes> = replies.unwrap();
            if kind == 3 {
                assert!(replies.map(Result::unwrap).eq(messages()));
            } else {
                let first = replies.next().map(Result::unwrap);
                assert!(first == messages().pop());
            }
        }
    }
}

#[test]
fn by_threads() {
    let (tell, told) = std::sync::mpsc::channel::<()>();
    let works = thread::spawn(move || {
        let (path, mut random) = (socket("threads"), Random(7));
        let server = blocking::Server::builder().limits(limits());
        let server = server.service(OfThreads).build().unwrap();
        let serving = thread::spawn({
            let (server, listener) = (server.clone(), Listener::bind(&path).unwrap());
            move || server.serve(listener)
        });
        for _ in 0..60 {
            let client = blocking::Client::builder().limits(limits());
            let client = client.connect(&path).unwrap();
            thread::scope(|scope| {
                for _ in 0..1 + random.below(8) {
                    let calls: Vec<_> = (0..8)
                        .map(|_| Random(1 + random.below(1 << 30) as u64))
                        .collect();
                    let client = &client;
                    scope.spawn(move || {
                        calls
                            .into_iter()
                            .for_each(|random| call_blocking(client, random));
                    });
                }
            });
        }
        server.close();
        serving.join().unwrap().unwrap();
        drop(tell);
    });
    let outcome = told.recv_timeout(PATIENCE);
    assert_ne!(
        outcome,
        Err(std::sync::mpsc::RecvTimeoutError::Timeout),
        "it hangs"
    );
    works.join().unwrap();
}
