//! The client: keeps as many frames in flight as it is told.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use bench_kit::cold::Cold;
use bench_kit::{Args, Clock, Lap, Mode};
use rustix::event::epoll;

use crate::{BLOCKING, CHUNK, batch_len, duplex, frame_len};

/// A client's `main`.
pub fn client() -> io::Result<()> {
    let args = Args::parse();
    if let Some(cold) = Cold::start(&args) {
        let mut stream = UnixStream::connect(&args.socket)?;
        let mut frame = vec![7; frame_len(&args)];
        stream.write_all(&frame)?;
        stream.read_exact(&mut frame)?;
        cold.answered();
        return Ok(());
    }
    let connect = |_| UnixStream::connect(&args.socket);
    let streams = (0..args.conns)
        .map(connect)
        .collect::<Result<Vec<_>, _>>()?;
    let clock = Clock::start(&args);
    match (&streams[..], args.mode) {
        ([stream], Mode::ServerStream) => receive(stream, &args),
        ([stream], Mode::ClientStream) => send(stream, &args),
        ([stream], _) => echo(stream, &args),
        (streams, _) => many(streams, &args),
    }?;
    clock.finish();
    Ok(())
}

fn echo(mut stream: &UnixStream, args: &Args) -> io::Result<()> {
    let frame = frame_len(args);
    let mut lap = Lap::new(args);
    let mut frames = vec![7; frame * args.inflight];
    if args.inflight == 1 {
        loop {
            stream.write_all(&frames)?;
            stream.read_exact(&mut frames)?;
            if !lap.call() {
                return Ok(());
            }
        }
    }
    if frames.len() > BLOCKING {
        let mut part = 0;
        return duplex(stream, &frames, frames.len(), |n| {
            let whole = (part + n) / frame;
            part = (part + n) % frame;
            lap.messages(whole as u64);
            whole * frame
        });
    }
    loop {
        stream.write_all(&frames)?;
        stream.read_exact(&mut frames)?;
        lap.messages(args.inflight as u64);
        if !lap.stream(args.inflight as u64) {
            return Ok(());
        }
    }
}

fn receive(mut stream: &UnixStream, args: &Args) -> io::Result<()> {
    let frame = frame_len(args);
    let mut buffer = vec![0; CHUNK];
    let mut lap = Lap::new(args);
    let mut part = 0;
    loop {
        part += stream.read(&mut buffer)?;
        lap.messages((part / frame) as u64);
        part %= frame;
    }
}

fn send(mut stream: &UnixStream, args: &Args) -> io::Result<()> {
    let frames = vec![7; batch_len(args)];
    let mut lap = Lap::new(args);
    loop {
        stream.write_all(&frames)?;
        lap.messages((frames.len() / frame_len(args)) as u64);
    }
}

/// One frame in flight on each of many connections, by epoll.
fn many(streams: &[UnixStream], args: &Args) -> io::Result<()> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let frame = vec![7; frame_len(args)];
    for (n, mut stream) in streams.iter().enumerate() {
        let data = epoll::EventData::new_u64(n as u64);
        epoll::add(&epoll, stream, data, epoll::EventFlags::IN)?;
        stream.write_all(&frame)?;
    }
    let mut lap = Lap::new(args);
    let mut events = Vec::with_capacity(streams.len());
    let mut buffer = vec![0; frame.len()];
    loop {
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in events.drain(..) {
            let mut stream = &streams[event.data.u64() as usize];
            stream.read_exact(&mut buffer)?;
            stream.write_all(&frame)?;
            lap.messages(1);
        }
    }
}
