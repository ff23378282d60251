//! Message types, by rust-protobuf's own generator.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use protobuf::descriptor::FileDescriptorProto;
use protobuf::descriptor::source_code_info::Location;
use protobuf_codegen::{Customize, CustomizeCallback};
use protobuf_parse::ProtoPathBuf;

use crate::output::Output;
use crate::request::Request;
use crate::{Error, Problem, comments, names};

/// What the generated text calls the parser; it must not depend on who it was.
const PARSER: &str = "protoc-gen-ttrpc";

/// The field numbers that the paths of messages and enums begin with.
const MESSAGE: i32 = 4;
const ENUM: i32 = 5;

/// The name of the file that the messages of a .proto file go to.
pub(crate) fn file_name(proto_file: &str) -> String {
    protobuf_codegen::proto_name_to_rs(proto_file)
}

/// The files to generate that the crate `protobuf` does not have already.
pub(crate) fn wanted(request: &Request) -> impl Iterator<Item = &String> {
    let messages = request.messages.iter();
    messages.filter(|file| names::well_known(file).is_none())
}

/// Generates the messages of a request. The text is rust-protobuf's to the letter.
pub(crate) fn generate(request: &Request) -> Result<Vec<Output>, Error> {
    let wanted: Vec<&String> = wanted(request).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let directory = tempfile::tempdir().map_err(|source| Error::Io {
        path: std::env::temp_dir(),
        source,
    })?;
    let files: Vec<FileDescriptorProto> = request.files.iter().map(documented).collect();
    let generate = || {
        let wanted = wanted.iter().map(|file| ProtoPathBuf::new((*file).clone()));
        protobuf_codegen::gen_and_write::gen_and_write(
            &files,
            PARSER,
            &wanted.collect::<Result<Vec<_>, _>>()?,
            directory.path(),
            &Customize::default().gen_mod_rs(false),
            &NoCallback,
        )
    };
    // It panics where it meets descriptors that no compiler makes.
    let why = match catch_unwind(AssertUnwindSafe(generate)) {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(format!(": {error:#}")),
        Err(_) => Some(String::new()),
    };
    if let Some(why) = why {
        return Err(Error::from(Problem::new(
            format!("rust-protobuf can't generate these messages{why}"),
            "compile the files with protoc to see what is wrong with them",
        )));
    }
    wanted
        .into_iter()
        .map(|file| {
            let name = file_name(file);
            let path = directory.path().join(&name);
            match fs::read_to_string(&path) {
                Ok(content) => Ok(Output { name, content }),
                Err(source) => Err(Error::Io { path, source }),
            }
        })
        .collect()
}

/// A file that knows of its source only the comments on messages and enums, fit for
/// rustdoc: the generated code carries the whole descriptor, at the expense of the
/// program it is in.
fn documented(file: &FileDescriptorProto) -> FileDescriptorProto {
    let mut file = file.clone();
    let source = std::mem::take(&mut file.source_code_info);
    let locations = source.into_option().unwrap_or_default().location;
    let comments = locations.iter().filter_map(|location| {
        let is_type = matches!(location.path.first(), Some(&(MESSAGE | ENUM)));
        let comment = comments::document(location.leading_comments());
        (is_type && !comment.is_empty()).then(|| Location {
            path: location.path.clone(),
            leading_comments: Some(comment.join("\n")),
            ..Location::default()
        })
    });
    file.source_code_info.mut_or_insert_default().location = comments.collect();
    file
}

struct NoCallback;

impl CustomizeCallback for NoCallback {}
