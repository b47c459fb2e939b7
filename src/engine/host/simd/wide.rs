//! The inner loop of a plain product on processors with AVX-512: 12 rows times 32 columns, in registers. A
//! sum is added up as in [`kernel`](super::kernel), so that its bits are the same.

use super::lanes::{LANES, Lane};
use std::ops::Range;

/// Rows of a tile.
pub(super) const ROWS: usize = 12;
/// Depth of which a tile's two panels stay in the first-level cache.
pub(super) const DEPTH: usize = 256;

/// Adds to `tile` the product of 12 rows, of which the elements `range` are taken, and two panels.
///
/// # Panics
/// If a row ends before `range` does, a panel is not as long as it, or the processor has none of it.
pub(super) fn accumulate(
    rows: [&[f32]; ROWS],
    range: Range<usize>,
    panels: [&[Lane]; 2],
    tile: &mut [[f32; 2 * LANES]; ROWS],
) {
    assert!(panels.iter().all(|panel| panel.len() == range.len()));
    assert!(rows.iter().all(|row| row.len() >= range.end));
    assert!(super::has_wide());
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the processor has AVX-512, and the lengths were checked above.
    unsafe {
        run(rows, range, panels, tile);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn run(
    rows: [&[f32]; ROWS],
    range: Range<usize>,
    panels: [&[Lane]; 2],
    tile: &mut [[f32; 2 * LANES]; ROWS],
) {
    use std::arch::x86_64::*;
    // SAFETY: the caller checked that every row reaches `range.end` and that a panel holds `range.len()`
    // lanes; a `Lane` is 64-byte aligned, and a tile's row is 32 floats.
    unsafe {
        let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
        for (sum, row) in sums.iter_mut().zip(tile.iter()) {
            *sum = [
                _mm512_loadu_ps(row.as_ptr()),
                _mm512_loadu_ps(row.as_ptr().add(LANES)),
            ];
        }
        let mut at = [std::ptr::null::<f32>(); ROWS];
        for (at, row) in at.iter_mut().zip(rows) {
            *at = row.as_ptr();
        }
        let (low, high) = (panels[0].as_ptr().cast::<f32>(), panels[1].as_ptr().cast::<f32>());
        let start = range.start;
        for k in range {
            let low = _mm512_load_ps(low.add((k - start) * LANES));
            let high = _mm512_load_ps(high.add((k - start) * LANES));
            for r in 0..ROWS {
                let a = _mm512_set1_ps(*at[r].add(k));
                sums[r][0] = _mm512_fmadd_ps(a, low, sums[r][0]);
                sums[r][1] = _mm512_fmadd_ps(a, high, sums[r][1]);
            }
        }
        for (sum, row) in sums.iter().zip(tile.iter_mut()) {
            _mm512_storeu_ps(row.as_mut_ptr(), sum[0]);
            _mm512_storeu_ps(row.as_mut_ptr().add(LANES), sum[1]);
        }
    }
}
