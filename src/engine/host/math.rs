//! Elementary functions without branches, which the compiler turns into vector instructions. Only additions,
//! multiplications and divisions are used, and none is contracted, so that the bits are the same on every
//! processor.

/// `e^x` to 2 units in the last place; zero below -87.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
    let clamped = x.clamp(-87.3, 88.0);
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = clamped - n * 0.693_359_4 - n * -2.121_944_4e-4; // ln 2 in two parts (Cephes expf)
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 0.166_666_65;
    p = p * r + 0.5;
    let scale = f32::from_bits(shifted.to_bits().wrapping_sub(0x4B40_0000).wrapping_add(127) << 23);
    let y = (p * r * r + r + 1.0) * scale;
    if x < -87.0 { 0.0 } else { y }
}

/// `x * sigmoid(k x)`: SiLU for k = 1, CLIP's quick GELU for k = 1.702.
#[inline(always)]
pub(crate) fn swish(x: f32, k: f32) -> f32 {
    x / (1.0 + exp(-k * x))
}

/// The error function, by the rational approximation of Eigen and XLA (absolute error below 3e-7).
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let s = x * x;
    let mut p = -2.726_142e-10;
    p = p * s + 2.770_681_2e-8;
    p = p * s - 2.101_024e-6;
    p = p * s - 5.692_506_4e-5;
    p = p * s - 7.349_906e-4;
    p = p * s - 2.954_6e-3;
    p = p * s - 1.609_603_3e-2;
    let mut q = -1.456_607_2e-5;
    q = q * s - 2.133_740_5e-4;
    q = q * s - 1.682_827e-3;
    q = q * s - 7.373_329e-3;
    q = q * s - 1.426_473_9e-2;
    x * p / q
}

/// The exact GELU, `x * Phi(x)`.
#[inline(always)]
pub(crate) fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_agrees_with_f64() {
        for i in -870_000..880_000 {
            let x = i as f32 * 1e-4;
            let exact = f64::from(x).exp();
            assert!(
                (f64::from(exp(x)) - exact).abs() <= 2.5e-7 * exact,
                "exp({x}) = {} not {exact}",
                exp(x)
            );
        }
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NAN).is_nan());
    }

    /// Values of `math.erf` in Python.
    #[test]
    fn erf_agrees_with_known_values() {
        for (x, exact) in [
            (0.0, 0.0),
            (0.1, 0.112_462_916_018_284_9),
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (1.5, 0.966_105_146_475_310_8),
            (2.0, 0.995_322_265_018_952_7),
            (3.0, 0.999_977_909_503_001_4),
            (5.0, 0.999_999_999_998_462_5),
        ] {
            for sign in [-1.0, 1.0] {
                let error = f64::from(erf(sign * x)) - f64::from(sign) * exact;
                assert!(error.abs() < 4e-7, "erf({x}) is off by {error}");
            }
        }
    }

    #[test]
    fn swish_has_its_limits() {
        assert_eq!(swish(100.0, 1.0), 100.0);
        assert!(swish(-100.0, 1.0).abs() < 1e-30);
        assert!(swish(f32::NAN, 1.0).is_nan());
    }
}
