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
        what: "messages of a package over services, by prost",
        files: &[
            ("foo.proto", "syntax = 'proto3'; package foo_ttrpc; message M {} service Foo {}"),
            ("more.proto", "syntax = 'proto3'; package foo_ttrpc; message N {} service More {}"),
        ],
        options: &[("messages", "prost")],
        message: "\
foo.proto: its messages and its services both become `foo_ttrpc.rs`; rename one of them, or generate them into different directories",
    },
    Rejected {
        what: "messages of a package under `mod_rs`, by buffa",
        files: &[("foo.proto", "syntax = 'proto3'; package mod; message M {} service Foo {}")],
        options: &[("messages", "buffa")],
        message: "\
foo.proto: this file and `mod_rs` both become `mod.rs`; rename one of them, or generate them into different directories",
    },
    Rejected {
        what: "options",
        files: &[("empty.proto", "syntax = 'proto3';")],
        options: &[("message", "none"), ("messages", "prots"), ("message_path", "a-b")],
        message: "\
there is no option `message`; the nearest is `messages`
option `messages` can't be `prots`; it takes `protobuf|prost|buffa|none`, such as `prost`
option `message_path` can't be `a-b`; it takes `<Rust path>`, such as `crate::protos`",
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
    Rejected {
        what: "values of options",
        files: &[("empty.proto", "syntax = 'proto3';")],
        options: &[
            ("flavours", "sync"),
            ("sides", "clients"),
            ("extern_path", "google.rpc=::rpc"),
            ("extern_path", ".google.rpc=::rpc:: google"),
            ("runtime_path", "ttrpc-runtime"),
            ("runtime_path", "::ttrpc_runtime/**/"),
            ("file_suffix", ".pb"),
            ("service_prefix", "rpc"),
            ("required_methods", "yes"),
            ("trait_attribute", "derive(Debug)"),
            ("modules", "package"),
            ("codec", "gogo"),
        ],
        message: "\
option `flavours` can't be `sync`; it takes `async|blocking|async+blocking`, such as `async`
option `sides` can't be `clients`; it takes `client|server|client+server`, such as `client`
option `extern_path` can't be `google.rpc=::rpc`; it takes `<.proto name>=<Rust path>`, such as `.package.Message=::path::to::Message`
option `extern_path` can't be `.google.rpc=::rpc:: google`; it takes `<.proto name>=<Rust path>`, such as `.package.Message=::path::to::Message`
option `runtime_path` can't be `ttrpc-runtime`; it takes `<Rust path>`, such as `::ttrpc_runtime`
option `runtime_path` can't be `::ttrpc_runtime/**/`; it takes `<Rust path>`, such as `::ttrpc_runtime`
option `file_suffix` can't be `.pb`; it takes `<suffix>`, such as `_ttrpc`
option `service_prefix` can't be `rpc`; it takes `<prefix>`, such as `Ttrpc`
option `required_methods` can't be `yes`; it takes `true|false`, such as `true`
option `trait_attribute` can't be `derive(Debug)`; it takes `[<service>=]<attribute>`, such as `#[doc(alias = \"rpc\")]`
option `modules` can't be `package`; it takes `file|path`, such as `path`
option `codec` can't be `gogo`; it takes `protobuf|prost|buffa`, such as `prost`",
    },
    Rejected {
        what: "messages from elsewhere that are nowhere",
        files: &[("empty.proto", "syntax = 'proto3';")],
        options: &[("messages", "none")],
        message: "\
with `messages=none` the services don't know where their messages are; say it with `message_path`, such as `message_path=crate::protos`",
    },
    Rejected {
        what: "a codec of other messages",
        files: &[("empty.proto", "syntax = 'proto3';")],
        options: &[("messages", "prost"), ("codec", "buffa")],
        message: "\
`codec=buffa` can't encode what `messages=prost` generates; leave `codec` out, or take the messages from elsewhere with `messages=none`",
    },
    Rejected {
        what: "an edition that the embedded compiler does not know",
        files: &[("young.proto", "edition = '2023';\nmessage M {}")],
        options: &[],
        message: "\
young.proto:1:1: expected 'enum', 'extend', 'import', 'message', 'option', 'service', 'package' or ';', but found 'edition'; correct it, or compile with protoc what only protoc knows, such as editions",
    },
    Rejected {
        what: "messages with one name in Rust, by rust-protobuf",
        files: &[(
            "twins.proto",
            "syntax = 'proto3'; message twin { message A {} } message Twin { message B {} }",
        )],
        options: &[],
        message: "\
twins.proto: message `twin` and message `Twin` both become `Twin` in Rust; rename one of them, or take another generator with `messages`
twins.proto: what is nested in message `twin` and what is nested in message `Twin` both become `twin` in Rust; rename one of them, or take another generator with `messages`",
    },
    Rejected {
        what: "messages, packages and oneofs with one name in Rust, by prost",
        files: &[
            (
                "outer.proto",
                "syntax = 'proto3'; package a; message B { message C {} oneof c { int32 d = 1; } } message get_it {} message GetIt {}",
            ),
            ("inner.proto", "syntax = 'proto3'; package a.b; message D {}"),
        ],
        options: &[("messages", "prost")],
        message: "\
outer.proto: package `a.b` of `inner.proto` and what is nested in message `a.B` both become `b` in Rust; rename one of them, or take another generator with `messages`
outer.proto: oneof `c` of message `a.B` and message `a.B.C` both become `C` in Rust; rename one of them, or take another generator with `messages`
outer.proto: message `a.get_it` and message `a.GetIt` both become `GetIt` in Rust; rename one of them, or take another generator with `messages`",
    },
    Rejected {
        what: "what is nested in a message of no package, and services, by prost",
        files: &[(
            "foo.proto",
            "syntax = 'proto3'; message FooTtrpc { message A {} } service Foo {}",
        )],
        options: &[("messages", "prost")],
        message: "\
foo.proto: the services and what is nested in message `FooTtrpc` both become `foo_ttrpc` in Rust; rename one of them, or take another generator with `messages`",
    },
    Rejected {
        what: "what is nested in a message, and extensions, by rust-protobuf",
        files: &[(
            "ext.proto",
            "syntax = 'proto2'; message Exts { message A {} extensions 9; } extend Exts { optional int32 a = 9; }",
        )],
        options: &[],
        message: "\
ext.proto: the extensions and what is nested in message `Exts` both become `exts` in Rust; rename one of them, or take another generator with `messages`",
    },
    Rejected {
        what: "a group, by rust-protobuf",
        files: &[(
            "group.proto",
            "syntax = 'proto2'; message M { oneof o { group Part = 1 { optional int32 a = 1; } } }",
        )],
        options: &[],
        message: "\
group.proto: field `part` is delimited, and rust-protobuf has no groups; take `messages=prost` or `messages=buffa`, or `messages=none`",
    },
    Rejected {
        what: "one message from elsewhere, by rust-protobuf",
        files: &[("some.proto", "syntax = 'proto3'; package a; message B {} message C {}")],
        options: &[("extern_path", ".a.B=::b::B")],
        message: "\
some.proto: rust-protobuf can't leave out `.a.B` alone, as `extern_path` asks it to; name its package, or take `messages=prost`, `messages=buffa` or `messages=none`",
    },
    Rejected {
        what: "a name that buffa stumbles over",
        files: &[("own.proto", "syntax = 'proto3'; message self {}")],
        options: &[("messages", "buffa")],
        message: "\
buffa can't generate these messages: generated code failed to parse as Rust: expected identifier, found keyword `self`; rename what it stumbles over, or take another generator with `messages`",
    },
    Rejected {
        what: "a name that buffa stumbles over, of a message that an rpc takes",
        files: &[("own.proto", "syntax = 'proto3'; message _ {} service S { rpc A(_) returns (_); }")],
        options: &[("messages", "buffa")],
        message: "\
buffa can't generate these messages: generated code failed to parse as Rust: expected identifier, found keyword `_`; rename what it stumbles over, or take another generator with `messages`",
    },
    Rejected {
        what: "an rpc whose message is an enum",
        files: &[(
            "kind.proto",
            "syntax = 'proto3';\nenum E { E_NONE = 0; }\nservice S {\n  rpc A(E) returns (E);\n}",
        )],
        options: &[],
        message: "\
kind.proto:4:9: 'E' is not a message type; correct it, or compile with protoc what only protoc knows, such as editions",
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

/// What neither rust-protobuf nor prost can say of an edition; protoc compiles it.
#[test]
fn editions_beyond_a_generator_are_named() {
    let directory = scratch("beyond");
    fs::write(
        directory.join("mixed.proto"),
        "edition = '2023'; message M { string a = 1 [features.field_presence = IMPLICIT]; \
         string b = 2 [features.field_presence = LEGACY_REQUIRED]; }",
    )
    .unwrap();
    fs::write(
        directory.join("group.proto"),
        "edition = '2023'; option features.message_encoding = DELIMITED; \
         message N { map<string, NEntry> m = 1; repeated NEntry n = 2; } message NEntry {}",
    )
    .unwrap();
    let files = ["mixed.proto", "group.proto"].map(|name| directory.join(name));
    let builder = Builder::new()
        .include(&directory)
        .out_dir(directory.join("out"))
        .protoc(support::protoc());
    let mixed = "mixed.proto: it has implicit presence in field `a`, and a required field `b`; \
        neither proto2 nor proto3 has both, and rust-protobuf and prost know no editions; \
        take `messages=buffa`, or `messages=none`";
    let group = "group.proto: field `n` is delimited, and rust-protobuf has no groups; \
        take `messages=prost` or `messages=buffa`, or `messages=none`";
    let message = |messages: &str| {
        let builder = builder.clone().option("messages", messages);
        let error = builder.generate(&files).err();
        error.map(|error| error.to_string())
    };
    assert_eq!(message("protobuf"), Some(format!("{mixed}\n{group}")));
    assert_eq!(message("prost"), Some(mixed.to_owned()));
    assert_eq!(message("buffa"), None);
}

#[test]
fn what_can_not_be_written_is_named() {
    let directory = scratch("unwritable");
    let file = directory.join("a.proto");
    fs::write(&file, "syntax = 'proto3';").unwrap();
    let out = directory.join("out");
    fs::write(&out, "in the way").unwrap();
    let builder = Builder::new().include(&directory).out_dir(&out);
    let message = builder.generate(&[&file]).unwrap_err().to_string();
    assert_eq!(
        message,
        format!("{}: File exists (os error 17)", out.display())
    );

    let lost = directory.join("lost.proto");
    let message = builder.generate(&[&lost]).unwrap_err().to_string();
    let message = message.replace(directory.to_str().unwrap(), "DIR");
    assert_eq!(
        message,
        "file 'DIR/lost.proto' is not in any include path; check its name and the import paths"
    );
}

/// protoc itself refuses what two plugins write under one name.
#[test]
fn two_plugins_that_write_one_file_are_refused() {
    let directory = scratch("two-plugins");
    fs::write(directory.join("a.proto"), "syntax = 'proto3';").unwrap();
    let output = Command::new(support::protoc())
        .current_dir(&directory)
        .arg(format!("--plugin=protoc-gen-ttrpc={BINARY}"))
        .arg(format!("--plugin=protoc-gen-other={BINARY}"))
        .args(["--ttrpc_out=.", "--other_out=.", "a.proto"])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "a.rs: Tried to write the same file twice.\n"
    );
}

/// What a `main` shows that returns the error, as that of a build script does.
#[test]
fn a_build_script_fails_in_words() {
    let builder = Builder::new().out_dir(scratch("words"));
    let error = builder.generate(&["nowhere.proto"]).unwrap_err();
    let error: Box<dyn std::error::Error> = error.into();
    assert_eq!(
        format!("Error: {error:?}"),
        "Error: file 'nowhere.proto' is not in any include path; \
         check its name and the import paths"
    );
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

    for protoc in ["/nonexistent/protoc", "false"] {
        let builder = builder.clone().protoc(protoc);
        let message = builder.generate(&[&file]).unwrap_err().to_string();
        let expected = format!("`{protoc}` could not compile the files: ");
        assert!(message.starts_with(&expected), "{message}");
    }
}
