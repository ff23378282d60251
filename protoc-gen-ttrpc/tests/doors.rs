//! Whatever drives the generator, the services come out the same, byte for byte.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use protoc_gen_ttrpc::Builder;
use support::{
    BINARY, CASES, Files, IMPORTS, assert_same, buf, case_file, protos, read, scratch, services,
    succeed,
};

fn files() -> Vec<PathBuf> {
    let imports = IMPORTS.iter().map(|import| protos().join(import));
    CASES.into_iter().map(case_file).chain(imports).collect()
}

/// By a build script.
fn builder(name: &str) -> Files {
    let out = scratch(name);
    let builder = Builder::new().include(protos()).out_dir(&out);
    builder.generate(&files()).unwrap();
    read(&out)
}

fn prefixed(prefix: &str, value: impl Into<OsString>) -> OsString {
    let mut argument = OsString::from(prefix);
    argument.push(value.into());
    argument
}

#[test]
fn protoc_gives_what_a_build_script_does() {
    let out = scratch("protoc");
    succeed(
        Command::new(support::protoc())
            .arg(format!("--plugin=protoc-gen-ttrpc={BINARY}"))
            .arg(prefixed("--ttrpc_out=mod_rs:", &out))
            .arg(prefixed("-I", protos()))
            .args(files()),
    );
    assert_same("protoc", &read(&out), "Builder", &builder("protoc-builder"));
}

#[test]
fn the_command_line_gives_what_a_build_script_does() {
    let out = scratch("command-line");
    let compile = |out: &PathBuf, more: &[OsString]| {
        succeed(
            Command::new(BINARY)
                .arg("compile")
                .arg("-I")
                .arg(protos())
                .arg("--out")
                .arg(out)
                .args(more)
                .args(files()),
        );
        read(out)
    };
    let expected = builder("command-line-builder");
    assert_same("compile", &compile(&out, &[]), "Builder", &expected);

    let out = scratch("command-line-protoc");
    let protoc = prefixed("--protoc=", support::protoc());
    assert_same(
        "compile --protoc",
        &compile(&out, &[protoc]),
        "Builder",
        &expected,
    );
}

#[test]
fn buf_gives_what_a_build_script_does() {
    let Some(buf) = buf() else { return };
    let out = scratch("buf");
    let template =
        format!(r#"{{"version": "v2", "plugins": [{{"local": {BINARY:?}, "out": {out:?}}}]}}"#);
    succeed(
        Command::new(buf)
            .args(["generate", "--template", &template])
            .arg(protos()),
    );
    // Without `mod_rs`: buf runs the plugin once a directory.
    let expected = services(&builder("buf-builder"));
    assert_same("buf", &services(&read(&out)), "Builder", &expected);
}

#[test]
fn buf_shows_what_is_wrong() {
    let Some(buf) = buf() else { return };
    let module = scratch("buf-rejects");
    fs::write(
        module.join("twins.proto"),
        "edition = \"2023\"; message M {} service S { rpc A(M) returns (M); rpc a(M) returns (M); }",
    )
    .unwrap();
    let template =
        format!(r#"{{"version": "v2", "plugins": [{{"local": {BINARY:?}, "out": "out"}}]}}"#);
    let mut command = Command::new(buf);
    command
        .args(["generate", "--template", &template])
        .arg(&module)
        .current_dir(&module);
    let output = command.output().unwrap();
    assert!(!output.status.success());
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.contains("both become a Rust method `a`"),
        "{message}"
    );
}
