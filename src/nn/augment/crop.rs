//! The random part of a picture that a training step sees: torchvision's `RandomResizedCrop`.

use serde::{Deserialize, Serialize};

use super::Draw;
use crate::rng::domain;

/// A random part of a picture, to be scaled to the network's size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResizedCrop {
    /// Least and greatest share of the picture's area: 0.08 and 1 in torchvision.
    pub scale: [f64; 2],
    /// Least and greatest width over height: 3/4 and 4/3 in torchvision.
    pub ratio: [f64; 2],
}

/// Draws before the middle is taken.
const TRIES: usize = 10;

impl ResizedCrop {
    /// Says what is wrong with the ranges, if anything is.
    pub fn fault(&self) -> Option<&'static str> {
        let ([least, most], [narrow, wide]) = (self.scale, self.ratio);
        if !(least > 0.0 && least <= most && most <= 1.0) {
            Some("scale must be two ascending shares of the area, above 0 and 1 at most")
        } else if !(narrow >= 0.01 && narrow <= wide && wide <= 100.0) {
            Some("ratio must be two ascending numbers from 0.01 to 100")
        } else {
            None
        }
    }

    /// Returns the part of a picture of `width` x `height` pixels: its first column and row, its width and
    /// height.
    ///
    /// Area and logarithm of the ratio are uniform; a part that does not fit is drawn again, ten times at
    /// most; then it is the largest part in the middle with a ratio in the range, as in torchvision.
    pub fn window(&self, width: usize, height: usize, draw: Draw) -> [usize; 4] {
        let mut stream = draw.stream(domain::AUGMENT_RESIZED_CROP);
        let mut uniform = |[low, high]: [f64; 2]| low + (high - low) * f64::from(stream.uniform());
        let area = (width * height) as f64;
        let mut found = None;
        for _ in 0..TRIES {
            let target = area * uniform(self.scale);
            let ratio = uniform(self.ratio.map(f64::ln)).exp();
            let w = (target * ratio).sqrt().round_ties_even() as usize;
            let h = (target / ratio).sqrt().round_ties_even() as usize;
            if (1..=width).contains(&w) && (1..=height).contains(&h) {
                found = Some((w, h));
                break;
            }
        }
        if let Some((w, h)) = found {
            let y = stream.below((height - h + 1) as u32) as usize;
            let x = stream.below((width - w + 1) as u32) as usize;
            return [x, y, w, h];
        }
        let ratio = width as f64 / height as f64;
        let [narrow, wide] = self.ratio;
        let (w, h) = if ratio < narrow {
            (width, (width as f64 / narrow).round_ties_even() as usize)
        } else if ratio > wide {
            ((height as f64 * wide).round_ties_even() as usize, height)
        } else {
            (width, height)
        };
        let (w, h) = (w.clamp(1, width), h.clamp(1, height));
        [(width - w) / 2, (height - h) / 2, w, h]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGENET: ResizedCrop = ResizedCrop {
        scale: [0.08, 1.0],
        ratio: [0.75, 4.0 / 3.0],
    };

    fn draw(sample: u32) -> Draw {
        Draw {
            seed: 5,
            epoch: 1,
            sample,
        }
    }

    #[test]
    fn parts_have_the_areas_and_ratios_of_their_ranges() {
        let (width, height) = (500, 375);
        let parts: Vec<[usize; 4]> = (0..2000)
            .map(|i| IMAGENET.window(width, height, draw(i)))
            .collect();
        let (mut area, mut log_ratio, mut left) = (0.0, 0.0, 0);
        for [x, y, w, h] in &parts {
            assert!(x + w <= width && y + h <= height && *w > 0 && *h > 0);
            let share = (w * h) as f64 / (width * height) as f64;
            let ratio = *w as f64 / *h as f64;
            // Rounding to whole pixels goes a little beyond the ranges.
            assert!((0.078..=1.0).contains(&share), "{share}");
            assert!((0.74..=1.35).contains(&ratio), "{ratio}");
            area += share;
            log_ratio += ratio.ln();
            left += usize::from(x + w / 2 < width / 2);
        }
        // torchvision 0.29's own means on this size over 20,000 draws: area 0.4348, logarithm of the ratio
        // 0.0315.
        assert!((area / 2000.0 - 0.4348).abs() < 0.02, "{}", area / 2000.0);
        assert!(
            (log_ratio / 2000.0 - 0.0315).abs() < 0.015,
            "{}",
            log_ratio / 2000.0
        );
        assert!((800..1200).contains(&left), "{left}");
        assert_eq!(parts[7], IMAGENET.window(width, height, draw(7)));
        assert_ne!(parts[7], parts[8]);
    }

    #[test]
    fn what_never_fits_is_the_middle() {
        assert_eq!(IMAGENET.window(1000, 10, draw(0)), [493, 0, 13, 10]);
        assert_eq!(IMAGENET.window(10, 1000, draw(0)), [0, 493, 10, 13]);
        assert_eq!(IMAGENET.window(1, 1, draw(3)), [0, 0, 1, 1]);
        let whole = ResizedCrop {
            scale: [1.0, 1.0],
            ratio: [1.0, 1.0],
        };
        assert_eq!(whole.window(8, 8, draw(1)), [0, 0, 8, 8]);
    }

    #[test]
    fn ranges_that_cannot_be_are_named() {
        assert_eq!(IMAGENET.fault(), None);
        let with = |scale, ratio| ResizedCrop { scale, ratio }.fault();
        for scale in [[0.0, 1.0], [0.5, 0.1], [0.1, 1.1], [f64::NAN, 1.0]] {
            assert!(with(scale, [1.0, 1.0]).is_some_and(|f| f.contains("scale")));
        }
        for ratio in [[0.0, 1.0], [2.0, 1.0], [1.0, f64::INFINITY]] {
            assert!(with([0.1, 1.0], ratio).is_some_and(|f| f.contains("ratio")));
        }
    }
}
