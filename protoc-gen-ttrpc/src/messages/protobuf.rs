//! Messages by rust-protobuf.

use std::collections::HashMap;
use std::fs;

use ::protobuf::descriptor::FileDescriptorProto;
use protobuf_codegen::{Customize, CustomizeCallback};
use protobuf_parse::ProtoPathBuf;

use super::{document, full, guarded, include, lowered, wanted};
use crate::layout::Layout;
use crate::options::{Backend, Options};
use crate::output::Output;
use crate::request::{File, Request};
use crate::{Error, names};

/// What the generated text calls the parser; it must not depend on who it was.
const PARSER: &str = "protoc-gen-ttrpc";

/// The name of the file that the messages of a .proto file go to.
pub(super) fn file_name(file: &File, layout: &Layout) -> String {
    protobuf_codegen::proto_name_to_rs(&format!("{}.proto", layout.modules.stem(&file.name)))
}

pub(super) fn generate(
    request: &Request,
    layout: &Layout,
    options: &Options,
) -> Result<Vec<Output>, Error> {
    let wanted: Vec<&File> = wanted(request, options).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let directory = tempfile::tempdir().map_err(|source| Error::Io {
        path: std::env::temp_dir(),
        source,
    })?;
    let names = Names::of(request, layout);
    let known = request
        .files
        .iter()
        .filter(|file| !names::is_features(&file.name));
    let files = known
        .map(|file| descriptor(file, &names))
        .collect::<Result<Vec<_>, _>>()?;
    guarded("rust-protobuf", || {
        let paths = wanted
            .iter()
            .map(|file| ProtoPathBuf::new(names.of_file(&file.name)));
        protobuf_codegen::gen_and_write::gen_and_write(
            &files,
            PARSER,
            &paths
                .collect::<Result<Vec<_>, _>>()
                .map_err(|e| e.to_string())?,
            directory.path(),
            &Customize::default().gen_mod_rs(false).tokio_bytes(true),
            &NoCallback,
        )
        .map_err(|error| format!("{error:#}"))
    })?;
    wanted
        .into_iter()
        .map(|file| {
            let name = file_name(file, layout);
            let path = directory.path().join(&name);
            match fs::read_to_string(&path) {
                Ok(text) => Ok(Output {
                    module: vec![names::escape(name.trim_end_matches(".rs"))],
                    docs: format!("The messages of `{}`.", file.name),
                    content: tidy(file, &names.externalise(&text), options),
                    name,
                }),
                Err(source) => Err(Error::Io { path, source }),
            }
        })
        .collect()
}

/// What the modules of files are called whose messages are elsewhere, before it is replaced
/// by the path to them.
const EXTERN: &str = "ttrpc_extern_";

/// The names by which the generator knows files: it names modules after the last part
/// alone, which another file may have as well.
struct Names<'a> {
    names: HashMap<&'a str, String>,
    /// The modules of files whose messages are elsewhere, and the paths to them.
    externs: Vec<(String, String)>,
}

impl<'a> Names<'a> {
    fn of(request: &'a Request, layout: &Layout) -> Self {
        let mut names = HashMap::new();
        let mut externs = Vec::new();
        for file in &request.files {
            let name = if names::is_features(&file.name) {
                // Who imports it has no features any more, and any file will do.
                "google/protobuf/descriptor.proto".to_owned()
            } else if names::well_known(&file.name).is_some() {
                file.name.clone()
            } else if let Some(path) = layout.external_module(file) {
                // A letter behind the number, so that none begins with another.
                let module = format!("{EXTERN}{}_", externs.len());
                let name = format!("{module}.proto");
                externs.push((module, path));
                name
            } else {
                format!("{}.proto", layout.modules.stem(&file.name))
            };
            names.insert(file.name.as_str(), name);
        }
        Self { names, externs }
    }

    fn of_file(&self, file: &str) -> String {
        let known = self.names.get(file).cloned();
        known.unwrap_or_else(|| file.to_owned())
    }

    /// Replaces the modules of files that are elsewhere, which the text takes for siblings.
    fn externalise(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (module, path) in &self.externs {
            while let Some(at) = text.find(&format!("::{module}::")) {
                let mut begin = at + 2;
                while text[..begin].ends_with("super::") {
                    begin -= "super::".len();
                }
                text.replace_range(begin..at + 2 + module.len(), path);
            }
        }
        text
    }
}

fn descriptor(file: &File, names: &Names) -> Result<FileDescriptorProto, Error> {
    // Problems of files that are generated have been reported.
    let mut descriptor = lowered(file, Backend::Protobuf).or_else(|_| full(file))?;
    document(&mut descriptor);
    // The generated code carries the whole descriptor, at the expense of its program.
    if let Some(source) = descriptor.source_code_info.as_mut() {
        source
            .location
            .retain(|location| location.has_leading_comments());
    }
    descriptor.set_name(names.of_file(&file.name));
    for import in &mut descriptor.dependency {
        *import = names.of_file(import);
    }
    Ok(descriptor)
}

/// The generated text without what its users trip over.
fn tidy(file: &File, text: &str, options: &Options) -> String {
    let header = format!(
        "// @generated by protoc-gen-ttrpc from {}, with rust-protobuf's generator. Do not edit.\n",
        file.name
    );
    // Behind its own header and attributes, and a check that ties it to one patch release.
    let body = text
        .split_once("_PROTOBUF_VERSION_CHECK")
        .and_then(|(_, rest)| rest.split_once(";\n"));
    let body = body.map_or(text, |(_, body)| body);
    // Users need not depend on a crate for its type alone.
    let bytes = format!("{}::codec::bytes::Bytes", options.runtime_path);
    let body = replace_absolute(body, "::bytes::Bytes", &bytes);
    let is_noise = |line: &&str| line.trim_start().starts_with("// @@protoc_insertion_point");
    include(header, body.lines().filter(|line| !is_noise(line)))
}

/// Replaces an absolute path, but not the end of another, such as `super::bytes::Bytes`.
fn replace_absolute(text: &str, from: &str, to: &str) -> String {
    let mut parts = text.split(from);
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_end = text.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        text.push_str(if is_end { from } else { to });
        text.push_str(part);
    }
    text
}

struct NoCallback;

impl CustomizeCallback for NoCallback {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_bytes_of_a_file_bytes_stays() {
        let moved = replace_absolute(
            "::bytes::Bytes, Vec<::bytes::Bytes>, super::bytes::Bytes, super::bytes::BytesIO",
            "::bytes::Bytes",
            "::codec::Bytes",
        );
        let expected =
            "::codec::Bytes, Vec<::codec::Bytes>, super::bytes::Bytes, super::bytes::BytesIO";
        assert_eq!(moved, expected);
    }
}
