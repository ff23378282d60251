//! Messages by prost.

use std::collections::{BTreeMap, HashSet};

use ::prost::Message as _;
use ::protobuf::Message as _;
use prost_build::{Config, Module};
use prost_types::FileDescriptorProto;

use super::{document, full, guarded, include, lowered, package_file, wanted};
use crate::layout::{self, Layout};
use crate::options::{Backend, Options};
use crate::output::Output;
use crate::request::{File, Request};
use crate::{Error, Problem, names, text};

/// Generates one file a package.
pub(super) fn generate(
    request: &Request,
    layout: &Layout,
    options: &Options,
) -> Result<Vec<Output>, Error> {
    let mut config = Config::new();
    config.bytes(["."]);
    // Nothing goes without saying: what the options say must not be said twice.
    config.compile_well_known_types();
    let mut elsewhere = HashSet::new();
    for file in &request.files {
        for place in layout::types(file) {
            let name = place.full_name();
            if let Some(path) = layout.elsewhere(&place) {
                // By its exact name: of shorter ones prost changes the path.
                if elsewhere.insert(name.clone()) {
                    config.extern_path(name, path);
                }
            }
        }
    }

    let mut packages: BTreeMap<Module, &File> = BTreeMap::new();
    let wanted: HashSet<&str> = wanted(request, options)
        .map(|file| file.name.as_str())
        .collect();
    let mut descriptors = Vec::new();
    for file in &request.files {
        let module = if wanted.contains(file.name.as_str()) {
            let module = Module::from_protobuf_package_name(&file.package);
            packages.entry(module.clone()).or_insert(file);
            module
        } else {
            // It has to know what others declare, and makes code of it that nobody takes.
            Module::from_parts(["", "imported"])
        };
        descriptors.push((module, descriptor(file)?));
    }
    let mut texts = guarded("prost", || {
        config
            .generate(descriptors)
            .map_err(|error| error.to_string())
    })?;

    let outputs = packages.into_iter().filter_map(|(module, file)| {
        let text = texts.remove(&module)?;
        let package = file.package.as_str();
        Some(Output {
            name: package_file(package),
            module: module.parts().map(names::escape).collect(),
            docs: match package {
                "" => "The messages of no package.".to_owned(),
                package => format!("The messages of package `{package}`."),
            },
            content: tidy(package, &text),
        })
    });
    Ok(outputs.collect())
}

fn descriptor(file: &File) -> Result<FileDescriptorProto, Error> {
    let malformed = |error: &dyn std::fmt::Display| {
        let what = format!("its descriptor can't be decoded: {error}");
        let problem = Problem::new(what, "send descriptors as protoc makes them");
        Error::from(problem.at(&file.name, None))
    };
    // Problems of files that are generated have been reported.
    let mut descriptor = lowered(file, Backend::Prost).or_else(|_| full(file))?;
    if descriptor.syntax() == "editions" {
        descriptor.set_syntax("proto2".to_owned());
    }
    document(&mut descriptor);
    // Services are not its business.
    descriptor.service.clear();
    let bytes = descriptor
        .write_to_bytes()
        .map_err(|error| malformed(&error))?;
    FileDescriptorProto::decode(bytes.as_slice()).map_err(|error| malformed(&error))
}

fn tidy(package: &str, text: &str) -> String {
    let header = text::header_by(&format!("package {package}"), "prost-build");
    let lines = text.lines().filter(|line| !line.starts_with("// "));
    let lines: Vec<String> = lines.map(unbracketed).collect();
    include(header, lines.iter().map(String::as_str))
}

/// Takes addresses out of the angle brackets that prost puts around each, and around what
/// follows up to a blank or `)`: those that need some have them.
fn unbracketed(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some(at) = ["<http://", "<https://"]
        .iter()
        .filter_map(|a| rest.find(a))
        .min()
    {
        let (before, address) = rest.split_at(at);
        let end = address.find(|c: char| c.is_whitespace() || c == ')');
        let (address, behind) = address.split_at(end.unwrap_or(address.len()));
        let inner = address.strip_prefix('<').unwrap_or(address);
        text.push_str(before);
        text.push_str(inner.strip_suffix('>').unwrap_or(inner));
        rest = behind;
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_as_they_were() {
        for (by_prost, was) in [
            ("/// a >> b <<http://x>>", "/// a >> b <http://x>"),
            ("/// (<<https://x>>), y", "/// (<https://x>), y"),
            (
                "/// <<http://x>.> `<http://y`>",
                "/// <http://x>. `http://y`",
            ),
            ("/// <<http://x/(y>)>", "/// <http://x/(y)>"),
        ] {
            assert_eq!(unbracketed(by_prost), was);
        }
    }
}
