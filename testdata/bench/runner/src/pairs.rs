//! The pairs of programs that are measured, and how they are built.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Outcome;

/// A server and a client on one implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    pub name: &'static str,
    /// The package and what its programs' names begin with; without one it is Go's.
    package: Option<&'static str>,
    features: &'static str,
    /// Whether there are streams.
    pub streams: bool,
    /// Whether it takes part only where all CPUs are free.
    pub multi_thread: bool,
}

const fn pair(name: &'static str) -> Pair {
    Pair {
        name,
        package: Some(name),
        features: "",
        streams: true,
        multi_thread: false,
    }
}

/// The same programs, on a runtime with several threads.
const fn multi_thread(name: &'static str, package: &'static str) -> Pair {
    Pair {
        package: Some(package),
        features: "multi-thread",
        multi_thread: true,
        ..pair(name)
    }
}

/// How the smallest programs are linked, as the README says.
const SMALLEST: &str = "-Clink-arg=-Wl,-z,pack-relative-relocs,-T,smallest.ld";

const ALL: &[Pair] = &[
    pair("ours-tokio"),
    pair("ours-blocking"),
    multi_thread("ours-tokio-mt", "ours-tokio"),
    pair("raw"),
    pair("ttrpc-async"),
    multi_thread("ttrpc-async-mt", "ttrpc-async"),
    Pair {
        streams: false,
        ..pair("ttrpc-blocking")
    },
    pair("tonic"),
    Pair {
        package: None,
        ..pair("go")
    },
];

/// Every pair that can be built here.
pub fn all() -> Vec<Pair> {
    let here = |pair: &&Pair| match pair.package {
        Some(package) => source().join("pairs").join(package).is_dir(),
        None => on_path("go"),
    };
    ALL.iter().filter(here).copied().collect()
}

/// Whether a program is on the path.
pub fn on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Where the benchmark's sources are.
pub fn source() -> &'static Path {
    let runner = Path::new(env!("CARGO_MANIFEST_DIR"));
    runner.parent().unwrap_or(runner)
}

/// The repository.
pub fn repository() -> PathBuf {
    source().join("../..")
}

/// Where results go.
pub fn results() -> Outcome<PathBuf> {
    let dir = repository().join("target/bench");
    fs::create_dir_all(&dir)?;
    Ok(dir.canonicalize()?)
}

/// Where cargo builds: where it has built this program.
fn target() -> Outcome<PathBuf> {
    let program = env::current_exe()?;
    let target = program.parent().and_then(Path::parent);
    Ok(target
        .ok_or("this program is not in a target directory")?
        .to_owned())
}

impl Pair {
    /// Its package's name behind `bench-`, if cargo builds it.
    pub fn package(&self) -> Option<&'static str> {
        self.package
    }

    pub fn is_ours(&self) -> bool {
        self.name.starts_with("ours")
    }

    /// Whether its calls can have a thread each; beside those, what all are compared with.
    pub fn has_threads(&self) -> bool {
        self.name.ends_with("blocking") || self.name == "raw"
    }

    /// The same programs, of ours, as the README says how to make them smallest.
    pub fn smallest(&self) -> Option<Self> {
        let name = match self.name {
            "ours-tokio" => "ours-tokio-smallest",
            "ours-blocking" => "ours-blocking-smallest",
            _ => return None,
        };
        Some(Self { name, ..*self })
    }

    pub fn is_rival(&self) -> bool {
        !self.is_ours() && self.name != "raw"
    }

    /// One of its programs: `server`, `client` or `work`.
    pub fn program(&self, role: &str) -> Outcome<PathBuf> {
        Ok(results()?.join("bin").join(format!("{}-{role}", self.name)))
    }

    /// Its command, told to be a server, client or worker.
    pub fn command(&self, role: &str) -> Outcome<Command> {
        let mut command = Command::new(self.program(role)?);
        if self.package.is_none() {
            command.arg(role);
            // It complains of each client that ends in the midst of its calls.
            command.stderr(Stdio::null());
        }
        Ok(command)
    }

    /// Builds `roles` of it, and puts them where [`program`](Self::program) says.
    pub fn build(&self, profile: &str, roles: &[&str]) -> Outcome<()> {
        let bin = results()?.join("bin");
        fs::create_dir_all(&bin)?;
        let Some(package) = self.package else {
            let mut build = Command::new("go");
            build.args(["build", "-o"]).arg(bin.join("go"));
            build.arg(".").current_dir(source().join("pairs/go"));
            check(&mut build)?;
            for role in roles {
                fs::copy(bin.join("go"), self.program(role)?)?;
            }
            return Ok(());
        };
        let target = target()?;
        // Cargo takes one program at a time where that is to be linked in a way of its own.
        let (command, at_once, link): (_, _, &[_]) = match profile {
            "smallest" => ("rustc", 1, &["--", SMALLEST]),
            _ => ("build", roles.len(), &[]),
        };
        for roles in roles.chunks(at_once) {
            // Each pair by itself: built together they would get each other's features.
            let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            build.args([command, "--quiet", "--locked", "--profile", profile]);
            build.args(["--package", &format!("bench-{package}")]);
            build.args(["--features", self.features]);
            build
                .arg("--manifest-path")
                .arg(source().join("Cargo.toml"));
            build.arg("--target-dir").arg(&target);
            for role in roles {
                build.args(["--bin", &format!("{package}-{role}")]);
            }
            check(build.args(link))?;
        }
        for role in roles {
            let built = target.join(profile).join(format!("{package}-{role}"));
            // What runs can't be written to, and what is new needs no permission.
            let _ = fs::remove_file(self.program(role)?);
            fs::copy(built, self.program(role)?)?;
        }
        Ok(())
    }
}

/// Runs a command that has to succeed.
fn check(command: &mut Command) -> Outcome<()> {
    let status = command
        .status()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {status}").into())
}

/// Cargo takes profiles from the root of a workspace alone, so that there are two.
pub fn check_profile() -> Outcome<()> {
    let profile = |path: PathBuf| -> Outcome<String> {
        let text = fs::read_to_string(path)?;
        let after = text
            .split_once("[profile.small]")
            .map_or("", |(_, after)| after);
        let section = after.split("\n\n").next().unwrap_or_default();
        Ok(section.trim().to_owned())
    };
    let (ours, theirs) = (
        profile(source().join("Cargo.toml"))?,
        profile(repository().join("Cargo.toml"))?,
    );
    if ours == theirs {
        return Ok(());
    }
    Err("the profile `small` differs between Cargo.toml and testdata/bench/Cargo.toml".into())
}
