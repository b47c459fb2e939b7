//! Metrics that also look at whether the classifier is right: what is lost by rejecting images.

use super::curve::{Threshold, points};
use super::error::{OodError, check};
use super::metric::auroc;

fn check_right<T: Threshold>(id: &[T], right: &[bool]) -> Result<(), OodError> {
    check("ID scores", id)?;
    match id.len() == right.len() {
        true => Ok(()),
        false => Err(OodError::Length {
            what: "marks of right predictions",
            expected: id.len().to_string(),
            actual: right.len(),
        }),
    }
}

/// Returns the correct classification rate at a false positive rate: the share of all ID images that are
/// classified rightly and score above the threshold that lets at most `fpr` of the OOD images pass (Dhamija
/// et al., *Reducing Network Agnostophobia*, NeurIPS 2018; the threshold as in OpenOOD: the OOD score of rank
/// `ceil(fpr * n)`, and an ID score must be larger).
///
/// # Errors
/// Empty lists, NaN, lengths that do not fit, or an `fpr` outside (0, 1].
pub fn ccr_at_fpr<T: Threshold>(id: &[T], right: &[bool], ood: &[T], fpr: f64) -> Result<f64, OodError> {
    check_right(id, right)?;
    check("OOD scores", ood)?;
    if !(fpr > 0.0 && fpr <= 1.0) {
        return Err(OodError::Range {
            what: "the false positive rate",
            expected: "above 0 and at most 1",
            actual: fpr,
        });
    }
    let mut sorted = ood.to_vec();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    let rank = ((fpr * ood.len() as f64).ceil() as usize).clamp(1, ood.len());
    let threshold = sorted[rank - 1];
    let kept = id
        .iter()
        .zip(right)
        .filter(|(score, right)| **right && **score > threshold);
    Ok(kept.count() as f64 / id.len() as f64)
}

/// Returns the area under the risk-coverage curve (Geifman and El-Yaniv, NeurIPS 2017): the mean over k of
/// the share of wrong predictions among the k images of the highest scores. Of images with equal scores, it
/// is the mean over all orders.
///
/// # Errors
/// Empty lists, NaN, or lengths that do not fit.
pub fn aurc<T: Threshold>(id: &[T], right: &[bool]) -> Result<f64, OodError> {
    check_right(id, right)?;
    let of = |wanted: bool| -> Vec<T> {
        let known = id.iter().zip(right).filter(|(_, right)| **right == wanted);
        known.map(|(score, _)| *score).collect()
    };
    // A point holds the right and the wrong predictions at or above a threshold.
    let (mut kept, mut wrong, mut risk) = (0_u64, 0_u64, 0.0);
    for point in points(&of(true), &of(false)) {
        let (count, errors) = (point.tp + point.fp - kept, point.fp - wrong);
        let share = errors as f64 / count as f64;
        risk += (1..=count)
            .map(|more| (wrong as f64 + share * more as f64) / (kept + more) as f64)
            .sum::<f64>();
        (kept, wrong) = (kept + count, point.fp);
    }
    Ok(risk / id.len() as f64)
}

/// Returns the AUROC of telling rightly classified ID images from wrongly classified ones by their scores
/// (Hendrycks and Gimpel, ICLR 2017); none where all are right, or all wrong.
///
/// # Errors
/// Empty lists, NaN, or lengths that do not fit.
pub fn misclassification_auroc<T: Threshold>(id: &[T], right: &[bool]) -> Result<Option<f64>, OodError> {
    check_right(id, right)?;
    let known = || id.iter().zip(right);
    let found: Vec<T> = known()
        .filter(|(_, right)| **right)
        .map(|(score, _)| *score)
        .collect();
    let missed: Vec<T> = known()
        .filter(|(_, right)| !**right)
        .map(|(score, _)| *score)
        .collect();
    if found.is_empty() || missed.is_empty() {
        return Ok(None);
    }
    auroc(&found, &missed).map(Some)
}

/// Returns the detection error: the least mean of the share of ID images that are rejected and the share of
/// OOD images that are accepted, over all thresholds (Liang et al., *ODIN*, ICLR 2018, with both sides as
/// likely). One less it is the detection accuracy of Lee et al. (NeurIPS 2018).
///
/// # Errors
/// Empty lists or NaN.
pub fn detection_error<T: Threshold>(id: &[T], ood: &[T]) -> Result<f64, OodError> {
    check("ID scores", id)?;
    check("OOD scores", ood)?;
    let (ids, oods) = (id.len() as f64, ood.len() as f64);
    let error = |tp: u64, fp: u64| 0.5 * ((ids - tp as f64) / ids + fp as f64 / oods);
    let all = points(id, ood).into_iter().map(|point| error(point.tp, point.fp));
    Ok(all.fold(0.5, f64::min))
}
