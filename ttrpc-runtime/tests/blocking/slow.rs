//! Peers that take a large message slowly, or stop to: nobody waits for them who has something
//! else to do.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use ttrpc_runtime::blocking::{Client, Server, Streaming};
use ttrpc_runtime::{Context, Limits};

use crate::ends::serve;
use crate::peer::Peer;
use crate::support::{Calls, alone, patiently, until, waiting, within};

const LARGE: usize = 4_000_000;

fn large() -> Bytes {
    Bytes::from(vec![1; LARGE])
}

/// Reads a part of a frame, so that the rest is waited for.
fn read_begin(socket: &mut UnixStream) -> Vec<u8> {
    let mut begin = vec![0; LARGE / 4];
    socket.read_exact(&mut begin).unwrap();
    begin
}

/// Reads the rest of it.
fn read_rest(socket: &mut UnixStream, begin: &[u8]) -> Vec<u8> {
    let len = u32::from_be_bytes(begin[..4].try_into().unwrap()) as usize + 10;
    let mut rest = vec![0; len - begin.len()];
    socket.read_exact(&mut rest).unwrap();
    rest
}

/// Has a large message dripped out of a socket, and does something that is given what says whether
/// a part of it has come. Says whether that was done before the most of it had: what waits for all
/// of it is not.
fn is_done_meanwhile(socket: &UnixStream, f: impl FnOnce(&dyn Fn() -> bool)) -> bool {
    let read = AtomicUsize::new(0);
    let count = || read.load(Ordering::SeqCst);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut part = vec![0; 16 << 10];
            // As slowly as keeps somebody waiting who does it for each buffer of the socket.
            while let Ok(len @ 1..) = (&*socket).read(&mut part) {
                read.fetch_add(len, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(1));
            }
        });
        f(&|| count() > LARGE / 10);
        let was = count();
        socket.shutdown(std::net::Shutdown::Both).unwrap();
        was < LARGE / 10 * 8
    })
}

/// Does something with a client whose peer reads slowly, and says whether that did not wait
/// until all was written: on a machine that is busy at least once.
fn meanwhile(f: impl Fn(&Client, &UnixStream) -> bool + Send + 'static) {
    patiently(move || {
        let in_time = || {
            let (here, there) = UnixStream::pair().unwrap();
            f(&Client::new(here).unwrap(), &there)
        };
        assert!((0..3).any(|_| in_time()), "it waits until all is written");
    });
}

#[test]
fn a_call_is_given_up_meanwhile() {
    meanwhile(|client, there| {
        let (ctx, canceller) = Context::new().with_cancel();
        thread::scope(|scope| {
            let call = scope.spawn(|| client.echo(&ctx, large()));
            is_done_meanwhile(there, |is_begun| {
                until(is_begun);
                canceller.cancel();
                assert!(call.join().unwrap().unwrap_err().is_cancelled());
            })
        })
    });
}

#[test]
fn a_call_runs_out_of_time_meanwhile() {
    meanwhile(|client, there| {
        thread::scope(|scope| {
            let call = scope.spawn(|| client.echo(&within(100), large()));
            // On a machine that is busy maybe before it has begun.
            is_done_meanwhile(there, |_| {
                assert!(call.join().unwrap().unwrap_err().is_timeout());
            })
        })
    });
}

#[test]
fn another_call_runs_out_of_time_or_is_given_up_meanwhile() {
    meanwhile(|client, there| {
        let (ctx, canceller) = Context::new().with_cancel();
        thread::scope(|scope| {
            let call = scope.spawn(|| client.echo(&Context::new(), large()));
            let in_time = is_done_meanwhile(there, |is_begun| {
                until(is_begun);
                let other = scope.spawn(|| client.echo(&ctx, "x"));
                assert!(client.echo(&within(30), "x").unwrap_err().is_timeout());
                canceller.cancel();
                assert!(other.join().unwrap().unwrap_err().is_cancelled());
            });
            assert!(!call.join().unwrap().unwrap_err().is_cancelled());
            in_time
        })
    });
}

/// Also when the signal for that ends the process.
#[test]
fn a_peer_vanishes_meanwhile() {
    alone("slow::a_peer_vanishes_meanwhile", || {
        // SAFETY: nothing in this process relies on the signal.
        #[allow(unsafe_code)]
        unsafe {
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        }
        for pause in [0, 1, 3, 10, 30] {
            let (here, mut there) = UnixStream::pair().unwrap();
            let client = Client::new(here).unwrap();
            thread::scope(|scope| {
                let call = scope.spawn(|| client.echo(&Context::new(), large()));
                read_begin(&mut there);
                thread::sleep(Duration::from_millis(pause));
                drop(there);
                let error = call.join().unwrap().unwrap_err();
                assert!(error.is_closed() || error.is_io(), "{error}");
            });
            assert!(client.echo(&Context::new(), "x").is_err());
        }
    });
}

/// Neither reads before it has written all.
#[test]
fn both_write_at_once() {
    patiently(|| {
        let (here, there) = UnixStream::pair().unwrap();
        let client = Client::new(here).unwrap();
        let mut peer = Peer(there);
        let answers = thread::spawn(move || {
            let begin = read_begin(&mut peer.0);
            let mut reply = vec![0x12, 0x80, 0x89, 0x7a];
            reply.extend(vec![2; 2_000_000]);
            peer.frame(1, 2, 0, &reply);
            read_rest(&mut peer.0, &begin);
            let (id, ..) = peer.next().unwrap();
            peer.frame(id, 2, 0, &[0x12, 1, b'x']);
            peer
        });
        let reply = client.echo(&Context::new(), large()).unwrap();
        assert!(reply == vec![2; 2_000_000]);
        assert_eq!(client.echo(&Context::new(), "y").unwrap(), "x");
        drop(answers.join().unwrap());
        let mut limits = Limits::default();
        limits.backlog_bytes = 10 * LARGE;
        let (server, path, serving) = serve(Server::builder().limits(limits).max_threads(1));
        let mut peer = Peer(UnixStream::connect(&path).unwrap());
        for id in [1, 3, 5, 7] {
            peer.request(id, 0, "test.Echo", "Unary", &large(), 0);
        }
        for _ in 0..4 {
            assert_eq!(peer.response().unwrap().1, 0);
        }
        let client = Client::connect(&path).unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        assert!(client.echo(&Context::new(), large()).unwrap() == large());
                    }
                });
            }
        });
        server.close();
        serving.join().unwrap().unwrap();
    });
}

/// However many of them there are, and however few threads.
#[test]
fn a_server_goes_on_meanwhile_and_shuts_down_in_time() {
    patiently(|| {
        for threads in [1, 2] {
            let (server, path, serving) = serve(Server::builder().max_threads(threads));
            let deaf: Vec<_> = (0..6)
                .map(|_| {
                    let mut peer = Peer(UnixStream::connect(&path).unwrap());
                    peer.request(1, 0, "test.Echo", "Unary", &large(), 0);
                    until(|| waiting(&peer.0) > 10_000);
                    // There is room again, for a part.
                    read_begin(&mut peer.0);
                    peer
                })
                .collect();
            let client = Client::connect(&path).unwrap();
            for _ in 0..50 {
                assert_eq!(client.echo(&within(20_000), "x").unwrap(), "x");
            }
            server.shutdown(Duration::from_millis(50));
            serving.join().unwrap().unwrap();
            drop(deaf);
        }
    });
}

/// What is left of a large message is written once a peer takes it again.
#[test]
fn a_pause_is_survived() {
    patiently(|| {
        let (here, mut there) = UnixStream::pair().unwrap();
        let client = Client::new(here).unwrap();
        thread::scope(|scope| {
            let call = scope.spawn(|| client.echo(&Context::new(), large()));
            let begin = read_begin(&mut there);
            thread::sleep(Duration::from_millis(50));
            let rest = read_rest(&mut there, &begin);
            assert!(rest.iter().all(|byte| *byte == 1));
            Peer(there).frame(1, 2, 0, &[0x12, 1, b'x']);
            assert_eq!(call.join().unwrap().unwrap(), "x");
        });
    });
}

/// Each side is at times kept from reading, by what it has not written or by a message that
/// nobody has taken yet.
#[test]
fn both_stream_at_once() {
    patiently(|| {
        let (server, path, serving) = serve(Server::builder());
        let client = Client::connect(&path).unwrap();
        for _ in 0..5 {
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        for _ in 0..4 {
                            let requests = Streaming::from_iter(vec![large(); 3]);
                            let replies = client.chat(&Context::new(), requests).unwrap();
                            assert!(replies.map(Result::unwrap).eq(vec![large(); 3]));
                        }
                    });
                }
            });
        }
        server.close();
        serving.join().unwrap().unwrap();
    });
}
