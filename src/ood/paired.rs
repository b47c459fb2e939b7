//! Two methods on the same images: DeLong's test of their AUROCs, and paired bootstrap intervals of any
//! metric.

use rayon::prelude::*;

use super::error::{OodError, check};
use crate::rng::{Stream, domain};

/// The difference of two AUROCs over the same images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DeLong {
    /// AUROC of the first method less that of the second.
    pub difference: f64,
    /// Standard error of the difference.
    pub error: f64,
    /// Two-sided p-value of no difference; 1 where the two methods order the images alike.
    pub p: f64,
}

/// Tests whether two methods have the same AUROC (DeLong, DeLong and Clarke-Pearson, Biometrics 1988, by the
/// midranks of Sun and Xu, IEEE Signal Processing Letters 2014). Of each method, `(ID scores, OOD scores)` of
/// the same images in the same order.
///
/// # Errors
/// NaN, lists of different lengths, or fewer than two images on a side.
pub fn delong(a: (&[f32], &[f32]), b: (&[f32], &[f32])) -> Result<DeLong, OodError> {
    check_pair(a, b)?;
    let (ids, oods) = (a.0.len(), a.1.len());
    if ids < 2 || oods < 2 {
        return Err(OodError::Length {
            what: "a side of the paired test",
            expected: "two at least".to_owned(),
            actual: ids.min(oods),
        });
    }
    let [first, second] = [a, b].map(|(id, ood)| Placements::of(id, ood));
    let difference = first.auroc - second.auroc;
    let over = |a: &[f64], b: &[f64]| {
        let gaps: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / (gaps.len() - 1) as f64
    };
    let variance =
        over(&first.of_id, &second.of_id) / ids as f64 + over(&first.of_ood, &second.of_ood) / oods as f64;
    let error = variance.sqrt();
    let p = match error > 0.0 {
        true => libm::erfc((difference / error).abs() / std::f64::consts::SQRT_2),
        false if difference == 0.0 => 1.0,
        false => 0.0,
    };
    Ok(DeLong { difference, error, p })
}

/// The share of the other side that each image stands on the right side of, ties counted half.
struct Placements {
    of_id: Vec<f64>,
    of_ood: Vec<f64>,
    auroc: f64,
}

impl Placements {
    fn of(id: &[f32], ood: &[f32]) -> Self {
        let sorted = |values: &[f32]| {
            // -0 and 0 are one score.
            let mut values: Vec<f32> = values.iter().map(|value| value + 0.0).collect();
            values.sort_unstable_by(f32::total_cmp);
            values
        };
        let below = |value: f32, others: &[f32]| {
            let less = others.partition_point(|other| *other < value);
            let most = others.partition_point(|other| *other <= value);
            (less + most) as f64 / (2 * others.len()) as f64
        };
        let (ids, oods) = (sorted(id), sorted(ood));
        let of_id: Vec<f64> = id.iter().map(|value| below(*value, &oods)).collect();
        let of_ood = ood.iter().map(|value| 1.0 - below(*value, &ids)).collect();
        Self {
            auroc: of_id.iter().sum::<f64>() / of_id.len() as f64,
            of_id,
            of_ood,
        }
    }
}

fn check_pair(a: (&[f32], &[f32]), b: (&[f32], &[f32])) -> Result<(), OodError> {
    for (id, ood) in [a, b] {
        check("ID scores", id)?;
        check("OOD scores", ood)?;
    }
    for (first, second) in [(a.0, b.0), (a.1, b.1)] {
        if first.len() != second.len() {
            return Err(OodError::Length {
                what: "the second method",
                expected: format!("those of the first, {}", first.len()),
                actual: second.len(),
            });
        }
    }
    Ok(())
}

/// How often images are drawn anew, and by which seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// Draws; 1,000 do for an interval of 95 %.
    pub draws: u32,
    #[expect(missing_docs)]
    pub seed: u64,
}

/// Sides of a comparison, drawn anew: the indices of ID images, then those of each OOD set.
pub type Drawn = Vec<Vec<usize>>;

impl Bootstrap {
    /// Returns the numbers that `of` gives for each draw, with replacement, from sides of `sizes`. Both
    /// methods of a pair see the same images of a draw. The result does not depend on threads.
    ///
    /// # Errors
    /// Those of `of`.
    pub fn each<T: Send, E: Send>(
        self,
        sizes: &[usize],
        of: impl Fn(&Drawn) -> Result<T, E> + Send + Sync,
    ) -> Result<Vec<T>, E> {
        let draw = |number: u32| {
            let side = |(place, size): (usize, &usize)| {
                let mut stream = Stream::new(self.seed, domain::BOOTSTRAP, place as u32, u64::from(number));
                (0..*size).map(|_| stream.below(*size as u32) as usize).collect()
            };
            of(&sizes.iter().enumerate().map(side).collect())
        };
        (0..self.draws).into_par_iter().map(draw).collect()
    }
}

/// Returns the ends of the interval that holds the middle 95 % of bootstrap numbers (Efron's percentiles, by
/// numpy's linear interpolation); none of an empty list.
pub fn interval_95(numbers: &[f64]) -> Option<[f64; 2]> {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let at = |share: f64| {
        let place = share * last as f64;
        let (low, part) = (place.floor() as usize, place.fract());
        sorted[low] + part * (sorted[(low + 1).min(last)] - sorted[low])
    };
    Some([at(0.025), at(0.975)])
}

/// Returns the two-sided p-value of no difference from differences over bootstrap draws: twice the smaller
/// share on one side of zero, with one added to both so that it is never 0 (Davison and Hinkley 1997, section
/// 4.4).
pub fn bootstrap_p(differences: &[f64]) -> f64 {
    let count = |side: fn(&f64) -> bool| differences.iter().filter(|d| side(d)).count() as f64 + 1.0;
    let smaller = count(|d| *d <= 0.0).min(count(|d| *d >= 0.0));
    (2.0 * smaller / (differences.len() as f64 + 1.0)).min(1.0)
}
