//! What the stages make, pinned: the ids and digests of the runs of `demo --quick`.
//!
//! A run's id is derived from what was asked, and its digest from what came out. A change of either means
//! that a stored run is no longer what the program would make, so it must be meant: raise the stage's
//! `VERSION`, and renew `tests/fixtures/golden/quick.tsv` with the rows that the failing test prints.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::{demo, json};

const PINNED: &str = include_str!("../fixtures/golden/quick.tsv");

/// Returns id and digest of every run, by its alias.
fn runs(folder: &Path) -> BTreeMap<String, (String, String)> {
    let text = |v: &serde_json::Value, key: &str| v[key].as_str().unwrap_or_default().to_owned();
    json(folder, &["query", "runs", "--limit", "100"])
        .iter()
        .map(|r| (text(r, "alias"), (text(r, "run"), text(r, "digest"))))
        .collect()
}

fn rows(runs: &BTreeMap<String, (String, String)>) -> String {
    runs.iter()
        .map(|(alias, (run, digest))| format!("{alias}\t{run}\t{digest}\n"))
        .collect()
}

/// Sums of floats are rounded differently where the processor fuses a product with a sum: digests of such a
/// processor are pinned, as nearly every processor of today is one.
fn fuses() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

#[test]
fn the_runs_of_the_quick_demo_are_the_pinned_ones() {
    let made = rows(&runs(demo()));
    if fuses() {
        assert_eq!(made, PINNED, "the runs are these now:\n{made}");
    } else {
        // The first run has only exact inputs, so its id is the same everywhere.
        let embed = |rows: &str| {
            rows.lines()
                .find(|l| l.contains("embed"))
                .map(|l| l[..50].to_owned())
        };
        assert_eq!(embed(&made), embed(PINNED));
    }
}
