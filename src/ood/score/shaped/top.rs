//! The largest features of a picture.

/// How many of `width` features are kept when `percent` of them are pruned; at least one.
pub(in crate::ood::score) fn kept(width: usize, percent: f64) -> usize {
    let pruned = (width as f64 * percent / 100.0).round_ties_even() as usize;
    (width - pruned.min(width)).max(1)
}

/// The positions of the `k` largest numbers, in rising order; of equal numbers the first.
pub(in crate::ood::score) fn largest(row: &[f32], k: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..row.len()).collect();
    if k < row.len() {
        places.select_nth_unstable_by(k - 1, |a, b| row[*b].total_cmp(&row[*a]).then(a.cmp(b)));
        places.truncate(k);
    }
    places.sort_unstable();
    places
}

pub(super) fn sum(row: impl IntoIterator<Item = f32>) -> f64 {
    row.into_iter().map(f64::from).sum()
}

/// The whole by its part. It is 1 where the part is zero: nothing is active, and there is nothing to scale;
/// and at most 600, of which the exponential is still finite.
pub(in crate::ood::score) fn ratio(whole: f64, part: f64) -> f64 {
    if part == 0.0 {
        1.0
    } else {
        (whole / part).clamp(-600.0, 600.0)
    }
}
