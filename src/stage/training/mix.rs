//! Training images mixed with each other.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::nn::{self, mix};
use crate::rng::Stream;
use crate::words::words;

words! {
    /// How two pictures are mixed.
    pub enum Mix {
        /// A rectangle of one is laid over the other (CutMix).
        Cutmix = "cutmix",
        /// Pixel by pixel (Mixup).
        Mixup = "mixup",
    }
}

/// See [`Training::mix`](super::Training).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MixImages {
    /// How.
    pub name: Mix,
    /// Both parameters of the beta distribution of the share of the image itself; torchvision's default is 1.
    pub alpha: f64,
}

impl MixImages {
    /// Mixes so, with torchvision's default.
    pub fn new(name: Mix) -> Self {
        Self { name, alpha: 1.0 }
    }

    /// Says what is wrong with the numbers, if anything is.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let within = (1e-3..=1000.0).contains(&self.alpha);
        (!within).then_some("alpha must be 0.001 to 1000, such as 1")
    }
}

impl Mix {
    /// Returns pictures `a` mixed with `b`, both `[n, c, h, w]`, and the share that is left of `a`, which is
    /// drawn from Beta(`alpha`, `alpha`), one for all of them. Of CutMix it is the share of the area that
    /// is not covered, after the rectangle was cut off at the border.
    pub(in crate::stage) fn of(
        self,
        a: &Tensor,
        b: &Tensor,
        alpha: f64,
        stream: &mut Stream,
    ) -> nn::Result<(Tensor, f64)> {
        let share = stream.beta(alpha, alpha);
        match self {
            Self::Mixup => Ok((mix::linear(a, b, share)?, share)),
            Self::Cutmix => {
                let (_, _, height, width) = a.dims4()?;
                let cut = mix::Cut::draw(height, width, share, stream);
                Ok((cut.lay(a, b)?, cut.left(height, width)))
            }
        }
    }
}

impl MixImages {
    /// Returns the images `x` of a batch, each mixed with the one before it (the first with the last), as
    /// torchvision's `MixUp` and `CutMix` do, and the share that is left of the image itself.
    pub(super) fn of(&self, x: &Tensor, stream: &mut Stream) -> nn::Result<(Tensor, f64)> {
        let last = x.dim(0)? - 1;
        let before = Tensor::cat(&[x.narrow(0, last, 1)?, x.narrow(0, 0, last)?], 0)?;
        self.name.of(x, &before, self.alpha, stream)
    }

    /// Returns the labels of the images before those of `labels`.
    pub(super) fn partners(labels: &[u32]) -> Vec<u32> {
        let mut before = labels.to_vec();
        before.rotate_right(1);
        before
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn images_are_mixed_with_those_before_them() {
        let x = Tensor::new(&[0.0_f32, 1.0, 2.0], &Device::Cpu).unwrap();
        let x = x
            .reshape((3, 1, 1, 1))
            .unwrap()
            .broadcast_as((3, 2, 4, 4))
            .unwrap();
        let x = x.contiguous().unwrap();
        assert_eq!(MixImages::partners(&[5, 6, 7]), [7, 5, 6]);
        for name in Mix::ALL {
            let mix = MixImages { name, alpha: 1.0 };
            let (mixed, share) = mix.of(&x, &mut Stream::new(3, "test/mix", 0, 1)).unwrap();
            assert!((0.0..=1.0).contains(&share));
            let means = mixed
                .flatten_from(1)
                .unwrap()
                .mean(1)
                .unwrap()
                .to_vec1::<f32>()
                .unwrap();
            for (mean, (own, other)) in means.iter().zip([(0.0, 2.0), (1.0, 0.0), (2.0, 1.0)]) {
                let expected = share * own + (1.0 - share) * other;
                assert!(
                    (f64::from(*mean) - expected).abs() < 1e-5,
                    "{name}: {means:?}, {share}"
                );
            }
        }
    }
}
