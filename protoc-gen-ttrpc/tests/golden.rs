//! The generated services are those in `testdata/golden`, letter by letter.
//!
//! `UPDATE_GOLDEN=1` (`make golden`) rewrites them; read the difference before you
//! commit it.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::env;
use std::fs;

use protoc_gen_ttrpc::Builder;
use support::{CASES, Files, assert_same, case_file, protos, read, scratch, testdata};

#[test]
fn generated_code_is_as_committed() {
    for case in CASES {
        let out = scratch(&format!("golden-{case}"));
        let builder = Builder::new().include(protos()).out_dir(&out);
        builder.generate(&[case_file(case)]).unwrap();
        // The messages are rust-protobuf's.
        let mut files = read(&out);
        files.retain(|name, _| name.ends_with("_ttrpc.rs") || name == "mod.rs");
        compare(case, &files);
    }
}

#[test]
fn messages_can_come_from_elsewhere() {
    let out = scratch("golden-elsewhere");
    let options = [
        ("messages", "none"),
        ("message_path", "::protos::v1"),
        ("mod_rs", "false"),
    ];
    let mut builder = Builder::new().include(protos()).out_dir(&out);
    for (key, value) in options {
        builder = builder.option(key, value);
    }
    builder.generate(&[case_file("messages")]).unwrap();
    compare("elsewhere", &read(&out));
}

#[track_caller]
fn compare(case: &str, files: &Files) {
    let directory = testdata().join("golden").join(case);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap();
        for (name, text) in files {
            fs::write(directory.join(name), text).unwrap();
        }
    }
    assert!(
        directory.exists(),
        "{} is missing; `make golden` writes it",
        directory.display()
    );
    assert_same(
        &format!("testdata/golden/{case} (`make golden` rewrites it)"),
        &read(&directory),
        "this generator",
        files,
    );
}
