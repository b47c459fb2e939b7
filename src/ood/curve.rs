//! The counts behind ROC and precision-recall curves: one point per distinct score, highest score first.

use std::cmp::Ordering;
use std::ops::{Add, Neg};

/// A floating-point number that samples are ordered by.
pub trait Threshold: Copy + Default + PartialOrd + Add<Output = Self> + Neg<Output = Self> {
    /// Returns the total order of IEEE 754.
    fn total_cmp(&self, other: &Self) -> Ordering;

    /// Says whether it is no number.
    fn is_nan(self) -> bool;
}

macro_rules! threshold {
    ($($float:ty),+) => {
        $(impl Threshold for $float {
            fn total_cmp(&self, other: &Self) -> Ordering {
                <$float>::total_cmp(self, other)
            }

            fn is_nan(self) -> bool {
                <$float>::is_nan(self)
            }
        })+
    };
}

threshold!(f32, f64);

/// Positives and negatives at or above one threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    /// Positives at or above the threshold.
    pub tp: u64,
    /// Negatives at or above the threshold.
    pub fp: u64,
}

/// Returns the points of every distinct score, from the strictest threshold to the one that accepts all.
///
/// Both lists are not empty and hold no NaN; -0 and 0 are one score.
pub(super) fn points<T: Threshold>(positives: &[T], negatives: &[T]) -> Vec<Point> {
    let sorted = |values: &[T]| {
        // Adding zero turns -0 into 0, so that the total order puts both at one place.
        let mut values: Vec<T> = values.iter().map(|v| *v + T::default()).collect();
        values.sort_unstable_by(|a, b| b.total_cmp(a));
        values
    };
    let (positives, negatives) = (sorted(positives), sorted(negatives));
    let (mut p, mut n) = (positives.iter().peekable(), negatives.iter().peekable());
    let mut point = Point { tp: 0, fp: 0 };
    let mut points = Vec::new();
    loop {
        let threshold = match (p.peek(), n.peek()) {
            (Some(a), Some(b)) if a > b => **a,
            (Some(_), Some(b)) => **b,
            (Some(a), None) => **a,
            (None, Some(b)) => **b,
            (None, None) => return points,
        };
        while p.next_if(|v| **v == threshold).is_some() {
            point.tp += 1;
        }
        while n.next_if(|v| **v == threshold).is_some() {
            point.fp += 1;
        }
        points.push(point);
    }
}

/// Drops inner points that lie on the straight line through equal steps to both neighbours, as scikit-learn's
/// `roc_curve` does by default (`drop_intermediate`). With ties on both sides this moves the FPR at a given
/// TPR.
pub(super) fn drop_intermediate(points: &[Point]) -> Vec<Point> {
    let last = points.len().saturating_sub(1);
    let bent = |a: u64, b: u64, c: u64| c - b != b - a;
    let corner = |i: usize| match points.get(i.wrapping_sub(1)..=i + 1) {
        Some([a, b, c]) => bent(a.tp, b.tp, c.tp) || bent(a.fp, b.fp, c.fp),
        _ => true,
    };
    let kept = points.iter().enumerate();
    kept.filter(|(i, _)| *i == 0 || *i == last || corner(*i))
        .map(|(_, p)| *p)
        .collect()
}
