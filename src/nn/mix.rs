//! Pictures mixed with pictures: Mixup and CutMix.

use candle_core::Tensor;

use super::Result;
use crate::rng::Stream;

/// Returns `lambda * a + (1 - lambda) * b`, both `[n, c, h, w]`: Zhang et al., "mixup", ICLR 2018.
///
/// # Errors
/// Candle's errors.
pub fn linear(a: &Tensor, b: &Tensor, lambda: f64) -> Result<Tensor> {
    Ok(((a * lambda)? + (b * (1.0 - lambda))?)?)
}

/// A rectangle of a picture: Yun et al., "CutMix", ICCV 2019.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// First row, and the one behind the last.
    pub rows: [usize; 2],
    /// First column, and the one behind the last.
    pub columns: [usize; 2],
}

impl Cut {
    /// Draws a rectangle of the share `1 - lambda` of a picture: its middle is anywhere, and what lies
    /// outside of the picture is cut off, as in the authors' code.
    pub fn draw(height: usize, width: usize, lambda: f64, stream: &mut Stream) -> Self {
        let ratio = (1.0 - lambda).max(0.0).sqrt();
        let mut range = |side: usize| {
            let half = (side as f64 * ratio) as usize / 2;
            let middle = stream.below(side as u32) as usize;
            [middle.saturating_sub(half), (middle + half).min(side)]
        };
        Self {
            columns: range(width),
            rows: range(height),
        }
    }

    /// The share of a picture that is left outside of it.
    pub fn left(&self, height: usize, width: usize) -> f64 {
        let area = (self.rows[1] - self.rows[0]) * (self.columns[1] - self.columns[0]);
        1.0 - area as f64 / (height * width) as f64
    }

    /// Returns pictures `a` with this part of the pictures `b` laid over them, both `[n, c, h, w]`.
    ///
    /// # Errors
    /// Candle's errors.
    pub fn lay(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let (_, _, height, width) = a.dims4()?;
        let inside = |[first, end]: [usize; 2], at: usize| (first..end).contains(&at);
        let mask: Vec<f32> = (0..height * width)
            .map(|at| inside(self.rows, at / width) && inside(self.columns, at % width))
            .map(|inside| if inside { 1.0 } else { 0.0 })
            .collect();
        let mask = Tensor::from_vec(mask, (1, 1, height, width), a.device())?;
        let rest = a.broadcast_mul(&mask.affine(-1.0, 1.0)?)?;
        Ok((rest + b.broadcast_mul(&mask)?)?)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn rectangles_have_their_share_and_lie_inside() {
        let mut area = 0.0;
        for index in 0..2000 {
            let mut stream = Stream::new(1, "test/cut", 0, index);
            let cut = Cut::draw(32, 24, 0.75, &mut stream);
            assert!(cut.rows[1] <= 32 && cut.columns[1] <= 24);
            let left = cut.left(32, 24);
            assert!((0.75..=1.0).contains(&left), "{left}");
            area += 1.0 - left;
        }
        // A quarter, less what is cut off at the border: 0.25 * (1 - 1/8)^2.
        assert!((area / 2000.0 - 0.1914).abs() < 0.006, "{}", area / 2000.0);
        let mut stream = Stream::new(1, "test/cut", 0, 0);
        assert_eq!(Cut::draw(8, 8, 1.0, &mut stream).left(8, 8), 1.0);
    }

    #[test]
    fn a_cut_is_laid_over_the_picture() {
        let (a, b) = (
            Tensor::zeros((1, 2, 3, 4), candle_core::DType::F32, &Device::Cpu).unwrap(),
            Tensor::ones((1, 2, 3, 4), candle_core::DType::F32, &Device::Cpu).unwrap(),
        );
        let cut = Cut {
            rows: [1, 3],
            columns: [0, 2],
        };
        let plane = [[0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]].concat();
        let mixed = cut.lay(&a, &b).unwrap().flatten_all().unwrap();
        assert_eq!(mixed.to_vec1::<f32>().unwrap(), [plane.clone(), plane].concat());
        assert_eq!(cut.left(3, 4), 1.0 - 4.0 / 12.0);
        let half = linear(&a, &b, 0.25).unwrap().flatten_all().unwrap();
        assert_eq!(half.to_vec1::<f32>().unwrap(), [0.75; 24]);
    }
}
