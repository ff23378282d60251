//! A client in another process and another language, that does what it is told: as a
//! service it is like any other client.
//!
//! It gets commands and tells of events, a line each, for any number of calls at once:
//!
//! ```text
//! open ID KIND SERVICE METHOD TIMEOUT METADATA PAYLOAD     message ID PAYLOAD
//! send ID PAYLOAD                                          end ID
//! close ID                                                 fail ID CODE MESSAGE DETAILS
//! cancel ID
//! ```
//!
//! KIND is `unary`, `client`, `server` or `bidi`, TIMEOUT is in nanoseconds. PAYLOAD,
//! MESSAGE and what METADATA (`key:value,…`) and DETAILS (`type:value,…`) are made of
//! are hexadecimal. What is absent or empty is `-`.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protobuf::Message;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use ttrpc_runtime::{Any, Code, Context, Error, Result, Status, Streaming};

use crate::hex;
use crate::outcome::Outcome;
use crate::process::Process;

/// A client that does what it is told; a clone is the same one. Its process ends with
/// the last clone, and with it the connection.
#[derive(Clone)]
pub struct Puppet {
    shared: Arc<Shared>,
}

struct Shared {
    commands: mpsc::Sender<String>,
    calls: Mutex<Calls>,
    next_id: AtomicU64,
}

type Calls = HashMap<u64, mpsc::UnboundedSender<Event>>;

/// What happens to a call.
enum Event {
    Message(Vec<u8>),
    End,
    Fail(Status),
}

impl Puppet {
    pub async fn start(program: &Path, socket: &Path) -> Outcome<Self> {
        let process = Process::start(program, "call", socket).await?;
        let (commands, queue) = mpsc::channel(64);
        let shared = Arc::new(Shared {
            commands,
            calls: Mutex::default(),
            next_id: AtomicU64::new(1),
        });
        tokio::spawn(drive(process, queue, Arc::downgrade(&shared)));
        Ok(Self { shared })
    }

    /// Ends the process, and so its connection, at once.
    pub async fn kill(&self) {
        self.tell("die".to_owned()).await;
    }

    /// Where the process has ended, all calls fail.
    async fn tell(&self, command: String) {
        if self.shared.commands.send(command).await.is_err() {
            self.shared.calls().clear();
        }
    }

    async fn open<M: Message>(
        &self,
        ctx: &Context,
        (kind, service, method): (&str, &str, &str),
        request: Option<M>,
    ) -> Result<Call> {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, events) = mpsc::unbounded_channel();
        self.shared.calls().insert(id, sender);
        let timeout = match ctx.time_left() {
            None => "-".to_owned(),
            // The time is up: so it is for the puppet.
            Some(left) if left.is_zero() => "-1000000".to_owned(),
            Some(left) => left.as_nanos().to_string(),
        };
        let metadata: Vec<_> = ctx
            .metadata()
            .iter()
            .map(|(key, value)| format!("{}:{}", hex(key), hex(value)))
            .collect();
        let metadata = match metadata.is_empty() {
            true => "-".to_owned(),
            false => metadata.join(","),
        };
        let payload = request.map_or_else(|| Ok("-".to_owned()), |request| encode(&request))?;
        self.tell(format!(
            "open {id} {kind} {service} {method} {timeout} {metadata} {payload}"
        ))
        .await;
        Ok(Call {
            id,
            puppet: self.clone(),
            events,
            ctx: ctx.clone(),
            cancelled: false,
        })
    }

    pub async fn unary<Req: Message, Rep: Message>(
        &self,
        ctx: &Context,
        service: &str,
        method: &str,
        request: Req,
    ) -> Result<Rep> {
        let call = self.open(ctx, ("unary", service, method), Some(request));
        call.await?.only().await
    }

    pub async fn server<Req: Message, Rep: Message>(
        &self,
        ctx: &Context,
        service: &str,
        method: &str,
        request: Req,
    ) -> Result<Streaming<Rep>> {
        let call = self.open(ctx, ("server", service, method), Some(request));
        Ok(call.await?.replies())
    }

    pub async fn client<Req: Message, Rep: Message>(
        &self,
        ctx: &Context,
        service: &str,
        method: &str,
        requests: Streaming<Req>,
    ) -> Result<Rep> {
        let call = self.open::<Req>(ctx, ("client", service, method), None);
        let call = call.await?;
        tokio::spawn(self.clone().feed(call.id, requests));
        call.only().await
    }

    pub async fn bidi<Req: Message, Rep: Message>(
        &self,
        ctx: &Context,
        service: &str,
        method: &str,
        requests: Streaming<Req>,
    ) -> Result<Streaming<Rep>> {
        let call = self.open::<Req>(ctx, ("bidi", service, method), None);
        let call = call.await?;
        tokio::spawn(self.clone().feed(call.id, requests));
        Ok(call.replies())
    }

    /// Sends requests for as long as there are any, whatever became of the call.
    async fn feed<M: Message>(self, id: u64, mut requests: Streaming<M>) {
        while let Ok(Some(request)) = requests.message().await {
            let Ok(payload) = encode(&request) else {
                break;
            };
            self.tell(format!("send {id} {payload}")).await;
        }
        self.tell(format!("close {id}")).await;
    }
}

impl Shared {
    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dispatch(&self, line: &str) -> Option<()> {
        let mut words = line.split(' ');
        let event = words.next()?;
        let id = words.next()?.parse().ok()?;
        let event = match event {
            "message" => Event::Message(hex::decode(words.next()?)?),
            "end" => Event::End,
            "fail" => Event::Fail(status(words)?),
            _ => return None,
        };
        let mut calls = self.calls();
        if let Some(call) = calls.get(&id) {
            let is_last = !matches!(event, Event::Message(_));
            // Where nobody listens, nobody wants to know.
            let _ = call.send(event);
            if is_last {
                calls.remove(&id);
            }
        }
        Some(())
    }
}

fn status<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<Status> {
    let code = Code(words.next()?.parse().ok()?);
    let message = String::from_utf8(hex::decode(words.next()?)?).ok()?;
    let mut status = Status::new(code, message);
    for detail in words.next()?.split(',').filter(|detail| *detail != "-") {
        let (type_url, value) = detail.split_once(':')?;
        status.details.push(Any {
            type_url: String::from_utf8(hex::decode(type_url)?).ok()?,
            value: hex::decode(value)?.into(),
        });
    }
    Some(status)
}

fn hex(text: &str) -> String {
    hex::encode(text.as_bytes())
}

fn encode(message: &impl Message) -> Result<String> {
    let encoded = message.write_to_bytes();
    let encoded = encoded.map_err(|error| Status::internal(error.to_string()))?;
    Ok(hex::encode(&encoded))
}

/// Carries commands and events until the puppet is dropped or its process ends.
async fn drive(
    process: Process,
    mut commands: mpsc::Receiver<String>,
    shared: std::sync::Weak<Shared>,
) {
    let Process {
        mut input,
        mut output,
        ..
    } = process;
    let writing = async {
        while let Some(mut command) = commands.recv().await {
            command.push('\n');
            if command == "die\n" || input.write_all(command.as_bytes()).await.is_err() {
                break;
            }
        }
    };
    let reading = async {
        let mut line = String::new();
        while let Ok(1..) = output.read_line(&mut line).await {
            let Some(shared) = shared.upgrade() else {
                break;
            };
            if shared.dispatch(line.trim_end()).is_none() {
                break;
            }
            line.clear();
        }
    };
    tokio::select! {
        () = writing => {}
        () = reading => {}
    }
    commands.close();
    if let Some(shared) = shared.upgrade() {
        shared.calls().clear();
    }
}

/// A call of a puppet. Dropping it gives it up.
struct Call {
    id: u64,
    puppet: Puppet,
    events: mpsc::UnboundedReceiver<Event>,
    ctx: Context,
    cancelled: bool,
}

impl Call {
    async fn message<M: Message>(&mut self) -> Result<Option<M>> {
        let event = loop {
            tokio::select! {
                event = self.events.recv() => break event,
                () = self.ctx.cancelled(), if !self.cancelled => {
                    self.cancelled = true;
                    self.puppet.tell(format!("cancel {}", self.id)).await;
                }
            }
        };
        match event {
            Some(Event::Message(payload)) => match M::parse_from_bytes(&payload) {
                Ok(message) => Ok(Some(message)),
                Err(error) => Err(Status::internal(error.to_string()).into()),
            },
            Some(Event::End) => Ok(None),
            Some(Event::Fail(status)) => Err(status.into()),
            None => Err(Status::unavailable("the puppet's process has ended").into()),
        }
    }

    /// The only message.
    async fn only<M: Message>(mut self) -> Result<M> {
        match self.message().await? {
            Some(message) => Ok(message),
            None => Err(Error::from(Status::internal("a call without a reply"))),
        }
    }

    fn replies<M: Message>(mut self) -> Streaming<M> {
        Streaming::produce(async move |sender| {
            while let Some(message) = self.message().await? {
                sender.send(message).await?;
            }
            Ok(())
        })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.puppet.shared.calls().remove(&self.id).is_some() {
            // Where there is no room for it, the puppet lives with the call.
            let command = format!("cancel {}", self.id);
            let _ = self.puppet.shared.commands.try_send(command);
        }
    }
}
