//! The server: sends back what comes, or streams.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

use bench_kit::{Args, Mode, serving};
use rustix::event::epoll;

use crate::{BLOCKING, CHUNK, batch_len, duplex, frame_len};

/// A server's `main`. It is told what the client does.
pub fn server() -> io::Result<()> {
    let args = Args::parse();
    let listener = UnixListener::bind(&args.socket)?;
    serving::ready();
    if args.conns > 1 {
        // The client is gone when it has measured enough.
        let _ = many(&listener, args.conns, frame_len(&args));
        return Ok(());
    }
    loop {
        let (stream, _) = listener.accept()?;
        // As above.
        let _ = match args.mode {
            Mode::Unary | Mode::Bidi | Mode::Idle => echo(&stream, &args),
            Mode::ServerStream => send(&stream, &args),
            Mode::ClientStream => receive(&stream),
        };
    }
}

/// Sends whole frames back, all that have come at once.
fn echo(mut stream: &UnixStream, args: &Args) -> io::Result<()> {
    let frame = frame_len(args);
    let batch = frame * args.inflight;
    let mut buffer = vec![7; batch.max(CHUNK)];
    if args.inflight > 1 && batch > BLOCKING {
        let mut part = 0;
        return duplex(stream, &buffer, 0, |n| {
            let whole = (part + n) / frame;
            part = (part + n) % frame;
            whole * frame
        });
    }
    let mut filled = 0;
    loop {
        let n = stream.read(&mut buffer[filled..])?;
        if n == 0 {
            return Ok(());
        }
        filled += n;
        let whole = filled / frame * frame;
        stream.write_all(&buffer[..whole])?;
        buffer.copy_within(whole..filled, 0);
        filled -= whole;
    }
}

/// Sends for ever.
fn send(mut stream: &UnixStream, args: &Args) -> io::Result<()> {
    let frames = vec![7; batch_len(args)];
    loop {
        stream.write_all(&frames)?;
    }
}

/// Reads for ever.
fn receive(mut stream: &UnixStream) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    while stream.read(&mut buffer)? > 0 {}
    Ok(())
}

/// Sends frames back on many connections, by epoll.
fn many(listener: &UnixListener, conns: usize, frame: usize) -> io::Result<()> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut streams = Vec::with_capacity(conns);
    for n in 0..conns {
        let (stream, _) = listener.accept()?;
        let data = epoll::EventData::new_u64(n as u64);
        epoll::add(&epoll, &stream, data, epoll::EventFlags::IN)?;
        streams.push(stream);
    }
    let mut events = Vec::with_capacity(conns);
    let mut buffer = vec![0; frame.max(CHUNK)];
    loop {
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in events.drain(..) {
            let mut stream = &streams[event.data.u64() as usize];
            let n = stream.read(&mut buffer)?;
            if n == 0 {
                return Ok(());
            }
            stream.write_all(&buffer[..n])?;
        }
    }
}
