//! Generates the service, for the messages that all pairs share.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    protoc_gen_ttrpc::Builder::new()
        .option("flavours", "blocking")
        .include("../..")
        .option("messages", "none")
        .option("message_path", "::bench_messages")
        .compile(&["../../bench.proto"])?;
    Ok(())
}
