//! Histograms of the numbers of a row, and how far apart two are.

/// Bins of equal width between the smallest and the largest number of the training set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bins {
    low: f32,
    high: f32,
    count: usize,
}

impl Bins {
    pub(super) fn new(low: f32, high: f32, count: usize) -> Self {
        Self { low, high, count }
    }

    /// The share of `values` in each bin; those outside count for none.
    pub(super) fn shares(&self, values: &[f32]) -> Vec<f64> {
        let mut counts = vec![0_u32; self.count];
        let scale = self.count as f32 / (self.high - self.low);
        for value in values
            .iter()
            .filter(|value| **value >= self.low && **value < self.high)
        {
            let bin = ((value - self.low) * scale) as usize;
            counts[bin.min(self.count - 1)] += 1;
        }
        let all = values.len() as f64;
        counts.into_iter().map(|count| f64::from(count) / all).collect()
    }
}

/// The mean of each `width` neighbours; beyond the ends the last values go on.
fn smoothed(shares: &[f64], width: usize) -> Vec<f64> {
    let before = (width - 1) / 2;
    let last = shares.len() - 1;
    let at = |i: usize| {
        let around = (0..width).map(|j| shares[(i + j).saturating_sub(before).min(last)]);
        around.sum::<f64>() / width as f64
    };
    (0..shares.len()).map(at).collect()
}

/// The sum of both Kullback-Leibler divergences between the training set's mean histogram and a smoothed one,
/// `least` added to each share of both.
pub(super) fn divergence(train: &[f64], shares: &[f64], smoothing: usize, least: f64) -> f64 {
    let normal = |shares: &[f64]| {
        let raised: Vec<f64> = shares.iter().map(|share| share + least).collect();
        let sum: f64 = raised.iter().sum();
        raised
            .into_iter()
            .map(move |share| share / sum)
            .collect::<Vec<f64>>()
    };
    let (p, q) = (normal(train), normal(&smoothed(shares, smoothing)));
    p.iter().zip(&q).map(|(p, q)| (p - q) * (p / q).ln()).sum()
}
