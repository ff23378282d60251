//! The demo itself: two processes, each kind of call, and an orderly end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Command;

#[test]
fn two_processes_and_all_four_kinds() {
    tour(&[]);
}

#[test]
fn two_processes_without_a_runtime() {
    tour(&["--blocking"]);
}

fn tour(args: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_ttrpc-demo"))
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8(output.stdout).unwrap();
    for line in [
        "unary: GetFeature",
        "  <- Brandenburg Gate",
        "  <- NOT_FOUND: there is nothing at 0, 0",
        "server streaming: ListFeatures",
        "client streaming: RecordRoute",
        "  <- 3 points, 3 features, 2306 m",
        "bidirectional streaming: RouteChat",
        "  <- somebody was here before: Nice columns.",
        "server: stopped, exit status: 0",
    ] {
        assert!(
            told.lines().any(|told| told == line),
            "{line:?} is not in\n{told}"
        );
    }
}

#[test]
fn wrong_arguments_say_what_is_right() {
    let output = Command::new(env!("CARGO_BIN_EXE_ttrpc-demo"))
        .arg("dance")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("`serve ADDRESS`"), "{told}");
}
