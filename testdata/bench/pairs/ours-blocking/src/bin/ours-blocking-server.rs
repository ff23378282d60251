fn main() {
    bench_kit::blocking::serve(bench_ours_blocking::serve);
}
