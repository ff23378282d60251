fn main() {
    bench_kit::asynchronous::client::<bench_ttrpc_async::Rival>();
}
