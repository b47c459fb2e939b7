//! The metrics of an evaluation, behind the accuracy: of each score those of every OOD set, then their means,
//! which have no data set; and how many images were left out.

use dream_schema::Metric;

use super::work::{ACCURACY, TestSet};
use crate::ood::{self, Convention, Detection};
use crate::stage::StageError;
use crate::stage::metric::MetricName;

/// `values`: of each set those of each score, of each image.
pub(super) fn of(
    sets: &[TestSet],
    scores: &[&str],
    values: &[Vec<Vec<f32>>],
    convention: Convention,
) -> Result<Vec<Metric>, StageError> {
    let mut metrics = Vec::new();
    let mut add = |name: MetricName, set: Option<&TestSet>, score: Option<&str>, value: f64| {
        let index = ACCURACY + 1 + metrics.len() as u64;
        metrics.push(Metric {
            dataset: set.map(|set| set.name.clone()),
            score: score.map(str::to_owned),
            ..name.row(index, value)
        });
    };
    let id = sets.iter().position(|set| set.is_id).unwrap_or_default();
    for (place, score) in scores.iter().enumerate() {
        let of = |set: usize| values[set][place].as_slice();
        let mut found = Vec::new();
        let mut detection = |set: Option<&TestSet>, d: &Detection| {
            add(MetricName::Fpr95, set, Some(score), d.fpr95);
            add(MetricName::Auroc, set, Some(score), d.auroc);
            add(MetricName::AuprIn, set, Some(score), d.aupr_in);
            add(MetricName::AuprOut, set, Some(score), d.aupr_out);
        };
        for (number, set) in sets.iter().enumerate().filter(|(_, set)| !set.is_id) {
            let d = ood::detection(of(id), of(number), convention)?;
            detection(Some(set), &d);
            found.push(d);
        }
        detection(None, &ood::mean(&found)?);
    }
    for set in sets.iter().filter(|set| set.left_out > 0.0) {
        add(MetricName::ImagesLeftOut, Some(set), None, set.left_out);
    }
    Ok(metrics)
}
