//! Rounds of outlier sampling at the shapes of the paper: CIFAR-100 (500 features of 768 dimensions, 50
//! boundary features), ImageNet-100 (1000 features, 50 of 200 boundary features a round) and its inliers;
//! 1500 noise vectors, k 300. The peer is FAISS: `tools/bench/sampling.py`, which reads the names and times
//! printed here.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dream_ood::engine::Engine;
use dream_ood::outlier::{Knn, Sampling, SamplingParams, Side, boundary, sample_class};
use dream_ood::rng::Stream;
use std::hint::black_box;
use std::time::Duration;

const M: usize = 768;
/// Enough to keep the threads busy, and few enough for a short benchmark.
const ROUNDS: usize = 8;

fn features(n: usize) -> Vec<f32> {
    let centre = Stream::new(0, "bench/centre", 0, 0).normals(M);
    let noise = Stream::new(0, "bench/features", 0, 0).normals(n * M);
    let rows = noise.chunks(M).flat_map(|row| row.iter().zip(&centre));
    rows.map(|(e, c)| c + 0.7 * e).collect()
}

fn sampling(c: &mut Criterion) {
    let mut group = c.benchmark_group("sampling");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4));
    let few = features(500);
    group.bench_function("boundary of 500x768", |b| {
        b.iter(|| boundary(black_box(&few), M, 300, 50, Side::Outlier, 0))
    });
    let upstream = SamplingParams {
        knn: Knn::Upstream,
        ..SamplingParams::CIFAR100
    };
    for (name, n, params) in [
        ("cifar100", 500, SamplingParams::CIFAR100),
        ("cifar100 upstream", 500, upstream),
        ("imagenet100", 1000, SamplingParams::IMAGENET100),
        ("imagenet100 inliers", 1000, SamplingParams::IMAGENET100_INLIER),
    ] {
        let features = features(n);
        let params = SamplingParams {
            rounds: ROUNDS,
            ..params
        };
        group.throughput(Throughput::Elements(ROUNDS as u64));
        group.bench_function(format!("{ROUNDS} rounds of {name}"), |b| {
            b.iter(|| {
                sample_class(&Sampling {
                    features: black_box(&features),
                    m: M,
                    params: &params,
                    seed: 1,
                    class: 0,
                    engine: &Engine::default(),
                    progress: &|_| (),
                    cancelled: &|| false,
                })
            })
        });
    }
    group.finish();
}

criterion_group!(benches, sampling);
criterion_main!(benches);
