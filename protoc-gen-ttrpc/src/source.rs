//! Where things stand in a .proto file, and what is written beside them.

use std::collections::HashMap;

use protobuf::descriptor::FileDescriptorProto;
use protobuf::descriptor::source_code_info::Location;

/// The field numbers that the paths of `SourceCodeInfo` are made of.
const SERVICE: i32 = 6;
const METHOD: i32 = 2;

/// What is known of the services of one file.
pub(crate) struct Source<'a> {
    locations: HashMap<&'a [i32], &'a Location>,
}

/// What is written beside a service or an rpc.
#[derive(Clone, Copy, Default)]
pub(crate) struct Comment<'a> {
    pub(crate) text: &'a str,
    /// Counted from 1.
    pub(crate) line: Option<u32>,
}

impl<'a> Source<'a> {
    pub(crate) fn of(file: &'a FileDescriptorProto) -> Self {
        let locations = file.source_code_info.location.iter();
        Self {
            locations: locations
                .filter(|location| location.path.first() == Some(&SERVICE))
                .map(|location| (location.path.as_slice(), location))
                .collect(),
        }
    }

    pub(crate) fn service(&self, service: usize) -> Comment<'a> {
        self.at(&[Some(SERVICE), i32::try_from(service).ok()])
    }

    pub(crate) fn rpc(&self, service: usize, rpc: usize) -> Comment<'a> {
        self.at(&[
            Some(SERVICE),
            i32::try_from(service).ok(),
            Some(METHOD),
            i32::try_from(rpc).ok(),
        ])
    }

    fn at(&self, path: &[Option<i32>]) -> Comment<'a> {
        let path: Option<Vec<i32>> = path.iter().copied().collect();
        let Some(location) = path.and_then(|path| self.locations.get(path.as_slice())) else {
            return Comment::default();
        };
        let text = match location.leading_comments() {
            "" => location.trailing_comments(),
            leading => leading,
        };
        let line = location.span.first();
        Comment {
            text,
            line: line.and_then(|&line| u32::try_from(line).ok()?.checked_add(1)),
        }
    }
}
