//! Whatever protoc accepts either compiles or is reported.
//!
//! .proto files are made up of names that are likely to trip generators over, the same ones
//! each time; `TTRPC_SEED` makes others. All that is generated is compiled as one crate.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use protoc_gen_ttrpc::{Builder, Error};
use support::{protoc, scratch, succeed};

const CASES: usize = 40;

const NAMES: [&str; 48] = [
    "Service",
    "Client",
    "Server",
    "Context",
    "Result",
    "Option",
    "Box",
    "Vec",
    "String",
    "Some",
    "Ok",
    "Err",
    "None",
    "Self",
    "self",
    "super",
    "crate",
    "type",
    "Type",
    "move",
    "Move",
    "async",
    "Await",
    "gen",
    "try",
    "dyn",
    "Model",
    "Request",
    "Reply",
    "get_it",
    "GetIt",
    "getIt",
    "HTTPServer",
    "HttpServer",
    "CRI",
    "v1",
    "V1",
    "_x",
    "x_",
    "a__b",
    "Default",
    "Clone",
    "Debug",
    "Message",
    "Send",
    "Sync",
    "blocking",
    "Streaming",
];

const SCALARS: [&str; 6] = ["int32", "string", "bytes", "bool", "double", "sint64"];

/// A small generator of numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn name(&mut self) -> &'static str {
        NAMES[self.below(NAMES.len())]
    }

    /// Names that differ.
    fn names(&mut self, at_most: usize) -> Vec<&'static str> {
        let mut names: Vec<_> = (0..=self.below(at_most)).map(|_| self.name()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// A message, and the full names of it and of those in it.
fn message(
    random: &mut Random,
    text: &mut String,
    scope: &str,
    name: &str,
    depth: usize,
) -> Vec<String> {
    let full = format!("{scope}.{name}");
    let mut all = vec![full.clone()];
    writeln!(text, "message {name} {{").unwrap();
    let mut number = 0;
    // Fields in lower case, as json names have to differ as well.
    let mut taken = Vec::new();
    for field in random.names(4) {
        let field = field.to_lowercase();
        let json = field.replace('_', "");
        if taken.contains(&json) {
            continue;
        }
        taken.push(json);
        number += 1;
        let scalar = SCALARS[random.below(SCALARS.len())];
        match random.below(6) {
            0 => writeln!(text, "repeated {scalar} {field} = {number};").unwrap(),
            1 => writeln!(text, "optional {scalar} {field} = {number};").unwrap(),
            2 => writeln!(text, "map<string, {scalar}> {field} = {number};").unwrap(),
            3 => writeln!(text, "{full} {field} = {number};").unwrap(),
            4 => {
                writeln!(text, "oneof {field} {{ {scalar} {field}_1 = {number}; ").unwrap();
                number += 1;
                writeln!(text, "{full} {field}_2 = {number}; }}").unwrap();
            }
            _ => writeln!(text, "{scalar} {field} = {number};").unwrap(),
        }
    }
    if depth < 2 {
        for nested in random.names(2) {
            if random.below(3) == 0 {
                let prefix = format!("{}_{}", nested.to_uppercase(), depth);
                writeln!(text, "enum {nested} {{ {prefix}_A = 0; {prefix}_B = 1; }}").unwrap();
            } else {
                all.extend(message(random, text, &full, nested, depth + 1));
            }
        }
    }
    text.push_str("}\n");
    all
}

fn file(random: &mut Random) -> String {
    let mut text = String::from("syntax = \"proto3\";\n");
    let package = match random.below(4) {
        0 => String::new(),
        _ => random.names(2).join("."),
    };
    let scope = match package.as_str() {
        "" => String::new(),
        package => {
            writeln!(text, "package {package};").unwrap();
            format!(".{package}")
        }
    };
    let mut messages = Vec::new();
    let declared = random.names(5);
    for name in &declared {
        messages.extend(message(random, &mut text, &scope, name, 0));
    }
    for service in random.names(2) {
        if declared.contains(&service) {
            continue;
        }
        writeln!(text, "service {service} {{").unwrap();
        for rpc in random.names(5) {
            let mut side = || {
                let stream = if random.below(3) == 0 { "stream " } else { "" };
                format!("{stream}{}", messages[random.below(messages.len())])
            };
            let (input, output) = (side(), side());
            writeln!(text, "rpc {rpc}({input}) returns ({output});").unwrap();
        }
        text.push_str("}\n");
    }
    text
}

#[test]
fn what_protoc_accepts_compiles_or_is_reported() {
    let seed = env::var("TTRPC_SEED").map_or(1, |seed| seed.parse().unwrap());
    let root = scratch("property");
    fs::create_dir(root.join("src")).unwrap();
    let mut library = String::from("//! What was made up.\n#![deny(warnings, missing_docs)]\n");
    let (mut accepted, mut generated) = (0, 0);
    for case in 0..CASES {
        let text = file(&mut Random(seed * 1_000 + case as u64));
        let directory = root.join(format!("case_{case}"));
        fs::create_dir(&directory).unwrap();
        let proto = directory.join("made_up.proto");
        fs::write(&proto, &text).unwrap();
        let is_accepted = Command::new(protoc())
            .arg("-I")
            .arg(&directory)
            .args(["-o", "/dev/null"])
            .arg(&proto)
            .output()
            .unwrap()
            .status
            .success();
        if !is_accepted {
            continue;
        }
        accepted += 1;
        for messages in ["protobuf", "prost", "buffa"] {
            let module = format!("case_{case}_{messages}");
            let builder = Builder::new()
                .include(&directory)
                .protoc(protoc())
                .option("messages", messages)
                .option("flavours", "async+blocking")
                .out_dir(root.join("src").join(&module));
            match builder.generate(&[&proto]) {
                Ok(_) => {
                    generated += 1;
                    writeln!(library, "\n/// One case.\npub mod {module};").unwrap();
                }
                Err(Error::Problems(problems)) => {
                    println!("{module}: {}", Error::Problems(problems));
                }
                Err(other) => panic!("{module}: {other}\n{text}"),
            }
        }
    }
    println!("seed {seed}: {accepted} accepted, {generated} generated");
    // Otherwise this says little.
    assert!(accepted * 2 > CASES && generated > accepted);
    compile(&root, &library);
}

fn compile(root: &Path, library: &str) {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let manifest = format!(
        r#"[package]
name = "made-up"
edition = "2024"

[dependencies]
ttrpc-runtime = {{ path = {:?}, features = ["blocking", "buffa", "prost", "protobuf"] }}
buffa = "0.9"
prost = "0.14"
protobuf = "3.7.2"

[workspace]
"#,
        workspace.join("ttrpc-runtime")
    );
    fs::write(root.join("Cargo.toml"), manifest).unwrap();
    fs::write(root.join("src/lib.rs"), library).unwrap();
    fs::copy(workspace.join("Cargo.lock"), root.join("Cargo.lock")).unwrap();
    succeed(
        Command::new(env!("CARGO"))
            .args(["check", "--offline", "--quiet"])
            .current_dir(root)
            .env(
                "CARGO_TARGET_DIR",
                Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled-target"),
            )
            .env_remove("RUSTFLAGS"),
    );
}
