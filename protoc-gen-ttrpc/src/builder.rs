//! The door for build scripts, and for the command line.

use std::env;
use std::path::{Path, PathBuf};

use crate::compile::{Compiled, compile};
use crate::options::{self, Options};
use crate::output::Output;
use crate::run::run;
use crate::{Difference, Error, Problem, fresh, output};

/// Generates services and messages from .proto files on disk.
///
/// In `build.rs`:
///
/// ```no_run
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     protoc_gen_ttrpc::Builder::new()
///         .include("proto")
///         .compile(&["proto/greeter.proto"])?;
///     Ok(())
/// }
/// ```
///
/// and in the crate:
///
/// ```ignore
/// mod protos {
///     include!(concat!(env!("OUT_DIR"), "/mod.rs"));
/// }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Builder {
    includes: Vec<PathBuf>,
    out_dir: Option<PathBuf>,
    options: Vec<(String, String)>,
    protoc: Option<PathBuf>,
}

impl Builder {
    /// A builder that compiles relative to the current directory, without protoc.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a directory in which files and their imports are looked for; without
    /// one, that is the current directory.
    pub fn include(mut self, directory: impl Into<PathBuf>) -> Self {
        self.includes.push(directory.into());
        self
    }

    /// Writes to this directory instead of cargo's `OUT_DIR`.
    pub fn out_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.out_dir = Some(directory.into());
        self
    }

    /// Sets an option, by the name that it has for protoc and buf as well:
    ///
    #[doc = include_str!("options/table.md")]
    pub fn option(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.push((key.into(), value.into()));
        self
    }

    /// Sets options as protoc and buf take them: `key=value`, separated by commas.
    pub fn options(mut self, options: &str) -> Self {
        self.options.extend(options::split(options));
        self
    }

    /// Compiles with this protoc instead of the embedded compiler.
    pub fn protoc(mut self, protoc: impl Into<PathBuf>) -> Self {
        self.protoc = Some(protoc.into());
        self
    }

    /// Generates from `files`, and tells cargo to do so again when one of them or of
    /// their imports changes.
    ///
    /// Call it once for each directory, with all the files: `mod.rs` has the modules of one
    /// call, and another one would replace it.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the files or the options, in one error.
    pub fn compile(&self, files: &[impl AsRef<Path>]) -> Result<(), Error> {
        for read in self.generate(files)? {
            println!("cargo:rerun-if-changed={}", read.display());
        }
        Ok(())
    }

    /// Generates from `files` outside of a build script, and returns the .proto files
    /// that were read.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the files or the options, in one error.
    pub fn generate(&self, files: &[impl AsRef<Path>]) -> Result<Vec<PathBuf>, Error> {
        let (outputs, read, directory) = self.run(files)?;
        output::write(&outputs, &directory)?;
        Ok(read)
    }

    /// Generates from `files` in memory, and says how what is in the output directory
    /// differs.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the files or the options, in one error.
    pub fn check(&self, files: &[impl AsRef<Path>]) -> Result<Vec<Difference>, Error> {
        let (outputs, _, directory) = self.run(files)?;
        fresh::compare(&outputs, &directory)
    }

    /// What there is to write, what was read, and where to write to.
    fn run(
        &self,
        files: &[impl AsRef<Path>],
    ) -> Result<(Vec<Output>, Vec<PathBuf>, PathBuf), Error> {
        let pairs = self.options.iter().map(|(key, value)| (key, value));
        let options = Options::compiler().with(pairs).map_err(Error::Problems)?;
        let out_dir = match (&self.out_dir, env::var_os("OUT_DIR")) {
            (Some(directory), _) => directory.clone(),
            (None, Some(directory)) => PathBuf::from(directory),
            (None, None) => {
                return Err(Error::from(Problem::new(
                    "there is no `OUT_DIR`, which cargo sets for build scripts",
                    "name a directory with `out_dir`",
                )));
            }
        };
        let here = [PathBuf::from(".")];
        let includes = match self.includes.as_slice() {
            [] => &here,
            includes => includes,
        };
        let files: Vec<PathBuf> = files.iter().map(|file| file.as_ref().to_owned()).collect();
        let Compiled { request, read } = compile(&files, includes, self.protoc.as_deref())?;
        Ok((run(&request, &options)?, read, out_dir))
    }
}
