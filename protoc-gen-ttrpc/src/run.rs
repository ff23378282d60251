//! One run: a request and options in, files out.

use crate::emit::Template;
use crate::model::File;
use crate::options::{Messages, Options};
use crate::output::Output;
use crate::request::Request;
use crate::{Error, Problem, check, messages, model, names, text};

/// The codec of rust-protobuf's messages.
const PROTOBUF: &str = "::ttrpc_runtime::codec::Protobuf";

/// Generates what the request asks for, or says everything that is in the way.
pub(crate) fn run(request: &Request, options: &Options) -> Result<Vec<Output>, Error> {
    none(check::request(request))?;
    let mut files = model::files(request, options);
    let mut problems = check::model(request, &files, options);
    files.retain(|file| !file.services.is_empty());
    let with_messages = options.messages == Messages::Protobuf;
    let messages = messages::wanted(request).filter(|_| with_messages);
    problems.extend(check::outputs(
        messages
            .map(|file| (file.as_str(), messages::file_name(file)))
            .chain(
                files
                    .iter()
                    .map(|file| (file.proto.as_str(), file_name(file))),
            ),
    ));
    none(problems)?;

    let mut outputs = services(&files)?;
    if with_messages {
        outputs.extend(messages::generate(request)?);
    }
    outputs.sort_by(|a, b| a.name.cmp(&b.name));
    if options.mod_rs {
        outputs.push(mod_rs(&outputs, &files));
    }
    Ok(outputs)
}

fn none(problems: Vec<Problem>) -> Result<(), Error> {
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Error::Problems(problems))
    }
}

/// The name of the file that the services of a .proto file go to.
fn file_name(file: &File) -> String {
    format!("{}_ttrpc.rs", names::stem(&file.proto))
}

fn services(files: &[File]) -> Result<Vec<Output>, Error> {
    let template = Template::parse(protoc_gen_ttrpc_templates::ASYNCHRONOUS, PROTOBUF);
    let template = template.map_err(|error| {
        let what = format!("the template is not Rust: {error}");
        Problem::new(what, "this is a bug of protoc-gen-ttrpc; report it")
    })?;
    let output = |file: &File| {
        let services = file.services.iter();
        let items = services.flat_map(|service| template.instantiate(service));
        Output {
            name: file_name(file),
            content: text::print(text::header(Some(&file.proto)), items.collect()),
        }
    };
    Ok(files.iter().map(output).collect())
}

/// A module that has the others as its own.
fn mod_rs(outputs: &[Output], files: &[File]) -> Output {
    let mut content = text::header(None);
    for Output { name, .. } in outputs {
        // Messages are documented by an inner comment, which services can't have:
        // they may be included.
        if let Some(file) = files.iter().find(|file| file_name(file) == *name) {
            content.push_str(&format!("\n/// The services of `{}`.", file.proto));
        }
        let module = names::escape(name.trim_end_matches(".rs"));
        content.push_str(&format!("\npub mod {module};"));
    }
    content.push('\n');
    Output {
        name: "mod.rs".to_owned(),
        content,
    }
}
