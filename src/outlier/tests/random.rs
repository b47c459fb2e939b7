//! Random small jobs against brute force in f64.

use proptest::prelude::*;

use super::*;

/// A class of `n` features around `centres` centres, of which the last `copies` are copies of the first ones.
fn random_class(seed: u64, n: usize, m: usize, centres: usize, spread: f32, copies: usize) -> Vec<f32> {
    let middle = Stream::new(seed, "test/centre", 0, 0).normals(centres * m);
    let noise = Stream::new(seed, "test/features", 0, 0).normals(n * m);
    let rows = noise.chunks(m).enumerate().flat_map(|(row, noise)| {
        let centre = &middle[row % centres * m..][..m];
        noise.iter().zip(centre).map(|(e, c)| c + spread * e)
    });
    let mut raw: Vec<f32> = rows.collect();
    let copied = raw[..copies * m].to_vec();
    raw[(n - copies) * m..].copy_from_slice(&copied);
    raw
}

#[derive(Clone, Debug)]
struct Job {
    seed: u64,
    n: usize,
    m: usize,
    centres: usize,
    copies: usize,
    spread: f32,
    params: SamplingParams,
}

/// Any job of up to `n` features that is allowed.
fn jobs(n: usize, noise: usize) -> impl Strategy<Value = Job> {
    let shape = (3..=n, 2..12_usize, 1..4_usize, 0.05..2.0_f32, any::<u64>());
    let shape = shape.prop_flat_map(move |(n, m, centres, spread, seed)| {
        (
            Just((n, m, centres, spread, seed)),
            1..=n,
            1..=n,
            0..=n / 2,
            1..=noise,
        )
    });
    let rest = shape.prop_flat_map(|(shape, k, select, copies, noise)| {
        let last = (1..=select.min(6), 1..=noise.min(4), 0.001..1.5_f32, any::<bool>());
        (Just((shape, k, select, copies, noise)), last)
    });
    rest.prop_map(
        |(((n, m, centres, spread, seed), k, select, copies, noise), last)| {
            let (anchors, keep, sigma, outlier) = last;
            Job {
                seed,
                n,
                m,
                centres,
                copies,
                spread,
                params: SamplingParams {
                    kind: if outlier { Side::Outlier } else { Side::Inlier },
                    // The extremes are the likeliest to be wrong.
                    k: if k % 5 == 0 { n } else { k },
                    select,
                    rounds: 2,
                    noise_per_round: noise,
                    anchors_per_round: anchors,
                    keep,
                    sigma,
                    knn: Knn::Paper,
                    per_class: None,
                },
            }
        },
    )
}

/// Samples, and compares every group with the best of its candidates by brute force.
fn check(job: &Job) {
    let Job { n, m, params, .. } = *job;
    let raw = random_class(job.seed, n, m, job.centres, job.spread, job.copies);
    let sampled = match sample_class(&Sampling {
        seed: job.seed,
        class: 3,
        ..sampling(&raw, m, &params)
    }) {
        Err(OutlierError::Duplicates { .. }) => return,
        other => other.unwrap(),
    };
    assert_eq!(sampled.len(), params.count());
    let features: Vec<Vec<f64>> = raw.chunks(m).map(unit).collect();
    for (number, group) in sampled.chunks(params.keep).enumerate() {
        let round = (number / params.anchors_per_round) as u64;
        let noise = Stream::new(job.seed, "sample/noise", 3, round).normals(params.noise_per_round * m);
        let candidate = |e: &[f32]| {
            let feature = &features[group[0].anchor as usize];
            let pairs = feature.iter().zip(e);
            let moved: Vec<f64> = pairs
                .map(|(b, e)| b + f64::from(params.sigma) * f64::from(*e))
                .collect();
            let norm = squares(&moved).sqrt();
            let noise: Vec<f64> = e.iter().map(|e| f64::from(params.sigma * e)).collect();
            let vector: Vec<f64> = moved.iter().map(|v| v / norm).collect();
            Candidate {
                distance: brute(&vector, &features, params.k),
                vector,
                condition: (1.0 + squares(&noise).sqrt()) / norm,
            }
        };
        let mut candidates: Vec<Candidate> = noise.chunks(m).map(candidate).collect();
        candidates.sort_by(|a, b| a.distance.total_cmp(&b.distance));
        if params.kind == Side::Outlier {
            candidates.reverse();
        }
        let kept = group.iter().map(|s| {
            let near = |c: &&Candidate| {
                c.vector
                    .iter()
                    .zip(&s.vector)
                    .all(|(a, b)| (a - f64::from(*b)).abs() < 1e-6 * c.condition)
            };
            let kept = candidates.iter().find(near);
            kept.unwrap_or_else(|| panic!("no candidate: {job:?}"))
        });
        // Squared distances are what f32 dot products are right about: a small distance has fewer digits.
        let condition = kept
            .chain(&candidates[..params.keep])
            .map(|c| c.condition)
            .fold(1.0, f64::max);
        let tolerance = 4e-6 * condition;
        for (s, best) in group.iter().zip(&candidates) {
            assert_eq!((s.anchor, u64::from(s.round)), (group[0].anchor, round));
            let (distance, best) = (f64::from(s.knn_distance), best.distance);
            assert!(
                (distance.powi(2) - best.powi(2)).abs() < tolerance,
                "{distance} is not {best}: {job:?}"
            );
            let vector: Vec<f64> = s.vector.iter().map(|v| f64::from(*v)).collect();
            let itself = brute(&vector, &features, params.k);
            assert!(
                (distance.powi(2) - itself.powi(2)).abs() < 4e-6,
                "{distance} is not {itself}: {job:?}"
            );
        }
    }
}

/// A vector that might be kept.
struct Candidate {
    vector: Vec<f64>,
    distance: f64,
    /// How much larger a rounding error of its cosines is than one of the products they are the sum of: large
    /// where noise nearly cancels the feature, which in two dimensions happens.
    condition: f64,
}

fn squares(vector: &[f64]) -> f64 {
    vector.iter().map(|v| v * v).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn small_jobs_keep_the_best_by_brute_force(job in jobs(40, 90)) {
        check(&job);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Large enough for most candidates to be put out by a part of the features.
    #[test]
    fn larger_jobs_keep_the_best_by_brute_force(job in jobs(260, 400)) {
        check(&job);
    }
}

/// The shape at which the shortcuts pay, with a boundary set that leads the columns and with one that does
/// not, and with a few features far from all others, as mislabelled pictures are.
#[test]
fn jobs_of_the_paper_in_small_keep_the_best_by_brute_force() {
    for (kind, select, anchors, k) in [
        (Side::Outlier, 10, 10, 180),
        (Side::Outlier, 40, 10, 90),
        (Side::Inlier, 300, 10, 90),
        (Side::Inlier, 10, 10, 250),
    ] {
        for centres in [1, 30] {
            check(&Job {
                seed: 7,
                n: 300,
                m: 40,
                centres,
                copies: 0,
                spread: 0.6,
                params: SamplingParams {
                    kind,
                    k,
                    select,
                    rounds: 1,
                    noise_per_round: 500,
                    anchors_per_round: anchors,
                    keep: 2,
                    sigma: 0.2,
                    knn: Knn::Paper,
                    per_class: None,
                },
            });
        }
    }
}

/// Found by chance: of two candidates close to the point opposite all features, one is where noise nearly
/// cancels the feature.
#[test]
fn a_candidate_that_nearly_cancels_is_right_within_its_rounding() {
    check(&Job {
        seed: 16_629_485_961_303_723_924,
        n: 48,
        m: 2,
        centres: 3,
        copies: 5,
        spread: 0.901_981_7,
        params: SamplingParams {
            kind: Side::Outlier,
            k: 48,
            select: 43,
            rounds: 2,
            noise_per_round: 126,
            anchors_per_round: 3,
            keep: 1,
            sigma: 0.642_796_7,
            knn: Knn::Paper,
            per_class: None,
        },
    });
}
