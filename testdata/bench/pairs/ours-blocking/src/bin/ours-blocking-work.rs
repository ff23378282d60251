#[global_allocator]
static ALLOCATOR: bench_kit::allocations::Counting = bench_kit::allocations::Counting;

fn main() {
    bench_kit::blocking::work::<bench_ours_blocking::Ours>(bench_ours_blocking::serve);
}
