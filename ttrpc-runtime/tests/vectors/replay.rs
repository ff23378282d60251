//! One vector against one end of a connection.

use crate::file::{Step, Vector, render_sent};

/// The end under test.
pub trait Subject {
    /// Takes a step, or says what is wrong with its outcome.
    fn take(&mut self, step: &Step) -> Result<(), String>;

    /// All that is to be written now.
    fn sent(&mut self) -> Vec<u8>;

    fn is_closed(&self) -> bool;

    /// What is wrong at the end of a vector that leaves the connection open.
    fn check_lives(&mut self) -> Result<(), String>;
}

/// Replays a vector; gives what was sent in each round.
pub fn replay(vector: &Vector, subject: &mut impl Subject) -> Result<Vec<Vec<u8>>, String> {
    let mut answers = Vec::new();
    for round in vector.rounds() {
        let context = |why| format!("[{}] {}: {why}", vector.name, round.text);
        match round.step {
            Step::Closed if subject.is_closed() => {}
            Step::Closed => return Err(context("it is open".to_owned())),
            step => subject.take(step).map_err(context)?,
        }
        answers.push(subject.sent());
    }
    if !vector.closes() {
        let name = &vector.name;
        if subject.is_closed() {
            return Err(format!("[{name}] it is closed in the end"));
        }
        subject
            .check_lives()
            .map_err(|why| format!("[{name}] in the end {why}"))?;
    }
    Ok(answers)
}

/// Checks that what was sent is what is expected.
pub fn compare(vector: &Vector, answers: &[Vec<u8>]) -> Result<(), String> {
    for (round, got) in vector.rounds().iter().zip(answers) {
        if round.expected != *got {
            return Err(differs(vector, round.text, &round.expected, got));
        }
    }
    Ok(())
}

/// Says what is to be sent after a line and what was.
pub fn differs(vector: &Vector, line: &str, expected: &[u8], got: &[u8]) -> String {
    let list = |bytes: &[u8]| match bytes {
        [] => "  nothing\n".to_owned(),
        _ => render_sent(bytes).replace("< ", "  < "),
    };
    format!(
        "[{}] {line}\nexpected\n{}got\n{}",
        vector.name,
        list(expected),
        list(got)
    )
}

/// A Request that every server refuses, on stream 0; whatever came before, it is the next
/// to be answered.
pub const PROBE: [u8; 10] = [0, 0, 0, 0, 0, 0, 0, 0, 1, 0];

/// Checks that the probe and nothing else was answered.
pub fn check_probe(answer: &[u8]) -> Result<(), String> {
    let header = answer.first_chunk::<10>();
    let expected = header.map(|[a, b, c, d, ..]| {
        let len = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        answer.len() == 10 + len && answer[4..10] == [0, 0, 0, 0, 2, 0]
    });
    match expected {
        Some(true) => Ok(()),
        _ => Err(format!(
            "a request on stream 0 is answered with\n{}",
            render_sent(answer)
        )),
    }
}
