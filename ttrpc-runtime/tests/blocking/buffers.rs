//! Full and tiny buffers, and peers that do not read.

use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ttrpc_runtime::blocking::{Client, Server, Streaming};
use ttrpc_runtime::{Context, Limits};

use crate::ends::{path, serve};
use crate::faults::{serve_over, tiny, use_it};
use crate::peer::Peer;
use crate::pending::ECHO;
use crate::support::{Calls, Echo, Pair, bytes, patiently, waiting, within};

#[test]
fn short_reads_and_writes() {
    patiently(|| {
        let (here, there) = tiny();
        let serving = serve_over(there);
        let client = Client::new(here).unwrap();
        use_it(&client, 1, 30, 100_000);
        use_it(&client, 6, 20, 50_000);
        drop(client);
        serving.join().unwrap().unwrap();
    });
}

#[test]
fn large_messages_both_ways_at_once_on_tiny_buffers() {
    patiently(|| {
        for len in [1 << 20, (4 << 20) - 100] {
            let (here, there) = tiny();
            let serving = serve_over(there);
            let client = Client::new(here).unwrap();
            let message = Bytes::from(vec![3; len]);
            // From one thread, which has to read while it writes.
            let requests = Streaming::from_iter(vec![message.clone(); 4]);
            let replies = client.chat(&Context::new(), requests).unwrap();
            assert!(replies.map(|reply| reply.unwrap().len()).eq([len; 4]));
            let (sender, requests) = Streaming::channel(1);
            let mut replies = client.chat(&Context::new(), requests).unwrap();
            for _ in 0..4 {
                sender.send(message.clone()).unwrap();
            }
            drop(sender);
            for _ in 0..4 {
                assert!(replies.message().unwrap().unwrap() == message);
            }
            assert!(client.echo(&Context::new(), message.clone()).unwrap() == message);
            drop((replies, client));
            serving.join().unwrap().unwrap();
        }
    });
}

/// A large reply lies whole behind messages that were too many at first. Whoever looks whether
/// there is something to read sees to it before that.
#[test]
fn a_large_message_behind_a_full_inbox_is_no_end_of_the_connection() {
    patiently(|| {
        let path = path();
        let listener = UnixListener::bind(&path).unwrap();
        let mut limits = Limits::default();
        (limits.inbox_bytes, limits.stall_timeout) = (3000, Duration::MAX);
        // Such a client looks before each call whether its connection has ended.
        let client = Client::builder().limits(limits).reconnect(true);
        let client = client.connect(&path).unwrap();
        let mut peer = Peer(listener.accept().unwrap().0);
        let ctx = Context::new();
        let look = || drop(client.start(&ctx, ECHO, Bytes::new()));
        let mut replies = client.numbers(&ctx, 5).unwrap();
        let large = [[0, 0, 160, 0, 0, 0, 0, 1, 3, 0].to_vec(), vec![7; 40_960]].concat();
        let (begin, rest) = large.split_at(1000);
        let small = [[0, 0, 7, 208, 0, 0, 0, 1, 3, 0].to_vec(), vec![7; 2000]].concat();
        let all = [small.repeat(4), begin.to_vec()].concat();
        peer.0.write_all(&all).unwrap();
        look();
        assert_eq!(replies.message().unwrap().unwrap().len(), 2000);
        peer.0.write_all(rest).unwrap();
        look();
        assert_eq!(replies.message().unwrap().unwrap().len(), 2000);
        assert_eq!(replies.message().unwrap().unwrap().len(), 2000);
        peer.0.write_all(&small).unwrap();
        look();
        for len in [2000, 40_960, 2000] {
            assert_eq!(replies.message().unwrap().unwrap().len(), len);
        }
        let _ = std::fs::remove_file(path);
    });
}

/// The end of the requests may be what does not fit any more.
#[test]
fn the_last_frame_of_a_stream_comes_though_its_sender_is_gone() {
    patiently(|| {
        for round in 0..200usize {
            let (here, there) = tiny();
            let client = Client::new(here).unwrap();
            let (sender, requests) = Streaming::channel(1);
            thread::scope(|scope| {
                let sums = scope.spawn(|| client.sum(&Context::new(), requests));
                let mut peer = Peer(there);
                // It reads, slowly, up to the end of the stream, and answers.
                let answers = scope.spawn(move || {
                    let (id, ..) = peer.next().unwrap();
                    let mut count = 0;
                    loop {
                        let (_, _, flags, _) = peer.next().unwrap();
                        if flags & 1 != 0 {
                            break;
                        }
                        count += 1;
                    }
                    // Payload: the count.
                    let mut data = vec![0x12, 8];
                    data.extend(bytes(count));
                    peer.frame(id, 2, 0, &data);
                    peer
                });
                for n in 0..20 {
                    sender.send(Bytes::from(vec![n; 1 + round * 7])).unwrap();
                }
                drop(sender);
                assert_eq!(sums.join().unwrap().unwrap(), 20);
                drop(answers.join().unwrap());
            });
        }
    });
}

#[test]
fn a_peer_that_does_not_read_holds_nobody_else_up() {
    patiently(|| {
        let limits = |limits: &mut Limits| limits.backlog_bytes = 100_000;
        let mut small = Limits::default();
        limits(&mut small);
        let (server, path, serving) = serve(Server::builder().max_threads(3).limits(small));
        let mut deaf = UnixStream::connect(&path).unwrap();
        deaf.set_nonblocking(true).unwrap();
        // Requests until no more are taken: what is answered piles up, with an end to it.
        let mut frames = Peer(UnixStream::pair().unwrap().0);
        let mut sent = 0;
        let (mine, theirs) = UnixStream::pair().unwrap();
        frames.0 = mine;
        frames.request(1, 0, "test.Echo", "Unary", &[7; 20_000], 0);
        let mut frame = vec![0; waiting(&theirs)];
        std::io::Read::read_exact(&mut &theirs, &mut frame).unwrap();
        let mut id = 1u32;
        let begun = Instant::now();
        let mut last = Instant::now();
        'flood: while last.elapsed() < Duration::from_millis(300) {
            frame[4..8].copy_from_slice(&id.to_be_bytes());
            let mut at = 0;
            while at < frame.len() {
                match deaf.write(&frame[at..]) {
                    Ok(len) => (at, last) = (at + len, Instant::now()),
                    Err(_) if last.elapsed() > Duration::from_millis(300) => break 'flood,
                    Err(_) => thread::sleep(Duration::from_millis(1)),
                }
            }
            id += 2;
            sent += frame.len();
            assert!(sent < 64 << 20 && begun.elapsed() < Duration::from_secs(20));
        }
        // Streams to peers that do not read take a thread each, and wait.
        let mut streams = Peer(UnixStream::connect(&path).unwrap());
        streams.request(1, 1, "test.Echo", "Numbers", &bytes(10_000_000), 0);
        let client = Client::connect(&path).unwrap();
        for n in 0..200 {
            assert_eq!(client.echo(&within(20_000), bytes(n)).unwrap(), bytes(n));
        }
        // Once the peer reads, it gets all that it has asked for.
        deaf.set_nonblocking(false).unwrap();
        let mut deaf = Peer(deaf);
        let reads = thread::spawn(move || {
            let mut count = 0;
            deaf.0
                .set_read_timeout(Some(Duration::from_millis(1500)))
                .unwrap();
            while let Some((_, _, _, data)) = deaf.next() {
                assert!(data.len() >= 20_000);
                count += 1;
            }
            count
        });
        assert_eq!(reads.join().unwrap(), (id - 1) / 2);
        server.close();
        serving.join().unwrap().unwrap();
    });
}

#[test]
fn a_stalled_reader_that_has_to_write_still_keeps_the_time() {
    patiently(|| {
        let (here, there) = tiny();
        let mut server = Limits::default();
        // A server that reads no more as soon as something waits to be written.
        server.backlog_bytes = 1;
        let server = Server::builder()
            .service(Echo)
            .limits(server)
            .build()
            .unwrap();
        let serving = thread::spawn(move || server.serve_connection(there));
        let mut limits = Limits::default();
        (limits.inbox_bytes, limits.stall_timeout) = (10_000, Duration::from_millis(200));
        let client = Client::builder().limits(limits).over(here).unwrap();
        let mut unread = client.numbers(&Context::new(), 1_000_000).unwrap();
        let message = Bytes::from(vec![1; 1 << 20]);
        assert!(client.echo(&Context::new(), message.clone()).unwrap() == message);
        let error = loop {
            match unread.message() {
                Ok(message) => assert!(message.is_some()),
                Err(error) => break error,
            }
        };
        assert_eq!(error.code(), ttrpc_runtime::Code::RESOURCE_EXHAUSTED);
        drop((unread, client));
        // It may have been in the middle of a message.
        drop(serving.join().unwrap());
    });
}

/// Whoever waits to write reads too once nobody else does.
#[test]
fn a_writer_reads_when_the_reader_has_left() {
    patiently(|| {
        let (here, there) = tiny();
        let mut limits = Limits::default();
        limits.backlog_bytes = 1;
        let server = Server::builder()
            .service(Echo)
            .limits(limits)
            .build()
            .unwrap();
        let serving = thread::spawn(move || server.serve_connection(there));
        let mut limits = Limits::default();
        limits.inbox_bytes = 1 << 30;
        let client = Client::builder().limits(limits).over(here).unwrap();
        let unread = client.numbers(&Context::new(), 300_000).unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        assert_eq!(client.echo(&Context::new(), "x").unwrap(), "x");
                    }
                });
                scope.spawn(|| {
                    let message = Bytes::from(vec![1; 200_000]);
                    assert!(client.echo(&Context::new(), message.clone()).unwrap() == message);
                });
            }
        });
        assert_eq!(unread.map(Result::unwrap).count(), 300_000);
        drop(client);
        serving.join().unwrap().unwrap();
    });
}

/// Tests of Pair that only differ in what is beneath.
#[test]
fn a_server_of_one_thread_does_all_of_it() {
    patiently(|| {
        let pair = Pair::with(|server| server.max_threads(1), |client| client);
        use_it(&pair.client, 1, 50, 500_000);
        pair.end().unwrap();
    });
}

/// Nobody looks at the replies meanwhile.
#[test]
fn the_last_frame_of_a_stream_comes_though_nobody_waits_for_replies() {
    patiently(|| {
        for len in [1, 2000, 100_000] {
            for by_channel in [false, true] {
                let (here, there) = tiny();
                let client = Client::new(here).unwrap();
                let message = Bytes::from(vec![1; len]);
                let messages = [message.clone(), message];
                let (sender, requests) = match by_channel {
                    true => {
                        let (sender, requests) = Streaming::channel(1);
                        (Some(sender), requests)
                    }
                    false => (None, Streaming::from_iter(messages.clone())),
                };
                let replies = client.chat(&Context::new(), requests).unwrap();
                let mut peer = Peer(there);
                thread::scope(|scope| {
                    let reads = scope.spawn(move || {
                        peer.next().unwrap();
                        for _ in 0..2 {
                            assert_eq!(peer.next().unwrap().3.len(), len);
                        }
                        assert_eq!(peer.next().unwrap().2, 5);
                        peer
                    });
                    if let Some(sender) = sender {
                        for message in messages {
                            sender.send(message).unwrap();
                        }
                    }
                    drop(reads.join().unwrap());
                });
                drop(replies);
            }
        }
    });
}
