//! Load on the clients of asynchronous implementations.

use std::future::Future;

use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinSet, yield_now};

use crate::allocations;
use crate::args::{Args, Mode};
use crate::clock::Clock;
use crate::cold::Cold;
use crate::report::Report;
use crate::serving;
use crate::tally::Lap;

/// One connection of an implementation, used as its own users would.
pub trait Caller: Clone + Send + Sync + Sized + 'static {
    /// A stream that is open.
    type Held: Send + 'static;

    fn connect(socket: &str) -> impl Future<Output = Self> + Send;

    /// Makes a call; gives the size of the payload that came back.
    fn unary(&self, data: Bytes) -> impl Future<Output = usize> + Send;

    /// Receives a stream; counts each of its messages.
    fn server_stream(
        &self,
        messages: u64,
        size: usize,
        lap: &mut Lap,
    ) -> impl Future<Output = u64> + Send;

    /// Sends a stream; gives the number of messages that the server says it got.
    fn client_stream(&self, data: Bytes, messages: u64) -> impl Future<Output = u64> + Send;

    /// Sends and receives in turn on one stream, until [`Lap::call`] says that it is
    /// enough.
    fn bidi(&self, data: Bytes, lap: &mut Lap) -> impl Future<Output = ()> + Send;

    /// Opens a stream and uses it once.
    fn hold(&self, data: Bytes) -> impl Future<Output = Self::Held> + Send;
}

/// The runtime of this process.
pub fn runtime() -> Runtime {
    #[cfg(feature = "multi-thread")]
    let mut builder = Builder::new_multi_thread();
    #[cfg(not(feature = "multi-thread"))]
    let mut builder = Builder::new_current_thread();
    builder.enable_all().build().expect("no runtime")
}

/// A server's `main`. `serve` is told the socket, and what to call once it listens.
pub fn serve<F: Future<Output = ()>>(serve: fn(String, fn()) -> F) {
    runtime().block_on(serve(serving::socket(), serving::ready));
}

/// A client's `main`.
pub fn client<C: Caller>() {
    let args = Args::parse();
    let runtime = runtime();
    if let Some(cold) = Cold::start(&args) {
        let size = runtime.block_on(async {
            let caller = C::connect(&args.socket).await;
            caller.unary(args.payload()).await
        });
        assert_eq!(size, args.size);
        return cold.answered();
    }
    runtime.block_on(async {
        let callers = connect::<C>(&args, args.conns).await;
        let idle = connect::<C>(&args, args.idle_conns).await;
        let mut held = Vec::new();
        for _ in 0..args.idle_streams {
            held.push(callers[0].hold(args.payload()).await);
        }
        if args.mode == Mode::Idle {
            serving::ready();
            let wait = || std::io::read_to_string(std::io::stdin());
            let _ = tokio::task::spawn_blocking(wait).await;
            return;
        }
        let clock = Clock::start(&args);
        load(&callers, &args).await;
        clock.finish();
        drop((held, idle));
    });
}

/// A `main` that serves and calls in one process, to count what both take together.
pub fn work<C: Caller, F: Future<Output = ()> + Send + 'static>(serve: fn(String, fn()) -> F) {
    let args = Args::parse();
    runtime().block_on(async {
        tokio::spawn(serve(args.socket.clone(), serving::listens));
        while !serving::is_listening() {
            yield_now().await;
        }
        let callers = connect::<C>(&args, args.conns).await;
        // Everything that grows has grown by then.
        let warmup = Args {
            calls: args.calls.map(|calls| calls / 4),
            ..args.clone()
        };
        load(&callers, &warmup).await;
        let (count, bytes) = allocations::so_far();
        load(&callers, &args).await;
        let now = allocations::so_far();
        let report = Report::default()
            .with("allocations", (now.0 - count) as f64)
            .with("allocated", (now.1 - bytes) as f64);
        println!("{report}");
    });
}

async fn connect<C: Caller>(args: &Args, conns: usize) -> Vec<C> {
    let mut callers = Vec::with_capacity(conns);
    for _ in 0..conns {
        let caller = C::connect(&args.socket).await;
        assert_eq!(caller.unary(args.payload()).await, args.size);
        callers.push(caller);
    }
    callers
}

async fn load<C: Caller>(callers: &[C], args: &Args) {
    let mut tasks = JoinSet::new();
    for caller in callers {
        for _ in 0..args.inflight {
            tasks.spawn(run(caller.clone(), args.clone(), Lap::new(args)));
        }
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("a load failed");
    }
}

async fn run<C: Caller>(caller: C, args: Args, mut lap: Lap) {
    let data = args.payload();
    match args.mode {
        Mode::Unary => loop {
            assert_eq!(caller.unary(data.clone()).await, args.size);
            if !lap.call() {
                return;
            }
        },
        Mode::ServerStream => loop {
            let got = caller.server_stream(args.messages, args.size, &mut lap);
            assert_eq!(got.await, args.messages);
            if !lap.stream(args.messages) {
                return;
            }
        },
        Mode::ClientStream => loop {
            let got = caller.client_stream(data.clone(), args.messages);
            assert_eq!(got.await, args.messages);
            lap.messages(args.messages);
            if !lap.stream(args.messages) {
                return;
            }
        },
        Mode::Bidi => caller.bidi(data, &mut lap).await,
        Mode::Idle => {}
    }
}
