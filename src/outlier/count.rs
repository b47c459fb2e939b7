//! The hot loop: in how many columns does (a + b) exceed a threshold, for four rows b at once.
//!
//! In plain Rust for every processor, and for those with AVX2 in its instructions, chosen at run time. Only
//! single additions, comparisons and integer counts occur, so that both give the same result.

/// Columns are padded to a multiple of this with minus infinity in `a`, which exceeds nothing.
pub(super) const LANES: usize = 8;
/// Rows taken at once: independent sums hide the latency of an addition.
pub(super) const ROWS: usize = 4;

/// Counts `a[c] + b[r][c] > thresholds[r]` over the columns c. All rows have the length of `a`.
pub(super) type CountFn = fn(&[f32], [&[f32]; ROWS], [f32; ROWS]) -> [u32; ROWS];

/// Returns the fastest version for this processor.
pub(super) fn fastest() -> CountFn {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return |a, b, thresholds| unsafe { avx2(a, b, thresholds) };
    }
    portable
}

/// A round trip of vector registers: load, add, compare (all ones where true), subtract from the counts.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2(a: &[f32], b: [&[f32]; ROWS], thresholds: [f32; ROWS]) -> [u32; ROWS] {
    use std::arch::x86_64::*;
    // SAFETY: the array is as wide as the register, and the load needs no alignment.
    let load = |lanes: &[f32; LANES]| unsafe { _mm256_loadu_ps(lanes.as_ptr()) };
    let thresholds = thresholds.map(|t| _mm256_set1_ps(t));
    let mut counts = [_mm256_setzero_si256(); ROWS];
    let (a, _) = a.as_chunks::<LANES>();
    let [b0, b1, b2, b3] = b.map(|row| row.as_chunks::<LANES>().0);
    for ((((a, b0), b1), b2), b3) in a.iter().zip(b0).zip(b1).zip(b2).zip(b3) {
        let a = load(a);
        for (row, b) in [b0, b1, b2, b3].into_iter().enumerate() {
            let above = _mm256_cmp_ps::<_CMP_GT_OQ>(_mm256_add_ps(a, load(b)), thresholds[row]);
            counts[row] = _mm256_sub_epi32(counts[row], _mm256_castps_si256(above));
        }
    }
    counts.map(|lanes| {
        let mut out = [0_u32; LANES];
        // SAFETY: `out` is as wide as the register, and the store needs no alignment.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), lanes) };
        out.iter().sum()
    })
}

pub(super) fn portable(a: &[f32], b: [&[f32]; ROWS], thresholds: [f32; ROWS]) -> [u32; ROWS] {
    std::array::from_fn(|row| {
        let above = |(a, b): (&f32, &f32)| u32::from(a + b > thresholds[row]);
        a.iter().zip(b[row]).map(above).sum()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;

    #[test]
    fn every_version_counts_what_a_filter_counts() {
        let mut stream = Stream::new(1, "test", 0, 0);
        for columns in [8, 16, 504] {
            let mut a = stream.normals(columns);
            a[columns - 3..].fill(f32::NEG_INFINITY);
            let rows: Vec<Vec<f32>> = (0..ROWS).map(|_| stream.normals(columns)).collect();
            let b = [&rows[0][..], &rows[1][..], &rows[2][..], &rows[3][..]];
            // An exact sum as threshold: equality must not count.
            let thresholds = [a[0] + rows[0][0], 0.5, f32::INFINITY, f32::NEG_INFINITY];
            let expected: Vec<u32> = (0..ROWS)
                .map(|r| {
                    a.iter()
                        .zip(&rows[r])
                        .filter(|(a, b)| *a + *b > thresholds[r])
                        .count() as u32
                })
                .collect();
            assert_eq!(portable(&a, b, thresholds).to_vec(), expected);
            assert_eq!(fastest()(&a, b, thresholds).to_vec(), expected);
        }
    }
}
