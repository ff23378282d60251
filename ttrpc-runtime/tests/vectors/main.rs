//! The protocol's rules as bytes: the vectors of `testdata/frames`, replayed against the
//! core without I/O and against a server on a real socket.
//!
//! `UPDATE_FRAMES=1 cargo test -p ttrpc-runtime --test vectors` rewrites the `<` lines and
//! the comments behind frames. What closes a connection and what a caller gets to see is
//! never rewritten.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client;
mod demo;
mod describe;
mod driver;
mod file;
#[cfg(feature = "tokio")]
mod live;
mod notation;
#[cfg(any(feature = "tokio", feature = "blocking"))]
mod number;
mod replay;
mod server;
#[cfg(feature = "blocking")]
mod threads;

use std::collections::BTreeSet;

use file::{End, File, Vector};
use replay::{compare, replay};

/// Bytes that are also fed one by one, at most.
const SMALL: usize = 16 << 10;

fn updates() -> bool {
    std::env::var_os("UPDATE_FRAMES").is_some()
}

/// Replays a vector against the core, whose peer's bytes come in pieces of up to `cut`.
fn against_the_core(file: &File, vector: &Vector, cut: usize) -> Result<Vec<Vec<u8>>, String> {
    match file.end {
        End::Server => replay(vector, &mut server::Server::new(vector, cut)),
        End::Client => replay(vector, &mut client::Client::new(vector, cut)),
    }
}

/// Tells of all failures at once.
fn check(failures: Vec<String>) {
    assert!(failures.is_empty(), "\n\n{}\n", failures.join("\n\n"));
}

#[test]
fn the_core_answers_with_these_bytes() {
    let mut failures = Vec::new();
    for file in file::read_all() {
        let mut answers = Vec::new();
        let before = failures.len();
        for vector in &file.vectors {
            let answer = against_the_core(&file, vector, usize::MAX).and_then(|answer| {
                if !updates() {
                    compare(vector, &answer)?;
                }
                Ok(answer)
            });
            match answer {
                Ok(answer) => answers.push(answer),
                Err(why) => failures.push(format!("{}: {why}", file.name)),
            }
        }
        if failures.len() > before {
            continue;
        }
        let text = file.render(&answers);
        if updates() {
            file.write(&text);
        } else if text != file.text {
            failures.push(format!(
                "{}: a comment behind a frame does not say what that is; UPDATE_FRAMES=1 puts it right",
                file.name
            ));
        }
    }
    check(failures);
}

#[test]
fn the_core_answers_the_same_when_bytes_come_one_by_one() {
    let mut failures = Vec::new();
    for file in file::read_all() {
        for vector in file.vectors.iter().filter(|v| v.input_len() <= SMALL) {
            let result = against_the_core(&file, vector, 1)
                .and_then(|answer| compare(vector, &answer))
                .map_err(|why| format!("{}: {why}", file.name));
            failures.extend(result.err().filter(|_| !updates()));
        }
    }
    check(failures);
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn a_server_on_a_socket_answers_with_the_same_bytes() {
    let mut failures = Vec::new();
    for file in file::read_all() {
        if file.end == End::Client || updates() {
            continue;
        }
        for vector in file.vectors.iter().filter(|v| v.is_timeless()) {
            let result = live::replay(vector).await;
            failures.extend(result.err().map(|why| format!("{}: {why}", file.name)));
        }
    }
    check(failures);
}

#[cfg(feature = "blocking")]
#[test]
fn a_blocking_server_on_a_socket_answers_with_the_same_bytes() {
    let mut failures = Vec::new();
    for file in file::read_all() {
        if file.end == End::Client || updates() {
            continue;
        }
        for vector in file.vectors.iter().filter(|v| v.is_timeless()) {
            let result = threads::replay(vector);
            failures.extend(result.err().map(|why| format!("{}: {why}", file.name)));
        }
    }
    check(failures);
}

#[test]
fn each_vector_has_a_name_of_its_own() {
    let files = file::read_all();
    let mut names = BTreeSet::new();
    for vector in files.iter().flat_map(|file| &file.vectors) {
        assert!(names.insert(&vector.name), "[{}] twice", vector.name);
    }
    assert!(!names.is_empty());
}
