//! Generates messages and service by tonic's own generator, with its defaults: payloads that
//! are shared and not copied make it slower with small messages, and small ones are what it
//! is compared by.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=../../bench.proto");
    let files = protox::compile(["bench.proto"], ["../.."])?;
    tonic_prost_build::compile_fds(files)?;
    Ok(())
}
