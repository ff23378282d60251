fn main() {
    bench_kit::asynchronous::client::<bench_ours_tokio::Ours>();
}
