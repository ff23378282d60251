//! Everything that is wrong with the input, all at once.

use std::collections::{BTreeMap, BTreeSet};

use protobuf::descriptor::{DescriptorProto, FileDescriptorProto};
use protobuf_parse::ProtoPath;

use crate::Problem;
use crate::model::{File, Message, Service};
use crate::names;
use crate::options::{Messages, Options};
use crate::request::{Request, Syntax};
use crate::response::{MAXIMUM_EDITION, MINIMUM_EDITION};

/// Checks what protoc would never send, but the rest of the generator relies on:
/// that names are names and files are there.
pub(crate) fn request(request: &Request) -> Vec<Problem> {
    let known: BTreeSet<&str> = request.files.iter().map(|file| file.name()).collect();
    let mut problems = Vec::new();
    for file in &request.files {
        let mut report = |what: String| {
            let fix = "send descriptors as protoc makes them";
            problems.push(Problem::new(what, fix).at(file.name(), None));
        };
        let name = file.name();
        if ProtoPath::new(name).is_err()
            || names::stem(name).is_empty()
            || name.contains(char::is_control)
        {
            report(format!("`{}` is no name of a file", name.escape_debug()));
        }
        for name in declared_names(file) {
            if !names::is_name(name) {
                report(format!("`{}` is no name", name.escape_debug()));
            }
        }
        for import in &file.dependency {
            if !known.contains(import.as_str()) {
                report(format!("it imports `{import}`, which is missing"));
            }
        }
    }
    problems
}

fn declared_names(file: &FileDescriptorProto) -> Vec<&str> {
    fn messages<'a>(declared: &'a [DescriptorProto], names: &mut Vec<&'a str>) {
        for message in declared {
            names.push(message.name());
            messages(&message.nested_type, names);
        }
    }
    let mut names: Vec<&str> = match file.package() {
        "" => Vec::new(),
        package => package.split('.').collect(),
    };
    messages(&file.message_type, &mut names);
    for service in &file.service {
        names.push(service.name());
        names.extend(service.method.iter().map(|method| method.name()));
    }
    names
}

/// Checks that what is asked for can be generated, and will compile.
pub(crate) fn model(request: &Request, files: &[File], options: &Options) -> Vec<Problem> {
    let mut problems = Vec::new();
    let with_messages = options.messages == Messages::Protobuf;
    let services: BTreeSet<&String> = request.services.iter().collect();
    let messages: BTreeSet<&String> = request.messages.iter().filter(|_| with_messages).collect();
    for file in &request.files {
        let name = file.name().to_owned();
        let has_messages = messages.contains(&name);
        if has_messages || services.contains(&name) {
            syntax(file, has_messages, &mut problems);
        }
        if with_messages {
            well_known(file, &mut problems);
        }
    }
    for file in files {
        types(file, &mut problems);
        for service in &file.services {
            rpcs(file, service, &mut problems);
        }
    }
    problems
}

fn syntax(file: &FileDescriptorProto, messages: bool, problems: &mut Vec<Problem>) {
    let problem = match Syntax::of(file) {
        Syntax::Edition(MINIMUM_EDITION..=MAXIMUM_EDITION) if messages => Problem::new(
            "rust-protobuf 3.7 can't generate messages of an edition",
            "use proto2 or proto3, or take the messages from elsewhere with `messages=none`",
        ),
        Syntax::Proto2 | Syntax::Proto3 | Syntax::Edition(MINIMUM_EDITION..=MAXIMUM_EDITION) => {
            return;
        }
        Syntax::Edition(_) | Syntax::Unknown => Problem::new(
            "its syntax is not known",
            "use proto2, proto3, or an edition up to 2024",
        ),
    };
    problems.push(problem.at(file.name(), None));
}

/// rust-protobuf takes its own types for these, and fails where they are declared by
/// a file of another name.
fn well_known(file: &FileDescriptorProto, problems: &mut Vec<Problem>) {
    let name = file.name();
    let base = name.rsplit('/').next().unwrap_or(name);
    let canonical = format!("google/protobuf/{base}");
    let is_well_known = |name: &str| names::well_known(name).is_some();
    if file.package() == "google.protobuf" && is_well_known(&canonical) && !is_well_known(name) {
        let what = format!("this is `{canonical}` under another name");
        let fix = "import it by that name, from a path that has the directory `google`";
        problems.push(Problem::new(what, fix).at(name, None));
    }
}

fn types(file: &File, problems: &mut Vec<Problem>) {
    let mut owners: BTreeMap<String, &Service> = BTreeMap::new();
    for service in &file.services {
        for suffix in ["", "Client", "Server"] {
            let name = format!("{}{suffix}", service.rust);
            if let Some(other) = owners.insert(name.clone(), service) {
                let what = format!(
                    "services `{}` and `{}` both become a Rust type `{name}`",
                    other.proto, service.proto
                );
                let fix = "rename one of them, or move it to a file of its own";
                problems.push(Problem::new(what, fix).at(&file.proto, service.line));
            }
        }
    }
}

fn rpcs(file: &File, service: &Service, problems: &mut Vec<Problem>) {
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for rpc in &service.rpcs {
        if let Some(other) = owners.insert(&rpc.rust, &rpc.wire) {
            let what = format!(
                "rpcs `{other}` and `{}` of `{}` both become a Rust method `{}`",
                rpc.wire, service.proto, rpc.rust
            );
            problems.push(Problem::new(what, "rename one of them").at(&file.proto, rpc.line));
        }
        for Message { proto, rust } in [&rpc.input, &rpc.output] {
            if rust.is_none() {
                let proto = proto.trim_start_matches('.');
                let what = format!(
                    "rpc `{}` of `{}` needs a message `{proto}`, which no file declares",
                    rpc.wire, service.proto
                );
                let fix = "declare it, or import the file that does";
                problems.push(Problem::new(what, fix).at(&file.proto, rpc.line));
            }
        }
    }
}

/// Checks that no two files are generated under one name.
///
/// `outputs` are their names, each with the .proto file it comes from. Names that
/// differ only in case are the same on some disks.
pub(crate) fn outputs<'a>(outputs: impl Iterator<Item = (&'a str, String)>) -> Vec<Problem> {
    let mut owners: BTreeMap<String, &str> = BTreeMap::new();
    let mut problems = Vec::new();
    for (proto, output) in outputs {
        if let Some(other) = owners.insert(output.to_ascii_lowercase(), proto) {
            let what = format!("this file and `{other}` both become `{output}`");
            let fix = "rename one of them, or generate them into different directories";
            problems.push(Problem::new(what, fix).at(proto, None));
        }
    }
    problems
}
