//! Our scores beside the peers'.

use super::fixture::{Case, Expected};
use crate::ood::score::by_name;
use crate::ood::score::shaped::Weiper;

/// How far a score may lie from a peer's, as a share of 1 + its size; and what share of the pictures may lie
/// farther.
fn tolerance(expected: &Expected) -> (f64, f64) {
    match (expected.peer.as_str(), expected.score.as_str()) {
        // libMR's likelihood is at its maximum to about six digits.
        (_, "openmax") => (1e-4, 0.0),
        // OpenOOD multiplies by the inverse covariance in f32.
        ("openood", "mds" | "rmds") => (5e-5, 0.0),
        // Products in f32, on both sides.
        (_, "knn" | "nnguide") => (1e-5, 0.0),
        // A relation at the threshold of 0.03 counts or not by its last bit.
        (_, "relation") => (1e-4, 0.02),
        // A grid: a distance that is one bit off moves a score by one step.
        (_, "cfood") => (1e-6, 0.1),
        // A number at the edge of a bin is in one or the other by its last bit.
        (_, "weiper") => (1e-3, 0.0),
        // OpenOOD's eigenvectors are those of a covariance in f32. The same in f64 is held to the last line.
        ("openood", "vim" | "residual") => (3e-3, 0.0),
        _ => (2e-5, 0.0),
    }
}

/// Cases in which a peer computes something else on purpose, or by a defect that the score's page names.
fn left_out(case: &Case, expected: &Expected) -> bool {
    // 50 steps of L-BFGS do not reach the minimum.
    let early = expected.peer == "pytorch-ood" && expected.score == "temperature";
    // Which of equal features `topk` keeps is left open.
    early || (case.name == "awkward" && expected.score.starts_with("ash"))
}

#[test]
fn scores_are_those_of_the_peers() {
    let mut wrong = Vec::new();
    for case in Case::all() {
        for expected in &case.expected {
            let Some(score) = by_name(&expected.score) else {
                continue;
            };
            if left_out(&case, expected) {
                continue;
            }
            let given: Vec<(&str, f64)> = expected.values.iter().map(|(n, v)| (n.as_str(), *v)).collect();
            let label = format!(
                "{} of {} by {} {given:?}",
                expected.score, case.name, expected.peer
            );
            let values = score.values(&given).unwrap();
            let fitted = match expected.score.as_str() {
                "weiper" => Weiper.fit_perturbed(&values, &case.reference(), &case.perturbed),
                _ => score.fit(&values, &case.reference()),
            };
            let found = fitted.and_then(|fitted| fitted.score(&case.observed("test")));
            let found = found.unwrap_or_else(|error| panic!("{label}: {error}"));
            assert_eq!(found.len(), expected.scores.len(), "{label}");
            assert!(found.iter().all(|score| score.is_finite()), "{label}");
            let (near, share) = tolerance(expected);
            let pairs = found.iter().zip(&expected.scores).enumerate();
            let far: Vec<String> = pairs
                .filter(|(_, (_, peer))| peer.is_finite() && peer.abs() < f32::MAX)
                .filter(|(_, (own, peer))| {
                    let (own, peer) = (f64::from(**own), f64::from(**peer));
                    (own - peer).abs() > near * (1.0 + peer.abs())
                })
                .map(|(row, (own, peer))| format!("{row}: {own} not {peer}"))
                .collect();
            if far.len() as f64 > share * found.len() as f64 {
                let some: Vec<&str> = far.iter().take(4).map(String::as_str).collect();
                wrong.push(format!(
                    "{label}: {} of {}: {}",
                    far.len(),
                    found.len(),
                    some.join("; ")
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
