//! The scores that cost most, at a tenth of CIFAR-100's training set and a hundredth of its test sets: 5,000
//! training pictures of 512 features and 100 classes, 500 scored ones. `examples/scores.rs` times all scores
//! at any size.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dream_ood::ood::Observed;
use dream_ood::ood::score::{Reference, by_name};
use dream_ood::rng::Stream;
use std::hint::black_box;
use std::time::Duration;

const WIDTH: usize = 512;
const CLASSES: usize = 100;

/// Features around a centre a class, rectified, and what a head of the centres makes of them.
struct Set {
    features: Vec<f32>,
    logits: Vec<f32>,
    labels: Vec<u32>,
}

impl Set {
    fn new(n: usize, centres: &[f32], index: u64) -> Self {
        let mut features = Stream::new(0, "bench/features", 0, index).normals(n * WIDTH);
        let labels: Vec<u32> = (0..n).map(|row| (row * 7 % CLASSES) as u32).collect();
        for (row, label) in features.chunks_mut(WIDTH).zip(&labels) {
            let centre = &centres[*label as usize * WIDTH..][..WIDTH];
            row.iter_mut()
                .zip(centre)
                .for_each(|(x, c)| *x = (*x + c).max(0.0));
        }
        let logit =
            |row: &[f32], centre: &[f32]| row.iter().zip(centre).map(|(a, b)| a * b).sum::<f32>() / 32.0;
        let rows = features.chunks(WIDTH);
        let logits = rows.flat_map(|row| centres.chunks(WIDTH).map(move |centre| logit(row, centre)));
        Self {
            logits: logits.collect(),
            features,
            labels,
        }
    }

    fn observed<'a>(&'a self, weight: &'a [f32], bias: &'a [f32]) -> Observed<'a> {
        Observed::of_logits(&self.logits, CLASSES)
            .and_then(|o| o.with_features(&self.features, WIDTH))
            .and_then(|o| o.with_labels(&self.labels))
            .and_then(|o| o.with_head(weight, bias))
            .unwrap()
    }
}

fn scores(c: &mut Criterion) {
    let mut group = c.benchmark_group("scores");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4));
    let weight = Stream::new(0, "bench/centres", 0, 0).normals(CLASSES * WIDTH);
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
