//! Who gets in: listeners, handshakes, limits of connections.

use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self};
use std::time::Duration;

use bytes::Bytes;
use ttrpc_runtime::blocking::{Client, Server};
use ttrpc_runtime::codec::Raw;
use ttrpc_runtime::{Context, Listener, Status};

use crate::ends::{path, serve};
use crate::peer::Peer;
use crate::support::{Calls, Custom, Echo, patiently, until};

#[test]
fn listeners_of_every_kind() {
    patiently(|| {
        let server = Server::builder().service(Echo).build().unwrap();
        let of_std = path();
        let socket = UnixListener::bind(&of_std).unwrap();
        let listeners = [
            Listener::bind(format!("unix://{}", path().display()).as_str()).unwrap(),
            Listener::try_from(socket).unwrap(),
            Listener::bind(format!("unix://@ttrpc-blocking-{}", std::process::id()).as_str())
                .unwrap(),
        ];
        let serving = listeners.map(|listener| {
            let serves = server.clone();
            thread::spawn(move || serves.serve(listener))
        });
        for address in [
            format!("unix://{}", of_std.display()),
            format!("unix://@ttrpc-blocking-{}", std::process::id()),
        ] {
            let client = Client::connect(address.as_str()).unwrap();
            assert_eq!(client.echo(&Context::new(), "x").unwrap(), "x");
        }
        server.shutdown(Duration::MAX);
        serving.into_iter().for_each(|s| s.join().unwrap().unwrap());
        std::fs::remove_file(of_std).unwrap();
    });
}

#[test]
fn no_more_connections_than_allowed() {
    patiently(|| {
        let (server, path, serving) = serve(Server::builder().max_connections(2));
        let first = Client::connect(&path).unwrap();
        let second = Client::connect(&path).unwrap();
        first.echo(&Context::new(), "x").unwrap();
        second.echo(&Context::new(), "x").unwrap();
        let third = Client::connect(&path).unwrap();
        let waits = Context::new().with_timeout(Duration::from_millis(100));
        assert!(third.echo(&waits, "x").unwrap_err().is_timeout());
        drop(first);
        assert_eq!(third.echo(&Context::new(), "x").unwrap(), "x");
        drop((second, third));
        server.shutdown(Duration::MAX);
        serving.join().unwrap().unwrap();
    });
}

#[test]
fn a_handshake_lets_in_refuses_and_fails_alone() {
    patiently(|| {
        let count = AtomicUsize::new(0);
        let builder = Server::builder().max_threads(1).handshake(move |peer| {
            peer.unwrap().require_same_user()?;
            match count.fetch_add(1, Ordering::SeqCst) {
                0 => Ok("welcome"),
                1 => Err(Status::permission_denied("not you").into()),
                2 => panic!("a broken handshake"),
                _ => Ok("again"),
            }
        });
        let tell = |call: ttrpc_runtime::blocking::Call| {
            call.unary(Raw, |ctx, _: Bytes| {
                Ok(Bytes::from(*ctx.handshake::<&str>().unwrap()))
            })
        };
        let (server, path, serving) = serve(builder.service(Custom(tell)));
        let first = Client::connect(&path).unwrap();
        assert_eq!(first.custom(&Context::new(), "Any", "").unwrap(), "welcome");
        for _ in 0..2 {
            let refused = Client::connect(&path).unwrap();
            let error = refused.echo(&Context::new(), "").unwrap_err();
            assert!(error.is_closed(), "{error}");
        }
        let last = Client::connect(&path).unwrap();
        assert_eq!(last.custom(&Context::new(), "Any", "").unwrap(), "again");
        assert_eq!(first.custom(&Context::new(), "Any", "").unwrap(), "welcome");
        until(|| format!("{server:?}").contains("connections: 2"));
        server.close();
        serving.join().unwrap().unwrap();
    });
}

/// The request may be there before the connection is.
#[test]
fn a_call_right_behind_the_handshake_has_its_context() {
    patiently(|| {
        let builder = Server::builder().handshake(|_| Ok(()));
        let tell = |call: ttrpc_runtime::blocking::Call| {
            call.unary(Raw, |ctx, _: Bytes| match ctx.is_cancelled() {
                true => Err(Status::aborted("it is over before it began").into()),
                false => Ok(Bytes::new()),
            })
        };
        let server = builder.service(Custom(tell)).build().unwrap();
        for _ in 0..200 {
            let (here, there) = UnixStream::pair().unwrap();
            let mut peer = Peer(here);
            peer.request(1, 0, "test.Custom", "Any", b"", 0);
            let serves = server.clone();
            let serving = thread::spawn(move || serves.serve_connection(there));
            assert_eq!(peer.response(), Some((1, 0)));
            drop(peer);
            serving.join().unwrap().unwrap();
        }
    });
}
