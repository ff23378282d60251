//! .proto files to descriptors: by the embedded compiler, or by protoc.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use prost::Message;
use protox::file::{
    ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver,
};

use crate::descriptor::FileSet;
use crate::request::{self, Request};
use crate::{Error, Problem};

/// Files that were compiled.
pub(crate) struct Compiled {
    pub(crate) request: Request,
    /// The .proto files on disk that the result depends on.
    pub(crate) read: Vec<PathBuf>,
}

/// Compiles files, with protoc where its path is given.
///
/// Services are generated for `files`, messages also for what these import: the
/// generated messages refer to those.
pub(crate) fn compile(
    files: &[PathBuf],
    includes: &[PathBuf],
    protoc: Option<&Path>,
) -> Result<Compiled, Error> {
    let (services, set) = match protoc {
        None => embedded(files, includes)?,
        Some(protoc) => with_protoc(files, includes, protoc)?,
    };
    let files = request::files(set).map_err(undecodable)?;
    let names: BTreeSet<String> = files.iter().map(|file| file.name.clone()).collect();
    // What is in none of them is built into the compiler.
    let on_disk = |name: &String| on_disk(name, includes);
    Ok(Compiled {
        read: names.iter().filter_map(on_disk).collect(),
        request: Request {
            files,
            services,
            messages: names.into_iter().collect(),
        },
    })
}

fn embedded(files: &[PathBuf], includes: &[PathBuf]) -> Result<(Vec<String>, Vec<Bytes>), Error> {
    let mut sources = ChainFileResolver::new();
    for include in includes {
        sources.add(Include {
            files: IncludeFileResolver::new(include.clone()),
            path: include.clone(),
        });
    }
    sources.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(sources);
    compiler.include_source_info(true).include_imports(true);
    let mut problems = Vec::new();
    for file in files {
        problems.extend(compiler.open_file(file).err().map(problem));
    }
    if !problems.is_empty() {
        return Err(Error::Problems(problems));
    }
    let asked = compiler.files().filter(|file| !file.is_import());
    let services = asked.map(|file| file.name().to_owned()).collect();
    let set = Bytes::from(compiler.encode_file_descriptor_set());
    Ok((services, FileSet::decode(set).map_err(undecodable)?.file))
}

/// An import path, whose files may begin with a byte order mark, as editors of some systems
/// write it and protoc takes it.
#[derive(Debug)]
struct Include {
    files: IncludeFileResolver,
    path: PathBuf,
}

impl FileResolver for Include {
    fn resolve_path(&self, path: &Path) -> Option<String> {
        self.files.resolve_path(path)
    }

    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        self.files.open_file(name).or_else(|error| {
            let text = fs::read_to_string(self.path.join(name)).ok();
            match text
                .as_deref()
                .and_then(|text| text.strip_prefix('\u{feff}'))
            {
                Some(text) => File::from_source(name, text),
                None => Err(error),
            }
        })
    }
}

fn problem(error: protox::Error) -> Problem {
    let fix = if error.is_file_not_found() {
        "check its name and the import paths"
    } else if error.is_io() {
        "check its permissions"
    } else {
        "correct it, or compile with protoc what only protoc knows, such as editions"
    };
    // `Debug` is the message with its file and line in front.
    Problem::new(format!("{error:?}"), fix)
}

fn with_protoc(
    files: &[PathBuf],
    includes: &[PathBuf],
    protoc: &Path,
) -> Result<(Vec<String>, Vec<Bytes>), Error> {
    let includes: Vec<PathBuf> = includes.iter().map(|include| plain(include)).collect();
    let files = files.iter().map(|file| inside(plain(file), &includes));
    // One that is named twice is generated once.
    let mut asked = BTreeSet::new();
    let files: Vec<PathBuf> = files.filter(|file| asked.insert(file.clone())).collect();
    let services = files.iter().map(|file| import_name(file, &includes));
    let services = services.collect();

    let directory = tempfile::tempdir().map_err(|source| Error::Io {
        path: std::env::temp_dir(),
        source,
    })?;
    let set = directory.path().join("set");
    let mut command = Command::new(protoc);
    command.args(["--include_imports", "--include_source_info"]);
    command.arg("--descriptor_set_out").arg(&set);
    for include in &includes {
        command.arg("-I").arg(include);
    }
    let output = command.args(files).output();
    let problem = match output.map(|output| (output.status.success(), output)) {
        // Taken as bytes: what is text in it need not be UTF-8.
        Ok((true, _)) => match fs::read(&set) {
            Ok(set) => {
                let set = FileSet::decode(Bytes::from(set)).map_err(undecodable)?;
                return Ok((services, set.file));
            }
            Err(error) => no_protoc(protoc, error),
        },
        Ok((false, output)) => match String::from_utf8_lossy(&output.stderr).trim_end() {
            "" => no_protoc(protoc, output.status),
            said => Problem::new(
                "protoc refused the files",
                format!("correct what it says:\n{said}"),
            ),
        },
        Err(error) => no_protoc(protoc, error),
    };
    Err(Error::from(problem))
}

fn no_protoc(protoc: &Path, why: impl Display) -> Problem {
    Problem::new(
        format!("`{}` could not compile the files: {why}", protoc.display()),
        "check that it is protoc, or leave it out to use the embedded compiler",
    )
}

/// A path without the `.` by which it may differ from the one that it is in.
fn plain(path: &Path) -> PathBuf {
    let parts = path.components();
    let path: PathBuf = parts.filter(|part| *part != Component::CurDir).collect();
    match path.as_os_str().is_empty() {
        true => PathBuf::from("."),
        false => path,
    }
}

/// The path of a file that may be named as it is in an import.
fn inside(file: PathBuf, includes: &[PathBuf]) -> PathBuf {
    let is_within = |include: &PathBuf| include == Path::new(".") || file.starts_with(include);
    if includes.iter().any(is_within) {
        return file;
    }
    on_disk(&file, includes).unwrap_or(file)
}

/// Where a file is that is named as in an import.
fn on_disk(name: impl AsRef<Path>, includes: &[PathBuf]) -> Option<PathBuf> {
    let mut paths = includes.iter().map(|include| include.join(&name));
    paths.find(|path| path.is_file())
}

/// The name by which a file would be imported.
fn import_name(file: &Path, includes: &[PathBuf]) -> String {
    let within = |include: &PathBuf| match include == Path::new(".") && file.is_relative() {
        true => Some(file),
        false => file.strip_prefix(include).ok(),
    };
    let name = includes.iter().find_map(within);
    name.unwrap_or(file).display().to_string()
}

fn undecodable(error: impl Display) -> Error {
    Error::Malformed(format!("the compiler's can't be decoded: {error}"))
}
