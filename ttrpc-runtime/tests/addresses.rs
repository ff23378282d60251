//! Sockets that are no Unix ones: what one flavour serves the other one calls.

#![cfg(all(feature = "tokio", feature = "blocking"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::future::Future;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use ttrpc_runtime::codec::Raw;
use ttrpc_runtime::{Address, Client, Context, Listener, Peer, Server, blocking};

const SERVICE: &str = "test.Echo";

/// A machine's context id for itself.
const LOCAL: u32 = 1;

/// Of vsock the system tells which machine is at the other end, of TCP nothing.
fn check_peer(peer: Option<&Peer>) {
    assert!(peer.is_none_or(|peer| peer.cid() == Some(LOCAL)));
}

struct Echo;

impl ttrpc_runtime::Service for Echo {
    fn name(&self) -> &'static str {
        SERVICE
    }

    fn call(&self, call: ttrpc_runtime::Call) -> ttrpc_runtime::Reply {
        call.unary(Raw, async |ctx, request: Bytes| {
            check_peer(ctx.peer());
            Ok(request)
        })
    }
}

impl blocking::Service for Echo {
    fn name(&self) -> &'static str {
        SERVICE
    }

    fn call(&self, call: blocking::Call) -> blocking::Reply {
        call.unary(Raw, |ctx, request: Bytes| {
            check_peer(ctx.peer());
            Ok(request)
        })
    }
}

/// The length that they may have is in the headers of a system alone.
#[test]
fn a_path_that_is_too_long_says_by_how_much() {
    let text = format!("unix:///run/{}", "a".repeat(103));
    let told = |error: ttrpc_runtime::Error| {
        let text = error.to_string();
        text.split_once("aaaa: ").unwrap().1.to_owned()
    };
    let expected = "a path of 108 bytes, and that of a socket has 107 at most";
    if cfg!(target_os = "linux") {
        assert_eq!(told(Listener::bind(&text).unwrap_err()), expected);
        assert_eq!(
            told(blocking::Client::connect(&text).unwrap_err()),
            expected
        );
    }
}

/// A runtime of tokio, for a test of both flavours.
fn run(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(test);
}

/// One that takes several writes.
fn request() -> Bytes {
    Bytes::from(vec![7; 3_000_000])
}

async fn calls(client: Client) {
    let ctx = Context::new();
    for request in [Bytes::from_static(b"x"), request()] {
        let reply = client.unary(Raw, &ctx, SERVICE, "Echo", request.clone());
        let reply: Bytes = reply.await.unwrap();
        assert!(reply == request);
    }
}

fn calls_of_a_thread(client: &blocking::Client) {
    for request in [Bytes::from_static(b"x"), request()] {
        let reply = client.unary(Raw, &Context::new(), SERVICE, "Echo", request.clone());
        let reply: Bytes = reply.unwrap();
        assert!(reply == request);
    }
}

/// Has a server of each flavour serve a listener, while the other flavour calls.
fn serve_in_turn(
    listen: impl Fn() -> Listener,
    call: impl AsyncFnOnce(),
    call_from_thread: impl FnOnce() + Send + 'static,
) {
    run(async {
        let server = Server::builder().service(Echo).build().unwrap();
        let (served, listener) = (server.clone(), listen());
        let serving = tokio::spawn(async move { served.serve(listener).await });
        let calls = tokio::task::spawn_blocking(call_from_thread);
        calls.await.unwrap();
        server.shutdown(Duration::MAX).await;
        serving.await.unwrap().unwrap();

        let server = blocking::Server::builder().service(Echo).build().unwrap();
        let (served, listener) = (server.clone(), listen());
        let serving = thread::spawn(move || served.serve(listener));
        call().await;
        server.shutdown(Duration::MAX);
        serving.join().unwrap().unwrap();
    });
}

#[test]
fn a_socket_of_any_kind_is_listened_on() {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let at = socket.local_addr().unwrap();
    serve_in_turn(
        || Listener::try_from(OwnedFd::from(socket.try_clone().unwrap())).unwrap(),
        async || {
            calls(Client::new(
                tokio::net::TcpStream::connect(at).await.unwrap(),
            ))
            .await
        },
        move || {
            let stream = TcpStream::connect(at).unwrap();
            calls_of_a_thread(&blocking::Client::new(stream).unwrap());
        },
    );
}

#[test]
fn a_file_that_is_no_socket_is_kept() {
    let path = std::env::temp_dir().join(format!("ttrpc-file-{}", std::process::id()));
    std::fs::write(&path, "mine").unwrap();
    let error = Listener::bind(&path).unwrap_err().to_string();
    assert!(error.contains("no socket"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn vsock_is_listened_on_and_connected_to() {
    let port = 20_000 + std::process::id() % 40_000;
    let address = Address::Vsock {
        cid: u32::MAX,
        port,
    };
    let listener = match Listener::bind(address.clone()) {
        Ok(listener) => listener,
        // A system without it says so.
        Err(error) => {
            let error = error.to_string();
            let begin = format!("can't listen at vsock://-1:{port}: ");
            assert!(error.starts_with(&begin), "{error}");
            assert!(!Path::new("/dev/vsock").exists(), "{error}");
            return;
        }
    };
    let error = Listener::bind(address.clone()).unwrap_err().to_string();
    assert!(error.contains("in use"), "{error}");
    drop(listener);
    // What is sent to a machine's own port comes back where the system has been told to.
    if !Path::new("/sys/module/vsock_loopback").exists() {
        return;
    }
    let server = Address::Vsock { cid: LOCAL, port };
    let same = server.clone();
    serve_in_turn(
        || Listener::bind(address.clone()).unwrap(),
        async || calls(Client::connect(server).await.unwrap()).await,
        move || calls_of_a_thread(&blocking::Client::connect(same).unwrap()),
    );
}
