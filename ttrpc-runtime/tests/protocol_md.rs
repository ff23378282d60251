//! `PROTOCOL.md` says what the code does: its values, its citations and its examples.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::IoSlice;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ttrpc_runtime::codec::Payload;
use ttrpc_runtime::frame::{Flags, HEADER_LEN, Header, MAX_DATA_LEN, MessageType};
use ttrpc_runtime::proto::{CallKind, Endpoint, Output, client, server};
use ttrpc_runtime::{Code, Error, Limits, Metadata, Status, envelope};

const PROTOCOL: &str = include_str!("../PROTOCOL.md");

/// The text of a section, up to the next heading.
fn section(number: &str) -> &'static str {
    let heading = format!("<a id=\"s{number}\"></a>{number} ");
    let at = PROTOCOL
        .find(&heading)
        .unwrap_or_else(|| panic!("there is no section {number}"));
    let text = &PROTOCOL[at..];
    text.find("\n#").map_or(text, |end| &text[..end])
}

/// The cells of each row of the table in a section, without the head.
fn table(number: &str) -> Vec<Vec<&'static str>> {
    let rows: Vec<Vec<_>> = section(number)
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .map(|row| {
            row.split(" | ")
                .map(|cell| cell.trim_matches('`'))
                .collect()
        })
        .collect();
    rows[1..].to_vec()
}

/// The number that a cell begins with.
fn number(cell: &str) -> u128 {
    let digits = cell.split(' ').next().unwrap().replace(',', "");
    digits
        .parse()
        .unwrap_or_else(|_| panic!("{cell:?} begins with no number"))
}

/// The number that a cell is, in hexadecimal.
fn hex(cell: &str) -> u8 {
    let digits = cell.strip_prefix("0x").unwrap();
    u8::from_str_radix(digits, 16).unwrap()
}

#[test]
fn limits_have_their_values() {
    let documented: BTreeMap<_, _> = table("9.1")
        .into_iter()
        .map(|row| (row[0], number(row[1])))
        .collect();
    let limits: BTreeMap<_, _> = [
        ("frame::HEADER_LEN", HEADER_LEN),
        ("frame::MAX_DATA_LEN", MAX_DATA_LEN),
        ("envelope::MAX_REPEATED", envelope::MAX_REPEATED),
        ("Limits::MAX_STREAMS", Limits::MAX_STREAMS),
        ("Limits::INBOX_BYTES", Limits::INBOX_BYTES),
        (
            "Limits::STALL_TIMEOUT",
            Limits::STALL_TIMEOUT.as_secs() as usize,
        ),
        ("Limits::OUTPUT_BYTES", Limits::OUTPUT_BYTES),
        ("Limits::BACKLOG_BYTES", Limits::BACKLOG_BYTES),
        ("Limits::STRAY_FRAMES", Limits::STRAY_FRAMES as usize),
    ]
    .into_iter()
    .map(|(name, value)| (name, value as u128))
    .collect();
    assert_eq!(documented, limits);
    assert_eq!(Limits::STALL_TIMEOUT.subsec_nanos(), 0);
    let default = Limits::default();
    assert_eq!(default.max_streams, Limits::MAX_STREAMS);
    assert_eq!(default.inbox_bytes, Limits::INBOX_BYTES);
    assert_eq!(default.stall_timeout, Limits::STALL_TIMEOUT);
    assert_eq!(default.output_bytes, Limits::OUTPUT_BYTES);
    assert_eq!(default.backlog_bytes, Limits::BACKLOG_BYTES);
    assert_eq!(default.stray_frames, Limits::STRAY_FRAMES);
    assert_eq!(default.frame_timeout, None);
}

/// Of constants that are not public only the source can tell.
#[test]
fn sizes_inside_have_their_values() {
    for row in table("9.4") {
        let (name, file) = (row[0], row[2]);
        let source = std::fs::read_to_string(root().join(file)).unwrap();
        let value = source
            .split_once(&format!("const {name}: usize = "))
            .and_then(|(_, rest)| rest.split(';').next())
            .unwrap_or_else(|| panic!("there is no {name} in {file}"));
        let value = match value.split_once(" << ") {
            Some((value, shift)) => number(value) << number(shift),
            None => number(value),
        };
        assert_eq!(number(row[1]), value, "{name} in {file}");
    }
}

#[test]
fn types_flags_and_codes_have_their_values() {
    let named = |number| -> Vec<_> {
        let rows = table(number).into_iter();
        rows.map(|row| (row[1], hex(row[0]))).collect()
    };
    let types = [
        ("Request", MessageType::REQUEST.0),
        ("Response", MessageType::RESPONSE.0),
        ("Data", MessageType::DATA.0),
        ("Cancel", MessageType::CANCEL.0),
    ];
    assert_eq!(named("2.2"), types);
    let flags = [
        ("remote closed", Flags::REMOTE_CLOSED.0),
        ("remote open", Flags::REMOTE_OPEN.0),
        ("no data", Flags::NO_DATA.0),
    ];
    assert_eq!(named("2.3"), flags);

    let close = Flags::REMOTE_CLOSED | Flags::NO_DATA;
    assert!(section("5.1").contains(&format!("Data `{:#04x}`", close.0)));
    let kinds = [
        CallKind::Unary,
        CallKind::ServerStreaming,
        CallKind::ClientStreaming,
        CallKind::BidiStreaming,
    ];
    for (row, kind) in table("5.1").into_iter().zip(kinds) {
        let flags = match row[1] {
            "0" => 0,
            flags => hex(flags),
        };
        assert_eq!(flags, kind.request_flags().0, "{}", row[0]);
    }

    // "3 INVALID_ARGUMENT", wherever it stands.
    let words: Vec<_> = PROTOCOL.split_whitespace().collect();
    let mut codes = 0;
    for two in words.windows(2) {
        let name = two[1].trim_end_matches(|c: char| !c.is_ascii_uppercase());
        let is_name = name.len() > 3 && name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        if let (true, Ok(code)) = (is_name, two[0].parse()) {
            assert_eq!(Code(code).name(), Some(name));
            codes += 1;
        }
    }
    assert!(codes > 10, "{codes}");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The numbers behind each "§" of a text.
fn citations(text: &str) -> impl Iterator<Item = &str> {
    text.split('§').skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
        rest[..end.unwrap_or(rest.len())].trim_end_matches('.')
    })
}

fn each_source(directory: &Path, f: &mut impl FnMut(&Path, &str)) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            each_source(&path, f);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            f(&path, &std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn what_is_cited_is_there() {
    let mut headings = Vec::new();
    let mut ids = BTreeSet::new();
    for line in PROTOCOL.lines().filter(|line| line.starts_with("##")) {
        let heading = line.trim_start_matches('#');
        let (id, title) = heading
            .strip_prefix(" <a id=\"s")
            .and_then(|rest| rest.split_once("\"></a>"))
            .unwrap_or_else(|| panic!("{line:?} has no anchor"));
        assert_eq!(title.split(' ').next(), Some(id), "{line:?}");
        assert_eq!(line.len() - heading.len(), 2 + id.matches('.').count());
        headings.push(id.split('.').map(number).collect::<Vec<_>>());
        ids.insert(id);
    }
    assert!(headings.is_sorted_by(|a, b| a < b), "{headings:?}");

    for cited in citations(PROTOCOL) {
        assert!(ids.contains(cited), "PROTOCOL.md cites §{cited}");
    }
    for link in PROTOCOL.split("](#s").skip(1) {
        let id = link.split(')').next().unwrap();
        assert!(ids.contains(id), "PROTOCOL.md links to {id}");
    }
    let mut cited = 0;
    each_source(&root().join("src"), &mut |path, source| {
        for citation in citations(source) {
            assert!(
                ids.contains(citation),
                "{} cites §{citation}",
                path.display()
            );
            cited += 1;
        }
    });
    assert!(cited > 10, "{cited}");
}

/// The frames of the example in a section, each with whether it is the client's. What
/// a note says of a length is checked on the way.
fn example(id: &str) -> Vec<(bool, Vec<u8>)> {
    let text = section(id).split("```").nth(1).unwrap();
    let mut frames = Vec::new();
    for line in text.lines().skip(1) {
        let (mut line, note) = line.split_once("| ").unwrap();
        for (arrow, is_client) in [("->", true), ("<-", false)] {
            if let Some(rest) = line.strip_prefix(arrow) {
                frames.push((is_client, Vec::new()));
                line = rest;
            }
        }
        let bytes = line
            .split_whitespace()
            .map(|byte| u8::from_str_radix(byte, 16));
        let (_, frame) = frames.last_mut().unwrap();
        frame.extend(bytes.map(|byte| byte.expect("two hexadecimal digits")));
        if let Some((len, _)) = note.split_once(" bytes,") {
            assert_eq!(number(len), u128::from(frame[3]), "{note}");
        }
    }
    frames
}

/// Both ends of a connection, and what they have written.
struct Pair {
    now: Instant,
    client: client::Connection<()>,
    server: server::Connection<()>,
    frames: Vec<(bool, Vec<u8>)>,
}

impl Pair {
    /// Carries what one end has to write to the other.
    fn carry(&mut self, from_client: bool) -> Option<server::Call> {
        let output = if from_client {
            output(&mut self.client)
        } else {
            output(&mut self.server)
        };
        let mut rest = &output[..];
        while let Some(header) = rest.first_chunk::<HEADER_LEN>() {
            let len = HEADER_LEN + Header::from_bytes(*header).length as usize;
            let (frame, behind) = rest.split_at(len);
            self.frames.push((from_client, frame.to_vec()));
            rest = behind;
        }
        assert!(rest.is_empty(), "what is written are whole frames");
        if from_client {
            self.server.link().received(&output);
            let mut call = None;
            while self
                .server
                .poll(&mut self.now.into(), &mut call)
                .unwrap()
                .is_some()
            {}
            return call;
        }
        self.client.link().received(&output);
        while self
            .client
            .poll(&mut self.now.into(), &mut None)
            .unwrap()
            .is_some()
        {}
        None
    }

    /// Makes a call of the example's service, which comes in at the server.
    fn call(&mut self, call: client::Call<'_>) -> server::Call {
        self.client.open(&call, self.now).unwrap();
        self.carry(true).expect("a call has come in")
    }
}

/// All that an end has to write.
fn output(end: &mut impl Endpoint) -> Vec<u8> {
    let mut output = Output::default();
    end.link().take_output(&mut output);
    let mut bytes = Vec::new();
    while !output.is_empty() {
        let mut slices = [IoSlice::new(&[])];
        output.slices(&mut slices);
        let len = slices[0].len();
        bytes.extend_from_slice(&slices[0]);
        output.advance(len);
    }
    end.link().set_writing(0);
    bytes
}

/// A message whose field 1 is a string.
fn message(text: &str) -> Bytes {
    [&[0x0a, text.len() as u8], text.as_bytes()].concat().into()
}

#[test]
fn examples_are_what_the_runtime_sends() {
    let mut pair = Pair {
        now: Instant::now(),
        client: client::Connection::new(Limits::default()),
        server: server::Connection::new(Limits::default()),
        frames: Vec::new(),
    };
    let none = Metadata::new();
    let metadata = [("Trace-Id", "7")].into_iter().collect();
    let call = client::Call {
        service: "greeter.v1.Greeter",
        method: "SayHello",
        kind: CallKind::Unary,
        deadline: None,
        metadata: &none,
        request: None,
    };

    let greeted = pair.call(client::Call {
        deadline: Some(pair.now + Duration::from_secs(2)),
        metadata: &metadata,
        request: Some(&message("Ada")),
        ..call
    });
    let reply = message("Hello, Ada!");
    pair.server.respond(greeted.id, Ok(&reply as &dyn Payload));
    pair.carry(false);
    assert_eq!(std::mem::take(&mut pair.frames), example("12.1"));

    let talk = pair.call(client::Call {
        method: "Talk",
        kind: CallKind::BidiStreaming,
        ..call
    });
    pair.server.accept(talk.id, CallKind::BidiStreaming);
    pair.client.send(talk.id, &message("Ada")).unwrap();
    pair.carry(true);
    pair.server.send(talk.id, &message("Hi")).unwrap();
    pair.carry(false);
    pair.client.send(talk.id, &Bytes::new()).unwrap();
    pair.client.finish(talk.id, Ok(()));
    pair.carry(true);
    pair.server.finish(talk.id, Ok(()));
    pair.carry(false);
    assert_eq!(std::mem::take(&mut pair.frames), example("12.2"));

    let refused = pair.call(client::Call {
        request: Some(&message("Bob")),
        ..call
    });
    let error = Error::from(Status::not_found("no Bob"));
    pair.server.respond(refused.id, Err(error));
    pair.carry(false);
    assert_eq!(pair.frames, example("12.3"));
}
