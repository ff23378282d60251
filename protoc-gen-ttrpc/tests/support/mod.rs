//! What the tests share: inputs, places to write to, and the ways to generate.

// Each test uses some of it.
#![allow(dead_code, unreachable_pub)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The plugin.
pub const BINARY: &str = env!("CARGO_BIN_EXE_protoc-gen-ttrpc");

/// The inputs that must generate, each with the outputs in a golden directory of
/// that name.
pub const CASES: [&str; 6] = [
    "comments",
    "greeter",
    "kinds",
    "messages",
    "names",
    "route_guide",
];

/// What the inputs import.
pub const IMPORTS: [&str; 2] = ["parts/public.proto", "parts/type.proto"];

/// Two files of one name, in directories that buf runs the plugin for one by one.
pub const TWINS: [&str; 2] = ["twins/v2/shim.proto", "twins/v3/shim.proto"];

/// Generated files: their text by their names.
pub type Files = BTreeMap<String, String>;

pub fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata")
}

pub fn protos() -> PathBuf {
    testdata().join("protos")
}

pub fn case_file(case: &str) -> PathBuf {
    protos().join(format!("{case}.proto"))
}

/// An empty directory of this name.
pub fn scratch(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if directory.exists() {
        fs::remove_dir_all(&directory).unwrap();
    }
    fs::create_dir_all(&directory).unwrap();
    directory
}

/// The real protoc.
pub fn protoc() -> PathBuf {
    protoc_bin_vendored::protoc_bin_path().unwrap()
}

/// An old protoc, 3.21, as a package of Python has it, where there is Python to install it.
pub fn old_protoc() -> Option<Command> {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("grpcio-tools");
    let unpacked = directory.join("grpc_tools");
    if !unpacked.exists() {
        let mut pip = Command::new("python3");
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
        ]);
        let output = pip
            .arg("--target")
            .arg(&directory)
            .arg("grpcio-tools==1.51.3")
            .output();
        let why = match output {
            Ok(output) if output.status.success() => None,
            Ok(output) => Some(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(why) = why {
            println!("skipped: protoc 3.21 can't be installed: {why}");
            return None;
        }
    }
    let script = format!(
        "import sys; sys.path.insert(0, {directory:?}); from grpc_tools import _protoc_compiler; \
         sys.exit(_protoc_compiler.run_main([word.encode() for word in ['protoc'] + sys.argv[1:]]))"
    );
    let mut command = Command::new("python3");
    command.args(["-c", &script]);
    command.arg("-I").arg(unpacked.join("_proto"));
    Some(command)
}

/// The real buf, where there is node to install it; CI has no excuse.
pub fn buf() -> Option<PathBuf> {
    if Command::new("npm").arg("--version").output().is_err() {
        println!("skipped: there is no npm to install buf with");
        return None;
    }
    let prefix = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("npm");
    let buf = prefix.join("node_modules/.bin/buf");
    // Tests run at once, and npm doesn't like company.
    static INSTALLING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _alone = INSTALLING.lock().unwrap();
    if !buf.exists() {
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--prefix"])
            .arg(&prefix);
        let output = npm.arg("@bufbuild/buf@1").output().unwrap();
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                std::env::var_os("CI").is_none(),
                "npm can't install buf: {why}"
            );
            println!("skipped: npm can't install buf: {why}");
            return None;
        }
    }
    Some(buf)
}

/// The files in a directory.
pub fn read(directory: &Path) -> Files {
    let entries = fs::read_dir(directory).unwrap();
    entries
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect()
}

/// The files with services.
pub fn services(files: &Files) -> Files {
    let mut files = files.clone();
    files.retain(|name, _| name.ends_with("_ttrpc.rs"));
    files
}

/// Runs a command, which must succeed.
pub fn succeed(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    output
}

/// Compares two ways to generate.
#[track_caller]
pub fn assert_same(left: &str, a: &Files, right: &str, b: &Files) {
    let names = |files: &Files| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(a), names(b), "files by {left} and by {right}");
    for (name, text) in a {
        let other = &b[name];
        if text != other {
            let differ = text.lines().zip(other.lines()).position(|(a, b)| a != b);
            let line = differ.unwrap_or_else(|| text.lines().count().min(other.lines().count()));
            panic!(
                "{name}:{}: {left} and {right} differ:\n  {left}: {:?}\n  {right}: {:?}",
                line + 1,
                text.lines().nth(line),
                other.lines().nth(line),
            );
        }
    }
}
