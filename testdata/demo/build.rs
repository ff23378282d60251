//! Generates the messages and the service, without protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    protoc_gen_ttrpc::Builder::new()
        .include("../protos")
        .compile(&["../protos/route_guide.proto"])?;
    Ok(())
}
