//! How pictures and latents differ from what is stored.

/// How two pictures of one size differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// The largest difference of a channel, in grey levels of 255.
    pub largest: u8,
    /// Peak signal-to-noise ratio in dB; infinite for equal pictures.
    pub psnr: f64,
}

impl Difference {
    /// Returns how `a` and `b`, equally long, differ.
    pub fn between(a: &[u8], b: &[u8]) -> Self {
        let largest = a.iter().zip(b).map(|(x, y)| x.abs_diff(*y)).max().unwrap_or(0);
        let squares: f64 = a
            .iter()
            .zip(b)
            .map(|(x, y)| f64::from(x.abs_diff(*y)).powi(2))
            .sum();
        Self {
            largest,
            psnr: psnr(255.0, squares, a.len()),
        }
    }
}

/// How two latents of one shape differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatentDifference {
    /// Whether they are the same, bit for bit.
    pub equal: bool,
    /// The largest difference of a number.
    pub largest: f32,
    /// Peak signal-to-noise ratio in dB, the peak being the stored latent's largest absolute value; infinite
    /// for equal latents.
    pub psnr: f64,
}

impl LatentDifference {
    /// Returns how `again` differs from `stored`, which is equally long.
    pub fn between(stored: &[f32], again: &[f32]) -> Self {
        let pairs = || stored.iter().zip(again);
        let peak = stored.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        let squares: f64 = pairs()
            .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
            .sum();
        Self {
            equal: pairs().all(|(a, b)| a.to_bits() == b.to_bits()),
            largest: pairs().fold(0.0, |m, (a, b)| m.max((a - b).abs())),
            psnr: psnr(f64::from(peak), squares, stored.len()),
        }
    }
}

fn psnr(peak: f64, squares: f64, count: usize) -> f64 {
    if squares == 0.0 {
        f64::INFINITY
    } else {
        10.0 * (peak * peak * count.max(1) as f64 / squares).log10()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn difference_of_pictures() {
        let same = Difference {
            largest: 0,
            psnr: f64::INFINITY,
        };
        assert_eq!(Difference::between(&[1, 2], &[1, 2]), same);
        let one = Difference::between(&[0, 10, 20, 30], &[0, 10, 21, 30]);
        assert_eq!(one.largest, 1);
        // Mean square error 1/4: 20 log10(255) + 10 log10(4).
        assert!((one.psnr - 54.151_4).abs() < 1e-3, "{}", one.psnr);
    }

    #[test]
    fn difference_of_latents() {
        let stored = [1.0, -2.0, 0.5, 0.0];
        let same = LatentDifference::between(&stored, &stored);
        assert!(same.equal && same.largest == 0.0 && same.psnr == f64::INFINITY);
        // Equal numbers, other bits.
        assert!(!LatentDifference::between(&stored, &[1.0, -2.0, 0.5, -0.0]).equal);
        let off = LatentDifference::between(&stored, &[1.0, -2.0, 0.5, 0.02]);
        assert!(!off.equal);
        assert_eq!(off.largest, 0.02);
        // Peak 2, mean square error 0.0004 / 4: 10 log10(4 / 0.0001).
        assert!((off.psnr - 46.020_6).abs() < 1e-3, "{}", off.psnr);
    }
}
