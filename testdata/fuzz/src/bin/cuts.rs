//! However what comes is cut: it leads to the same events, answers and end.

#![no_main]

use std::fmt::Write;

use libfuzzer_sys::fuzz_target;
use ttrpc_fuzz::driver::{Driver, Happened};
use ttrpc_fuzz::script::Script;
use ttrpc_fuzz::{limits, seeds};
use ttrpc_runtime::frame::StreamId;
use ttrpc_runtime::proto::{CallKind, End, Endpoint, server};

fuzz_target!(init: seeds::write(seeds::cuts), |bytes: &[u8]| run(bytes));

fn run(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let cuts = script.bytes();
    let frames = script.rest();
    let mut cuts = cuts.iter().map(|cut| usize::from(*cut)).cycle();
    let cut = serve(frames, || cuts.next().unwrap_or(1));
    assert_eq!(cut, serve(frames, || usize::MAX));
}

/// What happens in a server, and what it sends.
#[derive(Default, PartialEq, Debug)]
struct Log {
    events: String,
    sent: Vec<u8>,
}

fn serve(bytes: &[u8], mut cut: impl FnMut() -> usize) -> Log {
    let mut driver = Driver::new(server::Connection::new(limits()));
    let mut log = Log::default();
    driver.arrive(bytes);
    loop {
        while let Some(happened) = driver.next(cut()) {
            handle(&mut driver, happened, &mut log.events);
        }
        let written = driver.write(usize::MAX);
        if written.is_empty() {
            break;
        }
        log.sent.extend(written);
    }
    log.events += &format!("{:?}", driver.failure);
    log
}

/// Answers a call at once, or sends its messages back.
fn handle(driver: &mut Driver<server::Connection<u32>>, happened: Happened, events: &mut String) {
    let id = match happened {
        Happened::Call(call) => {
            writeln!(
                events,
                "{} {:?} {:?}",
                call.id,
                call.kind,
                call.request.method()
            )
            .unwrap();
            let kind = match call.request.service().len() % 8 {
                0 => CallKind::ClientStreaming,
                1 => CallKind::Unary,
                _ => call.kind,
            };
            if !kind.client_streams() {
                driver
                    .endpoint
                    .respond(call.id, Ok(&call.request.into_payload()));
                return;
            }
            driver.endpoint.accept(call.id, kind);
            *driver.endpoint.link().slot(call.id).unwrap() = call.id.get();
            driver.tell(call.id.get());
            call.id.get()
        }
        Happened::Readable(id) => id,
        Happened::Ended(id) => return writeln!(events, "{id} ended").unwrap(),
    };
    let (messages, end) = driver.receive(id);
    for message in messages {
        writeln!(events, "{id} {message:?}").unwrap();
        driver.endpoint.send(StreamId::new(id), &message).unwrap();
    }
    match end {
        Some(End::Closed) => driver.finish(id, Ok(())),
        Some(end) => panic!("{id}: {end:?}"),
        None => {}
    }
}
