//! Generates the services and messages, without protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    protoc_gen_ttrpc::Builder::new()
        .include("proto")
        .compile(&["proto/greeter.proto"])?;
    Ok(())
}
