//! Generates the service, and its messages by prost.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    protoc_gen_ttrpc::Builder::new()
        .include("../..")
        .option("messages", "prost")
        .compile(&["../../bench.proto", "../../payload.proto"])?;
    Ok(())
}
