//! The README is true: its commands run, its files compile, its output is what comes.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{buf, protoc, succeed};

/// A fenced block: its language, what the line before it names in backquotes, its text.
struct Block {
    language: String,
    file: Option<String>,
    text: String,
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn readme() -> String {
    fs::read_to_string(repository().join("README.md")).unwrap()
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut before = "";
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let inside = lines.by_ref().take_while(|line| *line != "```");
            blocks.push(Block {
                language: language.to_owned(),
                file: before
                    .strip_suffix("`:")
                    .and_then(|line| line.rsplit('`').next())
                    .map(str::to_owned),
                text: inside.fold(String::new(), |text, line| text + line + "\n"),
            });
        } else if !line.is_empty() {
            before = line;
        }
    }
    blocks
}

/// A place outside of the repository's workspace, gone when it is dropped.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("ttrpc-readme-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path.canonicalize().unwrap())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Copies what a clone has.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (name, path) = (entry.file_name(), entry.path());
        match entry.file_type().unwrap().is_dir() {
            true if name == "target" || name == ".git" => {}
            true => copy(&path, &to.join(name)),
            false => drop(fs::copy(&path, to.join(name)).unwrap()),
        }
    }
}

/// The README's blocks as one script; what is in the way of running it unseen is added.
fn script(blocks: &[Block], with_buf: bool) -> String {
    let mut script = String::from("set -e\n");
    for block in blocks {
        match (block.language.as_str(), &block.file) {
            ("sh", None) if block.text.starts_with("make ") => {
                for line in block.text.lines() {
                    let command = line.split('#').next().unwrap();
                    writeln!(script, "{command} --dry-run > make.log").unwrap();
                }
            }
            ("sh", None) => {
                for line in block.text.lines() {
                    // Not everywhere is there buf, or a linker like Linux's.
                    let lacks_buf = line.starts_with("buf ") && !with_buf;
                    if lacks_buf || line.starts_with("cargo rustc ") && !cfg!(target_os = "linux") {
                        continue;
                    }
                    writeln!(script, "{line}").unwrap();
                    if line.starts_with("cd ") {
                        script.push_str("ln -s \"$SHARED_TARGET\" target\n");
                    }
                    // On a busy machine the server may not be there in a second.
                    if line.ends_with('&') {
                        script.push_str(
                            "for i in $(seq 300); do [ -S greeter.sock ] || sleep 0.1; done\n",
                        );
                    }
                    // Each way to generate has to give the same.
                    let generates = line.contains("src/protos") && line.contains("greeter.proto");
                    if generates && !line.contains("flavours") || line.starts_with("buf ") {
                        script.push_str(
                            "[ -e ../first ] || cp src/protos/greeter_ttrpc.rs ../first\n\
                             cmp src/protos/greeter_ttrpc.rs ../first\n\
                             cmp src/protos/greeter_ttrpc.rs target/debug/build/hello-ttrpc-*/out/greeter_ttrpc.rs\n\
                             rm -r src/protos; mkdir src/protos\n",
                        );
                    }
                }
            }
            (_, Some(file)) => {
                writeln!(script, "cat > {file} <<'END'\n{}END", block.text).unwrap();
            }
            _ => {}
        }
    }
    // Kept in the repository instead.
    script.push_str(
        "rm -r .cargo build.rs\n\
         echo 'pub mod protos;' > src/lib.rs\n\
         cargo build\n",
    );
    script
}

#[test]
fn every_command_and_every_file() {
    let blocks = blocks(&readme());
    let place = Place::new();
    let clone = place.0.join("protoc-gen-ttrpc");
    copy(repository(), &clone);

    // The programs that the README takes from the PATH.
    let programs = place.0.join("bin");
    fs::create_dir(&programs).unwrap();
    let link = |program: &Path, name: &str| {
        std::os::unix::fs::symlink(program, programs.join(name)).unwrap();
    };
    link(&protoc(), "protoc");
    let buf = buf();
    if let Some(buf) = &buf {
        link(buf, "buf");
    }
    let mut path = programs.into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());

    let shared_target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("readme-target");
    fs::create_dir_all(&shared_target).unwrap();
    // Of what an earlier run generated nothing may be taken for this one's.
    if let Ok(built) = fs::read_dir(shared_target.join("debug/build")) {
        for entry in built.map(Result::unwrap) {
            if entry
                .file_name()
                .to_string_lossy()
                .starts_with("hello-ttrpc-")
            {
                fs::remove_dir_all(entry.path()).unwrap();
            }
        }
    }
    std::os::unix::fs::symlink(&shared_target, clone.join("target")).unwrap();

    let output = succeed(
        Command::new("sh")
            .args(["-c", &script(&blocks, buf.is_some())])
            .current_dir(&clone)
            .env("PATH", path)
            .env("SHARED_TARGET", &shared_target)
            .env("CARGO_INSTALL_ROOT", &place.0)
            // The same program, sooner.
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
            .env("CARGO_PROFILE_SMALLEST_LTO", "off")
            .env("CARGO_PROFILE_SMALLEST_OPT_LEVEL", "0")
            .env("CARGO_PROFILE_SMALLEST_CODEGEN_UNITS", "16")
            .env_remove("CARGO_TARGET_DIR"),
    );
    let printed = String::from_utf8(output.stdout).unwrap();
    let expected = blocks
        .iter()
        .find(|block| block.language == "text")
        .unwrap();
    assert_eq!(printed, expected.text);
}

#[test]
fn smallest_server_is_what_the_benchmark_measures() {
    let bench = |file| fs::read_to_string(repository().join("testdata/bench").join(file)).unwrap();
    let blocks = blocks(&readme());
    let block = |begin| blocks.iter().find(|block| block.text.starts_with(begin));
    let text = |begin| block(begin).unwrap().text.trim_end();
    assert!(bench("Cargo.toml").contains(text("[profile.smallest]")));
    assert_eq!(bench("smallest.ld").trim_end(), text("SECTIONS"));
    let (_, flags) = text("cargo rustc").split_once(" -- ").unwrap();
    assert!(bench("runner/src/pairs.rs").contains(&format!("\"{flags}\"")));
}

/// What is relative would be taken from the directory of a crate, whose README this is too.
#[test]
fn links_are_absolute_and_lead_to_what_is_there() {
    const FILES: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/HEAD/");
    let readme = readme();
    let inline = readme
        .split("](")
        .skip(1)
        .map(|rest| rest.split(')').next());
    let below = readme.split("]: ").skip(1).map(|rest| rest.lines().next());
    let links: Vec<&str> = inline.chain(below).flatten().collect();
    assert!(links.iter().any(|link| link.starts_with(FILES)));
    for link in links {
        let is_there = match link.strip_prefix(FILES) {
            Some(file) => repository().join(file).is_file(),
            None => link.starts_with("https://") || link.starts_with('#'),
        };
        assert!(is_there, "{link}");
    }
}

#[test]
fn every_option_is_in_its_table() {
    let table = include_str!("../src/options/table.md");
    assert!(
        readme().contains(table),
        "the README lacks, as it is in src/options/table.md:\n{table}"
    );
}
