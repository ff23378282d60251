//! What goes wrong beneath a connection: interrupted calls, peers that are gone, no
//! descriptors.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ttrpc_runtime::blocking::{Call, Client, Server, Streaming};
use ttrpc_runtime::codec::Raw;
use ttrpc_runtime::{Context, Listener, Result};

use crate::ends::{path, serve};
use crate::peer::Peer;
use crate::support::{Calls, Custom, Echo, alone, bytes, number, threads, until, within};

/// A connection whose buffers hold next to nothing.
#[allow(unsafe_code)]
pub fn tiny() -> (UnixStream, UnixStream) {
    let (here, there) = UnixStream::pair().unwrap();
    for socket in [&here, &there] {
        for option in [libc::SO_SNDBUF, libc::SO_RCVBUF] {
            let len: libc::c_int = 1;
            let size = size_of_val(&len) as libc::socklen_t;
            let file = socket.as_raw_fd();
            // SAFETY: the pointer is to a number of that size.
            let failed = unsafe {
                libc::setsockopt(
                    file,
                    libc::SOL_SOCKET,
                    option,
                    (&raw const len).cast(),
                    size,
                )
            };
            assert_eq!(failed, 0);
        }
    }
    (here, there)
}

pub fn serve_over(there: UnixStream) -> thread::JoinHandle<ttrpc_runtime::Result<()>> {
    let server = Server::builder().service(Echo).build().unwrap();
    thread::spawn(move || server.serve_connection(there))
}

/// All kinds of call, small and large, from some threads.
pub fn use_it(client: &Client, threads: u64, rounds: u64, large: usize) {
    thread::scope(|scope| {
        for t in 0..threads {
            scope.spawn(move || {
                let ctx = Context::new();
                for n in 0..rounds {
                    let request = bytes(t << 32 | n);
                    assert_eq!(client.echo(&ctx, request.clone()).unwrap(), request);
                    if n % 10 == 0 {
                        let message = Bytes::from(vec![n as u8; large]);
                        assert!(client.echo(&ctx, message.clone()).unwrap() == message);
                        let numbers = client.numbers(&ctx, 100).unwrap();
                        assert!(numbers.map(|n| number(&n.unwrap())).eq(0..100));
                        let numbers = Streaming::from_iter((0..100).map(bytes));
                        assert_eq!(client.sum(&ctx, numbers).unwrap(), 4950);
                        let requests = Streaming::from_iter(vec![message; 3]);
                        let replies = client.chat(&ctx, requests).unwrap();
                        assert_eq!(replies.map(|m| m.unwrap().len()).sum::<usize>(), 3 * large);
                    }
                }
            });
        }
    });
}

static INTERRUPTIONS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn interrupted(_: libc::c_int) {
    INTERRUPTIONS.fetch_add(1, Ordering::Relaxed);
}

/// Interrupts every thread of the process all the time, except the one that does it.
#[allow(unsafe_code)]
fn interrupt(done: &AtomicBool) {
    // SAFETY: the handler does nothing but to count; there is no SA_RESTART.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = interrupted as extern "C" fn(libc::c_int) as usize;
        libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut());
    }
    // SAFETY: they have no preconditions; a thread that has ended is an error.
    let (process, me) = unsafe { (libc::getpid(), libc::syscall(libc::SYS_gettid)) };
    while !done.load(Ordering::Relaxed) {
        for task in std::fs::read_dir("/proc/self/task").unwrap() {
            let task: i64 = task.unwrap().file_name().to_str().unwrap().parse().unwrap();
            if task != me {
                // SAFETY: as above.
                unsafe { libc::syscall(libc::SYS_tgkill, process, task, libc::SIGUSR1) };
            }
        }
        thread::sleep(Duration::from_micros(300));
    }
}

#[test]
fn interrupted_system_calls() {
    alone("faults::interrupted_system_calls", || {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| interrupt(&done));
            until(|| INTERRUPTIONS.load(Ordering::Relaxed) > 10);
            let (server, path, serving) = serve(Server::builder());
            let client = Client::connect(&path).unwrap();
            use_it(&client, 1, 100, 300_000);
            use_it(&client, 4, 100, 100_000);
            use_it(&client, 1, 30, 4_000_000);
            let (here, there) = tiny();
            let over = serve_over(there);
            use_it(&Client::new(here).unwrap(), 2, 20, 100_000);
            over.join().unwrap().unwrap();
            // Deadlines and cancellations are found all the same.
            let (here, _there) = UnixStream::pair().unwrap();
            let ignored = Client::new(here).unwrap();
            for millis in [5, 40, 200] {
                let begun = Instant::now();
                assert!(ignored.echo(&within(millis), "x").unwrap_err().is_timeout());
                let took = begun.elapsed();
                assert!(took >= Duration::from_millis(millis), "{took:?}");
                assert!(took < Duration::from_secs(10), "{took:?}");
            }
            let (ctx, canceller) = Context::new().with_cancel();
            let cancels = thread::spawn(move || {
                thread::sleep(Duration::from_millis(30));
                canceller.cancel();
            });
            assert!(ignored.echo(&ctx, "x").unwrap_err().is_cancelled());
            cancels.join().unwrap();
            drop(client);
            server.shutdown(Duration::MAX);
            serving.join().unwrap().unwrap();
            done.store(true, Ordering::Relaxed);
        });
        assert!(INTERRUPTIONS.load(Ordering::Relaxed) > 100);
    });
}

#[test]
fn a_peer_that_is_gone_is_no_signal() {
    alone("faults::a_peer_that_is_gone_is_no_signal", || {
        // SAFETY: nothing in this process relies on the signal.
        #[allow(unsafe_code)]
        unsafe {
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        }
        let (server, path, serving) = serve(Server::builder());
        let base = threads();
        let client = Client::connect(&path).unwrap();
        client.echo(&Context::new(), "x").unwrap();
        let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        until(|| threads() == base);
        let open = descriptors();
        for round in 0..100 {
            let mut peer = Peer(UnixStream::connect(&path).unwrap());
            peer.request(1, 0, "test.Echo", "Unary", b"sleep 3", 0);
            peer.request(3, 1, "test.Echo", "Numbers", &bytes(1_000_000), 0);
            if round % 2 == 0 {
                let _ = peer.0.write_all(b"\0\0\x10");
            }
            drop(peer);
            let (here, there) = UnixStream::pair().unwrap();
            drop(there);
            let gone = Client::new(here).unwrap();
            assert!(gone.echo(&Context::new(), "x").unwrap_err().is_closed());
        }
        assert_eq!(client.echo(&Context::new(), "x").unwrap(), "x");
        until(|| format!("{server:?}").contains("connections: 1"));
        // Threads that have ended take what wakes them with them.
        until(|| threads() == base);
        // This thread may have needed something to wake it meanwhile: two of them.
        assert!(descriptors() <= open + 2, "{} and {open}", descriptors());
        server.close();
        serving.join().unwrap().unwrap();
    });
}

#[test]
fn no_descriptors_left() {
    alone("faults::no_descriptors_left", || {
        let path = path();
        let complaints = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&complaints);
        let (tell, told) = mpsc::channel();
        let tell = std::sync::Mutex::new(tell);
        let server = Server::builder()
            .service(Echo)
            .on_accept_error(move |_| {
                counted.fetch_add(1, Ordering::Relaxed);
                tell.lock().unwrap().send(()).unwrap();
            })
            .build()
            .unwrap();
        let (serves, listener) = (server.clone(), Listener::bind(&path).unwrap());
        let serving = thread::spawn(move || serves.serve(listener));
        let before = Client::connect(&path).unwrap();
        before.echo(&Context::new(), "x").unwrap();
        let socket = UnixStream::connect(&path).unwrap();
        until(|| format!("{server:?}").contains("connections: 2"));
        let mut files = Vec::new();
        while let Ok(file) = std::fs::File::open("/dev/null") {
            files.push(file);
        }
        drop(files.pop());
        let late = UnixStream::connect(&path).unwrap();
        told.recv().unwrap();
        // Those that are there go on meanwhile, also from a thread that has no bell.
        let (ctx, canceller) = Context::new().with_cancel();
        thread::scope(|scope| {
            scope.spawn(|| {
                assert_eq!(
                    before.echo(&Context::new(), "sleep 50").unwrap(),
                    "sleep 50"
                )
            });
            let waits = scope.spawn(|| before.echo(&ctx, "wait x").unwrap_err());
            thread::sleep(Duration::from_millis(100));
            canceller.cancel();
            assert!(waits.join().unwrap().is_cancelled());
        });
        files.clear();
        let client = Client::new(late).unwrap();
        assert_eq!(client.echo(&Context::new(), "x").unwrap(), "x");
        assert_eq!(complaints.load(Ordering::Relaxed), 1);
        drop(socket);
        server.close();
        serving.join().unwrap().unwrap();
    });
}

/// What is left of a want of descriptors that is over is no reason to look again and again.
#[test]
fn who_has_waited_for_descriptors_sleeps_when_there_are_some() {
    alone(
        "faults::who_has_waited_for_descriptors_sleeps_when_there_are_some",
        || {
            let path = path();
            let (tell, told) = mpsc::channel();
            let tell = std::sync::Mutex::new(tell);
            let server = Server::builder()
                .service(Echo)
                .on_accept_error(move |_| tell.lock().unwrap().send(()).unwrap())
                .build()
                .unwrap();
            let (serves, listener) = (server.clone(), Listener::bind(&path).unwrap());
            let named = thread::Builder::new().name("accepts".into());
            let serving = named.spawn(move || serves.serve(listener)).unwrap();
            let before = Client::connect(&path).unwrap();
            before.echo(&Context::new(), "x").unwrap();
            let mut files = Vec::new();
            while let Ok(file) = std::fs::File::open("/dev/null") {
                files.push(file);
            }
            // Enough for one connection, and nothing to look whether there is another one.
            files.truncate(files.len() - 2);
            let last = UnixStream::connect(&path).unwrap();
            told.recv().unwrap();
            files.clear();
            // It has looked again by then: it waits for less.
            thread::sleep(Duration::from_millis(200));
            until(|| state_of("accepts") == Some('S'));
            drop(last);
            server.close();
            serving.join().unwrap().unwrap();
        },
    );
}

/// What a thread of this process does, as the system says.
fn state_of(name: &str) -> Option<char> {
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let text = std::fs::read_to_string(task.unwrap().path().join("stat")).ok()?;
        if let Some((_, state)) = text.split_once(&format!("({name}) ")) {
            return state.chars().next();
        }
    }
    None
}

/// Whoever looks after the threads for all listeners may panic where it calls the user.
#[test]
fn a_listener_that_panics_leaves_the_others_their_threads() {
    const TOGETHER: usize = 12;
    alone(
        "faults::a_listener_that_panics_leaves_the_others_their_threads",
        || {
            let barrier = Arc::new(Barrier::new(TOGETHER));
            let meets = Custom(move |call: Call| {
                let barrier = Arc::clone(&barrier);
                call.unary(Raw, move |_, request: Bytes| {
                    barrier.wait();
                    Ok(request)
                })
            });
            let server = Server::builder()
                .service(Echo)
                .service(meets)
                .on_accept_error(|_| panic!("as expected"))
                .build()
                .unwrap();
            let serve = |path| {
                let (serves, listener) = (server.clone(), Listener::bind(path).unwrap());
                thread::spawn(move || serves.serve(listener))
            };
            let paths = [path(), path()];
            let [panics, stays] = paths.each_ref().map(serve);
            let busy = Client::connect(&paths[0]).unwrap();
            let clients = [(); TOGETHER].map(|()| Client::connect(&paths[1]).unwrap());
            for client in &clients {
                client.echo(&Context::new(), "x").unwrap();
            }
            let mut files = Vec::new();
            let works = thread::spawn(move || while busy.echo(&Context::new(), "x").is_ok() {});
            // By then it looks after the threads.
            thread::sleep(Duration::from_millis(50));
            while let Ok(file) = std::fs::File::open("/dev/null") {
                files.push(file);
            }
            files.pop();
            let late = UnixStream::connect(&paths[0]).unwrap();
            assert!(panics.join().is_err());
            works.join().unwrap();
            files.clear();
            thread::scope(|scope| {
                for client in &clients {
                    scope.spawn(|| {
                        let ctx = Context::new();
                        let met: Result<Bytes> =
                            client.unary(Raw, &ctx, "test.Custom", "Meet", Bytes::new());
                        met.unwrap();
                    });
                }
            });
            drop(late);
            server.close();
            stays.join().unwrap().unwrap();
        },
    );
}
