//! Everything that is wrong with the input, all at once.

use std::collections::{BTreeMap, HashSet};

use protobuf_parse::ProtoPath;

use crate::Problem;
use crate::descriptor::{self, MessageType};
use crate::model::{File, Message, Service};
use crate::names;
use crate::options::{Backend, Options};
use crate::request::{Request, Syntax};
use crate::response::{MAXIMUM_EDITION, MINIMUM_EDITION};

/// Checks what protoc would never send, but the rest of the generator relies on:
/// that names are names and files are there.
pub(crate) fn request(request: &Request) -> Vec<Problem> {
    let known: HashSet<&str> = request
        .files
        .iter()
        .map(|file| file.name.as_str())
        .collect();
    let mut problems = Vec::new();
    for file in &request.files {
        let mut report = |what: String| {
            let fix = "send descriptors as protoc makes them";
            problems.push(Problem::new(what, fix).at(&file.name, None));
        };
        let name = file.name.as_str();
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

fn declared_names(file: &descriptor::File) -> Vec<&str> {
    fn messages<'a>(declared: &'a [MessageType], names: &mut Vec<&'a str>) {
        for message in declared {
            names.push(&message.name);
            names.extend(
                message
                    .enum_type
                    .iter()
                    .map(|declared| declared.name.as_str()),
            );
            messages(&message.nested_type, names);
        }
    }
    let mut names: Vec<&str> = match file.package.as_str() {
        "" => Vec::new(),
        package => package.split('.').collect(),
    };
    messages(&file.message_type, &mut names);
    names.extend(file.enum_type.iter().map(|declared| declared.name.as_str()));
    for service in &file.service {
        names.push(&service.name);
        names.extend(service.method.iter().map(|method| method.name.as_str()));
    }
    names
}

/// Checks that the files to generate are written in a language that is known.
pub(crate) fn syntax(request: &Request) -> Vec<Problem> {
    let asked = request.services.iter().chain(&request.messages);
    let asked: HashSet<&String> = asked.collect();
    let asked = request
        .files
        .iter()
        .filter(|file| asked.contains(&file.name));
    let unknown = asked.filter(|file| match Syntax::of(file) {
        Syntax::Proto2 | Syntax::Proto3 => false,
        Syntax::Edition(edition) => !(MINIMUM_EDITION..=MAXIMUM_EDITION).contains(&edition),
        Syntax::Unknown => true,
    });
    let problem = |file: &crate::request::File| {
        let fix = "use proto2, proto3, or an edition up to 2024";
        Problem::new("its syntax is not known", fix).at(&file.name, None)
    };
    unknown.map(problem).collect()
}

/// Checks that what is asked for can be generated, and will compile.
pub(crate) fn model(request: &Request, files: &[File], options: &Options) -> Vec<Problem> {
    let mut problems = Vec::new();
    if options.messages == Some(Backend::Protobuf) {
        for file in &request.files {
            well_known(file, &mut problems);
        }
    }
    for file in files {
        types(file, options, &mut problems);
        for service in &file.services {
            rpcs(file, service, &mut problems);
        }
    }
    problems
}

/// rust-protobuf takes its own types for these, and fails where they are declared by
/// a file of another name.
fn well_known(file: &descriptor::File, problems: &mut Vec<Problem>) {
    let name = file.name.as_str();
    let base = name.rsplit('/').next().unwrap_or(name);
    let canonical = format!("google/protobuf/{base}");
    let is_well_known = |name: &str| names::well_known(name).is_some();
    if file.package == "google.protobuf" && is_well_known(&canonical) && !is_well_known(name) {
        let what = format!("this is `{canonical}` under another name");
        let fix = "import it by that name, from a path that has the directory `google`";
        problems.push(Problem::new(what, fix).at(name, None));
    }
}

fn types(file: &File, options: &Options, problems: &mut Vec<Problem>) {
    let mut owners: BTreeMap<String, &Service> = BTreeMap::new();
    let sides = options.sides;
    let suffixes = [
        (true, ""),
        (sides.first, "Client"),
        (sides.second, "Server"),
    ];
    for service in &file.services {
        for (_, suffix) in suffixes.iter().filter(|(is_wanted, _)| *is_wanted) {
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
/// `outputs` are their names, each with the .proto file or the option it comes from. Names
/// that differ only in case are the same on some disks.
pub(crate) fn outputs<'a>(outputs: impl Iterator<Item = (&'a str, String)>) -> Vec<Problem> {
    let mut owners: BTreeMap<String, &str> = BTreeMap::new();
    let mut problems = Vec::new();
    for (proto, output) in outputs {
        if let Some(other) = owners.insert(output.to_ascii_lowercase(), proto) {
            let both = match other == proto {
                true => "its messages and its services".to_owned(),
                false => format!("this file and `{other}`"),
            };
            let what = format!("{both} both become `{output}`");
            let fix = "rename one of them, or generate them into different directories";
            problems.push(Problem::new(what, fix).at(proto, None));
        }
    }
    problems
}
