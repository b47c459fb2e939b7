//! Against FAISS (tests/fixtures/outlier/make.py), against brute force in f64, and what must be refused.

use std::sync::OnceLock;

use serde_json::Value;

use super::geometry::Features;
use super::round::Class;
use super::*;
use crate::engine::Engine;
use crate::rng::Stream;

mod crossing;
mod random;

/// A class of `n` features of dimension `m`, not normalised.
fn class_of(n: usize, m: usize, spread: f32) -> Vec<f32> {
    let centre = Stream::new(5, "test/centre", 0, 0).normals(m);
    let noise = Stream::new(5, "test/features", 0, 0).normals(n * m);
    let rows = noise.chunks(m).flat_map(|row| row.iter().zip(&centre));
    rows.map(|(e, c)| 3.0 * (c + spread * e)).collect()
}

const SMALL: SamplingParams = SamplingParams {
    kind: Side::Outlier,
    k: 12,
    select: 9,
    rounds: 5,
    noise_per_round: 70,
    anchors_per_round: 9,
    keep: 2,
    sigma: 0.1,
    knn: Knn::Paper,
    per_class: None,
};

/// With the seed 1, for class 2.
fn sampling<'a>(features: &'a [f32], m: usize, params: &'a SamplingParams) -> Sampling<'a> {
    static CPU: OnceLock<Engine> = OnceLock::new();
    Sampling {
        features,
        m,
        params,
        seed: 1,
        class: 2,
        engine: CPU.get_or_init(Engine::default),
        progress: &|_| (),
        cancelled: &|| false,
    }
}

fn run(features: &[f32], m: usize, params: &SamplingParams) -> Result<Vec<Sampled>, OutlierError> {
    sample_class(&Sampling {
        seed: 11,
        class: 3,
        ..sampling(features, m, params)
    })
}

fn unit(row: &[f32]) -> Vec<f64> {
    let norm = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    row.iter().map(|v| f64::from(*v) / norm).collect()
}

/// Distance to the k-th nearest feature by subtraction and sorting, in f64.
fn brute(vector: &[f64], features: &[Vec<f64>], k: usize) -> f64 {
    let square = |z: &Vec<f64>| z.iter().zip(vector).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
    let mut squares: Vec<f64> = features.iter().map(square).collect();
    squares.sort_by(f64::total_cmp);
    squares[k - 1].sqrt()
}

#[test]
fn a_round_keeps_what_faiss_keeps() {
    let fixture: Value =
        serde_json::from_str(include_str!("../../tests/fixtures/outlier/rounds.json")).unwrap();
    for case in fixture.as_array().unwrap() {
        let floats = |key: &str| -> Vec<f32> {
            let values = case[key].as_array().unwrap();
            values.iter().map(|v| v.as_f64().unwrap() as f32).collect()
        };
        let size = |key: &str| case[key].as_u64().unwrap() as usize;
        let (m, k, select, keep) = (size("m"), size("k"), size("select"), size("keep"));
        let kind = match case["kind"].as_str().unwrap() {
            "inlier" => Side::Inlier,
            _ => Side::Outlier,
        };
        let raw = floats("features");
        let noise = floats("noise");
        let squared = floats("squared");
        let own = floats("own_squared");
        let distances = knn_distances(&raw, &raw, m, k, 0).unwrap();
        for (a, b) in distances.iter().zip(&own) {
            assert!((a * a - b).abs() < 2e-6, "{}: {} is not {b}", case["name"], a * a);
        }
        let expected: Vec<u32> = floats("boundary").iter().map(|v| *v as u32).collect();
        let found = boundary(&raw, m, k, select, kind, 0).unwrap();
        if k > 1 {
            assert_eq!(found, expected, "{}", case["name"]);
        }
        // With k = 1 every own distance is zero but for rounding, and any order is right: go on with FAISS's.
        let features = Features::new(&raw, m, 0).unwrap();
        for knn in [Knn::Paper, Knn::Upstream] {
            let params = SamplingParams {
                kind,
                k,
                select,
                noise_per_round: noise.len() / m,
                anchors_per_round: select,
                keep,
                sigma: case["sigma"].as_f64().unwrap() as f32,
                knn,
                ..SMALL
            };
            let class = Class::new(&features, expected.clone(), params);
            let mut scratch = class.scratch();
            let mut left = &noise[..];
            let mut copy = |part: &mut [f32]| {
                let (now, later) = left.split_at(part.len());
                part.copy_from_slice(now);
                left = later;
            };
            let ranks: Vec<usize> = (0..select).collect();
            let sampled = class.round(&mut scratch, &mut copy, &ranks, 0);
            let key = if knn == Knn::Paper { "paper" } else { "upstream" };
            let kept = case[key].as_array().unwrap().iter();
            let kept: Vec<(usize, usize)> = kept
                .map(|pair| {
                    (
                        pair[0].as_u64().unwrap() as usize,
                        pair[1].as_u64().unwrap() as usize,
                    )
                })
                .collect();
            assert_eq!(sampled.len(), kept.len());
            for (s, (anchor, j)) in sampled.iter().zip(kept) {
                assert_eq!(s.anchor, expected[anchor]);
                let wanted = squared[anchor * params.noise_per_round + j];
                let actual = s.knn_distance * s.knn_distance;
                assert!(
                    (actual - wanted).abs() < 2e-6,
                    "{} {key}: {actual} is not {wanted}",
                    case["name"]
                );
                let feature = unit(features.row(s.anchor as usize));
                let moved: Vec<f32> = feature
                    .iter()
                    .zip(&noise[j * m..])
                    .map(|(b, e)| (b + f64::from(params.sigma) * f64::from(*e)) as f32)
                    .collect();
                for (a, b) in s.vector.iter().zip(unit(&moved)) {
                    assert!((f64::from(*a) - b).abs() < 1e-6, "{} {key}", case["name"]);
                }
            }
        }
    }
}

#[test]
fn every_kept_candidate_is_the_best_by_brute_force() {
    let (n, m) = (45, 20);
    let raw = class_of(n, m, 0.7);
    let features: Vec<Vec<f64>> = raw.chunks(m).map(unit).collect();
    for kind in [Side::Outlier, Side::Inlier] {
        let params = SamplingParams {
            kind,
            anchors_per_round: 4,
            ..SMALL
        };
        let sampled = run(&raw, m, &params).unwrap();
        assert_eq!(sampled.len(), params.count());
        for (number, group) in sampled.chunks(params.keep).enumerate() {
            let round = (number / params.anchors_per_round) as u64;
            let noise = Stream::new(11, "sample/noise", 3, round).normals(params.noise_per_round * m);
            let mut all: Vec<f64> = noise
                .chunks(m)
                .map(|e| {
                    let feature = &features[group[0].anchor as usize];
                    let moved: Vec<f64> = feature
                        .iter()
                        .zip(e)
                        .map(|(b, e)| b + f64::from(params.sigma) * f64::from(*e))
                        .collect();
                    let norm = moved.iter().map(|v| v * v).sum::<f64>().sqrt();
                    let vector: Vec<f64> = moved.iter().map(|v| v / norm).collect();
                    brute(&vector, &features, params.k)
                })
                .collect();
            all.sort_by(f64::total_cmp);
            if kind == Side::Outlier {
                all.reverse();
            }
            for (s, best) in group.iter().zip(all) {
                assert_eq!(u64::from(s.round), round);
                assert!((f64::from(s.knn_distance) - best).abs() < 1e-6);
                let itself: Vec<f64> = s.vector.iter().map(|v| f64::from(*v)).collect();
                assert!((brute(&itself, &features, params.k) - best).abs() < 1e-6);
            }
        }
    }
}

#[test]
fn the_result_does_not_depend_on_threads_or_on_the_number_of_rounds() {
    let raw = class_of(60, 24, 0.7);
    let pool = |threads| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap()
    };
    let one = pool(1).install(|| run(&raw, 24, &SMALL)).unwrap();
    assert_eq!(one, pool(5).install(|| run(&raw, 24, &SMALL)).unwrap());
    let fewer = SamplingParams { rounds: 3, ..SMALL };
    assert_eq!(one[..3 * 18], run(&raw, 24, &fewer).unwrap());
    let cut = SamplingParams {
        per_class: Some(25),
        ..SMALL
    };
    assert_eq!(one[..25], run(&raw, 24, &cut).unwrap());
    assert_eq!(cut.rounds_needed(), 2);
}

#[test]
fn upstream_indexing_keeps_ordinary_candidates() {
    let (n, m) = (80, 32);
    let raw = class_of(n, m, 0.7);
    let params = SamplingParams {
        rounds: 10,
        noise_per_round: 200,
        k: 40,
        ..SMALL
    };
    let mean = |knn| {
        let sampled = run(&raw, m, &SamplingParams { knn, ..params }).unwrap();
        sampled.iter().map(|s| s.knn_distance).sum::<f32>() / sampled.len() as f32
    };
    assert!(mean(Knn::Paper) > mean(Knn::Upstream) + 0.01);
}

#[test]
fn equal_features_are_ranked_by_index() {
    // Rows 0 and 1 are one, rows 2 and 3 another, and so on: distances come in equal pairs.
    let rows = class_of(10, 8, 0.9);
    let raw: Vec<f32> = rows.chunks(8).flat_map(|r| [r, r].concat()).collect();
    let order = boundary(&raw, 8, 5, 20, Side::Outlier, 0).unwrap();
    for pair in order.chunks(2) {
        assert_eq!(pair[0] + 1, pair[1]);
        assert_eq!(pair[0] % 2, 0);
    }
}

#[test]
fn bad_features_are_refused_by_name() {
    let good = class_of(20, 8, 0.5);
    let broken = |row: usize, value: f32| {
        let mut raw = good.clone();
        raw[row * 8..(row + 1) * 8].fill(value);
        run(&raw, 8, &SMALL)
    };
    assert_eq!(
        broken(7, f32::NAN),
        Err(OutlierError::NotFinite { class: 3, row: 7 })
    );
    assert_eq!(
        broken(4, f32::INFINITY),
        Err(OutlierError::NotFinite { class: 3, row: 4 })
    );
    assert_eq!(broken(2, 0.0), Err(OutlierError::Zero { class: 3, row: 2 }));
    assert_eq!(run(&[], 8, &SMALL), Err(OutlierError::Empty { class: 3 }));
    assert!(matches!(
        run(&good[1..], 8, &SMALL),
        Err(OutlierError::Shape {
            dimension: 8,
            actual: 159,
            ..
        })
    ));
    assert!(matches!(
        run(&good, 0, &SMALL),
        Err(OutlierError::Shape { dimension: 0, .. })
    ));
    let copies: Vec<f32> = (1..=20)
        .flat_map(|i| good[..8].iter().map(move |v| v * i as f32))
        .collect();
    assert_eq!(
        run(&copies, 8, &SMALL),
        Err(OutlierError::Duplicates { class: 3, n: 20 })
    );
}

#[test]
fn bad_parameters_are_refused_by_name() {
    let good = class_of(20, 8, 0.5);
    let refused = |params: SamplingParams| run(&good, 8, &params).unwrap_err();
    let named = |params: SamplingParams| match refused(params) {
        OutlierError::Parameter { what, .. } => what,
        other => panic!("{other}"),
    };
    assert_eq!(
        refused(SamplingParams { k: 21, ..SMALL }),
        OutlierError::TooFewForK {
            class: 3,
            n: 20,
            k: 21
        }
    );
    assert_eq!(
        refused(SamplingParams { select: 21, ..SMALL }),
        OutlierError::TooFewForSelect {
            class: 3,
            n: 20,
            select: 21
        }
    );
    assert_eq!(named(SamplingParams { k: 0, ..SMALL }), "k");
    assert_eq!(named(SamplingParams { rounds: 0, ..SMALL }), "rounds");
    for sigma in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        assert_eq!(named(SamplingParams { sigma, ..SMALL }), "sigma");
    }
    assert_eq!(named(SamplingParams { keep: 71, ..SMALL }), "keep");
    let more = SamplingParams {
        anchors_per_round: 10,
        ..SMALL
    };
    assert_eq!(named(more), "anchors_per_round");
    let short = SamplingParams {
        per_class: Some(91),
        ..SMALL
    };
    assert_eq!(named(short), "per_class");
}

#[test]
fn progress_counts_rounds_and_cancelling_stops() {
    use std::sync::atomic::{AtomicU64, Ordering};
    let raw = class_of(20, 8, 0.5);
    let rounds = AtomicU64::new(0);
    let count = |n| {
        rounds.fetch_add(n, Ordering::Relaxed);
    };
    let sampling = sampling(&raw, 8, &SMALL);
    sample_class(&Sampling {
        progress: &count,
        ..sampling
    })
    .unwrap();
    assert_eq!(rounds.load(Ordering::Relaxed), 5);
    let stopped = sample_class(&Sampling {
        cancelled: &|| true,
        ..sampling
    });
    assert_eq!(stopped, Err(OutlierError::Cancelled { class: 2 }));
}

#[test]
fn gaussian_vectors_lie_around_the_class_embedding() {
    let raw = class_of(30, 16, 0.5);
    let embedding = class_of(1, 16, 0.1);
    let params = GaussianParams {
        count: 400,
        sigma: 0.05,
        k: 7,
    };
    let sampled = gaussian(&embedding, &raw, &params, 9, 4).unwrap();
    let centre = unit(&embedding);
    let features: Vec<Vec<f64>> = raw.chunks(16).map(unit).collect();
    let mut tangent = 0.0;
    for s in &sampled {
        let vector: Vec<f64> = s.vector.iter().map(|v| f64::from(*v)).collect();
        let cosine: f64 = vector.iter().zip(&centre).map(|(a, b)| a * b).sum();
        tangent += cosine.acos().tan().powi(2) / sampled.len() as f64;
        assert!((brute(&vector, &features, 7) - f64::from(s.knn_distance)).abs() < 2e-6);
        let nearest = brute(&vector, &features, 1);
        assert!((brute(&vector, &features[s.anchor as usize..][..1], 1) - nearest).abs() < 1e-6);
    }
    // 15 coordinates at a right angle to the centre, each of variance sigma^2.
    assert!((tangent / (15.0 * 0.05 * 0.05) - 1.0).abs() < 0.1, "{tangent}");
    let short = GaussianParams { k: 31, ..params };
    assert!(matches!(
        gaussian(&embedding, &raw, &short, 9, 4),
        Err(OutlierError::TooFewForK { .. })
    ));
    assert!(matches!(
        gaussian(&[0.0; 16], &raw, &params, 9, 4),
        Err(OutlierError::Parameter { .. })
    ));
}

#[test]
fn pushed_vectors_lie_at_the_wanted_distance() {
    let raw = class_of(30, 16, 0.4);
    let features: Vec<Vec<f64>> = raw.chunks(16).map(unit).collect();
    let rim = features
        .iter()
        .map(|z| brute(z, &features, 7))
        .fold(0.0, f64::max);
    let params = BeyondParams {
        count: 50,
        k: 7,
        overshoot: 1.1,
    };
    let sampled = beyond(&raw, 16, &params, 9, 4).unwrap();
    assert_eq!(sampled.len(), 50);
    for s in &sampled {
        let vector: Vec<f64> = s.vector.iter().map(|v| f64::from(*v)).collect();
        let distance = brute(&vector, &features, 7);
        assert!((distance - 1.1 * rim).abs() < 1e-4, "{distance} against {rim}");
        assert!((distance - f64::from(s.knn_distance)).abs() < 2e-6);
    }
    let far = BeyondParams {
        overshoot: 50.0,
        ..params
    };
    assert!(matches!(
        beyond(&raw, 16, &far, 9, 4),
        Err(OutlierError::Parameter {
            what: "overshoot",
            ..
        })
    ));
}
