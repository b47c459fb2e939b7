//! Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
//! SC 2011).
//!
//! A stream is named by (seed, domain, class, index) and every number in it by its position, so that a result
//! does not depend on batch size, thread count, order, or the shard it was made in. The normal deviates use
//! only IEEE additions, multiplications, divisions and square roots, no library logarithm or sine: they are
//! the same bits on every machine.

mod beta;
pub mod domain;
mod normal;

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
    /// (see [`domain`]), so that two uses of one seed never share numbers.
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

    /// Fills `out` with independent normal deviates of mean 0 and standard deviation 1 (Box-Muller), from a
    /// fresh block on.
    pub fn fill_normal(&mut self, out: &mut [f32]) {
        let tail = [self.class, self.index as u32, (self.index >> 32) as u32];
        normal::fill(
            normal::Counter {
                key: self.key,
                block: self.block,
                tail,
            },
            out,
        );
        self.block = self.block.wrapping_add(out.len().div_ceil(4) as u32);
        self.used = 4;
    }

    /// Returns those numbers of the normal deviates of a fresh stream that stand at `at`.
    pub(crate) fn normals_at(&self, at: std::ops::Range<usize>) -> Vec<f32> {
        let tail = [self.class, self.index as u32, (self.index >> 32) as u32];
        let (first, before) = (at.start / 4, at.start % 4);
        let counter = normal::Counter {
            key: self.key,
            block: first as u32,
            tail,
        };
        let mut out = vec![0.0; before + at.len()];
        normal::fill(counter, &mut out);
        out.split_off(before)
    }

    /// The key of Philox, for engines that draw the numbers themselves.
    pub(crate) fn key(&self) -> [u32; 2] {
        self.key
    }

    /// Returns `n` normal deviates of mean 0 and standard deviation 1.
    pub fn normals(&mut self, n: usize) -> Vec<f32> {
        let mut out = vec![0.0; n];
        self.fill_normal(&mut out);
        out
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
    fn normals_may_be_drawn_from_the_middle() {
        let stream = Stream::new(7, "test", 1, 2);
        let all = stream.clone().normals(200);
        for at in [0..0, 0..9, 3..40, 4..5, 61..200] {
            assert_eq!(stream.normals_at(at.clone()), all[at]);
        }
    }

    #[test]
    fn below_is_in_range_and_even() {
        let mut counts = [0_u32; 7];
        let mut stream = Stream::new(3, "below", 0, 0);
        (0..70_000).for_each(|_| counts[stream.below(7) as usize] += 1);
        assert!(counts.iter().all(|c| (9_500..10_500).contains(c)), "{counts:?}");
    }
}
