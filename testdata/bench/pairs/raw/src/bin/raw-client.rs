fn main() -> std::io::Result<()> {
    bench_raw::client()
}
