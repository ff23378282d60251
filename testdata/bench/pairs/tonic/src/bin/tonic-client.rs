fn main() {
    bench_kit::asynchronous::client::<bench_tonic::Rival>();
}
