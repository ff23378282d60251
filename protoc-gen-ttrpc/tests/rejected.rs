//! What can't be generated is refused with everything that is wrong and what to do.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::fs;
use std::process::Command;

use protoc_gen_ttrpc::Builder;
use support::{BINARY, scratch};

struct Rejected {
    what: &'static str,
    /// Names and contents of .proto files; all of them are generated.
    files: &'static [(&'static str, &'static str)],
    options: &'static [(&'static str, &'static str)],
    message: &'static str,
}

const REJECTED: &[Rejected] = &[
    Rejected {
        what: "rpcs with one name in Rust, in two services",
        files: &[(
            "twins.proto",
            "syntax = 'proto3';
             message M {}
             service S {
               rpc GetIt(M) returns (M);
               rpc get_it(M) returns (M);
             }
             service T {
               rpc A(M) returns (M);
               rpc Self(M) returns (M);
               rpc self_(M) returns (M);
             }",
        )],
        options: &[],
        message: "\
twins.proto:5: rpcs `GetIt` and `get_it` of `S` both become a Rust method `get_it`; rename one of them
twins.proto:10: rpcs `Self` and `self_` of `T` both become a Rust method `self_`; rename one of them",
    },
    Rejected {
        what: "services with one name in Rust",
        files: &[(
            "types.proto",
            "syntax = 'proto3';
             service Foo {}
             service FooClient {}
             service foo {}",
        )],
        options: &[],
        message: "\
types.proto:3: services `Foo` and `FooClient` both become a Rust type `FooClient`; rename one of them, or move it to a file of its own
types.proto:4: services `Foo` and `foo` both become a Rust type `Foo`; rename one of them, or move it to a file of its own
types.proto:4: services `FooClient` and `foo` both become a Rust type `FooClient`; rename one of them, or move it to a file of its own
types.proto:4: services `Foo` and `foo` both become a Rust type `FooServer`; rename one of them, or move it to a file of its own",
    },
    Rejected {
        what: "files with one name in Rust, whatever their path",
        files: &[
            ("a/same.proto", "syntax = 'proto3'; message A {} service S {}"),
            ("a_same.proto", "syntax = 'proto3'; message B {} service T {}"),
            ("sa-me.proto", "syntax = 'proto3';"),
            ("sa_me.proto", "syntax = 'proto3';"),
        ],
        options: &[("modules", "path")],
        message: "\
a_same.proto: this file and `a/same.proto` both become `a_same.rs`; rename one of them, or generate them into different directories
sa_me.proto: this file and `sa-me.proto` both become `sa_me.rs`; rename one of them, or generate them into different directories
a_same.proto: this file and `a/same.proto` both become `a_same_ttrpc.rs`; rename one of them, or generate them into different directories",
    },
    Rejected {
        what: "messages over services",
        files: &[
            ("foo.proto", "syntax = 'proto3'; service Foo {}"),
            ("foo_ttrpc.proto", "syntax = 'proto3';"),
        ],
        options: &[],
        message: "\
foo.proto: this file and `foo_ttrpc.proto` both become `foo_ttrpc.rs`; rename one of them, or generate them into different directories",
    },
    Rejected {
        what: "options",
        files: &[("empty.proto", "syntax = 'proto3';")],
        options: &[("message", "none"), ("messages", "prots"), ("message_path", "a-b")],
        message: "\
there is no option `message`; the nearest is `messages`
option `messages` can't be `prots`; the nearest valid value is `prost`
option `message_path` can't be `a-b`; the nearest valid value is `crate::protos`",
    },
    Rejected {
        what: "options that contradict each other",
        files: &[("empty.proto", "syntax = 'proto3';")],
        options: &[("message_path", "crate::protos")],
        message: "\
with `messages=protobuf` the messages are generated beside the services, so that `message_path` means nothing; leave it out, or add `messages=none`",
    },
    Rejected {
        what: "files that are not there or not .proto, at once",
        files: &[
            ("good.proto", "syntax = 'proto3';"),
            ("lost.proto", "syntax = 'proto3';\nimport 'nowhere.proto';"),
            ("typo.proto", "syntax = 'proto3';\nmesage M {}"),
            ("type.proto", "syntax = 'proto3';\nservice S {\n  rpc A(B) returns (B);\n}"),
        ],
        options: &[],
        message: "\
lost.proto:2:1: import 'nowhere.proto' not found; check its name and the import paths
typo.proto:2:1: expected 'enum', 'extend', 'import', 'message', 'option', 'service', 'package' or ';', but found 'mesage'; correct it, or compile with protoc what only protoc knows, such as editions
type.proto:3:9: name 'B' is not defined; correct it, or compile with protoc what only protoc knows, such as editions",
    },
    Rejected {
        what: "well-known types by another name",
        files: &[(
            "vendor/google/protobuf/empty.proto",
            "syntax = 'proto3'; package google.protobuf; message Empty {}",
        )],
        options: &[],
        message: "\
vendor/google/protobuf/empty.proto: this is `google/protobuf/empty.proto` under another name; import it by that name, from a path that has the directory `google`",
    },
];

#[test]
fn all_problems_are_named_at_once() {
    for Rejected {
        what,
        files,
        options,
        message,
    } in REJECTED
    {
        let directory = scratch("rejected");
        let mut paths = Vec::new();
        for (name, text) in *files {
            let path = directory.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            paths.push(path);
        }
        let out = directory.join("out");
        let mut builder = Builder::new().include(&directory).out_dir(&out);
        for (key, value) in *options {
            builder = builder.option(*key, *value);
        }
        let error = builder.generate(&paths).unwrap_err();
        assert_eq!(error.to_string(), *message, "{what}");
        assert!(!out.exists(), "{what}: something was written");
    }
}

/// Through the plugin, an error comes with the protocol's `error`, so that protoc
/// shows it under the plugin's name.
#[test]
fn protoc_shows_what_is_wrong() {
    let directory = scratch("rejected-by-protoc");
    let text = "edition = '2023';\nmessage M {}\nservice S {\n  rpc A(M) returns (M);\n  rpc a(M) returns (M);\n}\n";
    fs::write(directory.join("twins.proto"), text).unwrap();
    let output = Command::new(support::protoc())
        .current_dir(&directory)
        .arg(format!("--plugin=protoc-gen-ttrpc={BINARY}"))
        .args(["--ttrpc_out=.", "twins.proto"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "\
--ttrpc_out: twins.proto:5: rpcs `A` and `a` of `S` both become a Rust method `a`; rename one of them
"
    );
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
}

#[test]
fn protoc_can_compile_what_the_embedded_compiler_can_not() {
    let directory = scratch("editions");
    let file = directory.join("young.proto");
    fs::write(
        &file,
        "edition = '2023'; message M {} service S { rpc A(M) returns (M); }",
    )
    .unwrap();
    let out = directory.join("out");
    let builder = Builder::new()
        .include(&directory)
        .out_dir(&out)
        .protoc(support::protoc())
        .option("messages", "none")
        .option("message_path", "crate");
    builder.generate(&[&file]).unwrap();
    assert!(out.join("young_ttrpc.rs").exists());

    fs::write(&file, "edition = '2023';\nmesage M {}").unwrap();
    let message = builder.generate(&[&file]).unwrap_err().to_string();
    let message = message.replace(directory.to_str().unwrap(), "DIR");
    assert_eq!(
        message,
        "\
protoc refused the files; correct what it says:
DIR/young.proto:2:1: Expected top-level statement (e.g. \"message\")."
    );

    let message = builder
        .protoc("/nonexistent/protoc")
        .generate(&[&file])
        .unwrap_err();
    assert!(
        message
            .to_string()
            .starts_with("`/nonexistent/protoc` could not compile the files: "),
        "{message}"
    );
}
