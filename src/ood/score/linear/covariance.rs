//! Means and covariances, summed in the order of the rows.

use super::matrix::Matrix;
use crate::engine::simd::{LANES_F64 as LANES, TileF64, accumulate_f64};
use crate::ood::observed::Rows;
use rayon::prelude::*;

/// Rows that are added to a covariance at a time.
const STRETCH: usize = 512;

/// The mean row.
pub(in crate::ood::score) fn mean(rows: Rows<'_>) -> Vec<f64> {
    let mut sum = vec![0.0; rows.width()];
    for row in rows.iter() {
        sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    sum.iter_mut().for_each(|sum| *sum /= rows.len() as f64);
    sum
}

/// The mean row of each class, none for a class without rows. There are as many classes as the largest label
/// asks for, and `least` of them at least.
pub(in crate::ood::score) fn class_means(
    rows: Rows<'_>,
    labels: &[u32],
    least: usize,
) -> Vec<Option<Vec<f64>>> {
    let classes = labels
        .iter()
        .map(|label| *label as usize + 1)
        .max()
        .unwrap_or(0)
        .max(least);
    let mut sums = vec![(0_usize, vec![0.0; rows.width()]); classes];
    for (row, label) in rows.iter().zip(labels) {
        let (count, sum) = &mut sums[*label as usize];
        *count += 1;
        sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    let mean = |(count, mut sum): (usize, Vec<f64>)| {
        sum.iter_mut().for_each(|sum| *sum /= count as f64);
        (count > 0).then_some(sum)
    };
    sums.into_iter().map(mean).collect()
}

/// The mean of the outer products of `rows` rows of `width` numbers with themselves: `[width, width]`,
/// symmetric to the bit. `read(row, out)` writes a row, from which the caller has taken the mean.
pub(in crate::ood::score) fn covariance(
    rows: usize,
    width: usize,
    read: impl Fn(usize, &mut [f64]) + Sync,
) -> Vec<f64> {
    let padded = width.next_multiple_of(LANES);
    // Row by row of tiles; each sum runs over all rows in order, because the stretches come one after
    // another.
    let mut sums = vec![0.0; padded * padded];
    for first in (0..rows).step_by(STRETCH) {
        let here = STRETCH.min(rows - first);
        let mut part = vec![0.0; here * width];
        part.par_chunks_mut(width)
            .enumerate()
            .for_each(|(row, out)| read(first + row, out));
        let stretch = Matrix::new(here, width, |k, n| part[k * width + n]);
        let panels: Vec<_> = stretch.panels().collect();
        sums.par_chunks_mut(LANES * padded)
            .enumerate()
            .for_each(|(band, sums)| {
                for (panel, right) in panels.iter().enumerate().skip(band) {
                    let mut tile: TileF64 = [[0.0; LANES]; LANES];
                    for (tile, sums) in tile.iter_mut().zip(sums.chunks_exact(padded)) {
                        tile.copy_from_slice(&sums[panel * LANES..][..LANES]);
                    }
                    accumulate_f64(panels[band], right, &mut tile);
                    for (tile, sums) in tile.iter().zip(sums.chunks_exact_mut(padded)) {
                        sums[panel * LANES..][..LANES].copy_from_slice(tile);
                    }
                }
            });
    }
    let at = |i: usize, j: usize| sums[i.min(j) * padded + i.max(j)] / rows as f64;
    (0..width * width).map(|k| at(k / width, k % width)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole numbers: every order of summing is exact.
    #[test]
    fn covariances_of_any_size_are_right() {
        for (rows, width) in [(1, 1), (5, 3), (1100, 21), (600, 8)] {
            let value = |row: usize, k: usize| ((row * 37 + k * 11 + 5) % 19) as f64 - 9.0;
            let found = covariance(rows, width, |row, out| {
                out.iter_mut()
                    .enumerate()
                    .for_each(|(k, out)| *out = value(row, k));
            });
            for i in 0..width {
                for j in 0..width {
                    let terms = (0..rows).map(|row| value(row, i) * value(row, j));
                    assert_eq!(found[i * width + j], terms.sum::<f64>() / rows as f64);
                }
            }
        }
    }
}
