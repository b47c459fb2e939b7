//! Normal deviates (Box-Muller), 32 at a time: eight Philox blocks side by side and no branches, in vector
//! registers where the processor has them. Only integer operations and IEEE additions, multiplications and
//! square roots occur, never fused, so that every version of the code gives the same bits.

use super::philox;
#[cfg(target_arch = "x86_64")]
use super::{MULTIPLIERS, WEYL};

/// Philox blocks side by side; each gives four deviates.
const LANES: usize = 8;
/// Deviates of one batch.
const BATCH: usize = 4 * LANES;

type Words = [u32; LANES];
type Floats = [f32; LANES];

/// Where in which stream the deviates start: the Philox key, the number of the block, the rest of the
/// counter.
#[derive(Clone, Copy)]
pub(super) struct Counter {
    pub key: [u32; 2],
    pub block: u32,
    pub tail: [u32; 3],
}

/// Fills `out` with normal deviates, four a block.
pub(super) fn fill(counter: Counter, out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { avx2(counter, out) };
    }
    portable(counter, out);
}

/// Fills `out`, with `blocks` for Philox: it returns eight blocks from a block number on, word by word.
#[inline(always)]
fn body(counter: Counter, out: &mut [f32], blocks: impl Fn(Counter, u32) -> [Words; 4]) {
    let mut block = counter.block;
    for out in out.chunks_mut(BATCH) {
        let [c0, c1, c2, c3] = blocks(counter, block);
        block = block.wrapping_add(LANES as u32);
        let (x, y) = box_muller(&c0, &c1);
        let (z, w) = box_muller(&c2, &c3);
        let mut batch = [0.0; BATCH];
        let (fours, _) = batch.as_chunks_mut::<4>();
        for (lane, four) in fours.iter_mut().enumerate() {
            *four = [x[lane], y[lane], z[lane], w[lane]];
        }
        out.copy_from_slice(&batch[..out.len()]);
    }
}

fn portable(counter: Counter, out: &mut [f32]) {
    body(counter, out, |counter, block| {
        let mut words = [[0; LANES]; 4];
        for lane in 0..LANES {
            let [class, low, high] = counter.tail;
            let block = philox([block.wrapping_add(lane as u32), class, low, high], counter.key);
            for (words, word) in words.iter_mut().zip(block) {
                words[lane] = word;
            }
        }
        words
    });
}

/// As `portable`, with the 32-bit products of Philox in vector registers, which the compiler does not manage
/// by itself.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2(counter: Counter, out: &mut [f32]) {
    use std::arch::x86_64::*;

    /// High and low halves of the products of eight words with `factor`.
    #[target_feature(enable = "avx2")]
    fn product(words: __m256i, factor: i32) -> (__m256i, __m256i) {
        let factor = _mm256_set1_epi32(factor);
        let even = _mm256_mul_epu32(words, factor);
        let odd = _mm256_mul_epu32(_mm256_srli_epi64::<32>(words), factor);
        let high = _mm256_blend_epi32::<0b1010_1010>(_mm256_srli_epi64::<32>(even), odd);
        let low = _mm256_blend_epi32::<0b1010_1010>(even, _mm256_slli_epi64::<32>(odd));
        (high, low)
    }

    #[target_feature(enable = "avx2")]
    fn blocks(counter: Counter, block: u32) -> [Words; 4] {
        let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        let mut c0 = _mm256_add_epi32(_mm256_set1_epi32(block as i32), lanes);
        let [mut c1, mut c2, mut c3] = counter.tail.map(|word| _mm256_set1_epi32(word as i32));
        let [mut k0, mut k1] = counter.key;
        for _ in 0..10 {
            let (high0, low0) = product(c0, MULTIPLIERS[0] as i32);
            let (high1, low1) = product(c2, MULTIPLIERS[1] as i32);
            c0 = _mm256_xor_si256(_mm256_xor_si256(high1, c1), _mm256_set1_epi32(k0 as i32));
            c2 = _mm256_xor_si256(_mm256_xor_si256(high0, c3), _mm256_set1_epi32(k1 as i32));
            (c1, c3) = (low1, low0);
            k0 = k0.wrapping_add(WEYL[0]);
            k1 = k1.wrapping_add(WEYL[1]);
        }
        [c0, c1, c2, c3].map(|words| {
            let mut out = [0; LANES];
            // SAFETY: `out` is as wide as the register, and the store needs no alignment.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), words) };
            out
        })
    }

    body(counter, out, |counter, block| blocks(counter, block));
}

#[inline(always)]
fn box_muller(a: &Words, b: &Words) -> (Floats, Floats) {
    let (mut first, mut second) = ([0.0; LANES], [0.0; LANES]);
    for lane in 0..LANES {
        // In (0, 1]: never the logarithm of zero.
        let u = ((a[lane] >> 8) + 1) as f32 * (1.0 / 16_777_216.0);
        let radius = (-2.0 * ln(u)).sqrt();
        let (sin, cos) = sin_cos_turn(b[lane]);
        first[lane] = radius * cos;
        second[lane] = radius * sin;
    }
    (first, second)
}

/// Natural logarithm of a normal positive number: exponent apart, the mantissa in [sqrt(1/2), sqrt(2)) by the
/// polynomial of Cephes' `logf` (relative error below 2^-23).
#[inline(always)]
fn ln(x: f32) -> f32 {
    let shifted = x.to_bits().wrapping_sub(0x3F35_04F3);
    let exponent = (shifted as i32 >> 23) as f32;
    let mantissa = f32::from_bits((shifted & 0x007F_FFFF) + 0x3F35_04F3) - 1.0;
    let rest = [
        -1.151_461e-1,
        1.167_699_8e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_4e-1,
        -2.499_999_4e-1,
        3.333_333e-1_f32,
    ];
    let square = mantissa * mantissa;
    let series = rest.iter().fold(7.037_683_6e-2, |sum, c| sum * mantissa + c);
    let tail = series * mantissa * square;
    tail - 2.121_944_4e-4 * exponent - 0.5 * square + mantissa + 0.693_359_4 * exponent
}

/// Sine and cosine of `2 pi turn / 2^32`: the two top bits are the quadrant (a choice and two signs instead
/// of four branches), the rest an angle within pi/4 of its middle.
#[inline(always)]
fn sin_cos_turn(turn: u32) -> (f32, f32) {
    let rotated = turn.wrapping_add(1 << 29);
    let quadrant = rotated >> 30;
    let offset = (rotated & 0x3FFF_FFFF) as i32 - (1 << 29);
    let angle = (offset >> 5) as f32 * (std::f32::consts::FRAC_PI_2 / (1 << 25) as f32);
    let z = angle * angle;
    let sin = ((-1.951_529_6e-4 * z + 8.332_161e-3) * z - 1.666_665_5e-1) * z * angle + angle;
    let cos = ((2.443_315_7e-5 * z - 1.388_731_6e-3) * z + 4.166_664_6e-2) * z * z - 0.5 * z + 1.0;
    let odd = quadrant & 1 == 1;
    let sin_sign = (quadrant & 2) << 30;
    let cos_sign = ((quadrant + 1) & 2) << 30;
    let (s, c) = if odd { (cos, sin) } else { (sin, cos) };
    (
        f32::from_bits(s.to_bits() ^ sin_sign),
        f32::from_bits(c.to_bits() ^ cos_sign),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elementary_functions_agree_with_f64() {
        for i in 1..=1_000_000_u32 {
            let u = (i * 16) as f32 / 16_777_216.0;
            let exact = f64::from(u).ln();
            assert!(
                (f64::from(ln(u)) - exact).abs() <= 3e-7 * exact.abs().max(0.5),
                "ln({u})"
            );
            let turn = i.wrapping_mul(2_654_435_761);
            let angle = f64::from(turn) / 4_294_967_296.0 * std::f64::consts::TAU;
            let (sin, cos) = sin_cos_turn(turn);
            assert!((f64::from(sin) - angle.sin()).abs() < 4e-7, "sin of turn {turn}");
            assert!((f64::from(cos) - angle.cos()).abs() < 4e-7, "cos of turn {turn}");
        }
    }

    /// One deviate after the other, in f64 but for the words themselves.
    #[test]
    fn deviates_are_box_muller_of_the_words_of_each_block() {
        let counter = Counter {
            key: [6, 7],
            block: u32::MAX - 3,
            tail: [1, 2, 3],
        };
        let mut out = vec![0.0; 103];
        fill(counter, &mut out);
        for (i, four) in out.chunks(4).enumerate() {
            let [class, low, high] = counter.tail;
            let words = philox(
                [counter.block.wrapping_add(i as u32), class, low, high],
                counter.key,
            );
            for (pair, two) in words.chunks(2).zip(four.chunks(2)) {
                let u = (f64::from(pair[0] >> 8) + 1.0) / 16_777_216.0;
                let radius = (-2.0 * u.ln()).sqrt();
                let angle = f64::from(pair[1]) / 4_294_967_296.0 * std::f64::consts::TAU;
                for (actual, exact) in two.iter().zip([radius * angle.cos(), radius * angle.sin()]) {
                    assert!((f64::from(*actual) - exact).abs() < 4e-6, "{actual} {exact}");
                }
            }
        }
    }

    #[test]
    fn versions_for_other_processors_agree() {
        let counter = Counter {
            key: [1, 2],
            block: 0,
            tail: [3, 4, 5],
        };
        let mut plain = vec![0.0; 1000];
        portable(counter, &mut plain);
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            let mut vector = vec![0.0; 1000];
            // SAFETY: the processor has AVX2.
            unsafe { avx2(counter, &mut vector) };
            assert_eq!(plain, vector);
        }
        assert!(plain.iter().any(|v| *v != 0.0));
    }
}
