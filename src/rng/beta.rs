//! Deviates of the beta distribution.

use super::Stream;

impl Stream {
    /// Returns a number of the distribution Beta(`a`, `b`), both positive, in [0, 1]: of two gamma deviates
    /// the share of the first. They are kept as logarithms, because at small parameters one of them is often
    /// too small for a number.
    pub fn beta(&mut self, a: f64, b: f64) -> f64 {
        let (first, second) = (self.log_gamma_deviate(a), self.log_gamma_deviate(b));
        1.0 / (1.0 + (second - first).exp())
    }

    /// Returns `n` numbers of the symmetric Dirichlet distribution of parameter `a`, which add up to 1.
    pub fn dirichlet(&mut self, a: f64, n: usize) -> Vec<f64> {
        let logs: Vec<f64> = (0..n).map(|_| self.log_gamma_deviate(a)).collect();
        let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let shares: Vec<f64> = logs.iter().map(|log| (log - most).exp()).collect();
        let sum: f64 = shares.iter().sum();
        shares.into_iter().map(|share| share / sum).collect()
    }

    /// Returns the logarithm of a deviate of the distribution Gamma(`shape`, 1): Marsaglia and Tsang, "A
    /// simple method for generating gamma variables", 2000; below a shape of 1 by their power of a uniform
    /// number.
    fn log_gamma_deviate(&mut self, shape: f64) -> f64 {
        // In the middle of its step, so that the logarithm is finite.
        let log_uniform = |stream: &mut Self| (f64::from(stream.uniform()) + 0.5 / 16_777_216.0).ln();
        if shape < 1.0 {
            let power = log_uniform(self) / shape;
            return self.log_gamma_deviate(shape + 1.0) + power;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = f64::from(self.normals(1)[0]);
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && log_uniform(self) < 0.5 * x * x + d * (1.0 - v + v.ln()) {
                return d.ln() + v.ln();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beta_deviates_have_the_moments_of_the_distribution() {
        for (a, b) in [(0.1, 0.1), (1.0, 1.0), (20.0, 20.0), (0.5, 2.0), (3.0, 0.001)] {
            let n = 20_000;
            let draw = |i| Stream::new(5, "test/beta", 0, i).beta(a, b);
            let all: Vec<f64> = (0..n).map(draw).collect();
            assert!(all.iter().all(|x| (0.0..=1.0).contains(x)));
            let mean = all.iter().sum::<f64>() / n as f64;
            let var = all.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
            let sum = a + b;
            let wanted = (a / sum, a * b / (sum * sum * (sum + 1.0)));
            let near = (mean - wanted.0).abs() < 0.01 && (var - wanted.1).abs() < 0.005;
            assert!(near, "{a} {b}: {mean} {var}, not {wanted:?}");
        }
        let shares = Stream::new(5, "test/beta", 1, 0).dirichlet(0.3, 7);
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12 && shares.iter().all(|s| *s >= 0.0));
    }
}
