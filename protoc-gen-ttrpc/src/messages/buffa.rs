//! Messages by buffa.

use std::collections::{BTreeSet, HashMap};

use buffa::Message as _;
use buffa_codegen::context::CodeGenContext;
use buffa_codegen::generated::descriptor::FileDescriptorProto;
use buffa_codegen::{BytesRepr, CodeGenConfig};

use super::{decoded, guarded, include, package_file, wanted};
use crate::names;
use crate::options::Options;
use crate::output::Output;
use crate::request::Request;
use crate::{Error, Problem, model, text};

fn config(options: &Options) -> CodeGenConfig {
    let mut config = CodeGenConfig::default();
    config.file_per_package = true;
    config.generate_views = false;
    config.extern_paths = options.extern_paths.clone();
    config.bytes_fields = vec![(".".to_owned(), BytesRepr::Bytes)];
    config
}

/// Generates one file a package.
pub(super) fn generate(request: &Request, options: &Options) -> Result<Vec<Output>, Error> {
    let files = descriptors(request)?;
    let wanted: Vec<String> = wanted(request, options)
        .map(|file| file.name.clone())
        .collect();
    let config = config(options);
    let generated = guarded("buffa", || {
        buffa_codegen::generate(&files, &wanted, &config).map_err(|error| error.to_string())
    })?;
    Ok(generated
        .into_iter()
        .map(|file| {
            let package = file.package.as_str();
            let parts = package.split('.').filter(|part| !part.is_empty());
            Output {
                name: package_file(package),
                module: parts.map(names::escape).collect(),
                docs: match package {
                    "" => "The messages of no package.".to_owned(),
                    package => format!("The messages of package `{package}`."),
                },
                content: tidy(package, &file.content),
            }
        })
        .collect())
}

/// The paths of the messages that services need, as buffa has them.
pub(super) fn paths(
    request: &Request,
    options: &Options,
) -> Result<HashMap<String, String>, Error> {
    let files = descriptors(request)?;
    let wanted: Vec<String> = wanted(request, options)
        .map(|file| file.name.clone())
        .collect();
    let config = config(options);
    guarded("buffa", || {
        let context = CodeGenContext::for_generate(&files, &wanted, &config);
        let names: BTreeSet<&str> = model::wanted(request).into_iter().collect();
        let path = |name: &str| Some((name.to_owned(), escape(context.rust_type(name)?)));
        Ok(names.into_iter().filter_map(path).collect())
    })
}

/// Makes the keywords of a path usable as names, but for where it begins.
fn escape(path: &str) -> String {
    let words = path.split("::").enumerate();
    let words = words.map(|(place, word)| match (place, word) {
        (0, "" | "crate") => word.to_owned(),
        _ => names::escape(word),
    });
    words.collect::<Vec<_>>().join("::")
}

fn descriptors(request: &Request) -> Result<Vec<FileDescriptorProto>, Error> {
    let decode = |file: &crate::request::File| {
        decoded(file, FileDescriptorProto::decode_from_slice).map_err(|error| {
            let what = format!("its descriptor can't be decoded: {error}");
            let problem = Problem::new(what, "send descriptors as protoc makes them");
            Error::from(problem.at(&file.name, None))
        })
    };
    request.files.iter().map(decode).collect()
}

fn tidy(package: &str, text: &str) -> String {
    let header = text::header_by(&format!("package {package}"), "buffa-codegen");
    include(header, text.lines().filter(|line| !line.starts_with("// ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_names_of_packages() {
        for (path, escaped) in [
            ("a::crate::type::M", "a::crate_::r#type::M"),
            ("crate::protos::M", "crate::protos::M"),
            ("::elsewhere::self::M", "::elsewhere::self_::M"),
        ] {
            assert_eq!(escape(path), escaped);
        }
    }
}
