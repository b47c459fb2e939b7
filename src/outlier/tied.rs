//! Gaussians of classes with one covariance, and their least likely points: VOS (Du et al., "VOS: Learning
//! What You Don't Know by Virtual Outlier Synthesis", ICLR 2022, Sec. 3.1).

use faer::{Mat, Side};

use super::error::{OutlierError, require_counts};
use crate::rng::Stream;

/// A Gaussian for each class: a mean of its own, and the covariance that all of them share.
#[derive(Clone, Debug)]
pub struct TiedGaussians {
    /// `[classes, m]`.
    means: Vec<f32>,
    m: usize,
    /// The lower triangular factor of the covariance, `[m, m]`.
    factor: Vec<f32>,
}

impl TiedGaussians {
    /// Fits the Gaussians to the features of each class, `[n, m]`: the covariance is the mean of the outer
    /// products of what lies between features and their means, to whose diagonal `ridge` is added.
    ///
    /// # Errors
    /// A class without features, or features that are not finite.
    pub fn fit(classes: &[Vec<f32>], m: usize, ridge: f64) -> Result<Self, OutlierError> {
        require_counts(&[("the width of features", m)])?;
        let mut means = Vec::with_capacity(classes.len() * m);
        let count: usize = classes.iter().map(|class| class.len() / m).sum();
        let mut centred = Mat::<f64>::zeros(count, m);
        let mut row = 0;
        for (number, features) in classes.iter().enumerate() {
            let class = number as u32;
            let n = features.len() / m;
            if n == 0 {
                return Err(OutlierError::TooFewForK { class, n, k: 1 });
            }
            let mut mean = vec![0.0_f64; m];
            for feature in features.chunks_exact(m) {
                mean.iter_mut()
                    .zip(feature)
                    .for_each(|(sum, v)| *sum += f64::from(*v));
            }
            mean.iter_mut().for_each(|sum| *sum /= n as f64);
            for feature in features.chunks_exact(m) {
                for (column, (value, mean)) in feature.iter().zip(&mean).enumerate() {
                    centred[(row, column)] = f64::from(*value) - mean;
                }
                row += 1;
            }
            means.extend(mean.iter().map(|v| *v as f32));
        }
        let mut covariance = centred.transpose() * &centred;
        for column in 0..m {
            for row in 0..m {
                covariance[(row, column)] /= count as f64;
            }
            covariance[(column, column)] += ridge;
        }
        let factor = covariance.llt(Side::Lower).map_err(|_| OutlierError::Singular)?;
        let lower = factor.L();
        let factor = (0..m * m).map(|at| lower[(at / m, at % m)] as f32).collect();
        Ok(Self { means, m, factor })
    }

    /// Returns the `select` least likely of `candidates` points of a class, the least likely first, `[select,
    /// m]`. Of points `mean + L e` these are the ones with the longest `e`, so that no density is computed.
    pub fn least_likely(
        &self,
        class: usize,
        candidates: usize,
        select: usize,
        stream: &mut Stream,
    ) -> Vec<f32> {
        let m = self.m;
        // The longest so far, the shortest of them last.
        let mut kept: Vec<(f32, Vec<f32>)> = Vec::with_capacity(select + 1);
        let mut noise = vec![0.0; m];
        for _ in 0..candidates {
            stream.fill_normal(&mut noise);
            let length: f32 = noise.iter().map(|e| e * e).sum();
            if kept.len() == select && kept.last().is_some_and(|(least, _)| *least >= length) {
                continue;
            }
            let place = kept.partition_point(|(longer, _)| *longer >= length);
            kept.insert(place, (length, noise.clone()));
            kept.truncate(select);
        }
        let mean = &self.means[class * m..][..m];
        let point = |(_, noise): &(f32, Vec<f32>)| {
            let coordinate = |(row, mean): (usize, &f32)| {
                let factor = &self.factor[row * m..][..=row];
                mean + factor.iter().zip(noise).map(|(l, e)| l * e).sum::<f32>()
            };
            mean.iter().enumerate().map(coordinate).collect::<Vec<f32>>()
        };
        kept.iter().flat_map(point).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two classes around 1 and -1 with the covariance [[1, 0.6], [0.6, 0.5]].
    fn classes() -> Vec<Vec<f32>> {
        let class = |class: u32| {
            let centre = if class == 0 { 1.0 } else { -1.0 };
            let e = Stream::new(3, "test/tied", class, 0).normals(8000);
            let point = |e: &[f32]| [centre + e[0], centre + 0.6 * e[0] + 0.374_165_74 * e[1]];
            e.chunks_exact(2).flat_map(point).collect()
        };
        vec![class(0), class(1)]
    }

    #[test]
    fn the_covariance_is_that_of_the_classes() {
        let fitted = TiedGaussians::fit(&classes(), 2, 0.0).unwrap();
        let [a, b, c, d]: [f32; 4] = fitted.factor.clone().try_into().unwrap();
        let covariance = [a * a, a * c, c * c + d * d];
        for (found, expected) in covariance.into_iter().zip([1.0, 0.6, 0.5]) {
            assert!((found - expected).abs() < 0.03, "{covariance:?}");
        }
        assert_eq!(b, 0.0);
        assert!((fitted.means[0] - 1.0).abs() < 0.05 && (fitted.means[3] + 1.0).abs() < 0.05);
        let flat = vec![vec![1.0; 8], vec![2.0; 8]];
        assert!(TiedGaussians::fit(&flat, 2, 0.0).is_err());
        TiedGaussians::fit(&flat, 2, 1e-4).unwrap();
        assert!(TiedGaussians::fit(&[vec![]], 2, 1.0).is_err());
    }

    #[test]
    fn the_least_likely_points_have_the_greatest_mahalanobis_distances() {
        let fitted = TiedGaussians::fit(&classes(), 2, 0.0).unwrap();
        let draw = |candidates, select| {
            let mut stream = Stream::new(1, "test/tied", 9, 0);
            fitted.least_likely(1, candidates, select, &mut stream)
        };
        let distance = |point: &[f32]| {
            let [a, _, c, d]: [f32; 4] = fitted.factor.clone().try_into().unwrap();
            let first = (point[0] - fitted.means[2]) / a;
            let second = (point[1] - fitted.means[3] - c * first) / d;
            first * first + second * second
        };
        let all: Vec<f32> = draw(500, 500).chunks_exact(2).map(distance).collect();
        assert!(all.is_sorted_by(|a, b| *a >= b - 1e-3), "{all:?}");
        let best: Vec<f32> = draw(500, 3).chunks_exact(2).map(distance).collect();
        assert_eq!(best, all[..3]);
        assert!(best[0] > 9.0, "{best:?}");
    }
}
