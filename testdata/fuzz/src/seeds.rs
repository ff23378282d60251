//! What the fuzzer begins with: the vectors of frames as scripts, and requests to the
//! generator.

use std::fs;
use std::path::{Path, PathBuf};

use prost::Message;
use prost_types::compiler::CodeGeneratorRequest;
use ttrpc_runtime::frame::{Flags, HEADER_LEN, Header, MessageType};

use crate::frames::take_frames;

#[path = "../../../ttrpc-runtime/tests/vectors/notation.rs"]
#[allow(dead_code)]
mod notation;

/// Larger ones make a fuzzer slow.
const MOST: usize = 2000;

/// Writes seeds to where the program was told that inputs are, if it is more than one.
pub fn write(seeds: fn() -> Vec<Vec<u8>>) {
    let is_place = |argument: &String| !argument.starts_with('-');
    let place = std::env::args().skip(1).find(is_place).map(PathBuf::from);
    if let Some(place) = place.filter(|place| place.is_dir()) {
        for (n, seed) in seeds().iter().enumerate() {
            fs::write(place.join(format!("seed-{n:03}")), seed).unwrap();
        }
    }
}

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The files of a directory, in order, whose names end so.
fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let entries = testdata().join(directory).read_dir().unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|it| it == extension));
    paths.sort();
    assert!(!paths.is_empty(), "no {extension} in {directory}");
    paths
}

/// The vectors that are for one end or the other, each as its lines.
fn vectors(is_client: bool) -> Vec<Vec<String>> {
    let mut vectors = Vec::new();
    for path in files("frames", "txt") {
        let text = fs::read_to_string(path).unwrap();
        if text.lines().any(|line| line == "client") == is_client {
            let vector = |text: &str| text.lines().map(str::to_owned).collect();
            vectors.extend(text.split("\n[").skip(1).map(vector));
        }
    }
    vectors
}

/// The bytes in the lines with such a sign.
fn bytes(vector: &[String], sign: &str) -> Vec<u8> {
    let lines = vector.iter().filter_map(|line| line.strip_prefix(sign));
    lines.flat_map(|line| notation::read(line).0).collect()
}

/// A vector as the script of what comes, and of what was done there.
fn script(vector: &[String]) -> Option<Vec<u8>> {
    let mut script = Vec::new();
    for line in vector {
        let (sign, rest) = line.split_once(' ').unwrap_or((line, ""));
        let words: Vec<_> = rest.split(' ').collect();
        let id = || words[1].parse().unwrap_or(0);
        match (sign, words[0]) {
            (">", _) => {
                for piece in notation::read(rest).0.chunks(255) {
                    script.extend([0, piece.len() as u8]);
                    script.extend_from_slice(piece);
                }
                script.extend([10, 255]);
            }
            ("<", _) => {
                for (header, _) in take_frames(&mut notation::read(rest).0) {
                    script.extend(act(header));
                }
                script.extend([11, 255]);
            }
            ("@", _) => script.extend([4, 80, 10, 255]),
            ("!", "call") => {
                let kinds = ["unary", "server-stream", "client-stream", "bidi"];
                let kind = kinds.iter().position(|kind| *kind == words[1])?;
                let within = if rest.contains(" within ") { 80 } else { 0 };
                script.extend([12, kind as u8, within, 1, b'x']);
            }
            ("!", "send") => script.extend([6, id(), 1, b'x']),
            ("!", "close") => script.extend([7, id()]),
            ("!", "give-up") => script.extend([9, id()]),
            ("!", "shut-down") => script.push(15),
            ("=", id) => script.extend([5, id.parse().unwrap_or(0)]),
            _ => {}
        }
    }
    (script.len() <= MOST).then_some(script)
}

/// What a server does that sends such a frame.
fn act(header: Header) -> Vec<u8> {
    let id = header.stream_id.get() as u8;
    match header.message_type {
        MessageType::RESPONSE => vec![5, id, 12, id, 1, b'x'],
        MessageType::DATA if header.flags == Flags::NONE => vec![5, id, 6, id, 1, b'x'],
        MessageType::DATA => vec![5, id, 7, id],
        _ => vec![],
    }
}

pub fn server() -> Vec<Vec<u8>> {
    let vectors = vectors(false);
    let scripts = vectors.iter().filter_map(|vector| script(vector));
    // Answered as it says, and as soon as they come.
    scripts
        .flat_map(|script| [script.clone(), [&[14], &script[..]].concat()])
        .collect()
}

pub fn client() -> Vec<Vec<u8>> {
    let vectors = vectors(true);
    let scripts = vectors.iter().filter_map(|vector| script(vector));
    // Without frames that give calls up, and with them.
    scripts
        .flat_map(|script| [0, 1].map(|cancels| [&[1, cancels], &script[..]].concat()))
        .collect()
}

pub fn cuts() -> Vec<Vec<u8>> {
    let vectors = vectors(false);
    let mut inputs: Vec<_> = vectors.iter().map(|vector| bytes(vector, "> ")).collect();
    inputs.retain(|input| input.len() <= MOST);
    inputs
        .iter()
        .map(|input| [&[3, 1, 7, 100], &input[..]].concat())
        .collect()
}

pub fn envelopes() -> Vec<Vec<u8>> {
    let mut envelopes = Vec::new();
    for vector in [vectors(false), vectors(true)].concat() {
        for sign in ["< ", "> "] {
            // Some lines are no frames, or half of one.
            let lines = vector.iter().filter_map(|line| line.strip_prefix(sign));
            let data = |line| notation::read(line).0.get(HEADER_LEN..).map(<[u8]>::to_vec);
            envelopes.extend(lines.filter_map(data));
        }
    }
    envelopes.retain(|data| !data.is_empty() && data.len() <= MOST);
    envelopes.sort();
    envelopes.dedup();
    envelopes
}

pub fn requests() -> Vec<Vec<u8>> {
    let parameters = ["", "messages=none,message_path=crate::protos"];
    let mut requests = Vec::new();
    for path in files("protos", "proto") {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let set = protox::compile([&name], [testdata().join("protos")]).unwrap();
        for parameter in parameters {
            let request = CodeGeneratorRequest {
                file_to_generate: vec![name.clone()],
                parameter: Some(parameter.to_owned()),
                proto_file: set.file.clone(),
                compiler_version: None,
            };
            requests.push(request.encode_to_vec());
        }
    }
    requests
}
