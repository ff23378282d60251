//! What users give a call and panics when it is dropped: that disturbs no other call, whenever the
//! call ends. The same for both flavours.

#![cfg(all(feature = "tokio", feature = "blocking"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use ttrpc_runtime::codec::Raw;
use ttrpc_runtime::{Client, Context, Result, Server, Streaming, blocking};

const SERVICE: &str = "test.Drops";

/// Panics when it is dropped, and counts how often that has happened.
struct Grumpy(Arc<AtomicUsize>);

impl Drop for Grumpy {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        if !thread::panicking() {
            panic!("as expected");
        }
    }
}

impl Grumpy {
    /// More messages than anybody takes.
    fn messages(self) -> impl Iterator<Item = Bytes> {
        std::iter::repeat_with(move || {
            let _ = &self;
            Bytes::from(vec![7; 10_000])
        })
    }
}

/// A handler that is done at once, and is dropped after that.
struct Done(#[allow(dead_code)] Grumpy);

impl Future for Done {
    type Output = Result<Bytes>;

    fn poll(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<Result<Bytes>> {
        Poll::Ready(Ok(Bytes::new()))
    }
}

struct Service(Arc<AtomicUsize>);

impl ttrpc_runtime::Service for Service {
    fn name(&self) -> &'static str {
        SERVICE
    }

    fn call(&self, call: ttrpc_runtime::Call) -> ttrpc_runtime::Reply {
        let grumpy = Grumpy(Arc::clone(&self.0));
        match call.method() {
            "Done" => call.unary(Raw, |_, _: Bytes| Done(grumpy)),
            "Many" => call.server_streaming(Raw, async |_, _: Bytes| {
                Ok(Streaming::from_iter(grumpy.messages()))
            }),
            "Hold" => {
                std::mem::forget(grumpy);
                call.client_streaming(Raw, async |_, _requests: Streaming<Bytes>| {
                    std::future::pending::<Result<Bytes>>().await
                })
            }
            _ => {
                std::mem::forget(grumpy);
                call.unary(Raw, async |_, request: Bytes| Ok(request))
            }
        }
    }
}

impl blocking::Service for Service {
    fn name(&self) -> &'static str {
        SERVICE
    }

    fn call(&self, call: blocking::Call) -> blocking::Reply {
        let grumpy = Grumpy(Arc::clone(&self.0));
        match call.method() {
            "Many" => call.server_streaming(Raw, |_, _: Bytes| {
                Ok(blocking::Streaming::from_iter(grumpy.messages()))
            }),
            "Hold" => {
                std::mem::forget(grumpy);
                call.client_streaming(Raw, |ctx, _requests: blocking::Streaming<Bytes>| {
                    ctx.wait_cancelled(Duration::from_secs(20));
                    Ok(Bytes::new())
                })
            }
            _ => {
                std::mem::forget(grumpy);
                call.unary(Raw, |_, request: Bytes| Ok(request))
            }
        }
    }
}

/// Waits until one has been dropped.
fn wait_for(dropped: &AtomicUsize) {
    for _ in 0..20_000 {
        if dropped.swap(0, Ordering::SeqCst) > 0 {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("it is never dropped");
}

/// Time that is over before anybody takes all messages.
fn little() -> Context {
    Context::new().with_timeout(Duration::from_millis(50))
}

#[test]
fn of_tasks() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (here, there) = tokio::io::duplex(1 << 16);
    let (served, given) = (Arc::<AtomicUsize>::default(), Arc::default());
    let server = Server::builder().service(Service(Arc::clone(&served)));
    let server = server.build().unwrap();
    let serving = runtime.spawn(async move { server.serve_connection(there).await });
    runtime.block_on(async {
        let client = Client::new(here);
        let echo = async |method| {
            let ctx = Context::new().with_timeout(Duration::from_secs(20));
            let sent = client.unary(Raw, &ctx, SERVICE, method, Bytes::new());
            sent.await.map(|_: Bytes| ())
        };
        echo("Done").await.unwrap();
        wait_for(&served);
        echo("Echo").await.unwrap();

        let ctx = little();
        let many = client.server_streaming(Raw, &ctx, SERVICE, "Many", Bytes::new());
        let many: Streaming<Bytes> = many.await.unwrap();
        wait_for(&served);
        drop(many);
        echo("Echo").await.unwrap();

        let requests = Streaming::from_iter(Grumpy(Arc::clone(&given)).messages());
        let ctx = little();
        let held = client.bidi_streaming(Raw, &ctx, SERVICE, "Hold", requests);
        let mut held: Streaming<Bytes> = held.await.unwrap();
        assert!(held.message().await.unwrap_err().is_timeout());
        wait_for(&given);
        echo("Echo").await.unwrap();
        drop(client);
        serving.await.unwrap().unwrap();
    });
}

#[test]
fn of_threads() {
    let (here, there) = UnixStream::pair().unwrap();
    let (served, given) = (Arc::<AtomicUsize>::default(), Arc::default());
    let server = blocking::Server::builder().service(Service(Arc::clone(&served)));
    let server = server.build().unwrap();
    let serving = thread::spawn(move || server.serve_connection(there));
    let client = blocking::Client::new(here).unwrap();
    let echo = || {
        let ctx = Context::new().with_timeout(Duration::from_secs(20));
        let sent = client.unary(Raw, &ctx, SERVICE, "Echo", Bytes::new());
        sent.map(|_: Bytes| ())
    };
    let ctx = little();
    let many = client.server_streaming(Raw, &ctx, SERVICE, "Many", Bytes::new());
    let many: blocking::Streaming<Bytes> = many.unwrap();
    wait_for(&served);
    drop(many);
    echo().unwrap();

    let requests = blocking::Streaming::from_iter(Grumpy(Arc::clone(&given)).messages());
    let held = client.bidi_streaming(Raw, &little(), SERVICE, "Hold", requests);
    let mut held: blocking::Streaming<Bytes> = held.unwrap();
    assert!(held.message().unwrap_err().is_timeout());
    wait_for(&given);
    echo().unwrap();
    drop((held, client));
    serving.join().unwrap().unwrap();
}
