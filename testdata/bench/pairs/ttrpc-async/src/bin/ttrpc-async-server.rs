fn main() {
    bench_kit::asynchronous::serve(bench_ttrpc_async::serve);
}
