//! Whatever drives the generator, the services come out the same, byte for byte.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use protoc_gen_ttrpc::Builder;
use support::{
    BINARY, CASES, Files, IMPORTS, TWINS, assert_same, buf, case_file, protos, read, scratch,
    services, succeed,
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
fn protoc_3_21_gives_the_same() {
    let Some(mut protoc) = support::old_protoc() else {
        return;
    };
    let out = scratch("old-protoc");
    succeed(
        protoc
            .arg(format!("--plugin=protoc-gen-ttrpc={BINARY}"))
            .arg(prefixed("--ttrpc_out=mod_rs:", &out))
            .arg(prefixed("-I", protos()))
            .args(files()),
    );
    let expected = builder("old-protoc-builder");
    assert_same("protoc 3.21", &read(&out), "Builder", &expected);
}

/// A module of buf with the inputs; not with those of editions that it may not know.
fn module(name: &str) -> PathBuf {
    let module = scratch(name);
    let paths = CASES.map(|case| format!("{case}.proto"));
    let paths = paths.iter().map(String::as_str).chain(IMPORTS).chain(TWINS);
    for path in paths {
        let to = module.join(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(protos().join(path), to).unwrap();
    }
    module
}

#[test]
fn buf_gives_what_a_build_script_does() {
    let Some(buf) = buf() else { return };
    let module = module("buf-module");
    let twins = TWINS.map(|twin| protos().join(twin));
    let files: Vec<PathBuf> = files().into_iter().chain(twins).collect();
    // What `strategy` gives, with which options, and which files are alike.
    let services_alone = services as fn(&Files) -> Files;
    let all_files = Files::clone as fn(&Files) -> Files;
    for (strategy, imports, option, alike) in [
        // `mod_rs` would have what one run generates.
        ("directory", false, "modules=path", services_alone),
        ("all", false, "mod_rs", all_files),
        // Files without services, and those that the message crate has.
        (
            "all",
            true,
            "messages=none,message_path=crate,mod_rs",
            all_files,
        ),
        ("all", true, "messages=prost,mod_rs", all_files),
    ] {
        let out = scratch("buf");
        let wkt = imports && option.starts_with("messages=none");
        let template = format!(
            r#"{{"version": "v2", "plugins": [{{"local": {BINARY:?}, "out": {out:?}, "opt": {option:?},
               "strategy": {strategy:?}, "include_imports": {imports}, "include_wkt": {wkt}}}]}}"#
        );
        succeed(
            Command::new(&buf)
                .args(["generate", "--template", &template])
                .arg(&module),
        );
        let expected = scratch("buf-builder");
        let builder = Builder::new().include(protos()).out_dir(&expected);
        builder.options(option).generate(&files).unwrap();
        let (buf, builder) = (alike(&read(&out)), alike(&read(&expected)));
        assert_same(
            &format!("buf, {strategy}, {option}"),
            &buf,
            "Builder",
            &builder,
        );
    }
}

#[test]
fn directories_that_differ_in_a_digit_are_told_apart() {
    let directory = scratch("digits");
    for part in ["1", "2"] {
        let text = format!("syntax = 'proto3'; package p{part}; service S {{}}");
        fs::create_dir(directory.join(part)).unwrap();
        fs::write(directory.join(part).join("x.proto"), text).unwrap();
    }
    let files = ["1/x.proto", "2/x.proto"].map(|file| directory.join(file));
    for modules in ["file", "path"] {
        let out = scratch("digits-out");
        let builder = Builder::new().include(&directory).out_dir(&out);
        let builder = builder.option("modules", modules);
        builder.generate(&files).unwrap();
        let names: Vec<String> = read(&out).into_keys().collect();
        let expected = [
            "_1_x.rs",
            "_1_x_ttrpc.rs",
            "_2_x.rs",
            "_2_x_ttrpc.rs",
            "mod.rs",
        ];
        assert_eq!(names, expected);
    }
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
