#[global_allocator]
static ALLOCATOR: bench_kit::allocations::Counting = bench_kit::allocations::Counting;

fn main() {
    bench_kit::asynchronous::work::<bench_tonic::Rival, _>(bench_tonic::serve);
}
