//! The hot loop: in how many columns does (a + b) exceed a threshold, for four rows b at once.
//!
//! Written once in plain Rust and compiled twice on x86-64, for every processor and for those with AVX2, chosen at run time.
//! Only single additions, comparisons and integer counts occur, so that all versions give the same result.

/// Columns are padded to a multiple of this with minus infinity in `a`, which exceeds nothing.
pub(super) const LANES: usize = 8;
/// Rows taken at once: independent sums hide the latency of an addition.
pub(super) const ROWS: usize = 4;

/// Counts `a[c] + b[r][c] > thresholds[r]` over the columns c. All rows have the length of `a`.
pub(super) type CountFn = fn(&[f32], [&[f32]; ROWS], [f32; ROWS]) -> [u32; ROWS];

/// Returns the fastest version for this processor.
pub(super) fn best() -> CountFn {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return |a, b, thresholds| unsafe { avx2(a, b, thresholds) };
    }
    portable
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2(a: &[f32], b: [&[f32]; ROWS], thresholds: [f32; ROWS]) -> [u32; ROWS] {
    body(a, b, thresholds)
}

pub(super) fn portable(a: &[f32], b: [&[f32]; ROWS], thresholds: [f32; ROWS]) -> [u32; ROWS] {
    body(a, b, thresholds)
}

#[inline(always)]
fn body(a: &[f32], b: [&[f32]; ROWS], thresholds: [f32; ROWS]) -> [u32; ROWS] {
    let (a, _) = a.as_chunks::<LANES>();
    let [b0, b1, b2, b3] = b.map(|row| row.as_chunks::<LANES>().0);
    let mut counts = [[0_u32; LANES]; ROWS];
    for ((((a, b0), b1), b2), b3) in a.iter().zip(b0).zip(b1).zip(b2).zip(b3) {
        for ((b, counts), threshold) in [b0, b1, b2, b3].into_iter().zip(&mut counts).zip(thresholds) {
            for lane in 0..LANES {
                counts[lane] += u32::from(a[lane] + b[lane] > threshold);
            }
        }
    }
    counts.map(|lanes| lanes.iter().sum())
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
            assert_eq!(best()(&a, b, thresholds).to_vec(), expected);
        }
    }
}
