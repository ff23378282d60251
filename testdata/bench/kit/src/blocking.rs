//! Load on the clients of blocking implementations.

use std::thread;

use bytes::Bytes;

use crate::allocations;
use crate::args::{Args, Mode};
use crate::clock::Clock;
use crate::cold::Cold;
use crate::report::Report;
use crate::serving;
use crate::tally::Lap;

/// A load's thread needs no more.
const STACK: usize = 128 << 10;

/// One connection of an implementation, used as its own users would.
pub trait Caller: Clone + Send + Sync + Sized + 'static {
    /// A stream that is open.
    type Held;

    fn connect(socket: &str) -> Self;

    /// Makes a call; gives the size of the payload that came back.
    fn unary(&self, data: Bytes) -> usize;

    /// Whether one thread makes several calls at once, by [`unary_each`](Self::unary_each);
    /// otherwise there is a thread for each.
    const HAS_PENDING: bool = false;

    /// Makes the calls of several loads from this thread, one of each at a time and each on
    /// its connection, until [`Lap::call`] says of each that it is enough.
    fn unary_each(_data: Bytes, _loads: Vec<(&Self, Lap)>) {
        panic!("this implementation waits for each call")
    }

    /// Receives a stream; counts each of its messages.
    fn server_stream(&self, _messages: u64, _size: usize, _lap: &mut Lap) -> u64 {
        panic!("this implementation has no streams")
    }

    /// Sends a stream; gives the number of messages that the server says it got.
    fn client_stream(&self, _data: Bytes, _messages: u64) -> u64 {
        panic!("this implementation has no streams")
    }

    /// Sends and receives in turn on one stream, until [`Lap::call`] says that it is
    /// enough.
    fn bidi(&self, _data: Bytes, _lap: &mut Lap) {
        panic!("this implementation has no streams")
    }

    /// Opens a stream and uses it once.
    fn hold(&self, _data: Bytes) -> Self::Held {
        panic!("this implementation has no streams")
    }
}

/// A server's `main`. `serve` is told the socket, and what to call once it listens.
pub fn serve(serve: fn(String, fn())) {
    serve(serving::socket(), serving::ready);
}

/// A client's `main`.
pub fn client<C: Caller>() {
    let args = Args::parse();
    if let Some(cold) = Cold::start(&args) {
        let size = C::connect(&args.socket).unary(args.payload());
        assert_eq!(size, args.size);
        return cold.answered();
    }
    let callers = connect::<C>(&args, args.conns);
    let idle = connect::<C>(&args, args.idle_conns);
    let hold = |_| callers[0].hold(args.payload());
    let held: Vec<_> = (0..args.idle_streams).map(hold).collect();
    if args.mode == Mode::Idle {
        serving::ready();
        let _ = std::io::read_to_string(std::io::stdin());
        return;
    }
    let clock = Clock::start(&args);
    load(&callers, &args);
    clock.finish();
    drop((held, idle));
}

/// A `main` that serves and calls in one process, to count what both take together.
pub fn work<C: Caller>(serve: fn(String, fn())) {
    let args = Args::parse();
    let socket = args.socket.clone();
    thread::spawn(move || serve(socket, serving::listens));
    while !serving::is_listening() {
        thread::yield_now();
    }
    let callers = connect::<C>(&args, args.conns);
    // Everything that grows has grown by then.
    let warmup = Args {
        calls: args.calls.map(|calls| calls / 4),
        ..args.clone()
    };
    load(&callers, &warmup);
    let (count, bytes) = allocations::so_far();
    load(&callers, &args);
    let now = allocations::so_far();
    let report = Report::default()
        .with("allocations", (now.0 - count) as f64)
        .with("allocated", (now.1 - bytes) as f64);
    println!("{report}");
}

fn connect<C: Caller>(args: &Args, conns: usize) -> Vec<C> {
    let connect = |_| {
        let caller = C::connect(&args.socket);
        assert_eq!(caller.unary(args.payload()), args.size);
        caller
    };
    (0..conns).map(connect).collect()
}

/// A thread for each load, unless there is only one, or one thread can have them all.
fn load<C: Caller>(callers: &[C], args: &Args) {
    if let ([caller], 1) = (callers, args.inflight) {
        return run(caller, args);
    }
    let loads = callers
        .iter()
        .flat_map(|caller| std::iter::repeat_n(caller, args.inflight));
    if C::HAS_PENDING && args.mode == Mode::Unary && !args.thread_each {
        let loads = loads.map(|caller| (caller, Lap::new(args))).collect();
        return C::unary_each(args.payload(), loads);
    }
    thread::scope(|scope| {
        for caller in loads {
            let thread = thread::Builder::new().stack_size(STACK);
            thread
                .spawn_scoped(scope, || run(caller, args))
                .expect("no thread");
        }
    });
}

fn run<C: Caller>(caller: &C, args: &Args) {
    let data = args.payload();
    let mut lap = Lap::new(args);
    match args.mode {
        Mode::Unary => loop {
            assert_eq!(caller.unary(data.clone()), args.size);
            if !lap.call() {
                return;
            }
        },
        Mode::ServerStream => loop {
            let got = caller.server_stream(args.messages, args.size, &mut lap);
            assert_eq!(got, args.messages);
            if !lap.stream(args.messages) {
                return;
            }
        },
        Mode::ClientStream => loop {
            let got = caller.client_stream(data.clone(), args.messages);
            assert_eq!(got, args.messages);
            lap.messages(args.messages);
            if !lap.stream(args.messages) {
                return;
            }
        },
        Mode::Bidi => caller.bidi(data, &mut lap),
        Mode::Idle => {}
    }
}
