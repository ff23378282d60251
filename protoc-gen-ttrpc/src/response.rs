//! The answer to protoc or buf.

use prost::Message;

use crate::descriptor::{PluginResponse, ResponseFile};
use crate::output::Output;

/// `optional` in proto3, and editions.
const SUPPORTED_FEATURES: u64 = 1 | 2;

/// The editions understood, by number: from proto2 to 2024.
pub(crate) const MINIMUM_EDITION: i32 = 998;
pub(crate) const MAXIMUM_EDITION: i32 = 1001;

/// More than the tags and lengths of a file take.
const ROOM: usize = 32;

/// Encodes what was generated, or why nothing was.
///
/// Features and editions are always there: without them buf hides the error.
pub(crate) fn encode(result: Result<Vec<Output>, String>) -> Vec<u8> {
    let (outputs, error) = match result {
        Ok(outputs) => (outputs, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let mut response = PluginResponse {
        error,
        supported_features: Some(SUPPORTED_FEATURES),
        minimum_edition: Some(MINIMUM_EDITION),
        maximum_edition: Some(MAXIMUM_EDITION),
        file: Vec::new(),
    };
    let mut bytes = response.encode_to_vec();
    let size = |output: &Output| output.name.len() + output.content.len() + ROOM;
    bytes.reserve(outputs.iter().map(size).sum());
    response = PluginResponse::default();
    for Output { name, content, .. } in outputs {
        // Encoded messages in a row are one message. Each text is freed once it is written.
        response.file = vec![ResponseFile { name, content }];
        bytes.extend(response.encode_to_vec());
    }
    bytes
}
