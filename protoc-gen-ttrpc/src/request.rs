//! What is asked for: .proto files as descriptors, and which of them to generate.

use std::collections::BTreeSet;

use protobuf::Message;
use protobuf::descriptor::FileDescriptorProto;
use protobuf::plugin::CodeGeneratorRequest;

use crate::Error;

/// The input of one run, whichever door it came through.
#[derive(Debug, Default)]
pub(crate) struct Request {
    /// Every file, those that are only imported included.
    pub(crate) files: Vec<FileDescriptorProto>,
    /// The files whose services are generated.
    pub(crate) services: Vec<String>,
    /// The files whose messages are generated.
    pub(crate) messages: Vec<String>,
}

/// Decodes a `CodeGeneratorRequest`, and returns it with the plugin's parameter.
pub(crate) fn decode(bytes: &[u8]) -> Result<(Request, String), Error> {
    let request = CodeGeneratorRequest::parse_from_bytes(bytes)
        .map_err(|error| Error::Malformed(format!("it can't be decoded: {error}")))?;
    if request.file_to_generate.is_empty() {
        return Err(Error::Malformed("it names no file to generate".to_owned()));
    }
    let known: BTreeSet<&str> = request.proto_file.iter().map(|file| file.name()).collect();
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
    let parameter = request.parameter.unwrap_or_default();
    let request = Request {
        files: request.proto_file,
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
    Edition(u64),
    /// Something that is not known yet.
    Unknown,
}

/// `FileDescriptorProto.edition`, which is younger than rust-protobuf 3.7.
const EDITION_FIELD: u32 = 14;

impl Syntax {
    pub(crate) fn of(file: &FileDescriptorProto) -> Self {
        match file.syntax() {
            "" | "proto2" => Self::Proto2,
            "proto3" => Self::Proto3,
            "editions" => {
                let fields = file.special_fields.unknown_fields();
                match fields.get(EDITION_FIELD) {
                    Some(protobuf::UnknownValueRef::Varint(edition)) => Self::Edition(edition),
                    _ => Self::Unknown,
                }
            }
            _ => Self::Unknown,
        }
    }
}
