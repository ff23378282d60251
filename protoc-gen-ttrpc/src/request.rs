//! What is asked for: .proto files as descriptors, and which of them to generate.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::{DecodeError, Message};

use crate::Error;
use crate::descriptor::{self, PluginRequest};

/// The input of one run, whichever door it came through.
#[derive(Debug, Default)]
pub(crate) struct Request {
    /// Every file, those that are only imported included.
    pub(crate) files: Vec<File>,
    /// The files whose services are generated.
    pub(crate) services: Vec<String>,
    /// The files whose messages are generated.
    pub(crate) messages: Vec<String>,
}

/// One .proto file.
#[derive(Debug)]
pub(crate) struct File {
    /// What services need of it.
    pub(crate) descriptor: descriptor::File,
    /// The whole `FileDescriptorProto`, for those who generate messages.
    pub(crate) bytes: Bytes,
}

impl std::ops::Deref for File {
    type Target = descriptor::File;

    fn deref(&self) -> &Self::Target {
        &self.descriptor
    }
}

/// Decodes files, each from a `FileDescriptorProto`.
pub(crate) fn files(files: Vec<Bytes>) -> Result<Vec<File>, DecodeError> {
    let file = |bytes: Bytes| {
        descriptor::File::decode(bytes.clone()).map(|descriptor| File { descriptor, bytes })
    };
    files.into_iter().map(file).collect()
}

/// Decodes a `CodeGeneratorRequest`, and returns it with the plugin's parameter.
pub(crate) fn decode(bytes: Bytes) -> Result<(Request, String), Error> {
    let malformed = |error| Error::Malformed(format!("it can't be decoded: {error}"));
    let request = PluginRequest::decode(bytes).map_err(malformed)?;
    if request.file_to_generate.is_empty() {
        return Err(Error::Malformed("it names no file to generate".to_owned()));
    }
    let files = files(request.proto_file).map_err(malformed)?;
    let known: BTreeSet<&str> = files.iter().map(|file| file.name.as_str()).collect();
    for name in &request.file_to_generate {
        if !known.contains(name.as_str()) {
            return Err(Error::Malformed(format!(
                "it has no descriptor of `{name}`, which is to be generated"
            )));
        }
    }
    let mut asked = BTreeSet::new();
    let mut services = request.file_to_generate;
    services.retain(|name| asked.insert(name.clone()));
    let parameter = request.parameter;
    let request = Request {
        files,
        messages: services.clone(),
        services,
    };
    Ok((request, parameter))
}

/// The language that a .proto file is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syntax {
    Proto2,
    Proto3,
    /// The number of an edition: 1000 is 2023, 1001 is 2024.
    Edition(i32),
    /// Something that is not known yet.
    Unknown,
}

impl Syntax {
    pub(crate) fn of(file: &descriptor::File) -> Self {
        match file.syntax.as_str() {
            "" | "proto2" => Self::Proto2,
            "proto3" => Self::Proto3,
            "editions" => Self::Edition(file.edition),
            _ => Self::Unknown,
        }
    }
}
