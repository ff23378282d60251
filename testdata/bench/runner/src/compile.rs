//! How long a compiler takes for generated services: ours beside tonic's for the same
//! .proto file, over the same messages, without what they depend on.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::Outcome;
use crate::pairs;

const SERVICES: usize = 40;
const RPCS: usize = 8;
const ROUNDS: usize = 3;

/// What is compared, the first with the second.
const CRATES: [&str; 2] = ["services-ours", "services-tonic"];

/// What is timed: what it is called, and how cargo does it.
const WAYS: [(&str, &[&str]); 4] = [
    ("check, generated code alone", &["check"]),
    (
        "check, implemented and called",
        &["check", "--features", "used"],
    ),
    (
        "debug, implemented and called",
        &["build", "--features", "used"],
    ),
    (
        "release, implemented and called",
        &["build", "--release", "--features", "used"],
    ),
];

const WORKSPACE: &str = r#"[workspace]
resolver = "3"
members = ["messages", "services-ours", "services-tonic"]
"#;

const MESSAGES: &str = "\
pub mod load {
    pub mod v1 {
        #[derive(Clone, PartialEq, ::prost::Message)]
        pub struct Request {
            #[prost(string, tag = \"1\")]
            pub name: ::prost::alloc::string::String,
        }

        #[derive(Clone, PartialEq, ::prost::Message)]
        pub struct Reply {
            #[prost(string, tag = \"1\")]
            pub name: ::prost::alloc::string::String,
        }
    }
}
";

const OURS_BUILD: &str = r#"fn main() -> Result<(), Box<dyn std::error::Error>> {
    protoc_gen_ttrpc::Builder::new()
        .include("..")
        .options("messages=none,codec=prost,message_path=::messages")
        .compile(&["../services.proto"])?;
    Ok(())
}
"#;

const TONIC_BUILD: &str = r#"fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=../services.proto");
    let files = protox::compile(["services.proto"], [".."])?;
    tonic_prost_build::configure()
        .extern_path(".load.v1", "::messages::load::v1")
        .compile_fds(files)?;
    Ok(())
}
"#;

/// What a service's implementation and calls begin with.
const OURS: &str = r#"pub mod protos {
    include!(concat!(env!("OUT_DIR"), "/services_ttrpc.rs"));
}

#[cfg(feature = "used")]
mod used {
    use crate::protos::*;
    use messages::load::v1::{Reply, Request};
    use std::future::Future;
    use std::pin::Pin;
    use ttrpc_runtime::{Client, Context, Result, Server, Streaming};

    pub struct Answer;
"#;

const TONIC: &str = r#"pub mod protos {
    include!(concat!(env!("OUT_DIR"), "/load.v1.rs"));
}

#[cfg(feature = "used")]
mod used {
    use crate::protos::*;
    use messages::load::v1::{Reply, Request};
    use std::future::Future;
    use std::pin::Pin;
    use tonic::{Response, Status, Streaming, service::Routes, transport::Channel};

    type Replies = Pin<Box<dyn tokio_stream::Stream<Item = Result<Reply, Status>> + Send>>;

    pub struct Answer;
"#;

/// Times each, in turn, and prints the medians side by side.
pub fn run() -> Outcome<()> {
    let root = pairs::results()?.join("compile");
    write(&root)?;
    println!("{SERVICES} services, {RPCS} rpcs each; seconds, the median of {ROUNDS}");
    println!("{:32} {:>6} {:>6}  ratio", "", "ours", "tonic");
    for (what, arguments) in WAYS {
        for package in CRATES {
            // What it depends on comes first.
            compile(&root, package, arguments)?;
        }
        let mut seconds = CRATES.map(|_| Vec::new());
        for _ in 0..ROUNDS {
            for (package, seconds) in CRATES.iter().zip(&mut seconds) {
                seconds.push(compile(&root, package, arguments)?);
            }
        }
        let [ours, theirs] = seconds.map(|mut seconds| {
            seconds.sort_by(f64::total_cmp);
            seconds[ROUNDS / 2]
        });
        println!("{what:32} {ours:6.2} {theirs:6.2}  {:.2}", ours / theirs);
    }
    Ok(())
}

/// How many seconds cargo takes for a package that has just been changed.
fn compile(root: &Path, package: &str, arguments: &[&str]) -> Outcome<f64> {
    let library = root.join(package).join("src/lib.rs");
    fs::write(&library, fs::read(&library)?)?;
    let start = Instant::now();
    let status = Command::new("cargo")
        .args(arguments)
        .args(["--quiet", "--package", package])
        .current_dir(root)
        .env("CARGO_TARGET_DIR", root.join("target"))
        .env("CARGO_INCREMENTAL", "0")
        .status()?;
    if !status.success() {
        return Err(format!("{package} does not compile").into());
    }
    Ok(start.elapsed().as_secs_f64())
}

fn manifest(name: &str, dependencies: &str) -> String {
    format!(
        "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [features]\nused = []\n\n[dependencies]\n{dependencies}"
    )
}

/// Writes the crates, over what an earlier run has left.
fn write(root: &Path) -> Outcome<()> {
    let repository = pairs::source().join("../..").canonicalize()?;
    let ours = format!(
        "messages = {{ path = \"../messages\" }}\n\
         ttrpc-runtime = {{ path = {:?}, features = [\"prost\"] }}\n\n\
         [build-dependencies]\n\
         protoc-gen-ttrpc = {{ path = {:?}, default-features = false }}\n",
        repository.join("ttrpc-runtime"),
        repository.join("protoc-gen-ttrpc"),
    );
    let tonic = "messages = { path = \"../messages\" }\n\
         tokio-stream = \"0.1\"\n\
         tonic = { version = \"0.14\", default-features = false, features = [\"channel\", \"codegen\", \"router\", \"server\"] }\n\
         tonic-prost = \"0.14\"\n\n\
         [build-dependencies]\n\
         protox = \"0.10\"\n\
         tonic-prost-build = { version = \"0.14\", default-features = false }\n";
    let files = [
        ("Cargo.toml", WORKSPACE.to_owned()),
        // The releases that the pairs are built with.
        (
            "Cargo.lock",
            fs::read_to_string(pairs::source().join("Cargo.lock"))?,
        ),
        ("services.proto", proto()),
        (
            "messages/Cargo.toml",
            manifest("messages", "prost = \"0.14\"\n"),
        ),
        ("messages/src/lib.rs", MESSAGES.to_owned()),
        ("services-ours/Cargo.toml", manifest("services-ours", &ours)),
        ("services-ours/build.rs", OURS_BUILD.to_owned()),
        ("services-ours/src/lib.rs", use_of_ours()),
        (
            "services-tonic/Cargo.toml",
            manifest("services-tonic", tonic),
        ),
        ("services-tonic/build.rs", TONIC_BUILD.to_owned()),
        ("services-tonic/src/lib.rs", use_of_tonic()),
    ];
    for (name, text) in files {
        let path = root.join(name);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(path, text)?;
    }
    Ok(())
}

/// Whether a client, and whether a server streams: most rpcs do neither.
fn streams(rpc: usize) -> (bool, bool) {
    (rpc % 8 == 5 || rpc % 8 == 7, rpc % 8 >= 6)
}

fn proto() -> String {
    let mut text = "syntax = \"proto3\";\n\npackage load.v1;\n\n\
        message Request {\n  string name = 1;\n}\n\nmessage Reply {\n  string name = 1;\n}\n"
        .to_owned();
    for service in 0..SERVICES {
        let _ = writeln!(text, "\nservice Service{service} {{");
        for rpc in 0..RPCS {
            let (client, server) = streams(rpc);
            let stream = |is: bool| if is { "stream " } else { "" };
            let _ = writeln!(
                text,
                "  rpc Call{rpc}({}Request) returns ({}Reply);",
                stream(client),
                stream(server)
            );
        }
        text += "}\n";
    }
    text
}

fn use_of_ours() -> String {
    let mut text = OURS.to_owned();
    let mut serve = String::new();
    for service in 0..SERVICES {
        let mut calls = String::new();
        let _ = writeln!(text, "\n    impl Service{service} for Answer {{");
        for rpc in 0..RPCS {
            let (client, server) = streams(rpc);
            let request = if client {
                "Streaming<Request>"
            } else {
                "Request"
            };
            let (reply, answer) = if server {
                ("Streaming<Reply>", "Streaming::from_iter(None)")
            } else {
                ("Reply", "Reply::default()")
            };
            let _ = writeln!(
                text,
                "        async fn call{rpc}(&self, _: &Context, _: {request}) -> Result<{reply}> {{ Ok({answer}) }}"
            );
            let request = if client {
                "Streaming::from_iter(None)"
            } else {
                "Request::default()"
            };
            let _ = writeln!(
                calls,
                "            let _ = service.call{rpc}(&ctx, {request}).await;"
            );
        }
        let _ = writeln!(
            text,
            "    }}\n\n    pub fn calls{service}(client: Client) -> Pin<Box<dyn Future<Output = ()> + Send>> {{\n        \
             Box::pin(async move {{\n            let ctx = Context::default();\n            \
             let service = Service{service}Client::new(client);\n{calls}        }})\n    }}"
        );
        let _ = writeln!(
            serve,
            "        let server = server.service(Service{service}Server::new(Answer));"
        );
    }
    let _ = writeln!(
        text,
        "\n    pub fn serve() -> Result<Server> {{\n        let server = Server::builder();\n\
         {serve}        server.build()\n    }}\n}}\n\n#[cfg(feature = \"used\")]\npub use used::*;"
    );
    text
}

fn use_of_tonic() -> String {
    let mut text = TONIC.to_owned();
    let mut serve = String::new();
    for service in 0..SERVICES {
        let mut calls = String::new();
        let _ = writeln!(
            text,
            "\n    #[tonic::async_trait]\n    impl service{service}_server::Service{service} for Answer {{"
        );
        for rpc in 0..RPCS {
            let (client, server) = streams(rpc);
            let request = if client {
                "Streaming<Request>"
            } else {
                "Request"
            };
            let (reply, answer) = if server {
                let _ = writeln!(text, "        type Call{rpc}Stream = Replies;");
                ("Replies", "Box::pin(tokio_stream::empty())")
            } else {
                ("Reply", "Reply::default()")
            };
            let _ = writeln!(
                text,
                "        async fn call{rpc}(&self, _: tonic::Request<{request}>) -> Result<Response<{reply}>, Status> {{ Ok(Response::new({answer})) }}"
            );
            let request = if client {
                "tokio_stream::empty()"
            } else {
                "Request::default()"
            };
            let _ = writeln!(
                calls,
                "            let _ = service.call{rpc}({request}).await;"
            );
        }
        let _ = writeln!(
            text,
            "    }}\n\n    pub fn calls{service}(channel: Channel) -> Pin<Box<dyn Future<Output = ()> + Send>> {{\n        \
             Box::pin(async move {{\n            \
             let mut service = service{service}_client::Service{service}Client::new(channel);\n{calls}        }})\n    }}"
        );
        let _ = writeln!(
            serve,
            "        let routes = routes.add_service(service{service}_server::Service{service}Server::new(Answer));"
        );
    }
    let _ = writeln!(
        text,
        "\n    pub fn serve() -> Routes {{\n        let routes = Routes::default();\n\
         {serve}        routes\n    }}\n}}\n\n#[cfg(feature = \"used\")]\npub use used::*;"
    );
    text
}
