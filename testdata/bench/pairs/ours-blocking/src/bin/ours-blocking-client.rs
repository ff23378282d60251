fn main() {
    bench_kit::blocking::client::<bench_ours_blocking::Ours>();
}
