//! Where things stand in a .proto file, and what is written beside them.

use std::borrow::Cow;
use std::collections::HashMap;

use bytes::Bytes;
use prost::encoding::{DecodeContext, decode_key, skip_field};
use prost::{DecodeError, Message};

use crate::descriptor::{File, Location, SourceInfo};

/// The field numbers that the paths of `SourceCodeInfo` are made of.
const SERVICE: i32 = 6;
const METHOD: i32 = 2;

/// The field number of `SourceCodeInfo` in a file.
const SOURCE: u32 = 9;

/// A `FileDescriptorProto` without what is known of its source, which need not be UTF-8:
/// protoc takes comments as they are.
pub(crate) fn stripped(file: &Bytes) -> Result<Bytes, DecodeError> {
    let mut rest = file.clone();
    let mut kept = Vec::with_capacity(file.len());
    while !rest.is_empty() {
        let field = rest.clone();
        let (number, wire) = decode_key(&mut rest)?;
        skip_field(wire, number, &mut rest, DecodeContext::default())?;
        if number != SOURCE {
            kept.extend_from_slice(&field[..field.len() - rest.len()]);
        }
    }
    Ok(kept.into())
}

/// What is known of the services of one file.
#[derive(Default)]
pub(crate) struct Source {
    locations: HashMap<Vec<i32>, Location>,
}

/// What is written beside a service or an rpc.
#[derive(Default)]
pub(crate) struct Comment<'a> {
    pub(crate) text: Cow<'a, str>,
    /// Counted from 1.
    pub(crate) line: Option<u32>,
}

impl Source {
    pub(crate) fn of(file: &File) -> Self {
        // Without it there are no comments, and services all the same.
        let source = SourceInfo::decode(file.source_code_info.clone()).unwrap_or_default();
        let locations = source.location.into_iter();
        Self {
            locations: locations
                .filter(|location| location.path.first() == Some(&SERVICE))
                .map(|mut location| (std::mem::take(&mut location.path), location))
                .collect(),
        }
    }

    pub(crate) fn service(&self, service: usize) -> Comment<'_> {
        self.at(&[Some(SERVICE), i32::try_from(service).ok()])
    }

    pub(crate) fn rpc(&self, service: usize, rpc: usize) -> Comment<'_> {
        self.at(&[
            Some(SERVICE),
            i32::try_from(service).ok(),
            Some(METHOD),
            i32::try_from(rpc).ok(),
        ])
    }

    fn at(&self, path: &[Option<i32>]) -> Comment<'_> {
        let path: Option<Vec<i32>> = path.iter().copied().collect();
        let Some(location) = path.and_then(|path| self.locations.get(path.as_slice())) else {
            return Comment::default();
        };
        let text = match location.leading_comments.is_empty() {
            true => &location.trailing_comments,
            false => &location.leading_comments,
        };
        let line = location.span.first();
        Comment {
            text: String::from_utf8_lossy(text),
            line: line.and_then(|&line| u32::try_from(line).ok()?.checked_add(1)),
        }
    }
}
