//! The plugin of protoc and buf, and a compiler that needs neither.

use std::error::Error;
use std::fs;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Args, CommandFactory, Parser, Subcommand};
use protoc_gen_ttrpc::Builder;
use protoc_gen_ttrpc_templates::STARTERS;

/// Generates ttrpc clients and servers in Rust from .proto files.
///
/// Without a command this is a plugin: protoc and buf run it, and talk to it over
/// standard input and output.
#[derive(Parser)]
#[command(version, after_help = after_help())]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Compile .proto files, without protoc
    #[command(after_help = after_help())]
    Compile(Compile),
    /// Fail where generated files are not what `compile` would write
    #[command(after_help = after_help())]
    Check(Compile),
    /// Write files to begin with, into the current directory
    Init {
        /// How the code is to be generated
        #[arg(value_parser = PossibleValuesParser::new(STARTERS.iter().map(|starter| starter.name)))]
        way: String,
    },
}

#[derive(Args)]
struct Compile {
    /// A directory in which files and imports are looked for [default: .]
    #[arg(short = 'I', long = "include", value_name = "DIR")]
    includes: Vec<PathBuf>,
    /// The directory of the generated files
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// An option, see below
    #[arg(long = "opt", value_name = "KEY=VALUE")]
    options: Vec<String>,
    /// Compile with protoc instead of the embedded compiler
    #[arg(
        long,
        value_name = "PATH",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "protoc"
    )]
    protoc: Option<PathBuf>,
    /// The .proto files
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

impl Compile {
    fn builder(&self) -> Builder {
        let mut builder = Builder::new().out_dir(&self.out);
        for include in &self.includes {
            builder = builder.include(include);
        }
        for option in &self.options {
            builder = builder.options(option);
        }
        match &self.protoc {
            Some(protoc) => builder.protoc(protoc),
            None => builder,
        }
    }
}

fn after_help() -> String {
    format!(
        "Options, for `--ttrpc_opt` of protoc, `opt` of buf, `--opt` of `compile`, and build scripts:\n{}",
        protoc_gen_ttrpc::options_help()
    )
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("protoc-gen-ttrpc: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode, Box<dyn Error>> {
    match arguments.command {
        Some(Command::Compile(compile)) => drop(compile.builder().generate(&compile.files)?),
        Some(Command::Check(compile)) => return check(&compile),
        Some(Command::Init { way }) => init(&way, Path::new("."))?,
        None if io::stdin().is_terminal() => Arguments::command().print_long_help()?,
        None => {
            let mut request = Vec::new();
            io::stdin().read_to_end(&mut request)?;
            let response = protoc_gen_ttrpc::generate(request)?;
            io::stdout().write_all(&response)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what is stale, and how to mend it.
fn check(compile: &Compile) -> Result<ExitCode, Box<dyn Error>> {
    let differences = compile.builder().check(&compile.files)?;
    if differences.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    for difference in &differences {
        eprintln!("{difference}");
    }
    let out = compile.out.display();
    let files = match differences.len() {
        1 => "1 file".to_owned(),
        n => format!("{n} files"),
    };
    eprintln!("\n{files} in {out} not as generated; this mends what is not left over:");
    // The words of this command, but for the first.
    let words = std::env::args_os().skip(2).map(|word| {
        let word = word.to_string_lossy();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:+,".contains(c);
        match !word.is_empty() && word.chars().all(is_plain) {
            true => word.into_owned(),
            false => format!("'{}'", word.replace('\'', "'\\''")),
        }
    });
    eprintln!(
        "  protoc-gen-ttrpc compile {}",
        words.collect::<Vec<_>>().join(" ")
    );
    Ok(ExitCode::FAILURE)
}

/// Writes a starter, or nothing where one of its files is there already.
fn init(way: &str, directory: &Path) -> Result<(), Box<dyn Error>> {
    let starter = STARTERS.iter().find(|starter| starter.name == way);
    let starter = starter.ok_or("there is no such starter")?;
    let paths = starter.files.iter().map(|(path, _)| *path);
    let there: Vec<&str> = paths.filter(|path| directory.join(path).exists()).collect();
    if !there.is_empty() {
        let there = there.join(", ");
        return Err(format!("{there}: already there; move it away, or start elsewhere").into());
    }
    for (path, content) in starter.files {
        let path = directory.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, content)?;
        println!(
            "wrote {}",
            path.strip_prefix(".").unwrap_or(&path).display()
        );
    }
    println!(
        "\nAdd `pub mod protos;` to src/lib.rs, and run:\n{}",
        starter.commands()
    );
    Ok(())
}
