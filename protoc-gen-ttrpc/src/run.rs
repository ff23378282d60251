//! One run: a request and options in, files out.

use std::collections::HashMap;

use crate::emit::Template;
use crate::layout::{Layout, Modules};
use crate::model::File;
use crate::options::Options;
use crate::output::Output;
use crate::request::Request;
use crate::tree::{self, MOD_RS};
use crate::{Error, Problem, check, messages, model, names, text};

/// Generates what the request asks for, or says everything that is in the way.
pub(crate) fn run(request: &Request, options: &Options) -> Result<Vec<Output>, Error> {
    none(check::request(request))?;
    let modules = Modules::of(request, options);
    let mut problems = check::syntax(request);
    problems.extend(messages::problems(request, &modules, options));
    let own = match problems.is_empty() {
        true => messages::paths(request, options)?,
        false => HashMap::new(),
    };
    let layout = Layout::new(&modules, options, own);
    let mut files = model::files(request, options, &layout);
    problems.extend(check::model(request, &files, options));
    files.retain(|file| !file.services.is_empty());
    let mod_rs = options.mod_rs.then(|| ("mod_rs", MOD_RS.to_owned()));
    let of_services = files
        .iter()
        .map(|file| (file.proto.as_str(), file_name(file)));
    problems.extend(check::outputs(
        mod_rs
            .into_iter()
            .chain(messages::outputs(request, &layout, options))
            .chain(of_services),
    ));
    none(problems)?;

    let mut outputs = services(files, options)?;
    outputs.extend(messages::generate(request, &layout, options)?);
    outputs.sort_by(|a, b| a.name.cmp(&b.name));
    if options.mod_rs {
        outputs.push(tree::mod_rs(&outputs));
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
    format!("{}.rs", file.stem)
}

fn services(files: Vec<File>, options: &Options) -> Result<Vec<Output>, Error> {
    let template = |is_wanted: bool, text, nested| {
        let template = is_wanted.then(|| Template::new(text, options, nested));
        template.transpose().map_err(|error| {
            let what = format!("the template is not Rust: {error}");
            Problem::new(what, "this is a bug of protoc-gen-ttrpc; report it")
        })
    };
    let flavours = options.flavours;
    let asynchronous = protoc_gen_ttrpc_templates::ASYNCHRONOUS;
    let asynchronous = template(flavours.first, asynchronous, false)?;
    let blocking = template(flavours.second, protoc_gen_ttrpc_templates::BLOCKING, true)?;
    let output = |file: File| {
        let mut content = text::header(Some(&file.proto));
        if let Some(template) = &asynchronous {
            for service in &file.services {
                text::print(&mut content, template.instantiate(service));
            }
        }
        if let Some(template) = &blocking {
            let mut inner = String::new();
            for service in &file.services {
                text::print(&mut inner, template.instantiate(service));
            }
            let docs = "The same for threads, without an async runtime.";
            text::module(&mut content, docs, "blocking", &inner);
        }
        Output {
            name: file_name(&file),
            module: vec![names::escape(&file.stem)],
            docs: format!("The services of `{}`.", file.proto),
            content,
        }
    };
    Ok(files.into_iter().map(output).collect())
}
