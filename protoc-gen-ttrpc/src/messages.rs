//! Message types, by the generators of the message crates themselves.

#[cfg(feature = "buffa")]
mod buffa;
mod lower;
#[cfg(feature = "prost")]
mod prost;
mod protobuf;

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::thread;

use ::protobuf::Message;
use ::protobuf::descriptor::FileDescriptorProto;
use ::protobuf::descriptor::source_code_info::Location;

use crate::layout::{self, Layout, Modules, Place};
use crate::options::{Backend, Options};
use crate::output::Output;
use crate::request::{File, Request, Syntax};
use crate::{Error, Problem, collide, comments, names, source};

/// The field numbers that the paths of messages and enums begin with.
const MESSAGE: i32 = 4;
const ENUM: i32 = 5;

/// What stands in the way of generating the messages that are asked for.
pub(crate) fn problems(request: &Request, modules: &Modules, options: &Options) -> Vec<Problem> {
    let Some(backend) = options.messages else {
        return Vec::new();
    };
    let lacks = |feature: &str| {
        Problem::new(
            format!("this build of protoc-gen-ttrpc can't generate messages of {feature}"),
            format!("enable its feature `{feature}`, which is a default one"),
        )
    };
    let files: Vec<&File> = wanted(request, options).collect();
    let collisions = || collisions(request, &files, modules, options, backend);
    match backend {
        Backend::Prost if !cfg!(feature = "prost") => vec![lacks("prost")],
        Backend::Buffa if !cfg!(feature = "buffa") => vec![lacks("buffa")],
        // It knows editions.
        Backend::Buffa => collisions(),
        Backend::Protobuf | Backend::Prost => {
            let unsayable = files.iter().filter_map(|file| lowered(file, backend).err());
            let single = files.iter().flat_map(|file| single_externs(file, options));
            unsayable
                .chain(single.filter(|_| backend == Backend::Protobuf))
                .chain(collisions())
                .collect()
        }
    }
}

/// Messages that would have one name in Rust, or the name of a module of services.
fn collisions(
    request: &Request,
    files: &[&File],
    modules: &Modules,
    options: &Options,
    backend: Backend,
) -> Vec<Problem> {
    let asked: HashSet<&String> = request.services.iter().collect();
    let services = request
        .files
        .iter()
        .filter(|file| asked.contains(&file.name) && !file.service.is_empty())
        .map(|file| {
            let stem = modules.stem(&file.name) + &options.file_suffix;
            (file.name.as_str(), names::escape(&stem))
        });
    collide::messages(files, services, backend, modules)
}

/// rust-protobuf has one module a file, from which no single message can be left out.
fn single_externs(file: &File, options: &Options) -> Vec<Problem> {
    let names: Vec<String> = layout::types(file).iter().map(Place::full_name).collect();
    let externs = options
        .extern_paths
        .iter()
        .filter(|(proto, _)| names.contains(proto));
    let problem = |(proto, _): &(String, String)| {
        let what =
            format!("rust-protobuf can't leave out `{proto}` alone, as `extern_path` asks it to");
        let fix = "name its package, or take `messages=prost`, `messages=buffa` or `messages=none`";
        Problem::new(what, fix).at(&file.name, None)
    };
    externs.map(problem).collect()
}

/// The names of the files that the messages go to, each with the .proto file it comes
/// from.
pub(crate) fn outputs<'a>(
    request: &'a Request,
    layout: &Layout,
    options: &Options,
) -> Vec<(&'a str, String)> {
    match options.messages {
        Some(Backend::Protobuf) => wanted(request, options)
            .map(|file| (file.name.as_str(), protobuf::file_name(file, layout)))
            .collect(),
        Some(Backend::Prost | Backend::Buffa) => {
            let mut packages = HashSet::new();
            wanted(request, options)
                .filter(|file| packages.insert(file.package.as_str()))
                .map(|file| (file.name.as_str(), package_file(&file.package)))
                .collect()
        }
        None => Vec::new(),
    }
}

/// The name of the file that the messages of a package go to, where it has one.
fn package_file(package: &str) -> String {
    match package {
        "" => "_.rs".to_owned(),
        package => format!("{package}.rs"),
    }
}

/// Generates the messages of a request.
pub(crate) fn generate(
    request: &Request,
    layout: &Layout,
    options: &Options,
) -> Result<Vec<Output>, Error> {
    match options.messages {
        Some(Backend::Protobuf) => protobuf::generate(request, layout, options),
        #[cfg(feature = "prost")]
        Some(Backend::Prost) => prost::generate(request, layout, options),
        #[cfg(feature = "buffa")]
        Some(Backend::Buffa) => buffa::generate(request, options),
        _ => Ok(Vec::new()),
    }
}

/// The paths of messages where only their generator knows them.
pub(crate) fn paths(
    request: &Request,
    options: &Options,
) -> Result<HashMap<String, String>, Error> {
    match options.backend() {
        Backend::Protobuf | Backend::Prost => Ok(HashMap::new()),
        #[cfg(feature = "buffa")]
        Backend::Buffa => buffa::paths(request, options),
        #[cfg(not(feature = "buffa"))]
        Backend::Buffa => {
            let _ = request;
            Err(Error::from(Problem::new(
                "this build of protoc-gen-ttrpc does not know the names of buffa's messages",
                "enable its feature `buffa`, which is a default one",
            )))
        }
    }
}

/// The files to generate that the message crate does not have already.
fn wanted<'a>(request: &'a Request, options: &Options) -> impl Iterator<Item = &'a File> {
    let backend = options.backend();
    let asked: HashSet<&String> = request.messages.iter().collect();
    let is_known = move |file: &File| match backend {
        Backend::Protobuf => {
            names::well_known(&file.name).is_some() || names::is_features(&file.name)
        }
        Backend::Prost | Backend::Buffa => file.package == "google.protobuf",
    };
    request
        .files
        .iter()
        .filter(move |file| asked.contains(&file.name) && !is_known(file))
        .filter(|file| !layout::is_external(file, options))
}

/// The whole descriptor of a file.
fn full(file: &File) -> Result<FileDescriptorProto, Problem> {
    decoded(file, FileDescriptorProto::parse_from_bytes).map_err(|error| {
        let what = format!("its descriptor can't be decoded: {error}");
        Problem::new(what, "send descriptors as protoc makes them").at(&file.name, None)
    })
}

/// Decodes a file; without its comments where these are not UTF-8.
fn decoded<T, E>(file: &File, decode: impl Fn(&[u8]) -> Result<T, E>) -> Result<T, E> {
    decode(&file.bytes).or_else(|error| match source::stripped(&file.bytes) {
        Ok(bytes) => decode(&bytes),
        Err(_) => Err(error),
    })
}

/// The descriptor of a file for generators that don't know editions, or groups.
fn lowered(file: &File, backend: Backend) -> Result<FileDescriptorProto, Problem> {
    let mut whole = full(file)?;
    if matches!(Syntax::of(file), Syntax::Edition(_)) {
        lower::lower(&mut whole).map_err(|problem| problem.at(&file.name, None))?;
    }
    match lower::group(&whole) {
        // It would leave the field out, and drop what comes in it.
        Some(field) if backend == Backend::Protobuf => Err(Problem::new(
            format!("field `{field}` is delimited, and rust-protobuf has no groups"),
            "take `messages=prost` or `messages=buffa`, or `messages=none`",
        )
        .at(&file.name, None)),
        _ => Ok(whole),
    }
}

/// Has a file know of its source only where things are, and the comments on messages and
/// enums, fit for rustdoc.
fn document(file: &mut FileDescriptorProto) {
    let Some(source) = file.source_code_info.as_mut() else {
        return;
    };
    for location in &mut source.location {
        let is_type = matches!(location.path.first(), Some(&(MESSAGE | ENUM)));
        let comment = comments::document(location.leading_comments());
        *location = Location {
            path: std::mem::take(&mut location.path),
            leading_comments: (is_type && !comment.is_empty()).then(|| comment.join("\n")),
            ..Location::default()
        };
    }
}

/// Runs a generator, which may panic where it meets descriptors that no compiler makes.
fn guarded<T>(generator: &str, generate: impl FnOnce() -> Result<T, String>) -> Result<T, Error> {
    let why = match quietly(generate) {
        Ok(Ok(generated)) => return Ok(generated),
        Ok(Err(error)) => format!(": {error}"),
        Err(panic) => {
            let told = panic.downcast_ref::<String>().map(String::as_str);
            let told = told.or_else(|| panic.downcast_ref::<&str>().copied());
            told.map_or_else(String::new, |told| format!(": {told}"))
        }
    };
    Err(Error::from(Problem::new(
        format!("{generator} can't generate these messages{why}"),
        "rename what it stumbles over, or take another generator with `messages`",
    )))
}

/// Catches a panic without the lines that a hook would write of it before it is reported.
fn quietly<T>(run: impl FnOnce() -> T) -> thread::Result<T> {
    thread_local!(static IS_QUIET: Cell<bool> = const { Cell::new(false) });
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !IS_QUIET.get() {
                hook(panic);
            }
        }));
    });
    IS_QUIET.set(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(run));
    IS_QUIET.set(false);
    outcome
}

/// What is excused in messages: it is for their generator to mend.
const ALLOW: &str = "#[allow(clippy::all, clippy::nursery, clippy::pedantic, clippy::restriction, dead_code, deprecated, \
     missing_docs, non_camel_case_types, non_snake_case, non_upper_case_globals, trivial_casts, \
     unnameable_types, unreachable_pub, unused_imports, unused_mut, unused_results)]";

/// Takes what a generator has printed into a file that can be included as well as
/// declared: without inner attributes, which hold for each item instead.
fn include<'a>(header: String, lines: impl Iterator<Item = &'a str>) -> String {
    const ITEMS: [&str; 10] = [
        "pub ", "impl", "mod ", "const ", "static ", "fn ", "use ", "type ", "struct ", "enum ",
    ];
    let mut text = header;
    let mut is_string = false;
    for line in lines {
        if !is_string && ITEMS.iter().any(|item| line.starts_with(item)) {
            text.push_str(ALLOW);
            text.push('\n');
        }
        raw_keywords(line, &mut is_string, &mut text);
        text.push('\n');
    }
    text
}

/// Adds a line with the youngest keywords as raw identifiers: generators that are older
/// write them as they are.
///
/// `is_string` is whether the line begins within a string, and then whether it ends so.
fn raw_keywords(line: &str, is_string: &mut bool, text: &mut String) {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '#';
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        // Documentation is none of its business.
        if !*is_string && rest.starts_with("//") {
            return text.push_str(rest);
        }
        let length = match first {
            '"' => {
                *is_string = !*is_string;
                1
            }
            '\\' if *is_string => rest.chars().take(2).map(char::len_utf8).sum(),
            _ if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (word, behind) = rest.split_at(length);
        if !*is_string && matches!(word, "gen" | "try") {
            text.push_str("r#");
        }
        text.push_str(word);
        rest = behind;
    }
}
