//! Child processes: the peers.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use crate::outcome::{Failure, Outcome, patiently};

/// How much of what a process complains about is kept.
const MAX_COMPLAINTS: usize = 16 << 10;

/// A process that was started here; it is killed when this is dropped.
pub struct Process {
    child: Child,
    pub input: ChildStdin,
    pub output: BufReader<ChildStdout>,
    complaints: Complaints,
}

/// What a process has written to its standard error, or the beginning of it.
#[derive(Clone, Default)]
pub struct Complaints(Arc<Mutex<Vec<u8>>>);

impl Process {
    /// Starts a peer in a mode, with the socket to serve at or to connect to, and waits
    /// until it says that it is ready.
    pub async fn start(program: &Path, mode: &str, socket: &Path) -> Outcome<Self> {
        let mut child = Command::new(program)
            .arg(mode)
            .arg(socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Failure::new(format!("{}: {error}", program.display())))?;
        let (Some(input), Some(output), Some(errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(Failure::new("a child process without pipes"));
        };
        let mut process = Self {
            child,
            input,
            output: BufReader::new(output),
            complaints: Complaints::of(errors),
        };
        let said = process.read_line().await?;
        if said != "ready" {
            return Err(Failure::new(format!(
                "{} {mode}: expected `ready`, got {said:?} {}",
                program.display(),
                process.complaints.summary()
            )));
        }
        Ok(process)
    }

    /// Says something to the process, and gives what it answers.
    pub async fn ask(&mut self, line: &str) -> Outcome<String> {
        self.input.write_all(format!("{line}\n").as_bytes()).await?;
        self.read_line().await
    }

    async fn read_line(&mut self) -> Outcome<String> {
        let mut line = String::new();
        patiently("the peer's console", self.output.read_line(&mut line)).await??;
        Ok(line.trim_end().to_owned())
    }

    /// Waits until the process has ended by itself.
    pub async fn ended(&mut self) -> Outcome<ExitStatus> {
        Ok(patiently("the end of the peer's process", self.child.wait()).await??)
    }

    pub fn complaints(&self) -> Complaints {
        self.complaints.clone()
    }
}

impl Complaints {
    fn of(mut errors: ChildStderr) -> Self {
        let complaints = Self::default();
        let kept = complaints.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 1024];
            while let Ok(len @ 1..) = errors.read(&mut buffer).await {
                let mut kept = kept.0.lock().unwrap_or_else(PoisonError::into_inner);
                let room = MAX_COMPLAINTS - kept.len();
                kept.extend_from_slice(&buffer[..len.min(room)]);
            }
        });
        complaints
    }

    /// The lines that say the most, if there are any.
    pub fn summary(&self) -> String {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&kept);
        let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
        let from = lines
            .iter()
            .position(|line| line.contains("panic"))
            .unwrap_or_default();
        lines[from..]
            .iter()
            .take(4)
            .fold(String::new(), |all, line| all + "\n    | " + line)
    }
}
