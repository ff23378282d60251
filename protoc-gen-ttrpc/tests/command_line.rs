//! The command line says what it can do, and does no more than it must.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use protoc_gen_ttrpc::Builder;
use support::{BINARY, case_file, protos, scratch, succeed};

fn compile(out: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command
        .arg("compile")
        .arg("-I")
        .arg(protos())
        .arg("--out")
        .arg(out);
    command.args(more).arg(case_file("greeter"));
    command
}

#[test]
fn version_and_help() {
    let output = succeed(Command::new(BINARY).arg("--version"));
    let version = concat!("protoc-gen-ttrpc ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), version);
    for arguments in [&["--help"][..], &["compile", "--help"]] {
        let output = succeed(Command::new(BINARY).args(arguments));
        let help = String::from_utf8(output.stdout).unwrap();
        let table = include_str!("../src/options/table.md");
        for row in table.lines().skip(2) {
            let option = row.split('`').nth(1).unwrap();
            assert!(help.contains(&format!("  {option}=")), "{option} in {help}");
        }
    }
}

#[test]
fn options_are_those_of_the_plugin() {
    let out = scratch("options");
    succeed(&mut compile(
        &out,
        &[
            "--opt",
            "messages=none, mod_rs=false",
            "--opt",
            "message_path=crate",
        ],
    ));
    let files: Vec<_> = support::read(&out).into_keys().collect();
    assert_eq!(files, ["greeter_ttrpc.rs"]);

    let output = compile(&out, &["--opt", "mesages=none"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "protoc-gen-ttrpc: there is no option `mesages`; the nearest is `messages`\n"
    );
}

#[test]
fn what_does_not_change_is_not_written() {
    let out = scratch("unchanged");
    let changed = |name: &str| fs::metadata(out.join(name)).unwrap().modified().unwrap();
    succeed(&mut compile(&out, &[]));
    let before = changed("greeter.rs");
    fs::write(out.join("greeter_ttrpc.rs"), "edited").unwrap();
    succeed(&mut compile(&out, &[]));
    assert_eq!(changed("greeter.rs"), before);
    assert_ne!(
        fs::read_to_string(out.join("greeter_ttrpc.rs")).unwrap(),
        "edited"
    );
}

/// What a build script tells cargo about.
#[test]
fn files_that_were_read_are_known() {
    let builder = Builder::new().include(protos()).out_dir(scratch("read"));
    let expected = ["messages.proto", "parts/public.proto", "parts/type.proto"];
    let read = builder.clone().generate(&[case_file("messages")]).unwrap();
    assert_eq!(read, expected.map(|name| protos().join(name)));
    let read = builder
        .protoc(support::protoc())
        .generate(&[case_file("messages")])
        .unwrap();
    assert_eq!(read, expected.map(|name| protos().join(name)));
}
