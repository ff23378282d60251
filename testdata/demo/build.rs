//! Generates the messages and the service in both flavours, without protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    protoc_gen_ttrpc::Builder::new()
        .include("../protos")
        .option("flavours", "async+blocking")
        .compile(&["../protos/route_guide.proto"])?;
    Ok(())
}
