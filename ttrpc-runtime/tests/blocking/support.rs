//! A service of bytes, and a server and a client of it.

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ttrpc_runtime::blocking::{
    Call, Client, ClientBuilder, Reply, Server, ServerBuilder, Service, Streaming,
};
use ttrpc_runtime::codec::Raw;
use ttrpc_runtime::{CallContext, Context, Result, Status};

/// Answers as the request says.
pub struct Echo;

impl Service for Echo {
    fn name(&self) -> &'static str {
        "test.Echo"
    }

    fn call(&self, call: Call) -> Reply {
        match call.method() {
            "Unary" => call.unary(Raw, unary),
            "Numbers" => call.server_streaming(Raw, |_, request: Bytes| {
                let count = number(&request);
                Ok(Streaming::from_iter((0..count).map(bytes)))
            }),
            "Sum" => call.client_streaming(Raw, |_, requests: Streaming<Bytes>| {
                let mut sum = 0;
                for request in requests {
                    sum += number(&request?);
                }
                Ok(bytes(sum))
            }),
            "Chat" => call.bidi_streaming(Raw, |_, requests: Streaming<Bytes>| Ok(requests)),
            _ => call.unimplemented(),
        }
    }
}

fn unary(ctx: CallContext, request: Bytes) -> Result<Bytes> {
    match std::str::from_utf8(&request)
        .unwrap_or_default()
        .split_once(' ')
    {
        Some(("sleep", millis)) => {
            std::thread::sleep(Duration::from_millis(millis.parse().unwrap()));
        }
        Some(("wait", _)) => {
            ctx.wait_cancelled(Duration::from_secs(20));
            return Err(Status::cancelled("it was cancelled").into());
        }
        Some(("panic", _)) => panic!("as asked"),
        Some(("fail", message)) => return Err(Status::aborted(message).into()),
        _ => {}
    }
    Ok(request)
}

pub fn bytes(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_le_bytes())
}

pub fn number(bytes: &Bytes) -> u64 {
    u64::from_le_bytes(bytes[..].try_into().unwrap())
}

/// Answers as a test says: `test.Custom`.
pub struct Custom<F>(pub F);

impl<F: Fn(Call) -> Reply + Send + Sync + 'static> Service for Custom<F> {
    fn name(&self) -> &'static str {
        "test.Custom"
    }

    fn call(&self, call: Call) -> Reply {
        (self.0)(call)
    }
}

/// A server of one connection, with its client.
pub struct Pair {
    pub client: Client,
    pub server: Server,
    serving: Option<JoinHandle<Result<()>>>,
}

impl Pair {
    pub fn new() -> Self {
        Self::with(|server| server, |client| client)
    }

    pub fn with(
        server: impl FnOnce(ServerBuilder) -> ServerBuilder,
        client: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Self {
        let (here, there) = UnixStream::pair().unwrap();
        let server = server(Server::builder().service(Echo)).build().unwrap();
        let serves = server.clone();
        let serving = std::thread::spawn(move || serves.serve_connection(there));
        Self {
            client: client(Client::builder()).over(here).unwrap(),
            server,
            serving: Some(serving),
        }
    }

    /// With a service that answers as the test says.
    pub fn custom(answer: impl Fn(Call) -> Reply + Send + Sync + 'static) -> Self {
        Self::with(|server| server.service(Custom(answer)), |client| client)
    }

    /// Closes the client and waits for the server.
    pub fn end(mut self) -> Result<()> {
        drop(self.client);
        let serving = self.serving.take().unwrap();
        patiently(move || serving.join().unwrap())
    }
}

/// Calls of the service.
pub trait Calls {
    fn client(&self) -> &Client;

    fn echo(&self, ctx: &Context, request: impl Into<Bytes>) -> Result<Bytes> {
        let request = request.into();
        self.client().unary(Raw, ctx, "test.Echo", "Unary", request)
    }

    /// A unary call of the service that a test has made.
    fn custom(&self, ctx: &Context, method: &str, request: impl Into<Bytes>) -> Result<Bytes> {
        let request = request.into();
        self.client()
            .unary(Raw, ctx, "test.Custom", method, request)
    }

    fn numbers(&self, ctx: &Context, count: u64) -> Result<Streaming<Bytes>> {
        self.client()
            .server_streaming(Raw, ctx, "test.Echo", "Numbers", bytes(count))
    }

    fn sum(&self, ctx: &Context, numbers: Streaming<Bytes>) -> Result<u64> {
        let sum: Result<Bytes> =
            self.client()
                .client_streaming(Raw, ctx, "test.Echo", "Sum", numbers);
        Ok(number(&sum?))
    }

    fn chat(&self, ctx: &Context, requests: Streaming<Bytes>) -> Result<Streaming<Bytes>> {
        self.client()
            .bidi_streaming(Raw, ctx, "test.Echo", "Chat", requests)
    }
}

impl Calls for Client {
    fn client(&self) -> &Client {
        self
    }
}

impl Calls for Pair {
    fn client(&self) -> &Client {
        &self.client
    }
}

/// A context with that much time.
pub fn within(millis: u64) -> Context {
    Context::new().with_timeout(Duration::from_millis(millis))
}

/// What a test does that must not hang.
pub fn patiently<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = mpsc::channel();
    let works = std::thread::spawn(move || {
        let _ = tell.send(f());
    });
    match told.recv_timeout(PATIENCE) {
        Ok(outcome) => outcome,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hangs"),
        Err(mpsc::RecvTimeoutError::Disconnected) => match works.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => unreachable!("it has sent its outcome"),
        },
    }
}

/// Far more than anything takes on the slowest machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until something is so.
pub fn until(is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "it never is so");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// How many bytes a socket has to be read.
#[allow(unsafe_code)]
pub fn waiting(socket: &UnixStream) -> usize {
    let mut len: libc::c_int = 0;
    // SAFETY: the pointer is to where the number is to be written.
    unsafe { libc::ioctl(socket.as_raw_fd(), libc::FIONREAD, &raw mut len) };
    len.try_into().unwrap()
}

/// How many threads this process has.
pub fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// Runs a test in a process of its own.
pub fn alone(name: &str, test: impl FnOnce() + Send + 'static) {
    alone_with(None, name, test);
}

/// The same, with a variable of its environment set.
pub fn alone_with(
    variable: Option<(&str, &str)>,
    name: &str,
    test: impl FnOnce() + Send + 'static,
) {
    const CHILD: &str = "TTRPC_BLOCKING_CHILD";
    if std::env::var_os(CHILD).is_some() {
        return patiently(test);
    }
    let output = std::process::Command::new("sh")
        .args([
            "-c",
            "ulimit -n 4096; exec \"$0\" --exact \"$1\" --nocapture",
        ])
        .arg(std::env::current_exe().unwrap())
        .arg(name)
        .env(CHILD, "1")
        .envs(variable)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
