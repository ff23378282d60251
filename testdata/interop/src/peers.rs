//! The implementations under test, and pairs of them.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::Mutex;

use crate::caller::Caller;
use crate::frames::{Frames, FramesListener};
use crate::outcome::{Failure, Outcome, check_eq, patiently};
use crate::process::{Complaints, Process};

/// An implementation, as a program that serves and calls.
#[derive(Clone)]
pub struct Peer {
    pub name: String,
    pub kind: Kind,
    /// Which one, of ours.
    pub flavour: Option<Flavour>,
    pub program: PathBuf,
}

/// One of our two; cases can't tell them apart.
#[derive(Clone, Copy)]
pub enum Flavour {
    Async,
    Blocking,
}

/// Whose an implementation is, for what cases have to know of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Ours,
    /// Go's, with its version.
    Go([u32; 3]),
    /// Another one in Rust.
    Rival,
}

impl Kind {
    pub fn is_ours(self) -> bool {
        self == Self::Ours
    }

    pub fn is_go(self) -> bool {
        matches!(self, Self::Go(_))
    }

    /// Whether it is Go's, before 1.2.`patch`.
    pub fn is_go_before(self, patch: u32) -> bool {
        matches!(self, Self::Go(version) if version < [1, 2, patch])
    }
}

impl Peer {
    /// The other implementations in Rust, built from the package `rivals`.
    pub async fn rivals() -> Outcome<Vec<Self>> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("rivals");
        let target = peers_dir()?.join("rivals");
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--locked", "--manifest-path"]);
        build.arg(source.join("Cargo.toml"));
        build.arg("--target-dir").arg(&target);
        run(&mut build).await?;
        let lock = std::fs::read_to_string(source.join("Cargo.lock"))?;
        let rival = |name: &str| Self {
            name: format!("{name} {}", locked_version(&lock, name)),
            kind: Kind::Rival,
            flavour: None,
            program: target.join("debug").join(name),
        };
        Ok(vec![rival("ttrpc"), rival("trapeze")])
    }

    /// This program.
    pub fn ours(flavour: Flavour) -> Outcome<Self> {
        let name = match flavour {
            Flavour::Async => "ours",
            Flavour::Blocking => "ours-blocking",
        };
        Ok(Self {
            name: name.to_owned(),
            kind: Kind::Ours,
            flavour: Some(flavour),
            program: env::current_exe()?,
        })
    }

    /// Go's, built from the module file `modfile` with the `go` that is found on the
    /// path.
    pub async fn go(modfile: &str) -> Outcome<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("go");
        let program = peers_dir()?.join(modfile).with_extension("bin");
        let mut build = Command::new("go");
        build.arg("build").arg(format!("-modfile={modfile}"));
        build.arg("-o").arg(&program).arg(".");
        run(build.current_dir(&source)).await?;
        let version = run(Command::new(&program).arg("version")).await?;
        Ok(Self {
            kind: Kind::Go(parse_version(&version)),
            flavour: None,
            name: format!("go {version}"),
            program,
        })
    }
}

/// Where peers are built: beside this program, in cargo's target directory.
pub fn peers_dir() -> Outcome<PathBuf> {
    let program = env::current_exe()?;
    let dir = program.with_file_name("interop-peers");
    std::fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// Runs a program to its end, and gives what it writes.
pub async fn run(command: &mut Command) -> Outcome<String> {
    let shown = format!("{:?}", command.as_std());
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = output.await?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(format!(
        "{shown}: {}\n{errors}",
        output.status
    )))
}

/// Whether a program is on the path.
pub fn is_on_path(program: &str) -> bool {
    let path = env::var_os("PATH");
    let mut directories = path.as_deref().map(OsStr::to_owned).into_iter();
    directories.any(|path| env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

/// The version of a crate in a Cargo.lock.
fn locked_version<'a>(lock: &'a str, name: &str) -> &'a str {
    let at = format!("name = \"{name}\"\nversion = \"");
    let version = lock
        .split_once(&at)
        .and_then(|(_, rest)| rest.split_once('"'));
    version.map_or("?", |(version, _)| version)
}

/// The numbers of `v1.2.3`.
fn parse_version(text: &str) -> [u32; 3] {
    let mut numbers = text
        .trim_start_matches('v')
        .split(['.', '-'])
        .map(|number| number.parse().unwrap_or_default());
    std::array::from_fn(|_| numbers.next().unwrap_or_default())
}

/// A server under test, in a process of its own.
pub struct Target {
    pub kind: Kind,
    pub socket: PathBuf,
    process: Mutex<Process>,
    complaints: Complaints,
}

impl Target {
    pub async fn start(peer: &Peer, dir: &Path) -> Outcome<Self> {
        let socket = dir.join("server.sock");
        let _ = std::fs::remove_file(&socket);
        let mode = match peer.flavour {
            Some(Flavour::Blocking) => "serve-blocking",
            _ => "serve",
        };
        let process = Process::start(&peer.program, mode, &socket).await?;
        Ok(Self {
            kind: peer.kind,
            socket,
            complaints: process.complaints(),
            process: Mutex::new(process),
        })
    }

    /// A connection for frames that a case writes itself.
    pub async fn frames(&self) -> Outcome<Frames> {
        Frames::connect(&self.socket).await
    }

    /// How often something has happened to a handler that holds: it has `started`,
    /// `finished` or was `cancelled`.
    pub async fn count(&self, event: &str) -> Outcome<usize> {
        let line = format!("count {event}");
        let answer = self.process.lock().await.ask(&line).await?;
        answer
            .parse()
            .map_err(|_| Failure::new(format!("{line}: the server's console answers {answer:?}")))
    }

    /// Waits until something has happened `times` times.
    pub async fn wait_for(&self, event: &str, times: usize) -> Outcome<()> {
        let mut count = 0;
        for _ in 0..1000 {
            count = self.count(event).await?;
            if count >= times {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        check_eq!(count, times, "handlers that have {event}");
        Ok(())
    }

    /// Lets all handlers go on that hold.
    pub async fn release(&self) -> Outcome<()> {
        self.order("release").await
    }

    /// Begins to shut the server down gracefully.
    pub async fn shut_down(&self) -> Outcome<()> {
        self.order("shutdown").await
    }

    async fn order(&self, command: &str) -> Outcome<()> {
        let answer = self.process.lock().await.ask(command).await?;
        check_eq!(answer, "ok", "the server's answer to {command}");
        Ok(())
    }

    /// Waits until the server's process has ended by itself, and well.
    pub async fn ended(&self) -> Outcome<()> {
        let status = self.process.lock().await.ended().await?;
        check_eq!(status.code(), Some(0), "the exit code of the server");
        Ok(())
    }

    pub fn complaints(&self) -> String {
        self.complaints.summary()
    }
}

/// A client and a server under test.
pub struct Pair {
    pub client: Peer,
    pub server: Target,
}

impl Pair {
    /// Connects a client.
    pub async fn connect(&self) -> Outcome<Caller> {
        Caller::connect(&self.client, &self.server.socket).await
    }

    /// Connects a client whose connection is to be cut.
    pub async fn connect_to_cut(&self) -> Outcome<Caller> {
        Caller::connect_to_cut(&self.client, &self.server.socket).await
    }
}

/// A client under test, and a server whose frames the case writes itself.
pub struct Script {
    pub client: Peer,
    listener: FramesListener,
}

impl Script {
    pub fn new(client: Peer, dir: &Path) -> Outcome<Self> {
        let listener = FramesListener::bind(&dir.join("frames.sock"))?;
        Ok(Self { client, listener })
    }

    /// Connects the client, and gives both ends.
    pub async fn connect(&self) -> Outcome<(Caller, Frames)> {
        let connecting = Caller::connect(&self.client, &self.listener.path);
        let both = async { tokio::join!(connecting, self.listener.accept()) };
        let (client, frames) = patiently("connecting", both).await?;
        Ok((client?, frames?))
    }
}
