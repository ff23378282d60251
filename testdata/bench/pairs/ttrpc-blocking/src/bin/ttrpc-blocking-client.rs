fn main() {
    bench_kit::blocking::client::<bench_ttrpc_blocking::Rival>();
}
