//! Whatever comes and whatever is done: nothing panics, everything ends, every bound
//! holds, and what is sent are frames.

use std::time::Duration;

use ttrpc_runtime::Status;
use ttrpc_runtime::proto::{CallKind, Endpoint};

use crate::frames::{
    RESPONSE, Sent, data, envelope, failure, field, frame, header, parse, reply, request,
    request_within, varint,
};
use crate::simulation::{Client, Driver, Random, Server, lost, stream_id};

const MAX_STREAMS: usize = 8;

fn server() -> Server {
    Server::with(|limits| {
        limits.max_streams = MAX_STREAMS;
        limits.output_bytes = 2000;
        limits.backlog_bytes = 2000;
        limits.inbox_bytes = 2000;
        limits.frame_timeout = Some(Duration::from_secs(60));
    })
}

fn client() -> Client {
    Client::with(|limits| limits.inbox_bytes = 2000)
}

/// What comes and what is done, at random.
struct Chaos {
    random: Random,
    /// The highest id that is in use, more or less.
    last_id: u32,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            last_id: 1,
        }
    }

    fn below(&mut self, most: usize) -> usize {
        self.random.below(most)
    }

    /// An id that is in use, was, or will be; now and then any.
    fn id(&mut self) -> u32 {
        match self.below(50) {
            0 => self.random.next() as u32,
            1..5 => self.below(40) as u32,
            _ => (self.last_id + 2).saturating_sub(2 * self.below(12) as u32),
        }
    }

    fn new_id(&mut self) -> u32 {
        self.last_id += 2;
        self.last_id
    }

    /// A frame that may be legal.
    fn frame(&mut self) -> Vec<u8> {
        let (id, flags, len) = (self.id(), self.below(8) as u8, self.below(60));
        let payload = self.random.bytes(len);
        match self.below(11) {
            0 if id < 1 << 20 => request(id, flags, &payload),
            0 | 1 => request(self.new_id(), flags, &payload),
            2 => {
                let timeout = self.random.next() as i64 >> self.below(64);
                request_within(self.new_id(), flags, timeout)
            }
            3..7 => data(id, flags, &payload),
            7 => reply(id, &payload),
            8 => failure(id, payload.len() as u8),
            9 => {
                let status = [field(2, &payload), field(3, &field(2, &payload))].concat();
                frame(id, RESPONSE, flags, &field(1, &status))
            }
            10 => frame(id, self.below(5) as u8, self.random.next() as u8, &payload),
            _ => {
                let nested = (0..self.below(50)).fold(payload, |inner, _| field(5, &inner));
                let more = [nested, varint(self.random.next())].concat();
                frame(self.new_id(), 1, flags, &envelope(b"x", &more))
            }
        }
    }

    fn frames(&mut self) -> Vec<u8> {
        (0..5).flat_map(|_| self.frame()).collect()
    }

    /// Does anything that a driver, a handler or a caller may do.
    fn act<E: Endpoint<Slot = u32>>(&mut self, driver: &mut Driver<E>) {
        let id = self.id();
        match self.below(11) {
            0 => drop(driver.send(id, &[7; 100])),
            1 => drop(driver.finish(id, Ok(()))),
            2 => drop(driver.finish(id, Err(Status::aborted("x").into()))),
            3 => drop(driver.endpoint.abandon(stream_id(id))),
            4 => driver.advance(Duration::from_millis(self.below(2000) as u64)),
            5 => drop(driver.endpoint.check_sending(stream_id(id))),
            6 => drop(driver.endpoint.link().take_attention()),
            7 => drop(driver.write(1 + self.below(50))),
            _ => drop(driver.receive(id)),
        }
    }

    /// Feeds bytes in pieces while all kinds of things happen, and reads all of them.
    fn feed<E: Endpoint<Slot = u32>>(&mut self, driver: &mut Driver<E>, input: &[u8]) {
        let (mut rest, mut turns) = (input, 0);
        while !rest.is_empty() && driver.failure.is_none() {
            let (piece, more) = rest.split_at(rest.len().min(1 + self.below(300)));
            rest = more;
            driver.unread.extend_from_slice(piece);
            driver.read(|| 1 + self.below(200));
            self.act(driver);
            driver.happened();
        }
        // However it stands: time, and a peer that reads, bring it to the input's end.
        while driver.failure.is_none() && !driver.unread.is_empty() {
            driver.write(usize::MAX);
            driver.read(|| usize::MAX);
            if let (false, Some(left)) = (driver.unread.is_empty(), driver.timeout()) {
                driver.advance(left);
            }
            driver.happened();
            turns += 1;
            assert!(turns < 1000, "{} bytes are not read", driver.unread.len());
        }
    }

    /// Handles the calls that have come in, or some of them.
    fn serve(&mut self, server: &mut Server) {
        while let Some(call) = server.calls.pop_front() {
            let id = call.id.get();
            match self.below(5) {
                0 => drop(server.respond(id, Ok(&call.request.into_payload()))),
                1 => drop(server.respond(id, Err(Status::unimplemented("x").into()))),
                2 => server.endpoint.accept(call.id, CallKind::ClientStreaming),
                3 => server.endpoint.accept(call.id, CallKind::BidiStreaming),
                _ => {}
            }
        }
        assert!(server.link().streams() <= MAX_STREAMS);
        assert!(
            server.link().backlog() < 8000,
            "{}",
            server.link().backlog()
        );
    }

    /// Makes a call, if there are not many.
    fn call(&mut self, client: &mut Client) {
        let kinds = [
            CallKind::Unary,
            CallKind::ServerStreaming,
            CallKind::ClientStreaming,
            CallKind::BidiStreaming,
        ];
        let within = match self.below(3) {
            0 => None,
            _ => Some(Duration::from_millis(1 + self.below(5000) as u64)),
        };
        if client.link().streams() < MAX_STREAMS {
            let kind = kinds[self.below(4)];
            self.last_id = client.try_open(kind, Some(b"x"), within).expect("a call");
        }
    }
}

#[test]
fn any_bytes_are_endured() {
    for seed in 0..150 {
        let mut chaos = Chaos::new(seed);
        let mut input = chaos.random.bytes(3000);
        // Without this nearly all end at the first reserved byte.
        if seed % 3 > 0 {
            let odd = input.iter_mut().filter(|byte| **byte & 7 > 0);
            odd.for_each(|byte| *byte &= 3);
        }
        chaos.feed(&mut server(), &input);
        let mut client = client();
        for _ in 0..4 {
            chaos.call(&mut client);
        }
        chaos.feed(&mut client, &input);
    }
}

#[test]
fn frames_in_any_order_are_endured_by_a_server() {
    let mut calls = 0;
    for seed in 0..60 {
        let (mut chaos, mut server) = (Chaos::new(seed), server());
        for _ in 0..50 {
            let input = chaos.frames();
            chaos.feed(&mut server, &input);
            calls += server.calls.len();
            chaos.serve(&mut server);
        }
        assert!(server.failure.is_none());
    }
    assert!(calls > 1000, "{calls} calls: too little happened");
}

#[test]
fn frames_in_any_order_are_endured_by_a_client() {
    for seed in 0..60 {
        let (mut chaos, mut client) = (Chaos::new(seed), client());
        for _ in 0..50 {
            chaos.call(&mut client);
            let input = chaos.frames();
            chaos.feed(&mut client, &input);
        }
        assert!(client.failure.is_none());
        // Whatever is left ends with the connection, and nothing stays.
        client.endpoint.fail(lost(std::io::ErrorKind::BrokenPipe));
        for id in 0..=chaos.last_id {
            client.receive(id);
        }
        assert_eq!((client.link().streams(), client.timeout()), (0, None));
    }
}

#[test]
fn frames_with_bytes_changed_are_endured() {
    for seed in 0..100 {
        let (mut chaos, mut server, mut client) = (Chaos::new(seed), server(), client());
        for _ in 0..20 {
            let mut input = chaos.frames();
            for _ in 0..chaos.below(3) {
                let at = chaos.below(input.len());
                match chaos.below(3) {
                    0 => input[at] ^= 1 << chaos.below(8),
                    1 => drop(input.remove(at)),
                    _ => input.insert(at, chaos.random.next() as u8),
                }
            }
            chaos.feed(&mut server, &input);
            chaos.serve(&mut server);
            if client.failure.is_none() {
                chaos.call(&mut client);
            }
            chaos.feed(&mut client, &input);
        }
    }
}

/// All that is sent under any input are whole frames, of the types that this end sends.
#[test]
fn what_is_sent_are_frames_whatever_came() {
    for seed in 0..60 {
        let (mut chaos, mut server, mut client) = (Chaos::new(seed), server(), client());
        let (mut by_server, mut by_client) = (Vec::new(), Vec::new());
        for _ in 0..100 {
            server.feed(chaos.frame());
            chaos.serve(&mut server);
            client.feed(chaos.frame());
            let id = chaos.id();
            match chaos.below(3) {
                0 => drop((server.send(id, &[1; 200]), client.send(id, &[1; 20_000]))),
                1 => drop((server.finish(id, Ok(())), client.finish(id, Ok(())))),
                _ => drop((server.receive(id), client.receive(id))),
            }
            by_server.extend(server.write(chaos.below(500)));
            by_client.extend(client.write(chaos.below(5000)));
            chaos.call(&mut client);
        }
        by_server.extend(server.write(usize::MAX));
        by_client.extend(client.write(usize::MAX));
        let ok = |sent: &Sent| !matches!(sent, Sent::Request(..));
        assert!(parse(&by_server).iter().all(ok));
        let ok = |sent: &Sent| matches!(sent, Sent::Request(..) | Sent::Data(..));
        assert!(parse(&by_client).iter().all(ok));
    }
}

/// A header may claim anything; a legal claim gets no memory by itself.
#[test]
fn any_header_is_endured() {
    for seed in 0..2000 {
        let mut chaos = Chaos::new(seed);
        let length = chaos.random.next() as u32 >> chaos.below(32);
        let (id, flags) = (chaos.id(), chaos.random.next() as u8);
        let input = header(length, id, chaos.below(5) as u8, flags);
        let mut server = server();
        server.feed(&input);
        assert_eq!(server.failure.is_some(), length >= 1 << 24);
        if let Some(mut body) = server.link().take_body() {
            assert!(body.buffer().0.capacity() <= 128 << 10);
        }
        let mut client = client();
        chaos.call(&mut client);
        client.feed(data(1, 0, b"x"));
        client.feed(&input);
        assert_eq!(client.failure.is_some(), length >= 1 << 24);
    }
}
