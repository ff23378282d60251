//! Generates messages and service by tonic's own generator, with payloads that are shared
//! and not copied.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=../../bench.proto");
    let files = protox::compile(["bench.proto"], ["../.."])?;
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(files)?;
    Ok(())
}
