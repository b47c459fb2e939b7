//! The inner loop of matrix products in `f64`: 8 columns of one side with 8 of the other, in registers.
//! Nothing is contracted, so that the bits are the same on every processor.

use super::vectorized;

/// Columns of a panel.
pub(crate) const LANES_F64: usize = 8;
/// The numbers of a panel at one depth.
pub(crate) type LaneF64 = [f64; LANES_F64];
/// Sums of the columns of the left side (rows of the tile) with those of the right.
pub(crate) type TileF64 = [LaneF64; LANES_F64];

/// Rows of which AVX2's registers hold the sums.
const HALF: usize = LANES_F64 / 2;

/// Adds to `tile` the products of every column of `left` with every column of `right`, over the depth in
/// order.
pub(crate) fn accumulate_f64(left: &[LaneF64], right: &[LaneF64], tile: &mut TileF64) {
    #[cfg(target_arch = "x86_64")]
    if super::has_wide() {
        // SAFETY: the processor has AVX-512.
        return unsafe { wide(left, right, tile) };
    }
    let (upper, lower) = tile.split_at_mut(HALF);
    half(left, 0, right, upper);
    half(left, HALF, right, lower);
}

vectorized! {
    fn half(left: &[LaneF64], first: usize, right: &[LaneF64], sums: &mut [LaneF64]) {
        let mut own = [[0.0; LANES_F64]; HALF];
        own.copy_from_slice(sums);
        for (a, b) in left.iter().zip(right) {
            for (row, sum) in own.iter_mut().enumerate() {
                let a = a[first + row];
                for (sum, b) in sum.iter_mut().zip(b) {
                    *sum += a * b;
                }
            }
        }
        sums.copy_from_slice(&own);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn wide(left: &[LaneF64], right: &[LaneF64], tile: &mut TileF64) {
    use std::arch::x86_64::*;
    // SAFETY: a lane is 8 numbers.
    unsafe {
        let mut sums = [_mm512_setzero_pd(); LANES_F64];
        for (sum, row) in sums.iter_mut().zip(tile.iter()) {
            *sum = _mm512_loadu_pd(row.as_ptr());
        }
        for (a, b) in left.iter().zip(right) {
            let b = _mm512_loadu_pd(b.as_ptr());
            for (sum, a) in sums.iter_mut().zip(a) {
                *sum = _mm512_add_pd(*sum, _mm512_mul_pd(_mm512_set1_pd(*a), b));
            }
        }
        for (sum, row) in sums.iter().zip(tile.iter_mut()) {
            _mm512_storeu_pd(row.as_mut_ptr(), *sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that are not whole: what is rounded, and when, is the same.
    #[test]
    fn every_processor_rounds_alike() {
        let value = |i: usize| ((i * 7919 + 13) % 1009) as f64 / 503.0 - 1.0;
        let panel = |from: usize| -> Vec<LaneF64> {
            let lane = |k: usize| std::array::from_fn(|n| value(from + k * LANES_F64 + n));
            (0..61).map(lane).collect()
        };
        let (left, right) = (panel(0), panel(77));
        let mut tile: TileF64 = [[0.25; LANES_F64]; LANES_F64];
        accumulate_f64(&left, &right, &mut tile);
        for (m, row) in tile.iter().enumerate() {
            for (n, found) in row.iter().enumerate() {
                let terms = left.iter().zip(&right);
                assert_eq!(*found, terms.fold(0.25, |sum, (a, b)| sum + a[m] * b[n]));
            }
        }
    }
}
