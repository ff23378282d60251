//! A request that protoc would not send is refused without output, and never with a
//! panic.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use protobuf::Message;
use protobuf::descriptor::FileDescriptorSet;
use protobuf::descriptor::field_descriptor_proto::Type;
use protobuf::plugin::{CodeGeneratorRequest, CodeGeneratorResponse};
use protoc_gen_ttrpc::{Builder, Error, generate};
use support::{BINARY, protos, scratch, succeed};

fn plugin(request: &[u8]) -> Output {
    let mut plugin = Command::new(BINARY)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    plugin.stdin.take().unwrap().write_all(request).unwrap();
    plugin.wait_with_output().unwrap()
}

/// What protoc sends for these files.
fn request(files: &[&str]) -> CodeGeneratorRequest {
    // Tests run at once.
    static REQUESTS: AtomicUsize = AtomicUsize::new(0);
    let number = REQUESTS.fetch_add(1, Ordering::Relaxed);
    let set = scratch(&format!("request-{number}")).join("set");
    succeed(
        Command::new(support::protoc())
            .current_dir(protos())
            .args(["--include_imports", "--include_source_info", "-o"])
            .arg(&set)
            .args(files),
    );
    let set = FileDescriptorSet::parse_from_bytes(&std::fs::read(set).unwrap()).unwrap();
    let mut request = CodeGeneratorRequest::new();
    request.proto_file = set.file;
    request.file_to_generate = files.iter().map(|file| (*file).to_owned()).collect();
    request
}

#[test]
fn garbage_is_refused_without_output() {
    let unknown = {
        let mut request = CodeGeneratorRequest::new();
        request.file_to_generate.push("lost.proto".to_owned());
        request.write_to_bytes().unwrap()
    };
    let cases: [(&[u8], &str); 3] = [
        (b"not a request", "it can't be decoded: "),
        (b"", "it names no file to generate\n"),
        (
            &unknown,
            "it has no descriptor of `lost.proto`, which is to be generated\n",
        ),
    ];
    for (bytes, why) in cases {
        let output = plugin(bytes);
        let message = String::from_utf8(output.stderr).unwrap();
        let expected =
            "protoc-gen-ttrpc: expected a CodeGeneratorRequest as protoc and buf send it, but ";
        assert!(
            message.starts_with(&format!("{expected}{why}")),
            "{message}"
        );
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(output.stdout, b"");
    }
}

#[test]
fn every_answer_says_what_is_supported() {
    let mut request = request(&["greeter.proto"]);
    for parameter in ["", "nonsense"] {
        request.set_parameter(parameter.to_owned());
        let output = plugin(&request.write_to_bytes().unwrap());
        assert!(output.status.success());
        let response = CodeGeneratorResponse::parse_from_bytes(&output.stdout).unwrap();
        assert_eq!(response.has_error(), !parameter.is_empty());
        assert_eq!(response.file.is_empty(), !parameter.is_empty());
        assert_eq!(response.supported_features(), 3);
        let editions = response.special_fields.unknown_fields();
        assert_eq!(
            editions.get(3),
            Some(protobuf::UnknownValueRef::Varint(998))
        );
        assert_eq!(
            editions.get(4),
            Some(protobuf::UnknownValueRef::Varint(1001))
        );
    }
}

#[test]
fn what_is_asked_for_twice_is_generated_once() {
    let mut request = request(&["greeter.proto"]);
    let once = generate(request.write_to_bytes().unwrap()).unwrap();
    request.file_to_generate.push("greeter.proto".to_owned());
    assert_eq!(generate(request.write_to_bytes().unwrap()).unwrap(), once);
}

/// Descriptors that no compiler makes are problems; they go back to who sent them.
#[test]
fn inconsistent_descriptors_are_problems() {
    type Spoil = fn(&mut CodeGeneratorRequest);
    let cases: [(Spoil, &str); 5] = [
        (
            |request| request.proto_file[0].service[0].method[0].set_input_type(".lost.M".into()),
            "greeter.proto:8: rpc `SayHello` of `Greeter` needs a message `lost.M`, which no file declares; \
             declare it, or import the file that does",
        ),
        (
            |request| request.proto_file[0].service[0].set_name("a b".into()),
            "greeter.proto: `a b` is no name; send descriptors as protoc makes them",
        ),
        (
            |request| request.proto_file[0].dependency.push("lost.proto".into()),
            "greeter.proto: it imports `lost.proto`, which is missing; send descriptors as protoc makes them",
        ),
        (
            |request| {
                request.proto_file[0].set_name("../greeter.proto".into());
                request.file_to_generate[0] = "../greeter.proto".into();
            },
            "../greeter.proto: `../greeter.proto` is no name of a file; send descriptors as protoc makes them",
        ),
        (
            |request| request.proto_file[0].set_syntax("proto4".into()),
            "greeter.proto: its syntax is not known; use proto2, proto3, or an edition up to 2024",
        ),
    ];
    for (spoil, message) in cases {
        let mut request = request(&["greeter.proto"]);
        spoil(&mut request);
        let response = generate(request.write_to_bytes().unwrap()).unwrap();
        let response = CodeGeneratorResponse::parse_from_bytes(&response).unwrap();
        assert_eq!(response.error(), message);
        assert_eq!(response.file, []);
    }
}

/// Where a generator of messages panics, that is said once, and in the words of a problem.
#[test]
fn a_generator_that_panics_is_a_problem() {
    let mut request = request(&["greeter.proto"]);
    let field = &mut request.proto_file[0].message_type[0].field[0];
    field.set_type(Type::TYPE_MESSAGE);
    field.set_type_name(".lost.M".to_owned());
    for messages in ["protobuf", "prost"] {
        request.set_parameter(format!("messages={messages}"));
        let output = plugin(&request.write_to_bytes().unwrap());
        let response = CodeGeneratorResponse::parse_from_bytes(&output.stdout).unwrap();
        assert!(response.error().contains("can't generate these messages: "));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    }
}

/// protoc takes comments in any encoding, and so do services; messages do without.
#[test]
fn comments_need_not_be_utf_8() {
    let directory = scratch("latin");
    let text = b"syntax = 'proto3'; // Gr\xf6\xdfe\nmessage M {}\n\
        // Ma\xdf\nservice S {\n// Length.\nrpc A(M) returns (M);\n}\n";
    std::fs::write(directory.join("latin.proto"), text).unwrap();
    let check = |out: &Path| {
        let services = std::fs::read_to_string(out.join("latin_ttrpc.rs")).unwrap();
        assert!(services.contains("\n/// Ma\u{fffd}\n"), "{services}");
        assert!(services.contains("    /// Length.\n"), "{services}");
    };
    for messages in ["protobuf", "prost", "buffa"] {
        let out = scratch("latin-out");
        succeed(
            Command::new(support::protoc())
                .current_dir(&directory)
                .arg(format!("--plugin=protoc-gen-ttrpc={BINARY}"))
                .arg(format!("--ttrpc_out=messages={messages}:{}", out.display()))
                .arg("latin.proto"),
        );
        check(&out);
    }
    let out = scratch("latin-out");
    let builder = Builder::new().include(&directory).out_dir(&out);
    let builder = builder.protoc(support::protoc());
    builder.generate(&["latin.proto"]).unwrap();
    check(&out);
}

/// Cut short and with bytes changed, a request is answered or refused.
#[test]
fn no_request_is_a_reason_to_panic() {
    let bytes = request(&["messages.proto"]).write_to_bytes().unwrap();
    let answer = |bytes: &[u8]| match generate(bytes.to_vec()) {
        Ok(_) | Err(Error::Malformed(_)) => {}
        Err(other) => panic!("{other}"),
    };
    for length in (0..bytes.len()).step_by(7) {
        answer(&bytes[..length]);
    }
    // A small generator of numbers; the same ones each time.
    let mut state = 1_u64;
    let mut random = move |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(state >> 33).unwrap() % below
    };
    for _ in 0..1_000 {
        let mut spoilt = bytes.clone();
        for _ in 0..=random(3) {
            let place = random(spoilt.len());
            spoilt[place] = u8::try_from(random(256)).unwrap();
        }
        answer(&spoilt);
    }
}
