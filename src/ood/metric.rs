//! AUROC, FPR at a TPR, AUPR and accuracy, in the conventions of three toolkits.

use super::curve::{Point, Threshold, drop_intermediate, points};
use super::error::{OodError, check, check_logits};
use crate::words::words;

words! {
    /// Whose convention a number follows. AUROC is the same in all three; FPR95 and AUPR are not.
    pub enum Convention {
        /// DREAM-OOD's public code (and Outlier Exposure's before it): ID is positive; FPR is taken at the
        /// threshold whose recall is *nearest* the wanted one, the higher recall if two are equally near, the
        /// lower threshold among equal recalls; AUPR is the step sum (scikit-learn's
        /// `average_precision_score`). The public code reports `aupr_in` alone.
        DreamOod = "dream-ood",
        /// OpenOOD v1.5: OOD is positive; FPR is taken at the first point of scikit-learn's `roc_curve`,
        /// collinear points dropped, whose TPR reaches the wanted one; AUPR is the trapezoid under
        /// `precision_recall_curve`.
        OpenOod = "openood",
        /// pytorch-ood: OOD is positive; FPR is taken at the first threshold whose TPR reaches the wanted
        /// one; AUPR is the trapezoid.
        PytorchOod = "pytorch-ood",
    }
}

impl Convention {
    /// Returns how the convention integrates a precision-recall curve.
    pub fn interpolation(self) -> Interpolation {
        match self {
            Self::DreamOod => Interpolation::Step,
            Self::OpenOod | Self::PytorchOod => Interpolation::Trapezoid,
        }
    }
}

/// Which side counts as positive in a precision-recall curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Positive {
    /// ID samples: AUPR_IN.
    Id,
    /// OOD samples, with the scores negated: AUPR_OUT.
    Ood,
}

/// How the area under a precision-recall curve is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interpolation {
    /// Sum of (recall step) * (precision at its end): average precision.
    Step,
    /// Straight lines between points, from (recall 0, precision 1): optimistic where few scores differ.
    Trapezoid,
}

/// The usual four numbers of a score on one OOD set, as fractions (not percent).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// False positive rate at a true positive rate of 0.95.
    pub fpr95: f64,
    /// Area under the ROC curve.
    pub auroc: f64,
    /// Area under the precision-recall curve with ID positive.
    pub aupr_in: f64,
    /// Area under the precision-recall curve with OOD positive.
    pub aupr_out: f64,
}

fn check_both<T: Threshold>(id: &[T], ood: &[T]) -> Result<(), OodError> {
    check("ID scores", id)?;
    check("OOD scores", ood)
}

fn negated<T: Threshold>(values: &[T]) -> Vec<T> {
    values.iter().map(|v| -*v).collect()
}

/// Returns the area under the ROC curve: the probability that an ID sample scores higher than an OOD one,
/// ties counted half. Pairs are counted exactly in integers.
///
/// # Errors
/// Empty lists or NaN.
pub fn auroc<T: Threshold>(id: &[T], ood: &[T]) -> Result<f64, OodError> {
    check_both(id, ood)?;
    let mut before = Point { tp: 0, fp: 0 };
    // Twice the number of ordered pairs: 2 for each pair in order, 1 for each tie. Below 2^128 for any list
    // in memory.
    let mut twice = 0_u128;
    for point in points(id, ood) {
        twice += u128::from(point.fp - before.fp) * u128::from(before.tp + point.tp);
        before = point;
    }
    Ok(twice as f64 / (2 * id.len() as u128 * ood.len() as u128) as f64)
}

/// Returns the points of the ROC curve with ID positive, from `[0, 0]` to `[1, 1]`: the shares of OOD and of
/// ID samples at or above each threshold.
///
/// # Errors
/// Empty lists or NaN.
pub fn roc<T: Threshold>(id: &[T], ood: &[T]) -> Result<Vec<[f64; 2]>, OodError> {
    check_both(id, ood)?;
    let share = |point: Point| {
        [
            point.fp as f64 / ood.len() as f64,
            point.tp as f64 / id.len() as f64,
        ]
    };
    let start = std::iter::once([0.0; 2]);
    Ok(start.chain(points(id, ood).into_iter().map(share)).collect())
}

/// Returns the false positive rate where the true positive rate is `tpr`. What counts as positive, and which
/// threshold is taken, is said at each [`Convention`].
///
/// # Errors
/// Empty lists, NaN, or a `tpr` outside (0, 1].
pub fn fpr_at_tpr<T: Threshold>(
    id: &[T],
    ood: &[T],
    tpr: f64,
    convention: Convention,
) -> Result<f64, OodError> {
    check_both(id, ood)?;
    if !(tpr > 0.0 && tpr <= 1.0) {
        return Err(OodError::Range {
            what: "the true positive rate",
            expected: "above 0 and at most 1",
            actual: tpr,
        });
    }
    let (curve, positives, negatives) = match convention {
        Convention::DreamOod => (points(id, ood), id.len(), ood.len()),
        Convention::OpenOod => (
            drop_intermediate(&points(&negated(ood), &negated(id))),
            ood.len(),
            id.len(),
        ),
        Convention::PytorchOod => (points(&negated(ood), &negated(id)), ood.len(), id.len()),
    };
    let recall = |point: &Point| point.tp as f64 / positives as f64;
    let chosen = match convention {
        Convention::DreamOod => {
            // Points past the first with full recall only add false positives. Of equally near ones, `min_by`
            // takes the first, and they come with falling recall.
            let end = curve.partition_point(|p| p.tp < positives as u64) + 1;
            let near = curve.iter().take(end).rev();
            near.min_by(|a, b| (recall(a) - tpr).abs().total_cmp(&(recall(b) - tpr).abs()))
        }
        Convention::OpenOod | Convention::PytorchOod => curve.iter().find(|p| recall(p) >= tpr),
    };
    // The last point accepts every sample, so its recall is 1 and one is always found.
    Ok(chosen.map_or(1.0, |point| point.fp as f64 / negatives as f64))
}

/// Returns the area under the precision-recall curve of `positive`, by `interpolation`.
///
/// # Errors
/// Empty lists or NaN.
pub fn aupr<T: Threshold>(
    id: &[T],
    ood: &[T],
    positive: Positive,
    interpolation: Interpolation,
) -> Result<f64, OodError> {
    check_both(id, ood)?;
    let (curve, positives) = match positive {
        Positive::Id => (points(id, ood), id.len()),
        Positive::Ood => (points(&negated(ood), &negated(id)), ood.len()),
    };
    let (mut recall, mut precision, mut area) = (0.0, 1.0, 0.0);
    for point in curve {
        let next_recall = point.tp as f64 / positives as f64;
        let next_precision = point.tp as f64 / (point.tp + point.fp) as f64;
        let height = match interpolation {
            Interpolation::Step => next_precision,
            Interpolation::Trapezoid => 0.5 * (precision + next_precision),
        };
        area += (next_recall - recall) * height;
        (recall, precision) = (next_recall, next_precision);
    }
    Ok(area)
}

/// Returns FPR95, AUROC and both AUPRs by `convention`.
///
/// # Errors
/// Empty lists or NaN.
pub fn detection(id: &[f32], ood: &[f32], convention: Convention) -> Result<Detection, OodError> {
    let interpolation = convention.interpolation();
    Ok(Detection {
        fpr95: fpr_at_tpr(id, ood, 0.95, convention)?,
        auroc: auroc(id, ood)?,
        aupr_in: aupr(id, ood, Positive::Id, interpolation)?,
        aupr_out: aupr(id, ood, Positive::Ood, interpolation)?,
    })
}

/// Returns the mean of each number over data sets, as result tables end with (OpenOOD's nearood and farood
/// rows).
///
/// # Errors
/// An empty list.
pub fn mean(rows: &[Detection]) -> Result<Detection, OodError> {
    if rows.is_empty() {
        return Err(OodError::Empty {
            what: "detection results",
        });
    }
    let mean = |of: fn(&Detection) -> f64| rows.iter().map(of).sum::<f64>() / rows.len() as f64;
    Ok(Detection {
        fpr95: mean(|d| d.fpr95),
        auroc: mean(|d| d.auroc),
        aupr_in: mean(|d| d.aupr_in),
        aupr_out: mean(|d| d.aupr_out),
    })
}

/// Returns the class with the largest logit of each row of `logits` (`[n, classes]`), the lowest class among
/// equals.
///
/// # Errors
/// Empty or NaN logits, or a length that is not a multiple of `classes`.
pub fn predictions(logits: &[f32], classes: usize) -> Result<Vec<u32>, OodError> {
    check_logits(logits, classes)?;
    let best = |row: &[f32]| {
        let start = (0, f32::NEG_INFINITY);
        let pick = |best: (u32, f32), (class, x): (usize, &f32)| {
            if *x > best.1 { (class as u32, *x) } else { best }
        };
        row.iter().enumerate().fold(start, pick).0
    };
    Ok(logits.chunks_exact(classes).map(best).collect())
}

/// Returns the share of samples whose largest logit is that of their label. `logits` is `[n, classes]`,
/// `labels` `[n]`.
///
/// # Errors
/// Empty or NaN logits, lengths that do not fit, or a label that is no class.
pub fn accuracy(logits: &[f32], classes: usize, labels: &[u32]) -> Result<f64, OodError> {
    let predicted = predictions(logits, classes)?;
    if labels.len() != predicted.len() {
        return Err(OodError::Length {
            what: "labels",
            expected: predicted.len().to_string(),
            actual: labels.len(),
        });
    }
    if let Some(index) = labels.iter().position(|l| *l as usize >= classes) {
        // `index` comes from `position` in the same list.
        let label = labels[index];
        return Err(OodError::Label {
            index,
            label,
            classes,
        });
    }
    let right = predicted.iter().zip(labels).filter(|(p, l)| p == l).count();
    Ok(right as f64 / labels.len() as f64)
}
