//! Generates the service, and the envelopes of the cases that write frames themselves.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    protoc_gen_ttrpc::Builder::new()
        .option("flavours", "async+blocking")
        .include(".")
        .compile(&["interop.proto", "envelope.proto"])?;
    Ok(())
}
