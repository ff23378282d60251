//! Generates the service by ttrpc's own generator.

use std::{env, fs, io, path::Path};

use ttrpc_codegen::{Codegen, Customize};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=../../bench.proto");
    let out = env::var("OUT_DIR").unwrap();
    Codegen::new()
        .out_dir(&out)
        .include("../..")
        .input("../../bench.proto")
        .customize(Customize {
            async_all: true,
            ..Customize::default()
        })
        .run()?;
    // `include!` takes no inner attributes.
    let path = Path::new(&out).join("bench_ttrpc.rs");
    let text = fs::read_to_string(&path)?.replace("#![", "// #![");
    fs::write(path, text)
}
