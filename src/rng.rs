//! Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
//!
//! A stream is named by (seed, domain, class, index) and every number in it by its position, so that a result does not
//! depend on batch size, thread count, order, or the shard it was made in. The normal deviates use only IEEE additions,
//! multiplications, divisions and square roots, no library logarithm or sine: they are the same bits on every machine.

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Returns the ten-round Philox permutation of `counter` under `key`.
#[inline]
pub fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    let [mut k0, mut k1] = key;
    for _ in 0..10 {
        let p0 = u64::from(MULTIPLIERS[0]) * u64::from(c0);
        let p1 = u64::from(MULTIPLIERS[1]) * u64::from(c2);
        (c0, c1, c2, c3) = (
            (p1 >> 32) as u32 ^ c1 ^ k0,
            p1 as u32,
            (p0 >> 32) as u32 ^ c3 ^ k1,
            p0 as u32,
        );
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
    }
    [c0, c1, c2, c3]
}

/// One stream of random numbers, 2^34 words long.
#[derive(Clone, Debug)]
pub struct Stream {
    key: [u32; 2],
    class: u32,
    index: u64,
    block: u32,
    buffer: [u32; 4],
    used: usize,
}

impl Stream {
    /// Returns the stream of (`seed`, `domain`, `class`, `index`). `domain` says what the numbers are for
    /// ("sample/noise", "imagine/latent"), so that two uses of one seed never share numbers.
    pub fn new(seed: u64, domain: &str, class: u32, index: u64) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes());
        hasher.update(domain.as_bytes());
        let hash = *hasher.finalize().as_bytes();
        let word = |i: usize| u32::from_le_bytes([hash[i], hash[i + 1], hash[i + 2], hash[i + 3]]);
        Self {
            key: [word(0), word(4)],
            class,
            index,
            block: 0,
            buffer: [0; 4],
            used: 4,
        }
    }

    fn next_block(&mut self) -> [u32; 4] {
        let counter = [
            self.block,
            self.class,
            self.index as u32,
            (self.index >> 32) as u32,
        ];
        self.block = self.block.wrapping_add(1);
        philox(counter, self.key)
    }

    /// Returns 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.used == 4 {
            self.buffer = self.next_block();
            self.used = 0;
        }
        self.used += 1;
        self.buffer[self.used - 1]
    }

    /// Returns a number uniform in [0, 1), a multiple of 2^-24.
    pub fn uniform(&mut self) -> f32 {
        (self.next_u32() >> 8) as f32 * (1.0 / 16_777_216.0)
    }

    /// Returns an integer uniform in `0..n` (Lemire's multiplication, with rejection, so without bias).
    ///
    /// # Panics
    /// If `n` is zero: there is nothing to choose from.
    pub fn below(&mut self, n: u32) -> u32 {
        assert!(n > 0, "below(0): nothing to choose from");
        let threshold = n.wrapping_neg() % n;
        loop {
            let product = u64::from(self.next_u32()) * u64::from(n);
            if product as u32 >= threshold {
                return (product >> 32) as u32;
            }
        }
    }

    /// Shuffles `items` (Fisher-Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u32 + 1) as usize);
        }
    }

    /// Fills `out` with independent normal deviates of mean 0 and standard deviation 1 (Box-Muller), from a fresh block on.
    pub fn fill_normal(&mut self, out: &mut [f32]) {
        self.used = 4;
        for four in out.chunks_mut(4) {
            let [a, b, c, d] = self.next_block();
            let (x, y) = box_muller(a, b);
            let (z, w) = box_muller(c, d);
            four.copy_from_slice(&[x, y, z, w][..four.len()]);
        }
    }

    /// Returns `n` normal deviates of mean 0 and standard deviation 1.
    pub fn normals(&mut self, n: usize) -> Vec<f32> {
        let mut out = vec![0.0; n];
        self.fill_normal(&mut out);
        out
    }
}

/// Returns two independent normal deviates from two random words.
#[inline]
fn box_muller(a: u32, b: u32) -> (f32, f32) {
    // In (0, 1]: never the logarithm of zero.
    let u = ((a >> 8) + 1) as f32 * (1.0 / 16_777_216.0);
    let radius = (-2.0 * ln(u)).sqrt();
    let (sin, cos) = sin_cos_turn(b);
    (radius * cos, radius * sin)
}

/// Natural logarithm of a normal positive number: exponent apart, the mantissa in [sqrt(1/2), sqrt(2)) by the polynomial
/// of Cephes' `logf` (relative error below 2^-23).
#[inline]
fn ln(x: f32) -> f32 {
    let bits = x.to_bits();
    let shifted = bits.wrapping_sub(0x3F35_04F3); // sqrt(1/2)
    let exponent = (shifted as i32 >> 23) as f32;
    let mantissa = f32::from_bits((shifted & 0x007F_FFFF) + 0x3F35_04F3) - 1.0;
    let coefficients = [
        7.037_683_6e-2,
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
    let tail = coefficients.iter().fold(0.0, |sum, c| sum * mantissa + c) * mantissa * square;
    tail - 2.121_944_4e-4 * exponent - 0.5 * square + mantissa + 0.693_359_4 * exponent
}

/// Sine and cosine of `2 pi turn / 2^32`: the two top bits are the quadrant, the rest an angle within pi/4 of its middle.
#[inline]
fn sin_cos_turn(turn: u32) -> (f32, f32) {
    let rotated = turn.wrapping_add(1 << 29);
    let quadrant = rotated >> 30;
    let offset = (rotated & 0x3FFF_FFFF) as i32 - (1 << 29);
    let angle = (offset >> 5) as f32 * (std::f32::consts::FRAC_PI_2 / (1 << 25) as f32);
    let z = angle * angle;
    let sin = ((-1.951_529_6e-4 * z + 8.332_161e-3) * z - 1.666_665_5e-1) * z * angle + angle;
    let cos = ((2.443_315_7e-5 * z - 1.388_731_6e-3) * z + 4.166_664_6e-2) * z * z - 0.5 * z + 1.0;
    match quadrant {
        0 => (sin, cos),
        1 => (cos, -sin),
        2 => (-sin, -cos),
        _ => (-cos, sin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known-answer vectors of the Random123 distribution (philox4x32, 10 rounds).
    #[test]
    fn philox_known_answers() {
        assert_eq!(
            philox([0; 4], [0; 2]),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox(
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

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

    #[test]
    fn normals_have_the_moments_of_a_normal() {
        let n = 1 << 20;
        let x = Stream::new(7, "test", 1, 2).normals(n);
        let moment = |p: i32| x.iter().map(|v| f64::from(*v).powi(p)).sum::<f64>() / n as f64;
        assert!(moment(1).abs() < 0.004);
        assert!((moment(2) - 1.0).abs() < 0.006);
        assert!(moment(3).abs() < 0.02);
        assert!((moment(4) - 3.0).abs() < 0.04);
    }

    #[test]
    fn streams_differ_by_every_part_of_their_name() {
        let first = |s: u64, d: &str, c: u32, i: u64| Stream::new(s, d, c, i).next_u32();
        let base = first(1, "a", 2, 3);
        for other in [
            first(2, "a", 2, 3),
            first(1, "b", 2, 3),
            first(1, "a", 3, 3),
            first(1, "a", 2, 4),
            first(1, "a", 2, 3 + (1 << 32)),
        ] {
            assert_ne!(base, other);
        }
        assert_eq!(base, first(1, "a", 2, 3));
    }

    #[test]
    fn below_is_in_range_and_even() {
        let mut counts = [0_u32; 7];
        let mut stream = Stream::new(3, "below", 0, 0);
        (0..70_000).for_each(|_| counts[stream.below(7) as usize] += 1);
        assert!(counts.iter().all(|c| (9_500..10_500).contains(c)), "{counts:?}");
    }
}
