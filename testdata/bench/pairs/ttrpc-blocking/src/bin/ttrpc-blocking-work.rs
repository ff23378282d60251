#[global_allocator]
static ALLOCATOR: bench_kit::allocations::Counting = bench_kit::allocations::Counting;

fn main() {
    bench_kit::blocking::work::<bench_ttrpc_blocking::Rival>(bench_ttrpc_blocking::serve);
}
