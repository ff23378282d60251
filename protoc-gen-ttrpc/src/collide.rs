//! Messages that would have one name in Rust.

use std::collections::{BTreeMap, BTreeSet};

use crate::Problem;
use crate::descriptor::MessageType;
use crate::layout::{Modules, full_name};
use crate::names;
use crate::options::Backend;
use crate::request::File;

/// What has a name in a module of Rust.
struct Owner<'a> {
    file: &'a str,
    /// As a sentence begins with it.
    what: String,
}

/// Checks that what becomes a type or a module has a name of its own.
///
/// `services` are files, each with the module of its services.
pub(crate) fn messages<'a>(
    files: &[&'a File],
    services: impl Iterator<Item = (&'a str, String)>,
    backend: Backend,
    modules: &Modules,
) -> Vec<Problem> {
    let mut scopes = Scopes {
        backend,
        owners: BTreeMap::new(),
        problems: Vec::new(),
    };
    if backend == Backend::Prost {
        packages(files, &mut scopes);
    }
    for (file, module) in services {
        let what = "the services".to_owned();
        let place = scopes.owners.entry((String::new(), module));
        // A package may be in their module as well.
        place.or_insert(Owner { file, what });
    }
    for file in files {
        let scope = match backend {
            Backend::Protobuf => modules.stem(&file.name),
            Backend::Prost | Backend::Buffa => module_of(&file.package),
        };
        let full = full_name(&file.package, &[]);
        if backend == Backend::Protobuf && !file.extension.is_empty() {
            let (name, what) = ("exts".to_owned(), "the extensions".to_owned());
            scopes.declare(file, &scope, name, what);
        }
        for declared in &file.enum_type {
            let what = format!("enum `{}`", declared.name);
            scopes.declare(file, &scope, scopes.type_name(&declared.name), what);
        }
        for message in &file.message_type {
            scopes.message(file, &scope, &full, message);
        }
    }
    scopes.problems
}

/// Packages are modules that packages below them are in.
fn packages<'a>(files: &[&'a File], scopes: &mut Scopes<'a>) {
    let mut seen = BTreeSet::new();
    for file in files {
        let segments: Vec<&str> = file.package.split('.').collect();
        for end in 1..=segments.len() {
            let package = segments[..end].join(".");
            if !package.is_empty() && seen.insert(package.clone()) {
                let scope = module_of(&segments[..end - 1].join("."));
                let name = names::prost_module(segments[end - 1]);
                scopes.declare(file, &scope, name, format!("package `{package}`"));
            }
        }
    }
}

/// The module of a package, as prost has it.
fn module_of(package: &str) -> String {
    let segments = package.split('.').filter(|segment| !segment.is_empty());
    let segments: Vec<String> = segments.map(names::prost_module).collect();
    segments.join("::")
}

struct Scopes<'a> {
    backend: Backend,
    /// By the path of the module, and the name in it.
    owners: BTreeMap<(String, String), Owner<'a>>,
    problems: Vec<Problem>,
}

impl<'a> Scopes<'a> {
    fn type_name(&self, name: &str) -> String {
        match self.backend {
            Backend::Protobuf => names::message_path(&[name]),
            Backend::Prost => names::prost_type(name),
            Backend::Buffa => names::escape(name),
        }
    }

    fn module_name(&self, name: &str) -> String {
        match self.backend {
            Backend::Protobuf => names::protobuf_nested(name),
            // buffa leaves underscores where they are.
            Backend::Buffa if !name.contains(|c: char| c.is_ascii_uppercase()) => {
                names::escape(name)
            }
            Backend::Prost | Backend::Buffa => names::prost_module(name),
        }
    }

    fn message(&mut self, file: &'a File, scope: &str, parent: &str, message: &'a MessageType) {
        if message
            .options
            .as_ref()
            .is_some_and(|options| options.map_entry)
        {
            return;
        }
        let full = format!("{parent}.{}", message.name);
        let what = format!("message `{}`", full.trim_start_matches('.'));
        self.declare(file, scope, self.type_name(&message.name), what.clone());
        let is_entry = |nested: &MessageType| nested.options.as_ref().is_some_and(|o| o.map_entry);
        let has_module = !message.enum_type.is_empty()
            || !message
                .oneof_decl
                .iter()
                .all(|oneof| oneof.name.starts_with('_'))
            || !message.nested_type.iter().all(is_entry);
        if !has_module {
            return;
        }
        let module = self.module_name(&message.name);
        let inner = format!("{scope}::{module}")
            .trim_start_matches("::")
            .to_owned();
        self.declare(file, scope, module, format!("what is nested in {what}"));
        for declared in &message.enum_type {
            let what = format!("enum `{}` of {what}", declared.name);
            self.declare(file, &inner, self.type_name(&declared.name), what);
        }
        // buffa has modules of their own for these.
        let has_types = self.backend != Backend::Buffa;
        let oneofs = message.oneof_decl.iter().filter(|_| has_types);
        for oneof in oneofs.filter(|oneof| !oneof.name.starts_with('_')) {
            let what = format!("oneof `{}` of {what}", oneof.name);
            self.declare(file, &inner, self.type_name(&oneof.name), what);
        }
        for nested in &message.nested_type {
            self.message(file, &inner, &full, nested);
        }
    }

    fn declare(&mut self, file: &'a File, scope: &str, name: String, what: String) {
        let owner = Owner {
            file: &file.name,
            what,
        };
        let key = (scope.to_owned(), name);
        if let Some(other) = self.owners.get(&key) {
            let (first, second) = (&other.what, &owner.what);
            let place = match other.file == owner.file {
                true => String::new(),
                false => format!(" of `{}`", other.file),
            };
            let what = format!(
                "{first}{place} and {second} both become `{}` in Rust",
                key.1
            );
            let fix = "rename one of them, or take another generator with `messages`";
            self.problems
                .push(Problem::new(what, fix).at(owner.file, None));
        } else {
            self.owners.insert(key, owner);
        }
    }
}
