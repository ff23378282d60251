//! Generates the same service once for each message crate.

use std::env;
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    for messages in ["protobuf", "prost", "buffa"] {
        protoc_gen_ttrpc::Builder::new()
            .include("../protos")
            .option("messages", messages)
            .option("flavours", "async+blocking")
            .out_dir(Path::new(&out).join(messages))
            .compile(&["../protos/kinds.proto"])?;
    }
    Ok(())
}
