//! Files of vectors: read, and written with other answers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ttrpc_runtime::Limits;

use crate::describe::{Describer, take};
use crate::notation;

/// Which end of the connection a file is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    Server,
    Client,
}

pub struct File {
    pub name: String,
    pub text: String,
    pub end: End,
    /// What stands before the first vector.
    head: String,
    pub vectors: Vec<Vector>,
    path: PathBuf,
}

pub struct Vector {
    pub name: String,
    meaning: String,
    lines: Vec<Line>,
}

struct Line {
    text: String,
    step: Step,
}

/// What a line says.
pub enum Step {
    /// Nothing: it is a comment or a setting, which is looked up when it is needed.
    Note,
    /// The peer sends this.
    In(Vec<u8>),
    /// This is sent.
    Out(Vec<u8>),
    /// Time passes.
    Advance(Duration),
    /// The peer sends no more.
    Eof,
    /// The connection is closed.
    Closed,
    /// A caller does this.
    Act(String),
    /// A caller gets this.
    Outcome(String),
}

/// A step and what has to be sent by then.
pub struct Round<'a> {
    pub step: &'a Step,
    pub text: &'a str,
    pub expected: Vec<u8>,
}

/// All files there are, by their names.
pub fn read_all() -> Vec<File> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/frames");
    let mut paths: Vec<_> = directory
        .read_dir()
        .expect("testdata/frames")
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no vectors");
    paths.into_iter().map(File::read).collect()
}

impl File {
    fn read(path: PathBuf) -> Self {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let first = text.find("\n[").expect("a vector") + 1;
        let (head, rest) = text.split_at(first);
        let end = match head.lines().find(|line| !line.starts_with('#')) {
            Some("server") => End::Server,
            Some("client") => End::Client,
            other => panic!("{name}: neither server nor client: {other:?}"),
        };
        let vectors = rest.split("\n[").map(Vector::read).collect();
        Self {
            end,
            head: head.to_owned(),
            vectors,
            name,
            path,
            text,
        }
    }

    /// The file with these answers, one for each round of each vector.
    pub fn render(&self, answers: &[Vec<Vec<u8>>]) -> String {
        let vectors = self.vectors.iter().zip(answers);
        let vectors: Vec<String> = vectors.map(|(v, answers)| v.render(answers)).collect();
        self.head.clone() + &vectors.join("\n")
    }

    pub fn write(&self, text: &str) {
        if text != self.text {
            std::fs::write(&self.path, text).unwrap();
        }
    }
}

impl Vector {
    /// Whether it can be replayed where the clock goes by itself.
    #[cfg(any(feature = "tokio", feature = "blocking"))]
    pub fn is_timeless(&self) -> bool {
        let is_time = |step: &Step| matches!(step, Step::Advance(_));
        !self.rounds().iter().any(|round| is_time(round.step))
    }

    fn read(text: &str) -> Self {
        let text = text.strip_prefix('[').unwrap_or(text);
        let (name, rest) = text.split_once("]\n").expect("a name and a meaning");
        let mut lines = rest.trim_end().lines();
        let meaning = lines.next().expect("a meaning").to_owned();
        let lines = lines.map(Line::read).collect();
        Self {
            name: name.to_owned(),
            meaning,
            lines,
        }
    }

    /// The steps, each with the answer that stands behind it.
    pub fn rounds(&self) -> Vec<Round<'_>> {
        let mut rounds: Vec<Round<'_>> = Vec::new();
        for line in &self.lines {
            match &line.step {
                Step::Note => {}
                Step::Out(bytes) => {
                    let last = rounds.last_mut().expect("an answer to something");
                    last.expected.extend_from_slice(bytes);
                }
                step => rounds.push(Round {
                    step,
                    text: &line.text,
                    expected: Vec::new(),
                }),
            }
        }
        rounds
    }

    fn render(&self, answers: &[Vec<u8>]) -> String {
        let mut text = format!("[{}]\n{}\n", self.name, self.meaning);
        let mut answers = answers.iter();
        let mut describer = Describer::default();
        for line in &self.lines {
            match &line.step {
                Step::Note => text += &format!("{}\n", line.text),
                Step::Out(_) => {}
                step => {
                    match step {
                        Step::In(bytes) => {
                            let (_, notation) = notation::read(&line.text[1..]);
                            let words = describer.describe(bytes);
                            text += &format!("> {notation}  # {words}\n");
                        }
                        _ => text += &format!("{}\n", line.text),
                    }
                    text += &answers.next().map(|a| render_sent(a)).unwrap_or_default();
                }
            }
        }
        text
    }

    /// Bytes that the peer sends.
    pub fn input_len(&self) -> usize {
        let len = |line: &Line| match &line.step {
            Step::In(bytes) => bytes.len(),
            _ => 0,
        };
        self.lines.iter().map(len).sum()
    }

    pub fn closes(&self) -> bool {
        let closes = |line: &Line| matches!(line.step, Step::Closed);
        self.lines.iter().any(closes)
    }

    /// What `set name=value` says.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.lines
            .iter()
            .filter_map(|line| line.text.strip_prefix("set "))
            .filter_map(|setting| setting.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }

    pub fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        let number = |name| self.setting(name).map(|value| value.parse().unwrap());
        if let Some(most) = number("max_streams") {
            limits.max_streams = most;
        }
        if let Some(bytes) = number("inbox_bytes") {
            limits.inbox_bytes = bytes;
        }
        if let Some(frames) = number("stray_frames") {
            limits.stray_frames = frames as u32;
        }
        limits.frame_timeout = self.setting("frame_timeout").map(duration);
        limits
    }
}

impl Line {
    fn read(text: &str) -> Self {
        let (sign, rest) = text.split_once(' ').unwrap_or((text, ""));
        let step = match sign {
            "" | "set" => Step::Note,
            ">" => Step::In(notation::read(rest).0),
            "<" => Step::Out(notation::read(rest).0),
            "@" => Step::Advance(duration(rest.strip_prefix('+').expect("+ and a time"))),
            "!" => Step::Act(rest.to_owned()),
            "=" => Step::Outcome(rest.to_owned()),
            "eof" => Step::Eof,
            "closed" => Step::Closed,
            _ if sign.starts_with('#') => Step::Note,
            _ => panic!("neither a step nor a comment: {text}"),
        };
        Self {
            text: text.to_owned(),
            step,
        }
    }
}

/// Reads `2s` or `2ms`.
pub fn duration(text: &str) -> Duration {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, Duration::from_millis(1)),
        None => (
            text.strip_suffix('s').expect("s or ms"),
            Duration::from_secs(1),
        ),
    };
    unit * number.parse::<u32>().expect("a number")
}

/// What was sent, one frame a line.
pub fn render_sent(mut bytes: &[u8]) -> String {
    let mut text = String::new();
    while !bytes.is_empty() {
        let len = match bytes.first_chunk::<4>() {
            Some(length) => 10 + u32::from_be_bytes(*length) as usize,
            None => bytes.len(),
        };
        let frame = take(&mut bytes, len);
        let words = Describer::default().describe(frame);
        text += &format!("< {}  # {words}\n", notation::write_frame(frame));
    }
    text
}
