//! Where and when results were got.

use std::fs;
use std::process::Command;

/// One line: date, CPU, system, compiler.
pub fn describe() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("an unknown CPU", |(_, name)| name);
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let system = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{}, {cpus} × {cpu}, Linux {}, {}",
        said("date", &["-u", "+%F"]),
        system.trim(),
        compiler(),
    )
}

/// The compiler and its version, as `rustc 1.95.0`.
pub fn compiler() -> String {
    let version = said("rustc", &["--version"]);
    let words: Vec<_> = version.split(' ').take(2).collect();
    words.join(" ")
}

/// What kind of machine code it makes.
pub fn architecture() -> &'static str {
    std::env::consts::ARCH
}

fn said(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let out = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&out).trim().to_owned()
}
