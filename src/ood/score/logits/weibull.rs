//! The Weibull distribution of the largest of many numbers, as libMR fits it for OpenMax.

/// Where libMR moves the smallest number of the tail to before it fits (its early versions, and pytorch-ood:
/// 10,000).
const SHIFT: f64 = 1.0;
/// Halvings of the interval of the shape: beyond what an `f64` tells apart.
const HALVINGS: usize = 200;

/// A Weibull distribution fitted to the tail of a set of numbers by the largest likelihood.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weibull {
    smallest: f64,
    shape: f64,
    scale: f64,
}

impl Weibull {
    /// Returns the distribution of the `tail` largest of `numbers`; none if fewer than two of these differ.
    pub(super) fn of_largest(mut numbers: Vec<f64>, tail: usize) -> Option<Self> {
        numbers.sort_by(|a, b| b.total_cmp(a));
        numbers.truncate(tail);
        let (largest, smallest) = (*numbers.first()?, *numbers.last()?);
        if largest <= smallest {
            return None;
        }
        // Logarithms relative to the largest: powers of them then neither overflow nor all vanish.
        let top = (largest - smallest + SHIFT).ln();
        let log = |x: &f64| (x - smallest + SHIFT).ln() - top;
        let logs: Vec<f64> = numbers.iter().map(log).collect();
        let mean = logs.iter().sum::<f64>() / logs.len() as f64;
        // d/dshape of the log-likelihood is 1 / shape + mean - weighted mean: it falls as the shape grows.
        let slope = |shape: f64| {
            let (mut weights, mut weighted) = (0.0, 0.0);
            for log in &logs {
                let weight = (shape * log).exp();
                weights += weight;
                weighted += weight * log;
            }
            1.0 / shape + mean - weighted / weights
        };
        let (mut low, mut high) = (-20.0_f64, 60.0_f64);
        for _ in 0..HALVINGS {
            let middle = (low + high) / 2.0;
            match slope(middle.exp()) > 0.0 {
                true => low = middle,
                false => high = middle,
            }
        }
        let shape = ((low + high) / 2.0).exp();
        let power = logs.iter().map(|log| (shape * log).exp()).sum::<f64>() / logs.len() as f64;
        Some(Self {
            smallest,
            shape,
            scale: top + power.ln() / shape,
        })
    }

    /// The share of the distribution that lies below `x`.
    pub(super) fn below(&self, x: f64) -> f64 {
        let moved = x - self.smallest + SHIFT;
        if moved <= 0.0 {
            return 0.0;
        }
        let power = (self.shape * (moved.ln() - self.scale)).exp();
        -(-power).exp_m1()
    }
}
