//! The scores that cost most, at a tenth of CIFAR-100's training set and a hundredth of its test sets: 5,000
//! training pictures of 512 features and 100 classes, 500 scored ones. `examples/scores.rs` times all scores
//! at any size.

mod activations;

use activations::{CLASSES, Set};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dream_ood::ood::score::{Reference, by_name};
use std::hint::black_box;
use std::time::Duration;

fn scores(c: &mut Criterion) {
    let mut group = c.benchmark_group("scores");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4));
    let weight = activations::centres();
    let bias = vec![0.0; CLASSES];
    let (train, test) = (Set::new(5_000, &weight, 0), Set::new(500, &weight, 1));
    let reference = Reference {
        train: Some(train.observed(&weight, &bias)),
        validation: Some(test.observed(&weight, &bias)),
    };
    let test = test.observed(&weight, &bias);
    group.throughput(Throughput::Elements(test.len() as u64));
    for name in ["mds", "vim", "knn", "relation", "cfood", "gmm", "ash_s", "weiper"] {
        let score = by_name(name).unwrap();
        let values = score.values(&[]).unwrap();
        group.bench_function(format!("{name}, fit"), |b| {
            b.iter(|| score.fit(&values, black_box(&reference)))
        });
        let fitted = score.fit(&values, &reference).unwrap();
        group.bench_function(name, |b| b.iter(|| fitted.score(black_box(&test))));
    }
    group.finish();
}

criterion_group!(benches, scores);
criterion_main!(benches);
