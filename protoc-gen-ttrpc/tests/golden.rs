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

/// What each option changes: the name of a golden directory, an input, and options.
const FEATURES: [(&str, &str, &str); 9] = [
    (
        "elsewhere",
        "messages",
        "messages=none,message_path=::protos::v1,mod_rs=false",
    ),
    ("both_flavours", "kinds", "flavours=async+blocking"),
    ("blocking_only", "greeter", "flavours=blocking"),
    ("client_only", "greeter", "sides=client"),
    ("server_only", "greeter", "sides=server"),
    ("prost", "messages", "messages=prost"),
    ("buffa", "kinds", "messages=buffa"),
    (
        "extern_path",
        "kinds",
        "messages=prost,extern_path=.google.protobuf=::types,\
         extern_path=.kinds.v1.Chunk=crate::piece::Piece",
    ),
    (
        "names_and_paths",
        "greeter",
        "messages=none,message_path=super::protos,runtime_path=::toolkit::ttrpc,flavours=async+blocking,\
         file_suffix=_rpc,service_prefix=Rpc,modules=path,required_methods,\
         trait_attribute=#[doc(alias = \"rpc\")]",
    ),
];

#[test]
fn each_option_changes_what_is_committed() {
    for (name, case, options) in FEATURES {
        let out = scratch(&format!("golden-{name}"));
        let builder = Builder::new().include(protos()).out_dir(&out);
        builder
            .options(options)
            .generate(&[case_file(case)])
            .unwrap();
        let suffix = if name == "names_and_paths" {
            "_rpc.rs"
        } else {
            "_ttrpc.rs"
        };
        let mut files = read(&out);
        files.retain(|name, _| name.ends_with(suffix) || name == "mod.rs");
        compare(name, &files);
    }
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
