//! Generates containerd's shim services from the .proto files in the source of the crate
//! `containerd-shim-protos`.

use std::path::PathBuf;
use std::process::Command;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let vendor = source_of("containerd-shim-protos")?.join("vendor");
    protoc_gen_ttrpc::Builder::new()
        .include(vendor.join("github.com/containerd/containerd/api"))
        .include(&vendor)
        .compile(&[
            "runtime/task/v2/shim.proto",
            "runtime/sandbox/v1/sandbox.proto",
            "services/ttrpc/events/v1/events.proto",
        ])?;
    Ok(())
}

/// Where cargo keeps the source of a crate that this one depends on.
fn source_of(package: &str) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let metadata = Command::new(std::env::var("CARGO")?)
        .args(["metadata", "--format-version=1", "--offline", "--locked"])
        // What other platforms need has not been fetched.
        .args(["--filter-platform", &std::env::var("TARGET")?])
        .output()?;
    let text = String::from_utf8(metadata.stdout)?;
    let manifest = text
        .split('"')
        .filter(|value| value.ends_with("Cargo.toml"))
        .map(PathBuf::from)
        .find(|path| {
            path.iter().rev().nth(1).is_some_and(|directory| {
                directory
                    .to_string_lossy()
                    .strip_prefix(package)
                    .is_some_and(|v| v.starts_with('-'))
            })
        })
        .ok_or_else(|| {
            format!(
                "cargo does not know {package}: {}",
                String::from_utf8_lossy(&metadata.stderr)
            )
        })?;
    Ok(manifest.with_file_name(""))
}
