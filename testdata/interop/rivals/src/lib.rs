//! What the peers on the other implementations in Rust have in common: the console of a
//! server, and the commands and events of a client.

use std::collections::HashMap;
use std::future::Future;
use std::io::BufRead;
use std::process::exit;

use tokio::sync::mpsc;

#[path = "../../src/console.rs"]
mod console;
#[path = "../../src/hex.rs"]
mod hex;

pub use console::Console;

/// The full name of the service.
pub const SERVICE: &str = "interop.v1.Interop";

/// What every server fails with: code, message, details.
pub fn failure() -> Failure {
    let detail = |name: &str, value: &[u8]| {
        let type_url = format!("type.googleapis.com/google.protobuf.{name}");
        (type_url, value.to_vec())
    };
    Failure {
        code: 9,
        message: "příliš žluťoučký kůň 🐎".to_owned(),
        details: vec![
            detail("StringValue", b"\x0a\x06detail"),
            detail("Int64Value", b"\x08\x07"),
        ],
    }
}

/// How a call failed.
pub struct Failure {
    pub code: i32,
    pub message: String,
    pub details: Vec<(String, Vec<u8>)>,
}

/// A call that is to be made.
pub struct Call {
    pub kind: Kind,
    pub service: String,
    pub method: String,
    pub timeout_nano: Option<i64>,
    pub metadata: Vec<(String, String)>,
    pub payload: Vec<u8>,
    /// What is to be sent on a stream, until it is to be closed.
    pub requests: mpsc::UnboundedReceiver<Vec<u8>>,
}

/// What kind of call it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Unary,
    Client,
    Server,
    Bidi,
}

/// Tells of the messages that come in.
#[derive(Clone)]
pub struct Replies(String);

impl Replies {
    pub fn message(&self, payload: &[u8]) {
        println!("message {} {}", self.0, hex::encode(payload));
    }

    fn ended(&self, result: Result<(), Failure>) {
        let Err(failure) = result else {
            return println!("end {}", self.0);
        };
        let detail = |(url, value): &(String, Vec<u8>)| {
            format!("{}:{}", hex::encode(url.as_bytes()), hex::encode(value))
        };
        let details: Vec<_> = failure.details.iter().map(detail).collect();
        let details = match details.is_empty() {
            true => "-".to_owned(),
            false => details.join(","),
        };
        let message = hex::encode(failure.message.as_bytes());
        println!("fail {} {} {message} {details}", self.0, failure.code);
    }
}

/// A client of one of the implementations.
pub trait Caller: Clone + Send + 'static {
    /// Makes a call to its end.
    fn call(
        &self,
        call: Call,
        replies: Replies,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// Says what mode this process is to run in, and with which socket.
pub fn mode() -> (String, String) {
    let mut args = std::env::args().skip(1);
    match (args.next(), args.next()) {
        (Some(mode), Some(socket)) => (mode, socket),
        _ => {
            eprintln!("expected `serve SOCKET` or `call SOCKET`");
            exit(1)
        }
    }
}

/// Does what the input says, a command a line; `puppet.rs` of the runner has them.
pub fn obey(caller: impl Caller) {
    println!("ready");
    let mut calls = HashMap::new();
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        if command(&caller, &mut calls, &line).is_none() {
            eprintln!("not a command: {:.100}", line);
            exit(1);
        }
    }
}

type Requests = Option<mpsc::UnboundedSender<Vec<u8>>>;

fn command(
    caller: &impl Caller,
    calls: &mut HashMap<String, (Requests, tokio::task::AbortHandle)>,
    line: &str,
) -> Option<()> {
    let mut words = line.split(' ');
    let (command, id) = (words.next()?, words.next()?);
    match command {
        "open" => {
            let (requests, receiver) = mpsc::unbounded_channel();
            let call = open(words, receiver)?;
            let (caller, replies) = (caller.clone(), Replies(id.to_owned()));
            let running = tokio::spawn(async move {
                let result = caller.call(call, replies.clone()).await;
                replies.ended(result);
            });
            calls.insert(id.to_owned(), (Some(requests), running.abort_handle()));
        }
        "send" => {
            let payload = hex::decode(words.next()?)?;
            if let (Some(requests), _) = calls.get(id)? {
                // The call may be over.
                let _ = requests.send(payload);
            }
        }
        "close" => calls.get_mut(id)?.0 = None,
        "cancel" => {
            let (_, running) = calls.get(id)?;
            if !running.is_finished() {
                // A call is given up by dropping it.
                running.abort();
                Replies(id.to_owned()).ended(Err(Failure {
                    code: 1,
                    message: "given up".to_owned(),
                    details: Vec::new(),
                }));
            }
        }
        _ => return None,
    }
    Some(())
}

fn open<'a>(
    mut words: impl Iterator<Item = &'a str>,
    requests: mpsc::UnboundedReceiver<Vec<u8>>,
) -> Option<Call> {
    let kind = match words.next()? {
        "unary" => Kind::Unary,
        "client" => Kind::Client,
        "server" => Kind::Server,
        "bidi" => Kind::Bidi,
        _ => return None,
    };
    let (service, method) = (words.next()?.to_owned(), words.next()?.to_owned());
    let timeout_nano = match words.next()? {
        "-" => None,
        timeout => Some(timeout.parse().ok()?),
    };
    let text = |word: &str| String::from_utf8(hex::decode(word)?).ok();
    let pair = |pair: &str| {
        let (key, value) = pair.split_once(':')?;
        Some((text(key)?, text(value)?))
    };
    let metadata = words.next()?.split(',').filter(|pair| *pair != "-");
    Some(Call {
        kind,
        service,
        method,
        timeout_nano,
        metadata: metadata.map(pair).collect::<Option<_>>()?,
        payload: hex::decode(words.next()?)?,
        requests,
    })
}
