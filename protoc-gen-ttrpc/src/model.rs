//! What a run generates, in words of Rust: descriptors go in, names come out.

use std::collections::HashMap;

use protobuf::descriptor::{
    DescriptorProto, FileDescriptorProto, MethodDescriptorProto, ServiceDescriptorProto,
};

use crate::comments;
use crate::names;
use crate::options::{Messages, Options};
use crate::request::Request;
use crate::source::{Comment, Source};

/// A .proto file whose services are generated.
#[derive(Debug)]
pub(crate) struct File {
    /// Its name, as protoc has it.
    pub(crate) proto: String,
    pub(crate) services: Vec<Service>,
}

#[derive(Debug)]
pub(crate) struct Service {
    /// Its name without the package, as written.
    pub(crate) proto: String,
    /// Its name on the wire.
    pub(crate) wire: String,
    /// Its name in Rust, to which `Client` and `Server` are added.
    pub(crate) rust: String,
    pub(crate) docs: Vec<String>,
    pub(crate) deprecated: bool,
    pub(crate) line: Option<u32>,
    pub(crate) rpcs: Vec<Rpc>,
}

#[derive(Debug)]
pub(crate) struct Rpc {
    /// Its name on the wire, which is the name as written.
    pub(crate) wire: String,
    /// The name by which Go's clients may call it, where it is another one.
    pub(crate) alias: Option<String>,
    /// The method, a raw identifier where it must be.
    pub(crate) rust: String,
    pub(crate) kind: Kind,
    pub(crate) input: Message,
    pub(crate) output: Message,
    pub(crate) docs: Vec<String>,
    pub(crate) deprecated: bool,
    pub(crate) line: Option<u32>,
}

/// Which sides of a call are streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Unary,
    ServerStream,
    ClientStream,
    Bidi,
}

/// A message that an rpc takes or gives.
#[derive(Debug)]
pub(crate) struct Message {
    /// Its full name in .proto, with the dot in front.
    pub(crate) proto: String,
    /// Its path in Rust; none if no file of the request has such a message.
    pub(crate) rust: Option<String>,
}

/// The model of every file whose services are asked for.
pub(crate) fn files(request: &Request, options: &Options) -> Vec<File> {
    let messages = Index::of(request, options);
    let files: HashMap<&str, &FileDescriptorProto> = request
        .files
        .iter()
        .map(|file| (file.name(), file))
        .collect();
    let asked = request.services.iter();
    asked
        .filter_map(|name| files.get(name.as_str()))
        .map(|file| self::file(file, &messages))
        .collect()
}

fn file(file: &FileDescriptorProto, messages: &Index) -> File {
    let source = Source::of(file);
    let services = file.service.iter().enumerate();
    File {
        proto: file.name().to_owned(),
        services: services
            .map(|(index, service)| self::service(file, index, service, &source, messages))
            .collect(),
    }
}

fn service(
    file: &FileDescriptorProto,
    index: usize,
    service: &ServiceDescriptorProto,
    source: &Source,
    messages: &Index,
) -> Service {
    let comment = source.service(index);
    let mut rpcs: Vec<Rpc> = service
        .method
        .iter()
        .enumerate()
        .map(|(rpc, method)| self::rpc(method, source.rpc(index, rpc), messages))
        .collect();
    for index in 0..rpcs.len() {
        let alias = names::go_method(&rpcs[index].wire);
        // An rpc that has the name as its own is not shadowed by another's alias.
        let is_free = rpcs
            .iter()
            .all(|rpc| rpc.wire != alias && rpc.alias.as_ref() != Some(&alias));
        rpcs[index].alias = is_free.then_some(alias);
    }
    Service {
        proto: service.name().to_owned(),
        wire: full_name(file.package(), &[service.name()])
            .trim_start_matches('.')
            .to_owned(),
        rust: names::service(service.name()),
        docs: comments::document(comment.text),
        deprecated: service.options.deprecated() || file.options.deprecated(),
        line: comment.line,
        rpcs,
    }
}

fn rpc(method: &MethodDescriptorProto, comment: Comment, messages: &Index) -> Rpc {
    Rpc {
        wire: method.name().to_owned(),
        alias: None,
        rust: names::method(method.name()),
        kind: match (method.client_streaming(), method.server_streaming()) {
            (false, false) => Kind::Unary,
            (false, true) => Kind::ServerStream,
            (true, false) => Kind::ClientStream,
            (true, true) => Kind::Bidi,
        },
        input: messages.find(method.input_type()),
        output: messages.find(method.output_type()),
        docs: comments::document(comment.text),
        deprecated: method.options.deprecated(),
        line: comment.line,
    }
}

/// Every message of a request by its full name.
struct Index<'a> {
    messages: HashMap<String, Place<'a>>,
    /// The path to the module that has the message modules.
    root: &'a str,
}

struct Place<'a> {
    file: &'a str,
    names: Vec<&'a str>,
}

impl<'a> Index<'a> {
    fn of(request: &'a Request, options: &'a Options) -> Self {
        let mut messages = HashMap::new();
        for file in &request.files {
            let mut add = |names: &[&'a str]| {
                let place = Place {
                    file: file.name(),
                    names: names.to_vec(),
                };
                messages.insert(full_name(file.package(), names), place);
            };
            walk(&file.message_type, &mut Vec::new(), &mut add);
        }
        let root = match options.messages {
            Messages::Protobuf => "super",
            Messages::None => &options.message_path,
        };
        Self { messages, root }
    }

    fn find(&self, proto: &str) -> Message {
        let path = |place: &Place| {
            let message = names::message_path(&place.names);
            match names::well_known(place.file) {
                Some(module) => format!("{module}::{message}"),
                None => {
                    let module = names::message_module(place.file);
                    format!("{}::{module}::{message}", self.root)
                }
            }
        };
        Message {
            proto: proto.to_owned(),
            rust: self.messages.get(proto).map(path),
        }
    }
}

fn walk<'a>(
    messages: &'a [DescriptorProto],
    names: &mut Vec<&'a str>,
    add: &mut impl FnMut(&[&'a str]),
) {
    for message in messages {
        names.push(message.name());
        add(names);
        walk(&message.nested_type, names, add);
        names.pop();
    }
}

/// `.package.Outer.Inner`, as descriptors refer to it.
fn full_name(package: &str, names: &[&str]) -> String {
    let mut full = String::new();
    for part in [package]
        .iter()
        .chain(names)
        .filter(|part| !part.is_empty())
    {
        full.push('.');
        full.push_str(part);
    }
    full
}
