//! The inner loop of every matrix product: 6 rows times 16 columns, accumulated in registers.
//!
//! The right side is [`Packed`](super::Packed). The left side is not packed at all: each of the 6 rows is
//! given by a slice per *tap* (one tap for a linear layer, nine for a 3x3 convolution, whose taps are shifted
//! pixels of the same image). A row's sum runs over taps and depth in order, whatever the other five rows
//! are.

use super::lanes::{LANES, Lane};
use std::ops::Range;

/// Rows of a tile.
pub(crate) const ROWS: usize = 6;
/// A tile of sums.
pub(crate) type Tile = [[f32; LANES]; ROWS];

/// Adds to `tile` the product of 6 rows and a panel. Each tap's rows contribute their elements `range`;
/// `panel` holds the taps one after another.
///
/// # Panics
/// If a row ends before `range` does, or the panel's length is not taps times the range's.
#[inline(always)]
pub(crate) fn accumulate(taps: &[[&[f32]; ROWS]], range: Range<usize>, panel: &[Lane], tile: &mut Tile) {
    run::<true>(taps, range, panel, tile);
}

/// Sets `tile` to that product, whatever is in it: what [`accumulate`] makes of zeros.
///
/// # Panics
/// As [`accumulate`].
#[inline(always)]
pub(crate) fn multiply(taps: &[[&[f32]; ROWS]], range: Range<usize>, panel: &[Lane], tile: &mut Tile) {
    run::<false>(taps, range, panel, tile);
}

#[inline(always)]
fn run<const ADD: bool>(taps: &[[&[f32]; ROWS]], range: Range<usize>, panel: &[Lane], tile: &mut Tile) {
    assert_eq!(
        panel.len(),
        taps.len() * range.len(),
        "panel does not match its taps"
    );
    for row in taps.iter().flatten() {
        assert!(row.len() >= range.end, "row shorter than its depth");
    }
    #[cfg(target_arch = "x86_64")]
    if super::has_wide() {
        // SAFETY: the processor has AVX-512, and the lengths were checked above.
        return unsafe { run_wide::<ADD>(taps, range, panel, tile) };
    } else if super::has_fma() {
        // SAFETY: the processor has AVX2 and FMA, and the lengths were checked above.
        return unsafe { run_fma::<ADD>(taps, range, panel, tile) };
    }
    if !ADD {
        *tile = [[0.0; LANES]; ROWS];
    }
    accumulate_any(taps, range, panel, tile);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn run_fma<const ADD: bool>(
    taps: &[[&[f32]; ROWS]],
    range: Range<usize>,
    panel: &[Lane],
    tile: &mut Tile,
) {
    use std::arch::x86_64::*;
    // SAFETY: the caller checked that every row reaches `range.end` and that the panel holds `range.len()`
    // lanes a tap; a `Lane` is 64-byte aligned, and a tile's row is 16 floats.
    unsafe {
        let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
        if ADD {
            for (sum, row) in sums.iter_mut().zip(tile.iter()) {
                *sum = [
                    _mm256_loadu_ps(row.as_ptr()),
                    _mm256_loadu_ps(row.as_ptr().add(8)),
                ];
            }
        }
        let mut lane = panel.as_ptr().cast::<f32>();
        for rows in taps {
            // Not by `from_fn`, which would be a call in every tile.
            let mut at = [std::ptr::null::<f32>(); ROWS];
            for (at, row) in at.iter_mut().zip(rows) {
                *at = row.as_ptr();
            }
            for k in range.clone() {
                let low = _mm256_load_ps(lane);
                let high = _mm256_load_ps(lane.add(8));
                lane = lane.add(LANES);
                for r in 0..ROWS {
                    let a = _mm256_broadcast_ss(&*at[r].add(k));
                    sums[r][0] = _mm256_fmadd_ps(a, low, sums[r][0]);
                    sums[r][1] = _mm256_fmadd_ps(a, high, sums[r][1]);
                }
            }
        }
        for (sum, row) in sums.iter().zip(tile.iter_mut()) {
            _mm256_storeu_ps(row.as_mut_ptr(), sum[0]);
            _mm256_storeu_ps(row.as_mut_ptr().add(8), sum[1]);
        }
    }
}

/// The same with registers twice as wide. The sums are the same to the bit.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn run_wide<const ADD: bool>(
    taps: &[[&[f32]; ROWS]],
    range: Range<usize>,
    panel: &[Lane],
    tile: &mut Tile,
) {
    use std::arch::x86_64::*;
    // SAFETY: as in `run_fma`.
    unsafe {
        let mut sums = [_mm512_setzero_ps(); ROWS];
        if ADD {
            for (sum, row) in sums.iter_mut().zip(tile.iter()) {
                *sum = _mm512_loadu_ps(row.as_ptr());
            }
        }
        let mut lane = panel.as_ptr().cast::<f32>();
        for rows in taps {
            let mut at = [std::ptr::null::<f32>(); ROWS];
            for (at, row) in at.iter_mut().zip(rows) {
                *at = row.as_ptr();
            }
            for k in range.clone() {
                let values = _mm512_load_ps(lane);
                lane = lane.add(LANES);
                for r in 0..ROWS {
                    sums[r] = _mm512_fmadd_ps(_mm512_set1_ps(*at[r].add(k)), values, sums[r]);
                }
            }
        }
        for (sum, row) in sums.iter().zip(tile.iter_mut()) {
            _mm512_storeu_ps(row.as_mut_ptr(), *sum);
        }
    }
}

/// The same on any processor; the compiler vectorises the inner loop.
fn accumulate_any(taps: &[[&[f32]; ROWS]], range: Range<usize>, panel: &[Lane], tile: &mut Tile) {
    let mut lanes = panel.iter();
    for rows in taps {
        for (k, lane) in range.clone().zip(lanes.by_ref()) {
            for (row, sums) in rows.iter().zip(tile.iter_mut()) {
                let a = row[k];
                for (sum, b) in sums.iter_mut().zip(&lane.0) {
                    // Fused where the instruction is part of the base architecture, else a slow library call.
                    *sum = if cfg!(target_arch = "aarch64") {
                        a.mul_add(*b, *sum)
                    } else {
                        a * b + *sum
                    };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Packed;
    use super::*;

    #[test]
    fn both_kernels_multiply() {
        let (depth, columns, taps) = (7, 21, 3);
        let value = |i: usize| ((i * 37 + 11) % 19) as f32 - 9.0;
        let packed = Packed::new(depth * taps, columns, |k, n| value(k * columns + n));
        let data: Vec<f32> = (0..ROWS * taps * (depth + 2)).map(|i| value(i + 5)).collect();
        let rows: Vec<[&[f32]; ROWS]> = (0..taps)
            .map(|t| std::array::from_fn(|r| &data[(t * ROWS + r) * (depth + 2)..][..depth + 2]))
            .collect();
        for panel in 0..packed.panels() {
            let mut fast = [[1.0; LANES]; ROWS];
            let mut slow = fast;
            // Whole numbers: both are exact.
            accumulate(&rows, 0..depth, packed.rows(panel, 0, depth * taps), &mut fast);
            accumulate_any(&rows, 0..depth, packed.rows(panel, 0, depth * taps), &mut slow);
            assert_eq!(fast, slow);
            let mut set = [[f32::NAN; LANES]; ROWS];
            multiply(&rows, 0..depth, packed.rows(panel, 0, depth * taps), &mut set);
            assert_eq!(set, fast.map(|row| row.map(|sum| sum - 1.0)));
            for r in 0..ROWS {
                for (n, found) in fast[r].iter().enumerate().take(columns - panel * LANES) {
                    let expected = 1.0
                        + (0..taps * depth)
                            .map(|k| rows[k / depth][r][k % depth] * value(k * columns + panel * LANES + n))
                            .sum::<f32>();
                    assert_eq!(*found, expected);
                }
            }
        }
    }

    /// Numbers that are not whole: what is rounded, and when, is the same.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn registers_of_either_width_round_alike() {
        if !super::super::has_wide() {
            return;
        }
        let (depth, taps) = (37, 2);
        let value = |i: usize| ((i * 7919 + 13) % 1009) as f32 / 503.0 - 1.0;
        let packed = Packed::new(depth * taps, LANES, |k, n| value(k * LANES + n));
        let data: Vec<f32> = (0..ROWS * taps * depth).map(|i| value(i + 5)).collect();
        let rows: Vec<[&[f32]; ROWS]> = (0..taps)
            .map(|t| std::array::from_fn(|r| &data[(t * ROWS + r) * depth..][..depth]))
            .collect();
        let panel = packed.rows(0, 0, depth * taps);
        let (mut wide, mut narrow) = ([[0.3; LANES]; ROWS], [[0.3; LANES]; ROWS]);
        // SAFETY: the processor has both, the rows are `depth` long, the panel taps times that.
        unsafe {
            run_wide::<true>(&rows, 0..depth, panel, &mut wide);
            run_fma::<true>(&rows, 0..depth, panel, &mut narrow);
        }
        assert_eq!(wide, narrow);
    }

    #[test]
    #[should_panic(expected = "row shorter")]
    fn a_short_row_is_refused() {
        let packed = Packed::new(4, 16, |_, _| 1.0);
        let short = [0.0; 3];
        accumulate(
            &[[&short[..]; ROWS]],
            0..4,
            packed.rows(0, 0, 4),
            &mut [[0.0; LANES]; ROWS],
        );
    }
}
