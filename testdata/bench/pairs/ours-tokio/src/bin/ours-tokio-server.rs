fn main() {
    bench_kit::asynchronous::serve(bench_ours_tokio::serve);
}
