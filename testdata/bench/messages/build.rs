//! Generates the messages, with payloads that are shared and not copied.

fn main() {
    println!("cargo::rerun-if-changed=../payload.proto");
    protobuf_codegen::Codegen::new()
        .pure()
        .include("..")
        .input("../payload.proto")
        .customize(protobuf_codegen::Customize::default().tokio_bytes(true))
        .cargo_out_dir("protos")
        .run_from_script();
}
