//! Generates [ttrpc](https://github.com/containerd/ttrpc) clients and servers in
//! Rust from .proto files.
//!
//! Each service becomes a trait, a client that implements it, and a server that
//! serves whatever else implements it; they stand on the crate `ttrpc-runtime`.
//!
//! # Three doors
//!
//! - **A build script** uses [`Builder`], and needs no protoc:
//!
//!   ```no_run
//!   fn main() -> Result<(), Box<dyn std::error::Error>> {
//!       protoc_gen_ttrpc::Builder::new()
//!           .include("proto")
//!           .compile(&["proto/greeter.proto"])?;
//!       Ok(())
//!   }
//!   ```
//!
//! - **protoc and buf** run the binary `protoc-gen-ttrpc`, which is [`generate`] with
//!   standard input and output.
//! - **The command line** has `protoc-gen-ttrpc compile`, which is [`Builder`] again;
//!   `protoc-gen-ttrpc check`, which is [`Builder::check`]; and `protoc-gen-ttrpc init`,
//!   which writes files to begin with.
//!
//! All of them take the same [options](Builder::option) and give the same code.
//!
//! # Layout
//!
//! `request` → `model` → `check` → `emit` → `text`, one file each: descriptors
//! become names of Rust, are checked, are put into the templates of the crate
//! `protoc-gen-ttrpc-templates`, and are printed. `layout` knows where in Rust everything
//! is; `messages` has the generators of the message crates make the message types, and
//! says editions in words that they know; `options` has a table of all the options.

mod builder;
mod check;
mod collide;
mod comments;
mod compile;
mod descriptor;
mod emit;
mod error;
mod fresh;
mod layout;
mod messages;
mod model;
mod names;
mod options;
mod output;
mod request;
mod response;
mod run;
mod source;
mod text;
mod tree;

use bytes::Bytes;

pub use builder::Builder;
pub use error::{Error, Problem};
pub use fresh::Difference;
pub use options::help as options_help;

/// Answers a `CodeGeneratorRequest` with a `CodeGeneratorResponse`, both encoded, as
/// protoc and buf run a plugin.
///
/// What is wrong with the .proto files or the options is part of the response.
///
/// # Errors
///
/// Bytes that are no request are [`Error::Malformed`]; the plugin then writes no
/// response and fails. So does one that lacks a temporary directory.
pub fn generate(request: impl Into<Bytes>) -> Result<Vec<u8>, Error> {
    let (request, parameter) = request::decode(request.into())?;
    let options = options::Options::plugin().with(options::split(&parameter));
    let result = options
        .map_err(Error::Problems)
        .and_then(|options| run::run(&request, &options));
    // As large as the response, and no longer needed.
    drop(request);
    match result {
        Err(error @ Error::Problems(_)) => Ok(response::encode(Err(error.to_string()))),
        result => result.map(|outputs| response::encode(Ok(outputs))),
    }
}
