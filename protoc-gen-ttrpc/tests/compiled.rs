//! Generated code compiles in the crate of a user who denies every warning, and each of its
//! methods is called there.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "compiled/calls.rs"]
mod calls;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use protoc_gen_ttrpc::Builder;
use support::{CASES, TWINS, case_file, protos, scratch, succeed};

const LIBRARY: &str = r#"//! A library that offers the generated code.
#![deny(missing_docs, missing_debug_implementations)]

/// As a build script writes it, with documentation for every item.
pub mod protos;

/// Without `mod.rs`, and included rather than declared.
pub mod included {
    /// The services.
    pub mod messages_ttrpc {
        include!("protos/messages_ttrpc.rs");
    }
    pub use crate::protos::{messages, type_};
}

/// With messages from elsewhere.
pub mod elsewhere;

/// With messages by prost.
pub mod by_prost;

/// With messages by buffa.
pub mod by_buffa;

/// With messages of some packages from elsewhere, by rust-protobuf, prost and buffa.
pub mod partly {
    /// By rust-protobuf.
    pub mod protobuf;
    /// By prost.
    pub mod prost;
    /// By buffa.
    pub mod buffa;
}

/// Of editions, by each generator of messages.
pub mod editions {
    /// By rust-protobuf.
    pub mod protobuf;
    /// By prost.
    pub mod prost;
    /// By buffa.
    pub mod buffa;
}

/// One side alone, with a trait that its user deprecates.
pub mod client_only;

/// The other side alone.
pub mod server_only;

/// With a way of its own to the runtime, and every method required.
pub mod moved;

/// The runtime under another name.
pub use ttrpc_runtime as toolkit;

/// Implements all that is required.
#[derive(Debug)]
pub struct Complete;

impl moved::greeter_rpc::PrefixGreeter for Complete {
    async fn say_hello(
        &self,
        _: &toolkit::Context,
        _: protos::greeter::HelloRequest,
    ) -> toolkit::Result<protos::greeter::HelloReply> {
        Ok(protos::greeter::HelloReply::new())
    }
}

impl moved::greeter_rpc::blocking::PrefixGreeter for Complete {
    fn say_hello(
        &self,
        _: &toolkit::Context,
        _: protos::greeter::HelloRequest,
    ) -> toolkit::Result<protos::greeter::HelloReply> {
        Ok(protos::greeter::HelloReply::new())
    }
}

/// An implementation.
#[derive(Debug)]
pub struct Polite;

impl protos::greeter_ttrpc::Greeter for Polite {
    async fn say_hello(
        &self,
        _: &ttrpc_runtime::Context,
        request: protos::greeter::HelloRequest,
    ) -> ttrpc_runtime::Result<protos::greeter::HelloReply> {
        let mut reply = protos::greeter::HelloReply::new();
        reply.message = format!("Hello, {}!", request.name);
        Ok(reply)
    }
}

// Every method has a default, whatever its name.
impl protos::names_ttrpc::Keywords for Polite {}
impl protos::names_ttrpc::blocking::Keywords for Polite {}
impl protos::twins_v2_shim_ttrpc::Shim for Polite {}
impl protos::twins_v3_shim_ttrpc::Shim for Polite {}
impl protos::names_ttrpc::Methods for Polite {}
impl protos::names_ttrpc::Self_ for Polite {}
impl protos::comments_ttrpc::Empty for Polite {}

/// What is deprecated says so to its callers.
#[expect(deprecated)]
pub async fn call<Y: protos::comments_ttrpc::Young>(young: Y) {
    let context = ttrpc_runtime::Context::default();
    let _ = young.former(&context, Default::default()).await;
}
"#;

const CLIENT: &str = r#"//! A program that only calls.
mod protos {
    include!("../protos/mod.rs");
}

// Nobody uses what is in these.
mod by_prost {
    include!("../by_prost/mod.rs");
}
mod by_buffa {
    include!("../by_buffa/mod.rs");
}

use protos::greeter_ttrpc::{Greeter, GreeterClient};

/// Calls.
pub async fn call(client: ttrpc_runtime::Client) -> ttrpc_runtime::Result<String> {
    let client = GreeterClient::new(client);
    let context = ttrpc_runtime::Context::default();
    let reply = client.say_hello(&context, protos::greeter::HelloRequest::new()).await?;
    Ok(reply.message)
}

fn main() {
    let _ = call;
}
"#;

const STRICT: &str = r#"//! A program whose author has asked for all the warnings that there are.
#![forbid(unsafe_code)]
#![deny(clippy::pedantic, clippy::nursery)]
#![deny(
    future_incompatible,
    let_underscore_drop,
    nonstandard_style,
    rust_2018_idioms,
    single_use_lifetimes,
    unnameable_types,
    unreachable_pub,
    unused,
)]

mod protos {
    include!("../protos/mod.rs");
}

mod by_prost {
    include!("../by_prost/mod.rs");
}

mod by_buffa {
    include!("../by_buffa/mod.rs");
}

fn main() {
    println!();
}
"#;

const SERVER: &str = r#"//! A program that only serves.
mod protos {
    include!("../protos/mod.rs");
}

use protos::greeter_ttrpc::{Greeter, GreeterServer};

struct Mute;

impl Greeter for Mute {}

fn main() {
    let _: &dyn ttrpc_runtime::Service = &GreeterServer::new(Mute);
}
"#;

/// Writes the crate of a user, with all the inputs generated into it.
fn user(edition: &str) -> PathBuf {
    let root = scratch(&format!("compiled-{edition}"));
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let manifest = format!(
        r#"[package]
name = "user"
edition = "{edition}"

[dependencies]
ttrpc-runtime = {{ path = {:?}, features = ["blocking", "buffa", "prost", "protobuf"] }}
buffa = "0.9"
buffa-types = "0.9"
prost = "0.14"
prost-types = "0.14"
protobuf = "3.7"

[dev-dependencies]
tokio = {{ version = "1", features = ["io-util", "macros", "rt"] }}

[workspace]
"#,
        workspace.join("ttrpc-runtime")
    );
    let files = [
        ("Cargo.toml", manifest.as_str()),
        ("src/lib.rs", LIBRARY),
        ("src/bin/client.rs", CLIENT),
        ("src/bin/server.rs", SERVER),
        ("src/bin/strict.rs", STRICT),
    ];
    fs::create_dir_all(root.join("src/bin")).unwrap();
    for (name, text) in files {
        fs::write(root.join(name), text).unwrap();
    }
    // What the workspace has locked, and nothing that has to be looked up.
    fs::copy(workspace.join("Cargo.lock"), root.join("Cargo.lock")).unwrap();

    let both = Builder::new()
        .include(protos())
        .option("flavours", "async+blocking");
    let generate = |builder: &Builder, directory: &str, files: &[PathBuf]| {
        let builder = builder.clone().out_dir(root.join("src").join(directory));
        builder.generate(files).unwrap();
    };
    let all = CASES.map(case_file).into_iter();
    let all: Vec<PathBuf> = all.chain(TWINS.map(|twin| protos().join(twin))).collect();
    generate(&both, "protos", &all);
    let elsewhere = both
        .clone()
        .option("messages", "none")
        .option("message_path", "crate::protos");
    generate(&elsewhere, "elsewhere", &all);
    generate(&both.clone().option("messages", "prost"), "by_prost", &all);
    // A message `self` is beyond it.
    let sayable: Vec<PathBuf> = all
        .iter()
        .filter(|file| !file.ends_with("messages.proto"))
        .cloned()
        .collect();
    generate(
        &both.clone().option("messages", "buffa"),
        "by_buffa",
        &sayable,
    );

    for (messages, from) in [
        ("protobuf", "protos"),
        ("prost", "by_prost::twins::v2"),
        ("buffa", "by_buffa::twins::v2"),
    ] {
        let builder = both
            .clone()
            .option("messages", messages)
            .option("extern_path", format!(".twins.v2=crate::{from}"));
        let twins = TWINS.map(|twin| protos().join(twin));
        generate(&builder, &format!("partly/{messages}"), &twins);
        let left_out = format!("src/partly/{messages}/twins_v2_shim.rs");
        assert!(!root.join(left_out).exists());
    }

    let young = ["explicit", "implicit", "young"].map(|name| format!("editions/{name}.proto"));
    let editions = young.each_ref().map(|name| protos().join(name));
    for messages in ["protobuf", "prost", "buffa"] {
        let builder = both
            .clone()
            .protoc(support::protoc())
            .option("messages", messages);
        generate(&builder, &format!("editions/{messages}"), &editions);
    }

    for side in ["client", "server"] {
        let builder = elsewhere.clone().option("sides", side);
        let deprecated = ".greeter.v1.Greeter=#[deprecated(note = \"gone soon\")]";
        let builder = builder.option("trait_attribute", deprecated);
        generate(&builder, &format!("{side}_only"), &all);
    }
    let moved = elsewhere
        .options("runtime_path=crate::toolkit,file_suffix=_rpc,service_prefix=Prefix")
        .options("required_methods,trait_attribute=#[allow(clippy::module_name_repetitions)]");
    generate(&moved, "moved", &[case_file("greeter")]);

    let called = CASES.map(|case| format!("{case}.proto")).into_iter();
    let called = called.chain(TWINS.map(str::to_owned)).chain(young);
    let suite = calls::suite(&root.join("src"), &called.collect::<Vec<_>>());
    fs::create_dir(root.join("tests")).unwrap();
    fs::write(root.join("tests/calls.rs"), suite).unwrap();
    root
}

fn cargo(root: &Path, arguments: &[&str]) {
    // One target directory for all, and for the next time.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled-target");
    succeed(
        Command::new(env!("CARGO"))
            .current_dir(root)
            .env("CARGO_TARGET_DIR", target)
            .env("RUSTDOCFLAGS", "-D warnings")
            .env_remove("RUSTFLAGS")
            .arg(arguments[0])
            .arg("--offline")
            .args(&arguments[1..]),
    );
}

/// Not every toolchain has it; the one in CI does.
fn has_clippy() -> bool {
    let output = Command::new(env!("CARGO"))
        .args(["clippy", "--version"])
        .output();
    output.is_ok_and(|output| output.status.success()) || std::env::var_os("CI").is_some()
}

#[test]
fn without_a_warning_of_rustc_clippy_or_rustdoc() {
    for edition in ["2021", "2024"] {
        let root = user(edition);
        if has_clippy() {
            cargo(&root, &["clippy", "--all-targets", "--", "-D", "warnings"]);
        } else {
            println!("skipped clippy: it is not installed");
            cargo(
                &root,
                &[
                    "check",
                    "--all-targets",
                    "--config",
                    "build.rustflags=['-Dwarnings']",
                ],
            );
        }
    }
    let root = user("2024");
    cargo(&root, &["doc", "--no-deps", "--lib"]);
    // No comment runs as a test.
    cargo(&root, &["test", "--doc"]);
    cargo(&root, &["test", "--test", "calls"]);
}
