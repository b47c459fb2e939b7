//! Normal deviates of a `rng::Stream`, 32 at a time.
//!
//! The same bits as `Stream::fill_normal` (a test holds it to that), but with eight Philox blocks side by side and no branches,
//! in vector registers: noise would otherwise cost as much as the matrix product. Only
//! integer operations and IEEE additions, multiplications and square roots occur, never fused, and so every version of the
//! code agrees.

use crate::rng::philox;

/// Philox blocks side by side; each gives four deviates.
const LANES: usize = 8;
/// Deviates of one batch.
const BATCH: usize = 4 * LANES;

/// The constants of Philox4x32, as in `rng`.
#[cfg(target_arch = "x86_64")]
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
#[cfg(target_arch = "x86_64")]
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

type Words = [u32; LANES];
type Floats = [f32; LANES];

/// Fills `out` with the normal deviates of the stream (`seed`, `domain`, `class`, `index`).
pub(super) fn fill(seed: u64, domain: &str, class: u32, index: u64, out: &mut [f32]) {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(domain.as_bytes());
    let hash = *hasher.finalize().as_bytes();
    let word = |i: usize| u32::from_le_bytes([hash[i], hash[i + 1], hash[i + 2], hash[i + 3]]);
    let name = Name {
        key: [word(0), word(4)],
        tail: [class, index as u32, (index >> 32) as u32],
    };
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { avx2(name, out) };
    }
    portable(name, out);
}

/// A stream's Philox key, and its counter but for the block number.
#[derive(Clone, Copy)]
struct Name {
    key: [u32; 2],
    tail: [u32; 3],
}

/// Fills `out`, with `blocks` for Philox: it returns eight blocks from a block number on, word by word.
#[inline(always)]
fn body(name: Name, out: &mut [f32], blocks: impl Fn(Name, u32) -> [Words; 4]) {
    let mut block = 0_u32;
    for out in out.chunks_mut(BATCH) {
        let [c0, c1, c2, c3] = blocks(name, block);
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

fn portable(name: Name, out: &mut [f32]) {
    body(name, out, |name, block| {
        let mut words = [[0; LANES]; 4];
        for lane in 0..LANES {
            let [class, low, high] = name.tail;
            let block = philox([block.wrapping_add(lane as u32), class, low, high], name.key);
            for (words, word) in words.iter_mut().zip(block) {
                words[lane] = word;
            }
        }
        words
    });
}

/// As `portable`, with the 32-bit products of Philox in vector registers, which the compiler does not manage by itself.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2(name: Name, out: &mut [f32]) {
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
    fn blocks(name: Name, block: u32) -> [Words; 4] {
        let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        let mut c0 = _mm256_add_epi32(_mm256_set1_epi32(block as i32), lanes);
        let [mut c1, mut c2, mut c3] = name.tail.map(|word| _mm256_set1_epi32(word as i32));
        let [mut k0, mut k1] = name.key;
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

    body(name, out, |name, block| blocks(name, block));
}

#[inline(always)]
fn box_muller(a: &Words, b: &Words) -> (Floats, Floats) {
    let (mut first, mut second) = ([0.0; LANES], [0.0; LANES]);
    for lane in 0..LANES {
        let u = ((a[lane] >> 8) + 1) as f32 * (1.0 / 16_777_216.0);
        let radius = (-2.0 * ln(u)).sqrt();
        let (sin, cos) = sin_cos_turn(b[lane]);
        first[lane] = radius * cos;
        second[lane] = radius * sin;
    }
    (first, second)
}

/// As in `rng`.
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

/// As in `rng`, with the quadrant as a choice and two signs instead of four branches.
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
    use crate::rng::Stream;

    #[test]
    fn the_bits_are_those_of_the_stream() {
        for (n, class, index) in [(1, 0, 0), (31, 1, 2), (100_003, 7, (1 << 40) + 5)] {
            let expected = Stream::new(9, "sample/noise", class, index).normals(n);
            let mut actual = vec![0.0; n];
            fill(9, "sample/noise", class, index, &mut actual);
            let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&actual), bits(&expected));
        }
    }

    #[test]
    fn versions_for_other_processors_agree() {
        let name = Name {
            key: [1, 2],
            tail: [3, 4, 5],
        };
        let mut plain = vec![0.0; 1000];
        portable(name, &mut plain);
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            let mut vector = vec![0.0; 1000];
            // SAFETY: the processor has AVX2.
            unsafe { avx2(name, &mut vector) };
            assert_eq!(plain, vector);
        }
        assert!(plain.iter().any(|v| *v != 0.0));
    }
}
