//! The command line of clients.

use bytes::Bytes;

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One message each way, again and again.
    Unary,
    /// One message, and many back.
    ServerStream,
    /// Many messages, and one back.
    ClientStream,
    /// A message each way on a stream that stays open, again and again.
    Bidi,
    /// Nothing: connections and streams are opened and held until the input ends.
    Idle,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::ServerStream => "server-stream",
            Self::ClientStream => "client-stream",
            Self::Bidi => "bidi",
            Self::Idle => "idle",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        let modes = [Self::Unary, Self::ServerStream, Self::ClientStream];
        let modes = modes.into_iter().chain([Self::Bidi, Self::Idle]);
        modes.into_iter().find(|mode| mode.name() == name)
    }
}

/// What a client is told.
#[derive(Clone, Debug)]
pub struct Args {
    /// The path of the server's socket.
    pub socket: String,
    pub mode: Mode,
    /// Connections that calls are made on.
    pub conns: usize,
    /// Calls, or streams, at once on each connection.
    pub inflight: usize,
    /// Whether each call has a thread of its own, also where one thread can make several.
    pub thread_each: bool,
    /// Bytes in each payload.
    pub size: usize,
    /// Messages on each stream that goes one way.
    pub messages: u64,
    /// How long to measure, and how long to run before that.
    pub seconds: f64,
    pub warmup: f64,
    /// Calls or messages to make and be done, instead of measuring for a time.
    pub calls: Option<u64>,
    /// Connections that are opened, used once and then held.
    pub idle_conns: usize,
    /// Streams of the first connection that are opened, used once and then held.
    pub idle_streams: usize,
    /// The server's process, to tell its CPU time.
    pub server_pid: Option<u32>,
    /// The server's program: start it, make one call, tell how long that took.
    pub cold: Option<String>,
}

impl Args {
    /// What this process was told.
    ///
    /// # Panics
    /// It was told something else.
    pub fn parse() -> Self {
        Self::from(std::env::args().skip(1))
    }

    fn from(args: impl Iterator<Item = String>) -> Self {
        let mut parsed = Self {
            socket: String::new(),
            mode: Mode::Unary,
            conns: 1,
            inflight: 1,
            thread_each: false,
            size: 64,
            messages: 0,
            seconds: 1.0,
            warmup: 0.2,
            calls: None,
            idle_conns: 0,
            idle_streams: 0,
            server_pid: None,
            cold: None,
        };
        let mut args = args;
        while let Some(key) = args.next() {
            let value = args.next().unwrap_or_default();
            let wrong = || -> ! { panic!("{key} {value:?}: see testdata/bench/README.md") };
            let int = || value.parse::<usize>().unwrap_or_else(|_| wrong());
            let real = || value.parse::<f64>().unwrap_or_else(|_| wrong());
            match key.as_str() {
                "--socket" => parsed.socket = value,
                "--mode" => parsed.mode = Mode::parse(&value).unwrap_or_else(|| wrong()),
                "--conns" => parsed.conns = int(),
                "--inflight" => parsed.inflight = int(),
                "--thread-each" => parsed.thread_each = int() > 0,
                "--size" => parsed.size = int(),
                "--messages" => parsed.messages = int() as u64,
                "--seconds" => parsed.seconds = real(),
                "--warmup" => parsed.warmup = real(),
                "--calls" => parsed.calls = Some(int() as u64),
                "--idle-conns" => parsed.idle_conns = int(),
                "--idle-streams" => parsed.idle_streams = int(),
                "--server-pid" => parsed.server_pid = Some(int() as u32),
                "--cold" => parsed.cold = Some(value),
                // Servers alone mind it.
                "--max-streams" => drop(int()),
                _ => wrong(),
            }
        }
        if parsed.messages == 0 {
            // Long enough for the stream's beginning and end not to count.
            parsed.messages = (64 << 20) / (parsed.size as u64).max(1);
            parsed.messages = parsed.messages.clamp(100, 20_000);
        }
        parsed
    }

    /// A payload as large as asked for.
    pub fn payload(&self) -> Bytes {
        vec![7; self.size].into()
    }

    /// How many calls or messages each of the parallel loads makes.
    pub(crate) fn share(&self) -> u64 {
        self.calls.map_or(u64::MAX, |calls| {
            calls.div_ceil((self.conns * self.inflight) as u64)
        })
    }
}
