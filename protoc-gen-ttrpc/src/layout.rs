//! Where everything is in Rust: which module a .proto file or a package becomes, and
//! the path to each message that an rpc takes or gives.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::descriptor::MessageType;
use crate::names;
use crate::options::{Backend, Options};
use crate::request::{File, Request};

/// The modules that .proto files become.
pub(crate) struct Modules<'a>(HashMap<&'a str, String>);

impl<'a> Modules<'a> {
    /// Each file is named after its last part; where several files of the request meet
    /// in one name, after the whole path.
    pub(crate) fn of(request: &'a Request, options: &Options) -> Self {
        let mut files: BTreeMap<String, Vec<&'a str>> = BTreeMap::new();
        for file in &request.files {
            if names::well_known(&file.name).is_none() {
                // Some disks don't tell upper from lower case.
                let stem = names::stem(&file.name).to_ascii_lowercase();
                files.entry(stem).or_default().push(&file.name);
            }
        }
        let mut modules = HashMap::new();
        for files in files.into_values() {
            let by_path = options.path_modules || files.len() > 1;
            for file in files {
                let stem = if by_path {
                    let path = file.replace('/', "_");
                    // A digit in front would be lost, by which two directories may differ.
                    let is_digit = path.starts_with(|c: char| c.is_ascii_digit());
                    names::stem(&if is_digit { format!("_{path}") } else { path })
                } else {
                    names::stem(file)
                };
                modules.insert(file, stem);
            }
        }
        Self(modules)
    }

    /// The module of a file, before anything is done about keywords.
    pub(crate) fn stem(&self, file: &str) -> String {
        let known = self.0.get(file).cloned();
        known.unwrap_or_else(|| names::stem(file))
    }
}

/// A message or an enum: the file that declares it, and its names from the outermost in.
#[derive(Clone, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) file: &'a File,
    pub(crate) names: Vec<&'a str>,
}

impl Place<'_> {
    /// Its full name, with the dot in front.
    pub(crate) fn full_name(&self) -> String {
        full_name(&self.file.package, &self.names)
    }
}

/// The paths of messages.
pub(crate) struct Layout<'a> {
    pub(crate) modules: &'a Modules<'a>,
    options: &'a Options,
    /// The path to the module that has the message modules.
    root: &'a str,
    /// The paths that a generator of messages knows by itself, below the root unless
    /// absolute.
    own: HashMap<String, String>,
}

impl<'a> Layout<'a> {
    pub(crate) fn new(
        modules: &'a Modules<'a>,
        options: &'a Options,
        own: HashMap<String, String>,
    ) -> Self {
        let root = match options.messages {
            Some(_) => "super",
            None => &options.message_path,
        };
        Self {
            modules,
            options,
            root,
            own,
        }
    }

    /// The path of a message, relative to the module of a service.
    pub(crate) fn path(&self, place: &Place) -> String {
        if let Some(path) = self.own.get(&place.full_name()) {
            return match path.starts_with("::") || path.starts_with("crate::") {
                true => path.clone(),
                false => format!("{}::{path}", self.root),
            };
        }
        self.elsewhere(place)
            .unwrap_or_else(|| self.below(self.root, place, &packages(place)))
    }

    /// The path of a message that is in another crate.
    pub(crate) fn elsewhere(&self, place: &Place) -> Option<String> {
        self.external(place)
            .or_else(|| well_known(self.options.backend(), place))
    }

    /// The path of a message that an `extern_path` takes from elsewhere.
    fn external(&self, place: &Place) -> Option<String> {
        let full = place.full_name();
        let (proto, rust) = self.extern_path(&full)?;
        let package = full_name(&place.file.package, &[]);
        if *proto == full {
            Some(rust.clone())
        } else if proto.len() <= package.len() {
            let rest = packages(place);
            let taken = proto.matches('.').count();
            Some(self.below(rust, place, rest.get(taken..).unwrap_or_default()))
        } else {
            // It names a message that this one is declared in.
            let taken = proto[package.len()..].matches('.').count();
            let (parent, inner) = place.names.split_at(taken);
            let (module, _) = rust.rsplit_once("::")?;
            let nested = [&[*parent.last()?], inner].concat();
            Some(format!("{module}::{}", self.nested(&nested)))
        }
    }

    /// The longest of the options that a name begins with.
    fn extern_path(&self, full: &str) -> Option<&(String, String)> {
        extern_path(self.options, full)
    }

    /// The module of a file whose package an `extern_path` takes from elsewhere, as
    /// rust-protobuf has it.
    pub(crate) fn external_module(&self, file: &File) -> Option<String> {
        let (_, rust) = self.extern_path(&full_name(&file.package, &[]))?;
        let module = names::protobuf_name(&self.modules.stem(&file.name));
        Some(format!("{rust}::{module}"))
    }

    fn below(&self, root: &str, place: &Place, packages: &[&str]) -> String {
        let nested = self.nested(&place.names);
        match self.options.backend() {
            Backend::Protobuf => {
                let module = names::protobuf_name(&self.modules.stem(&place.file.name));
                format!("{root}::{module}::{nested}")
            }
            Backend::Prost | Backend::Buffa => {
                let packages = packages.iter().map(|name| names::prost_module(name) + "::");
                let packages: String = packages.collect();
                format!("{root}::{packages}{nested}")
            }
        }
    }

    fn nested(&self, names: &[&str]) -> String {
        match self.options.backend() {
            Backend::Protobuf => names::message_path(names),
            Backend::Prost | Backend::Buffa => names::prost_path(names),
        }
    }
}

/// The longest `extern_path` that a full name begins with.
fn extern_path<'a>(options: &'a Options, full: &str) -> Option<&'a (String, String)> {
    let begins = |proto: &str| {
        let rest = full.strip_prefix(proto);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let known = options.extern_paths.iter();
    known
        .filter(|(proto, _)| begins(proto))
        .max_by_key(|(proto, _)| proto.len())
}

/// Whether an `extern_path` takes the whole package of a file from elsewhere.
pub(crate) fn is_external(file: &File, options: &Options) -> bool {
    extern_path(options, &full_name(&file.package, &[])).is_some()
}

/// The path of a type that comes with the message crate itself.
fn well_known(backend: Backend, place: &Place) -> Option<String> {
    let is_google = place.file.package == "google.protobuf";
    match backend {
        Backend::Protobuf => {
            let module = names::well_known(&place.file.name)?;
            Some(format!("{module}::{}", names::message_path(&place.names)))
        }
        Backend::Prost => is_google.then(|| {
            let native = match place.names.as_slice() {
                [name] => names::PROST_NATIVE.iter().find(|(known, _)| known == name),
                _ => None,
            };
            match native {
                Some((_, path)) => (*path).to_owned(),
                None => format!("::prost_types::{}", names::prost_path(&place.names)),
            }
        }),
        Backend::Buffa => None,
    }
}

fn packages<'a>(place: &Place<'a>) -> Vec<&'a str> {
    match place.file.package.as_str() {
        "" => Vec::new(),
        package => package.split('.').collect(),
    }
}

/// The messages of these full names.
pub(crate) fn find<'a>(
    request: &'a Request,
    wanted: &HashSet<&'a str>,
) -> HashMap<&'a str, Place<'a>> {
    let mut found = HashMap::new();
    let mut full = String::new();
    for file in &request.files {
        full.clear();
        full.push_str(&full_name(&file.package, &[]));
        walk(
            &file.message_type,
            &mut full,
            &mut Vec::new(),
            &mut |full, names| {
                if let Some(name) = wanted.get(full) {
                    let names = names.to_vec();
                    found.insert(*name, Place { file, names });
                }
            },
        );
    }
    found
}

fn walk<'a>(
    messages: &'a [MessageType],
    full: &mut String,
    names: &mut Vec<&'a str>,
    see: &mut impl FnMut(&str, &[&'a str]),
) {
    for message in messages {
        let length = full.len();
        full.push('.');
        full.push_str(&message.name);
        names.push(&message.name);
        see(full, names);
        walk(&message.nested_type, full, names, see);
        names.pop();
        full.truncate(length);
    }
}

/// Every message and enum of a file.
pub(crate) fn types(file: &File) -> Vec<Place<'_>> {
    fn nested<'a>(
        file: &'a File,
        message: &'a MessageType,
        names: &mut Vec<&'a str>,
        all: &mut Vec<Place<'a>>,
    ) {
        names.push(&message.name);
        all.push(Place {
            file,
            names: names.clone(),
        });
        for declared in &message.enum_type {
            let mut names = names.clone();
            names.push(&declared.name);
            all.push(Place { file, names });
        }
        for message in &message.nested_type {
            nested(file, message, names, all);
        }
        names.pop();
    }
    let enums = file.enum_type.iter().map(|declared| Place {
        file,
        names: vec![&declared.name],
    });
    let mut all = enums.collect();
    for message in &file.message_type {
        nested(file, message, &mut Vec::new(), &mut all);
    }
    all
}

/// `.package.Outer.Inner`, as descriptors refer to it.
pub(crate) fn full_name(package: &str, names: &[&str]) -> String {
    let mut full = String::new();
    let parts = [package];
    for part in parts.iter().chain(names).filter(|part| !part.is_empty()) {
        full.push('.');
        full.push_str(part);
    }
    full
}
