//! The plugin of protoc and buf, and a compiler that needs neither.

use std::error::Error;
use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use protoc_gen_ttrpc::Builder;

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
    Compile {
        /// A directory in which files and imports are looked for [default: .]
        #[arg(short = 'I', long = "include", value_name = "DIR")]
        includes: Vec<PathBuf>,
        /// The directory to write to
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
    },
}

fn after_help() -> String {
    format!(
        "Options, for `--ttrpc_opt` of protoc, `opt` of buf, `--opt` of `compile`, and build scripts:\n{}",
        protoc_gen_ttrpc::options_help()
    )
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("protoc-gen-ttrpc: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    match arguments.command {
        Some(Command::Compile {
            includes,
            out,
            options,
            protoc,
            files,
        }) => {
            let mut builder = Builder::new().out_dir(out);
            for include in includes {
                builder = builder.include(include);
            }
            for option in options {
                builder = builder.options(&option);
            }
            if let Some(protoc) = protoc {
                builder = builder.protoc(protoc);
            }
            builder.generate(&files)?;
        }
        None if io::stdin().is_terminal() => Arguments::command().print_long_help()?,
        None => {
            let mut request = Vec::new();
            io::stdin().read_to_end(&mut request)?;
            let response = protoc_gen_ttrpc::generate(request)?;
            io::stdout().write_all(&response)?;
        }
    }
    Ok(())
}
