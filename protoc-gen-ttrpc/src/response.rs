//! The answer to protoc or buf.

use protobuf::Message;
use protobuf::plugin::CodeGeneratorResponse;
use protobuf::plugin::code_generator_response::File;

use crate::output::Output;

/// `optional` in proto3, and editions.
const SUPPORTED_FEATURES: u64 = 1 | 2;

/// The editions understood, by number, and the fields of the response that say so;
/// they are younger than rust-protobuf 3.7.
pub(crate) const MINIMUM_EDITION: u64 = 998;
pub(crate) const MAXIMUM_EDITION: u64 = 1001;
const MINIMUM_EDITION_FIELD: u32 = 3;
const MAXIMUM_EDITION_FIELD: u32 = 4;

/// Encodes what was generated, or why nothing was.
///
/// Features and editions are always there: without them buf hides the error.
pub(crate) fn encode(result: Result<Vec<Output>, String>) -> protobuf::Result<Vec<u8>> {
    let mut response = CodeGeneratorResponse::new();
    response.set_supported_features(SUPPORTED_FEATURES);
    let fields = response.special_fields.mut_unknown_fields();
    fields.add_varint(MINIMUM_EDITION_FIELD, MINIMUM_EDITION);
    fields.add_varint(MAXIMUM_EDITION_FIELD, MAXIMUM_EDITION);
    match result {
        Ok(outputs) => response.file = outputs.into_iter().map(file).collect(),
        Err(error) => response.set_error(error),
    }
    response.write_to_bytes()
}

fn file(output: Output) -> File {
    let mut file = File::new();
    file.set_name(output.name);
    file.set_content(output.content);
    file
}
