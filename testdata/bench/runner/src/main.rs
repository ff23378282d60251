//! Runs the benchmark: `cargo run -p bench-runner -- help` says how.

mod callgrind;
mod compile;
mod figures;
mod goals;
mod guard;
mod machine;
mod pairs;
mod plot;
mod process;
mod rates;
mod record;
mod rounds;
mod scale;
mod size;
mod table;
mod work;

use std::process::ExitCode;

/// What can go wrong is told and ends the run.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const HELP: &str = "\
rates [--quick] [--rounds N] [--seconds S] [--cpus same|free] [--rows 1,3] [--pairs raw,tonic]
         calls and messages per second of every pair, against the goals
size  [--pairs ours-tokio]
         sizes, memory, threads, crates, cold start; and what a call takes: CPU time, system
         calls (with strace), allocations, instructions (with valgrind)
guard [--update]
         fails where a call takes more instructions or allocations than committed
scale [--pairs ours-tokio]
         what a call, a connection and a stream take as their number grows
compile  what a compiler takes for generated services, ours and tonic's
record   keeps what the others have left in target/bench as RESULTS.md";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_default();
    let args: Vec<String> = args.collect();
    process::raise_descriptors();
    let outcome = match command.as_str() {
        "rates" => rates::run(&args),
        "size" => size::run(&args),
        "guard" => guard::run(&args),
        "scale" => scale::run(&args),
        "compile" => compile::run(),
        "record" => record::run(),
        _ => Err(HELP.into()),
    };
    process::clean_up();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What follows `name` among arguments.
pub fn option<'a>(args: &'a [String], name: &str) -> Option<&'a str> {
    let at = args.iter().position(|arg| arg == name)?;
    args.get(at + 1).map(String::as_str)
}

/// Whether `name` is among arguments.
pub fn flag(args: &[String], name: &str) -> bool {
    args.iter().any(|arg| arg == name)
}
