//! What `init` writes generates code that compiles, and `check` notices when it is stale.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use protoc_gen_ttrpc_templates::STARTERS;
use support::{BINARY, IMPORTS, TWINS, buf, protoc, protos, read, scratch, succeed};

/// A crate that a starter was written into, and a `PATH` with the programs it needs.
struct Project {
    root: PathBuf,
    path: OsString,
}

impl Project {
    fn new(way: &str, manifest: &str) -> Self {
        let root = scratch(&format!("starter-{way}"));
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        fs::create_dir(root.join("src")).unwrap();
        fs::write(
            root.join("src/lib.rs"),
            "#![deny(warnings)]\npub mod protos;\n",
        )
        .unwrap();
        fs::write(
            root.join("Cargo.toml"),
            format!(
                "[package]\nname = \"starter-{way}\"\nedition = \"2024\"\n\n[workspace]\n\n\
                 [dependencies]\nttrpc-runtime = {{ path = {:?}, features = [\"protobuf\"] }}\n\
                 protobuf = \"3.7.2\"\n{manifest}",
                workspace.join("ttrpc-runtime")
            ),
        )
        .unwrap();
        // What the workspace has locked, and nothing that has to be looked up.
        fs::copy(workspace.join("Cargo.lock"), root.join("Cargo.lock")).unwrap();

        let programs = root.join("bin");
        fs::create_dir(&programs).unwrap();
        let link = |program: &Path, name: &str| {
            std::os::unix::fs::symlink(program, programs.join(name)).unwrap();
        };
        link(Path::new(BINARY), "protoc-gen-ttrpc");
        link(&protoc(), "protoc");
        let mut path = programs.into_os_string();
        path.push(":");
        path.push(env::var_os("PATH").unwrap());

        let project = Self { root, path };
        let told = project.run(&["protoc-gen-ttrpc", "init", way]);
        assert!(told.contains("Add `pub mod protos;`"), "{told}");
        project
    }

    fn command(&self, words: &[&str]) -> Command {
        // The child looks its programs up in a `PATH` of its own only through a shell.
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(words.join(" "))
            .current_dir(&self.root)
            .env("PATH", &self.path);
        command
    }

    fn run(&self, words: &[&str]) -> String {
        String::from_utf8(succeed(&mut self.command(words)).stdout).unwrap()
    }

    /// Compiles the crate; its generated code is there, or comes of its build script.
    fn compiles(&self) {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled-target");
        succeed(
            Command::new(env!("CARGO"))
                .args(["check", "--offline", "--quiet"])
                .current_dir(&self.root)
                .env("CARGO_TARGET_DIR", target)
                .env_remove("RUSTFLAGS"),
        );
    }
}

#[test]
fn protoc_starts() {
    let project = Project::new("protoc", "");
    project.run(&["sh", "generate.sh"]);
    project.compiles();
}

#[test]
fn buf_starts_with_both_strategies() {
    let Some(buf) = buf() else { return };
    let project = Project::new("buf", "");
    let buf = buf.to_str().unwrap();
    project.run(&[buf, "generate"]);
    project.compiles();
    // For its registry one needs an account, but not for reading what it is told.
    let plugin = fs::read_to_string(project.root.join("bsr/buf.plugin.yaml")).unwrap();
    assert!(plugin.starts_with('#') && plugin.contains("\nplugin_version: v"));

    let template = project.root.join("buf.gen.yaml");
    let text = fs::read_to_string(&template).unwrap();
    let text = text
        .replace("strategy: all", "strategy: directory")
        .replace("- mod_rs", "- modules=path");
    fs::write(&template, text).unwrap();
    // Directories that import each other, and two files of one name.
    let imports = IMPORTS.iter().copied();
    for path in TWINS.into_iter().chain(["messages.proto"]).chain(imports) {
        let to = project.root.join("proto").join(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(protos().join(path), to).unwrap();
    }
    project.run(&[buf, "generate"]);

    // No run knows of the others, so the modules are declared by hand.
    let generated = project.root.join("src/protos");
    let files = read(&generated);
    let modules: Vec<&str> = files
        .keys()
        .map(|name| name.strip_suffix(".rs").unwrap())
        .collect();
    assert_eq!(
        modules,
        [
            "greeter",
            "greeter_ttrpc",
            "messages",
            "messages_ttrpc",
            "parts_public",
            "parts_type",
            "twins_v2_shim",
            "twins_v2_shim_ttrpc",
            "twins_v3_shim",
            "twins_v3_shim_ttrpc",
        ]
    );
    let declared: String = modules
        .iter()
        .map(|module| format!("pub mod {module};\n"))
        .collect();
    fs::write(generated.join("mod.rs"), declared).unwrap();
    project.compiles();
}

#[test]
fn a_build_script_starts() {
    let generator = env!("CARGO_MANIFEST_DIR");
    let project = Project::new(
        "build-rs",
        &format!(
            "\n[build-dependencies]\nprotoc-gen-ttrpc = {{ path = {generator:?}, default-features = false }}\n"
        ),
    );
    project.compiles();
}

#[test]
fn vendored_code_starts_and_is_checked() {
    let project = Project::new("vendored", "");
    project.run(&["sh", "generate.sh"]);
    project.compiles();
    let workflow = project.root.join(".github/workflows/generated.yml");
    let workflow = fs::read_to_string(workflow).unwrap();
    let command = "sh generate.sh check";
    assert!(workflow.contains(&format!("- run: {command}\n")));
    project.run(&[command]);

    // One byte of one file.
    let services = project.root.join("src/protos/greeter_ttrpc.rs");
    let text = fs::read_to_string(&services).unwrap();
    fs::write(
        &services,
        text.replacen("/// Says hello.", "/// Says hallo.", 1),
    )
    .unwrap();
    fs::remove_file(project.root.join("src/protos/mod.rs")).unwrap();
    let old = "// @generated by protoc-gen-ttrpc from old.proto. Do not edit.\n";
    fs::write(project.root.join("src/protos/old_ttrpc.rs"), old).unwrap();
    fs::write(project.root.join("src/protos/own.rs"), "// Mine.\n").unwrap();
    let output = project.command(&[command]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "\
greeter_ttrpc.rs:3: is not what would be generated
  is:       \"/// Says hallo.\"
  would be: \"/// Says hello.\"
mod.rs: is missing
old_ttrpc.rs: is no longer generated

3 files in src/protos not as generated; this mends what is not left over:
  protoc-gen-ttrpc compile -I proto --out src/protos proto/greeter.proto
"
    );

    // A last line that is not ended, and one too many.
    fs::write(&services, text.trim_end()).unwrap();
    let output = project.command(&[command]).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("  is:       the end of the file\n"), "{told}");
    fs::write(&services, format!("{text}x")).unwrap();
    let output = project.command(&[command]).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("  is:       \"x\"\n  would be: \"\"\n"),
        "{told}"
    );
}

/// What others install is what has written the files.
#[test]
fn starters_name_the_version_that_writes_them() {
    let version = env!("CARGO_PKG_VERSION");
    let files = STARTERS.iter().flat_map(|starter| starter.files);
    let mut named = 0;
    for (path, text) in files {
        let count = |what: &str| text.matches(what).count();
        let installed = count(&format!(" protoc-gen-ttrpc@{version}\n"));
        assert_eq!(installed, count("cargo install"), "{path}");
        let told = count(&format!("plugin_version: v{version}\n"));
        assert_eq!(told, count("plugin_version: "), "{path}");
        named += installed + told;
    }
    assert_eq!(named, 3);
}

#[test]
fn nothing_is_overwritten() {
    let directory = scratch("starter-twice");
    let init = |way: &str| {
        let mut command = Command::new(BINARY);
        command.args(["init", way]).current_dir(&directory);
        command.output().unwrap()
    };
    assert!(init("protoc").status.success());
    fs::write(directory.join("generate.sh"), "mine").unwrap();
    let output = init("vendored");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "protoc-gen-ttrpc: proto/greeter.proto, generate.sh: already there; move it away, or start elsewhere\n"
    );
    assert_eq!(
        fs::read_to_string(directory.join("generate.sh")).unwrap(),
        "mine"
    );
    assert!(!directory.join(".github").exists());
    let output = init("bazel");
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("[possible values: protoc, buf, build-rs, vendored]"),
        "{told}"
    );
}
