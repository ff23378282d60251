fn main() {
    bench_kit::asynchronous::serve(bench_tonic::serve);
}
