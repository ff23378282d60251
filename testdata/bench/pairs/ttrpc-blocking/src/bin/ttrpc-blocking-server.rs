fn main() {
    bench_kit::blocking::serve(bench_ttrpc_blocking::serve);
}
