//! Sums over vectors, in 64 bits and in a fixed order: eight partial sums, then those in turn.

/// Numbers added side by side, so that the compiler can use wide registers.
const LANES: usize = 8;

fn sum(a: &[f32], b: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for (x, y) in a_chunks.iter().zip(b_chunks) {
        for ((lane, x), y) in lanes.iter_mut().zip(x).zip(y) {
            *lane += term(f64::from(*x), f64::from(*y));
        }
    }
    for ((lane, x), y) in lanes.iter_mut().zip(a_rest).zip(b_rest) {
        *lane += term(f64::from(*x), f64::from(*y));
    }
    lanes.iter().sum()
}

/// Returns a . b of two vectors of one width.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    sum(a, b, |x, y| x * y)
}

/// Returns |a - b|^2 of two vectors of one width.
pub fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    sum(a, b, |x, y| (x - y) * (x - y))
}

/// Returns |a|.
pub fn norm(a: &[f32]) -> f64 {
    dot(a, a).sqrt()
}

/// Returns cos(a, b) of two vectors of one width; 0 if one of them is all zeros.
pub fn cosine_similarity(a: &[f32], b: &[f32]) -> f64 {
    cosine(a, b, norm(a) * norm(b))
}

/// The same of vectors the product of whose norms is known. What rounding puts beyond -1 and 1 is these: no
/// distance is negative.
pub(super) fn cosine(a: &[f32], b: &[f32], norms: f64) -> f64 {
    match norms {
        0.0 => 0.0,
        norms => (dot(a, b) / norms).clamp(-1.0, 1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_over_any_width() {
        for width in [0, 1, 7, 8, 9, 16, 33] {
            let a: Vec<f32> = (0..width).map(|i| i as f32 * 0.5).collect();
            let b: Vec<f32> = (0..width).map(|i| 3.0 - i as f32).collect();
            let each = |term: fn(f64, f64) -> f64| -> f64 {
                a.iter()
                    .zip(&b)
                    .map(|(x, y)| term(f64::from(*x), f64::from(*y)))
                    .sum()
            };
            assert_eq!(dot(&a, &b), each(|x, y| x * y), "{width}");
            assert_eq!(squared_distance(&a, &b), each(|x, y| (x - y).powi(2)), "{width}");
        }
        assert_eq!(norm(&[3.0, 4.0]), 5.0);
        // Without bounds some of these are a little more than 1.
        for i in 1..200 {
            let a = [0.1 * i as f32, 0.3, -0.7 / i as f32];
            let opposite = a.map(|x| -x);
            assert!((0.0..1e-15).contains(&(1.0 - cosine_similarity(&a, &a))), "{a:?}");
            assert!(cosine_similarity(&a, &opposite) >= -1.0, "{a:?}");
        }
        assert_eq!(cosine_similarity(&[2.0, 0.0], &[5.0, 0.0]), 1.0);
        assert_eq!(cosine_similarity(&[0.0, 0.0], &[5.0, 0.0]), 0.0);
    }
}
