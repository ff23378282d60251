//! A server of the blocking flavour on a real socket.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ttrpc_runtime::blocking::{Call, Reply, Server, Service, Streaming, unimplemented};
use ttrpc_runtime::codec::Raw;
use ttrpc_runtime::{CallContext, Result};

use crate::demo;
use crate::file::{Step, Vector};
use crate::number::Number;
use crate::replay::{PROBE, check_probe, differs};

/// The service as a user would write it without generated code.
#[derive(Default)]
struct Demo {
    released: Arc<Released>,
}

/// What `Release` does to `Hold` and `Deaf`: how often it was called.
#[derive(Default)]
struct Released(Mutex<u64>, Condvar);

impl Released {
    fn count(&self) -> u64 {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for one that comes after the first `before`.
    fn wait(&self, before: u64, ctx: &CallContext) {
        let mut count = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while *count == before && !ctx.is_cancelled() {
            (count, _) = self
                .1
                .wait_timeout(count, Duration::from_millis(5))
                .unwrap();
        }
    }

    fn release(&self) {
        *self.0.lock().unwrap() += 1;
        self.1.notify_all();
    }
}

impl Service for Demo {
    fn name(&self) -> &'static str {
        demo::SERVICE
    }

    fn call(&self, call: Call) -> Reply {
        let released = Arc::clone(&self.released);
        // Calls come in order, whenever their handlers run.
        let before = released.count();
        match call.method() {
            "Echo" => call.unary(Raw, |_, request: Bytes| Ok(request)),
            "Metadata" => call.unary(Raw, |ctx, _: Bytes| Ok(demo::list(ctx.metadata()))),
            "Zeros" => call.unary(Number, |_, count| Ok(Bytes::from(vec![0; count]))),
            "Fail" => call.unary(Raw, |_, _: Bytes| fail::<Bytes>()),
            "Panic" => call.unary(Raw, |_, _: Bytes| -> Result<Bytes> {
                panic!("as it was asked to")
            }),
            "Missing" => call.unary(Raw, |_, _: Bytes| {
                unimplemented::<Bytes>(demo::SERVICE, "Missing")
            }),
            "Hold" => call.unary(Raw, move |ctx, request: Bytes| {
                released.wait(before, &ctx);
                Ok(request)
            }),
            "Release" => call.unary(Raw, move |_, _: Bytes| {
                released.release();
                Ok(Bytes::new())
            }),
            "Twice" => call.server_streaming(Raw, |_, request: Bytes| {
                Ok(Streaming::from_iter([request.clone(), request]))
            }),
            "OnceAndFail" => call.server_streaming(Raw, |_, request: Bytes| {
                Ok(Streaming::produce(|replies| {
                    replies.send(request)?;
                    fail()
                }))
            }),
            "Join" => call.client_streaming(Raw, |_, requests: Streaming<Bytes>| {
                let mut reply = Vec::new();
                for request in requests {
                    demo::join(&mut reply, &request?);
                }
                Ok(Bytes::from(reply))
            }),
            "First" => call.client_streaming(Raw, |_, mut requests: Streaming<Bytes>| {
                Ok(requests.message()?.unwrap_or_default())
            }),
            "Chat" => call.bidi_streaming(Raw, |_, requests: Streaming<Bytes>| Ok(requests)),
            "Deaf" => call.bidi_streaming(Raw, move |ctx, requests: Streaming<Bytes>| {
                released.wait(before, &ctx);
                drop(requests);
                Ok(Streaming::from_iter([]))
            }),
            _ => call.unimplemented(),
        }
    }
}

fn fail<T>() -> Result<T> {
    Err(demo::failure().into())
}

/// Replays a vector against a server of its own.
pub fn replay(vector: &Vector) -> Result<(), String> {
    let (here, there) = UnixStream::pair().unwrap();
    here.set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let server = Server::builder()
        .service(Demo::default())
        .limits(vector.limits())
        .build()
        .unwrap();
    let serves = server.clone();
    let serving = std::thread::spawn(move || serves.serve_connection(there));
    let result = Peer(here).replay(vector);
    server.close();
    // How it ended is what the vector says, not an error of this server.
    drop(serving.join().unwrap());
    result
}

/// The frames, those of each stream in order.
fn by_stream(mut bytes: &[u8]) -> Vec<(u32, &[u8])> {
    let mut frames = Vec::new();
    while let Some([l0, l1, l2, l3, i0, i1, i2, i3, _, _]) = bytes.first_chunk() {
        let len = 10 + u32::from_be_bytes([*l0, *l1, *l2, *l3]) as usize;
        let (frame, rest) = bytes.split_at(len.min(bytes.len()));
        frames.push((u32::from_be_bytes([*i0, *i1, *i2, *i3]), frame));
        bytes = rest;
    }
    frames.sort_by_key(|(id, _)| *id);
    frames
}

/// The other end of the connection.
struct Peer(UnixStream);

impl Peer {
    fn replay(mut self, vector: &Vector) -> Result<(), String> {
        for round in vector.rounds() {
            let context = |why: &str| format!("[{}] {}: {why}", vector.name, round.text);
            match round.step {
                Step::In(bytes) => {
                    let sent = self.0.write_all(bytes);
                    sent.map_err(|error| context(&error.to_string()))?;
                }
                Step::Eof => self.0.shutdown(Shutdown::Write).unwrap(),
                Step::Closed if self.read(1).is_empty() => {}
                Step::Closed => return Err(context("something comes")),
                _ => return Err(context("a server has no caller and no clock")),
            }
            let got = self.read(round.expected.len());
            // Handlers that run at once may answer in any order.
            if by_stream(&got) != by_stream(&round.expected) {
                return Err(differs(vector, round.text, &round.expected, &got));
            }
        }
        if vector.closes() {
            return Ok(());
        }
        let sent = self.0.write_all(&PROBE);
        sent.map_err(|error| format!("[{}] in the end {error}", vector.name))?;
        let mut answer = self.read(10);
        if let Some(length) = answer.first_chunk::<4>() {
            let len = u32::from_be_bytes(*length) as usize;
            answer.extend(self.read(len));
        }
        check_probe(&answer).map_err(|why| format!("[{}] in the end {why}", vector.name))
    }

    /// Reads so many bytes, or up to the end of the connection.
    fn read(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let mut read = 0;
        while read < len {
            match self.0.read(&mut bytes[read..]) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) => panic!("{error}"),
            }
        }
        bytes.truncate(read);
        bytes
    }
}
