//! Outlier sampling at the shape of CIFAR-100: 500 features of 768 dimensions, 50 boundary features, 1500 noise vectors, k 300.
//! The peer is FAISS: `tools/bench/sampling.py`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dream_ood::outlier::{Kind, Knn, SamplingParams, boundary, sample_class};
use dream_ood::rng::Stream;
use std::hint::black_box;
use std::time::Duration;

const N: usize = 500;
const M: usize = 768;
/// Enough to keep the threads busy, and few enough for a short benchmark.
const ROUNDS: usize = 8;

fn features() -> Vec<f32> {
    let centre = Stream::new(0, "bench/centre", 0, 0).normals(M);
    let noise = Stream::new(0, "bench/features", 0, 0).normals(N * M);
    let rows = noise.chunks(M).flat_map(|row| row.iter().zip(&centre));
    rows.map(|(e, c)| c + 0.7 * e).collect()
}

fn sampling(c: &mut Criterion) {
    let features = features();
    let mut group = c.benchmark_group("sampling");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4));
    group.bench_function("boundary of 500x768", |b| {
        b.iter(|| boundary(black_box(&features), M, 300, 50, Kind::Outlier, 0))
    });
    for (name, knn) in [("paper", Knn::Paper), ("upstream", Knn::Upstream)] {
        let params = SamplingParams {
            rounds: ROUNDS,
            knn,
            ..SamplingParams::CIFAR100
        };
        group.throughput(Throughput::Elements(params.count() as u64));
        group.bench_function(format!("{ROUNDS} rounds, {name}"), |b| {
            b.iter(|| sample_class(black_box(&features), M, &params, 1, 0, &|_| (), &|| false))
        });
    }
    group.finish();
}

criterion_group!(benches, sampling);
criterion_main!(benches);
