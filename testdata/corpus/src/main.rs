//! Generates the services and messages of real projects, for each message crate and both
//! flavours, compiles all of it without a warning, and prints what it took.
//!
//! `make corpus` runs it. It takes the path of the generator and that of a directory to work
//! in; packages come from crates.io, PyPI and Go's module proxy.

mod sources;

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use sources::{Source, protos, run};
use wait4::Wait4;

const BACKENDS: [&str; 3] = ["protobuf", "prost", "buffa"];

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let usage = "expected the path of protoc-gen-ttrpc and a directory to work in";
    let generator = arguments.next().ok_or(usage)?.canonicalize()?;
    let work = arguments.next().ok_or(usage)?;
    fs::create_dir_all(&work)?;
    let work = work.canonicalize()?;

    let sources = sources::fetch(&work.join("sources"))?;
    let user = work.join("user");
    if user.join("src").exists() {
        fs::remove_dir_all(user.join("src"))?;
    }
    let mut library = String::from("//! What was generated.\n#![deny(warnings, missing_docs)]\n");
    println!("tree        messages  files services   rpcs  seconds  memory");
    for source in &sources {
        for messages in BACKENDS {
            let module = format!("{}_{messages}", source.name);
            generate(
                &generator,
                source,
                messages,
                &user.join("src").join(&module),
            )?;
            writeln!(library, "\n/// `{module}`\npub mod {module};")?;
        }
    }
    compile(&user, &library)
}

/// Generates one tree for one message crate, and prints a line about it.
fn generate(generator: &Path, source: &Source, messages: &str, out: &Path) -> Result<()> {
    let mut files = Vec::new();
    for root in &source.roots {
        files.extend(protos(root)?);
    }
    let (mut services, mut rpcs) = (0, 0);
    for file in &files {
        let text = fs::read_to_string(file)?;
        let begin_with = |word: &str| {
            let lines = text.lines().map(str::trim_start);
            lines.filter(|line| line.starts_with(word)).count()
        };
        services += begin_with("service ");
        rpcs += begin_with("rpc ");
    }

    let mut command = Command::new(generator);
    command.args(["compile", "--opt", "flavours=async+blocking", "--opt"]);
    command.arg(format!("messages={messages}"));
    for include in &source.includes {
        command.arg("-I").arg(include);
    }
    command.arg("--out").arg(out).args(&files);
    let start = Instant::now();
    // What goes wrong is told where it is seen.
    let mut child = command.stdin(Stdio::null()).spawn()?;
    let finished = child.wait4()?;
    let seconds = start.elapsed().as_secs_f64();
    if !finished.status.success() {
        return Err(format!("{command:?}: {}", finished.status).into());
    }
    println!(
        "{:<12}{messages:<9}{:>6}{services:>9}{rpcs:>7}{seconds:>9.2}{:>5} MB",
        source.name,
        files.len(),
        finished.rusage.maxrss / 1_000_000,
    );
    Ok(())
}

/// Compiles everything as one crate, with every warning an error.
fn compile(user: &Path, library: &str) -> Result<()> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()?;
    let manifest = format!(
        r#"[package]
name = "user"
edition = "2024"

[dependencies]
ttrpc-runtime = {{ path = {:?}, features = ["blocking", "buffa", "prost", "protobuf"] }}
buffa = "0.9"
buffa-descriptor = "0.9"
buffa-types = "0.9"
prost = "0.14"
prost-types = "0.14"
protobuf = "3.7.2"

[workspace]
"#,
        repository.join("ttrpc-runtime")
    );
    fs::write(user.join("Cargo.toml"), manifest)?;
    fs::write(user.join("src/lib.rs"), library)?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let start = Instant::now();
    let mut check = Command::new(cargo);
    let check = check.args(["check", "--quiet"]).current_dir(user);
    let target = user.with_file_name("target");
    run(check
        .env("CARGO_TARGET_DIR", target)
        .env_remove("RUSTFLAGS"))?;
    println!(
        "compiled without a warning in {:.1} s",
        start.elapsed().as_secs_f64()
    );
    Ok(())
}
