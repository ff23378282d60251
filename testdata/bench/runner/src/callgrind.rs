//! User-space instructions, as valgrind's callgrind counts them.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Outcome;
use crate::pairs::Pair;
use crate::process::{self, Cpus};
use crate::work::Case;

/// Instructions of a call.
#[derive(Clone, Copy)]
pub struct Counted {
    /// Of all.
    pub all: f64,
    /// Without those of the C library, whose copying and allocating depend on the machine.
    pub own: f64,
}

/// What one call of a case takes, both sides together: what twice as many take more.
pub fn per_call(pair: Pair, case: &Case) -> Outcome<Counted> {
    let (once, twice) = (
        count(pair, case, case.calls)?,
        count(pair, case, 2 * case.calls)?,
    );
    // A quarter more is made before anything is counted.
    let calls = case.calls as f64 * 1.25;
    Ok(Counted {
        all: (twice.all - once.all) / calls,
        own: (twice.own - once.own) / calls,
    })
}

fn count(pair: Pair, case: &Case, calls: u64) -> Outcome<Counted> {
    let work = case.command(pair, calls)?;
    let out = process::socket()?.with_extension("callgrind");
    let mut command = Command::new("valgrind");
    command.args(["--quiet", "--tool=callgrind"]);
    command.arg(format!("--callgrind-out-file={}", out.display()));
    command.arg(work.get_program()).args(work.get_args());
    command.stdout(Stdio::null());
    // On one CPU, as everywhere; valgrind itself runs one thread at a time.
    let status = Cpus::Same.spawn(&mut command)?.wait()?;
    if !status.success() {
        return Err(format!("{command:?}: {status}").into());
    }
    let text = fs::read_to_string(&out)?;
    fs::remove_file(out)?;
    Ok(sum(&text, Path::new(work.get_program())))
}

/// Adds up a callgrind file: each line of costs belongs to the object that was named last,
/// except the one after `calls=`, which is what a callee took.
fn sum(text: &str, program: &Path) -> Counted {
    let program = program.display().to_string();
    let mut own_object = String::new();
    let (mut is_own, mut is_callee) = (false, false);
    let mut counted = Counted { all: 0.0, own: 0.0 };
    for line in text.lines() {
        if let Some(object) = line
            .strip_prefix("ob=")
            .or_else(|| line.strip_prefix("cob="))
        {
            // The name stands only where the object is met first.
            let (number, name) = object.split_once(' ').unwrap_or((object, ""));
            if name == program {
                own_object = number.to_owned();
            }
            if line.starts_with("ob=") {
                is_own = number == own_object;
            }
        } else if line.starts_with("calls=") {
            is_callee = true;
        } else if line.starts_with(|c: char| c.is_ascii_digit() || "+-*".contains(c))
            && !std::mem::take(&mut is_callee)
        {
            let cost = line.split(' ').nth(1).and_then(|cost| cost.parse().ok());
            let cost: f64 = cost.unwrap_or(0.0);
            counted.all += cost;
            counted.own += if is_own { cost } else { 0.0 };
        }
    }
    counted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_callees_take_is_counted_once() {
        let text = "\
events: Ir
ob=(1) /lib/libc.so.6
fn=(1) malloc
10 100
ob=(2) /bin/work
fn=(2) main
+3 20
cob=(1)
cfn=(1)
calls=2 10
* 100
-1 7
";
        let counted = sum(text, Path::new("/bin/work"));
        assert_eq!((counted.all, counted.own), (127.0, 27.0));
    }
}
