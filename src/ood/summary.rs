//! A number over seeds.

use crate::words::words;

words! {
    /// Which standard deviation over seeds is meant.
    pub enum Spread {
        /// Of the sample: the sum of squares is divided by one less than the number of seeds.
        Sample = "sample",
        /// Of the population, as numpy's `std` and so OpenOOD's tables: divided by the number of seeds.
        Population = "population",
    }
}

/// Mean and spread of a number over seeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The mean.
    pub mean: f64,
    /// The standard deviation; none for a single seed.
    pub spread: Option<f64>,
}

impl Summary {
    /// Returns mean and sample spread of one or more values; of none, a mean that is NaN and no spread.
    pub fn of(values: &[f64]) -> Self {
        Self::with(values, Spread::Sample)
    }

    /// Returns mean and spread of one or more values; of none, a mean that is NaN and no spread.
    pub fn with(values: &[f64], spread: Spread) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let divisor = match spread {
            Spread::Sample => n - 1.0,
            Spread::Population => n,
        };
        let variance = || values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / divisor;
        Self {
            mean,
            spread: (values.len() > 1).then(|| variance().sqrt()),
        }
    }

    /// Returns a fraction in percent: `86.8`, or `86.8 ± 0.4` over several seeds.
    pub fn percent(&self) -> String {
        match self.spread {
            Some(spread) => format!("{:.1} ± {:.1}", self.mean * 100.0, spread * 100.0),
            None => format!("{:.1}", self.mean * 100.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_have_a_spread_where_there_are_several_seeds() {
        assert_eq!(Summary::of(&[0.868]).percent(), "86.8");
        assert_eq!(Summary::of(&[0.5, 0.7]).percent(), "60.0 ± 14.1");
    }

    #[test]
    fn one_value_has_no_spread() {
        let one = Summary::of(&[2.0]);
        assert_eq!((one.mean, one.spread), (2.0, None));
        let three = Summary::of(&[1.0, 2.0, 6.0]);
        assert_eq!(three.mean, 3.0);
        assert!((three.spread.unwrap() - 7.0_f64.sqrt()).abs() < 1e-12);
        let population = Summary::with(&[1.0, 2.0, 6.0], Spread::Population);
        assert!((population.spread.unwrap() - (14.0_f64 / 3.0).sqrt()).abs() < 1e-12);
    }
}
