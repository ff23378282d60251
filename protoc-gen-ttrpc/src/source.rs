//! Where things stand in a .proto file, and what is written beside them.

use std::collections::HashMap;

use prost::Message;

use crate::descriptor::{File, Location, SourceInfo};

/// The field numbers that the paths of `SourceCodeInfo` are made of.
const SERVICE: i32 = 6;
const METHOD: i32 = 2;

/// What is known of the services of one file.
#[derive(Default)]
pub(crate) struct Source {
    locations: HashMap<Vec<i32>, Location>,
}

/// What is written beside a service or an rpc.
#[derive(Clone, Copy, Default)]
pub(crate) struct Comment<'a> {
    pub(crate) text: &'a str,
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
        let text = match location.leading_comments.as_str() {
            "" => location.trailing_comments.as_str(),
            leading => leading,
        };
        let line = location.span.first();
        Comment {
            text,
            line: line.and_then(|&line| u32::try_from(line).ok()?.checked_add(1)),
        }
    }
}
