//! What a run generates, in words of Rust: descriptors go in, names come out.

use std::collections::{HashMap, HashSet};

use crate::comments;
use crate::descriptor;
use crate::layout::{self, Layout};
use crate::names;
use crate::options::Options;
use crate::request;
use crate::request::Request;
use crate::source::{Comment, Source};

/// A .proto file whose services are generated.
#[derive(Debug)]
pub(crate) struct File {
    /// Its name, as protoc has it.
    pub(crate) proto: String,
    /// The name of the file that its services go to, without `.rs`.
    pub(crate) stem: String,
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
    /// What the options put on its trait.
    pub(crate) attributes: Vec<String>,
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

/// The full names of the messages that the services of a request take and give.
pub(crate) fn wanted(request: &Request) -> HashSet<&str> {
    let files = asked(request).flat_map(|file| &file.service);
    let methods = files.flat_map(|service| &service.method);
    methods
        .flat_map(|method| [method.input_type.as_str(), method.output_type.as_str()])
        .collect()
}

/// The files whose services are asked for.
fn asked(request: &Request) -> impl Iterator<Item = &request::File> {
    let files = request.files.iter().map(|file| (file.name.as_str(), file));
    let files: HashMap<&str, &request::File> = files.collect();
    let asked = request.services.iter();
    asked.filter_map(move |name| files.get(name.as_str()).copied())
}

/// The model of every file whose services are asked for.
pub(crate) fn files(request: &Request, options: &Options, layout: &Layout) -> Vec<File> {
    let places = layout::find(request, &wanted(request));
    let paths = places
        .iter()
        .map(|(name, place)| (*name, layout.path(place)));
    let paths: HashMap<&str, String> = paths.collect();
    let model = Model { options, paths };
    asked(request)
        .map(|file| {
            let suffix = &options.file_suffix;
            let stem = format!("{}{suffix}", layout.modules.stem(&file.name));
            model.file(file, stem)
        })
        .collect()
}

/// What is the same for all files.
struct Model<'a> {
    options: &'a Options,
    /// The messages of the request by their full names.
    paths: HashMap<&'a str, String>,
}

impl Model<'_> {
    fn file(&self, file: &request::File, stem: String) -> File {
        // Most files of a large request have no service.
        let source = match file.service.is_empty() {
            true => Source::default(),
            false => Source::of(file),
        };
        let services = file.service.iter().enumerate();
        File {
            proto: file.name.clone(),
            stem,
            services: services
                .map(|(index, service)| self.service(file, index, service, &source))
                .collect(),
        }
    }

    fn service(
        &self,
        file: &descriptor::File,
        index: usize,
        service: &descriptor::Service,
        source: &Source,
    ) -> Service {
        let comment = source.service(index);
        let mut rpcs: Vec<Rpc> = service
            .method
            .iter()
            .enumerate()
            .map(|(rpc, method)| self.rpc(method, source.rpc(index, rpc)))
            .collect();
        // An rpc that has the name as its own is not shadowed by another's alias.
        let mut taken: HashSet<String> = rpcs.iter().map(|rpc| rpc.wire.clone()).collect();
        for rpc in &mut rpcs {
            let alias = names::go_method(&rpc.wire);
            rpc.alias = taken.insert(alias.clone()).then_some(alias);
        }
        let full = layout::full_name(&file.package, &[&service.name]);
        let attributes = self.options.trait_attributes.iter();
        let options = service.options.as_ref();
        let of_file = file.options.as_ref();
        Service {
            proto: service.name.clone(),
            wire: full.trim_start_matches('.').to_owned(),
            rust: names::service(&service.name, &self.options.service_prefix),
            docs: comments::document(&comment.text),
            deprecated: options.is_some_and(|options| options.deprecated)
                || of_file.is_some_and(|options| options.deprecated),
            attributes: attributes
                .filter(|(service, _)| service.is_empty() || *service == full)
                .map(|(_, attribute)| attribute.clone())
                .collect(),
            line: comment.line,
            rpcs,
        }
    }

    fn rpc(&self, method: &descriptor::Method, comment: Comment) -> Rpc {
        Rpc {
            wire: method.name.clone(),
            alias: None,
            rust: names::method(&method.name),
            kind: match (method.client_streaming, method.server_streaming) {
                (false, false) => Kind::Unary,
                (false, true) => Kind::ServerStream,
                (true, false) => Kind::ClientStream,
                (true, true) => Kind::Bidi,
            },
            input: self.message(&method.input_type),
            output: self.message(&method.output_type),
            docs: comments::document(&comment.text),
            deprecated: method.options.as_ref().is_some_and(|o| o.deprecated),
            line: comment.line,
        }
    }

    fn message(&self, proto: &str) -> Message {
        Message {
            proto: proto.to_owned(),
            rust: self.paths.get(proto).cloned(),
        }
    }
}
