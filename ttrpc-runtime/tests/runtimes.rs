//! Runtimes that go while their connections are in use, and threads that are in none.

#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::pin::pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};
use ttrpc_runtime::codec::Raw;
use ttrpc_runtime::{
    Call, Client, Context, Error, Reply, Result, Sender, Server, Service, Streaming,
};

/// Answers never.
struct Never;

impl Service for Never {
    fn name(&self) -> &'static str {
        "a.B"
    }

    fn call(&self, call: Call) -> Reply {
        call.unary(Raw, async |_, _: Bytes| -> Result<Bytes> {
            std::future::pending().await
        })
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn runtime_of_threads() -> Runtime {
    let mut runtime = Builder::new_multi_thread();
    runtime.worker_threads(1).enable_all().build().unwrap()
}

async fn call(client: &Client) -> Result<Bytes> {
    let ctx = Context::new();
    client.unary(Raw, &ctx, "a.B", "C", Bytes::new()).await
}

struct Chat;

impl Service for Chat {
    fn name(&self) -> &'static str {
        "a.B"
    }

    fn call(&self, call: Call) -> Reply {
        call.bidi_streaming(Raw, async |_, requests: Streaming<Bytes>| Ok(requests))
    }
}

/// A client of that, for those who are in another runtime than it, or in none.
fn chatting() -> (Runtime, Client) {
    let driving = runtime_of_threads();
    let entered = driving.enter();
    let (here, there) = tokio::io::duplex(1000);
    let server = Server::builder().service(Chat).build().unwrap();
    driving.spawn(async move { server.serve_connection(there).await });
    let client = Client::new(here);
    drop(entered);
    (driving, client)
}

/// Wakes a thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits as a thread that is in no runtime.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = TaskContext::from_waker(&waker);
    let mut work = pin!(work);
    loop {
        if let Poll::Ready(output) = work.as_mut().poll(&mut cx) {
            return output;
        }
        thread::park_timeout(Duration::from_secs(20));
    }
}

/// What must not hang.
async fn patiently<T>(work: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(Duration::from_secs(20), work).await;
    outcome.expect("it hangs")
}

/// Whoever waits in another runtime learns that nobody drives the connection any more.
#[test]
fn a_connection_ends_with_the_runtime_that_drives_it() {
    let end = |driving: Runtime, end: fn(Runtime)| {
        let (tell, told) = mpsc::channel();
        let tell = Mutex::new(tell);
        let (here, _there) = tokio::io::duplex(1000);
        let entered = driving.enter();
        let client = Client::builder()
            .on_close(move |error: &Error| tell.lock().unwrap().send(error.clone()).unwrap())
            .over(here);
        drop(entered);
        let ctx = Context::new();
        runtime().block_on(async {
            let replies = client.server_streaming(Raw, &ctx, "a.B", "C", Bytes::new());
            let mut replies: Streaming<Bytes> = replies.await.unwrap();
            let waiting = async {
                let waiting =
                    async { tokio::join!(call(&client), replies.message(), client.closed()) };
                let (reply, message, closed) = patiently(waiting).await;
                [reply.unwrap_err(), message.unwrap_err(), closed]
            };
            let goes = async {
                // They wait by then.
                tokio::task::yield_now().await;
                thread::spawn(move || end(driving)).join().unwrap();
            };
            let (errors, ()) = tokio::join!(waiting, goes);
            for error in errors {
                assert!(
                    error.is_closed() && error.to_string().contains("task"),
                    "{error}"
                );
            }
            assert!(patiently(call(&client)).await.unwrap_err().is_closed());
        });
        let error = told.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(error.is_closed(), "{error}");
        drop(client);
        assert!(told.recv().is_err(), "it is told once");
    };
    end(runtime(), drop);
    end(runtime_of_threads(), drop);
    end(runtime(), Runtime::shutdown_background);
    end(runtime_of_threads(), Runtime::shutdown_background);
}

#[test]
fn a_shutdown_does_not_wait_for_connections_whose_runtime_has_gone() {
    for driving in [runtime(), runtime_of_threads()] {
        let server = Server::builder().service(Never).build().unwrap();
        let (here, there) = tokio::io::duplex(1000);
        let serves = server.clone();
        driving.spawn(async move { serves.serve_connection(there).await });
        let entered = driving.enter();
        let client = Client::new(here);
        drop(entered);
        let calls = client.clone();
        driving.spawn(async move { call(&calls).await });
        driving.block_on(async {
            while !format!("{server:?}").contains("connections: 1") {
                tokio::task::yield_now().await;
            }
        });
        drop(driving);
        runtime().block_on(async {
            patiently(server.shutdown(Duration::MAX)).await;
            assert!(patiently(call(&client)).await.unwrap_err().is_closed());
        });
    }
}

/// What sends requests runs where the connection does: a caller may be in no runtime, or in one that
/// goes before the call has ended.
#[test]
fn calls_are_made_outside_of_runtimes() {
    let (_driving, client) = chatting();
    let chat = async || {
        let (sender, inner) = Streaming::channel(1);
        let requests = Streaming::produce(async move |out| {
            let mut inner = inner;
            while let Some(message) = inner.message().await? {
                out.send(message).await?;
            }
            Ok(())
        });
        let ctx = Context::new();
        let replies = client.bidi_streaming(Raw, &ctx, "a.B", "Chat", requests);
        let replies: Streaming<Bytes> = replies.await.unwrap();
        (sender, replies)
    };
    let message = Bytes::from_static(b"x");
    let talk = async |(sender, mut replies): (Sender<Bytes>, Streaming<Bytes>)| {
        sender.send(message.clone()).await.unwrap();
        assert_eq!(replies.message().await.unwrap(), Some(message.clone()));
        drop(sender);
        assert_eq!(replies.message().await.unwrap(), None);
    };
    block_on(async { talk(chat().await).await });
    let other = runtime();
    let begun = other.block_on(chat());
    drop(other);
    runtime().block_on(patiently(talk(begun)));
}

/// From the beginning: a caller in no runtime has no timers, and another one's may go before the call.
#[test]
fn what_makes_requests_is_in_the_runtime_of_the_connection() {
    let (_driving, client) = chatting();
    let requests = Streaming::produce(async move |out| {
        tokio::time::sleep(Duration::from_millis(1)).await;
        out.send(Bytes::from_static(b"x")).await
    });
    block_on(async {
        let ctx = Context::new();
        let replies = client.bidi_streaming(Raw, &ctx, "a.B", "Chat", requests);
        let mut replies: Streaming<Bytes> = replies.await.unwrap();
        assert_eq!(replies.message().await.unwrap().unwrap(), "x");
        assert_eq!(replies.message().await.unwrap(), None);
    });
}
