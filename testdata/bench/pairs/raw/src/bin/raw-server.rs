fn main() -> std::io::Result<()> {
    bench_raw::server()
}
