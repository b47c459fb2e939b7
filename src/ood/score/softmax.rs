//! Softmax and its kin, in `f64` and in the order of the classes.

/// Position of the largest number; of equal ones the first.
pub(super) fn argmax(row: &[f32]) -> usize {
    let mut best = 0;
    for (at, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = at;
        }
    }
    best
}

pub(super) fn maximum(row: &[f32]) -> f64 {
    f64::from(row[argmax(row)])
}

pub(super) fn mean(row: &[f32]) -> f64 {
    row.iter().map(|value| f64::from(*value)).sum::<f64>() / row.len() as f64
}

/// `temperature * ln(sum(exp(row / temperature)))`.
pub(super) fn log_sum_exp(row: &[f32], temperature: f64) -> f64 {
    let max = maximum(row);
    let sum: f64 = row
        .iter()
        .map(|x| ((f64::from(*x) - max) / temperature).exp())
        .sum();
    max + temperature * sum.ln()
}

/// The same of numbers that are `f64` already, at temperature 1.
pub(super) fn log_sum_exp_of(row: &[f64]) -> f64 {
    let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if max == f64::NEG_INFINITY {
        return max;
    }
    max + row.iter().map(|x| (x - max).exp()).sum::<f64>().ln()
}

/// The probability of the likeliest class.
pub(super) fn confidence(row: &[f32], temperature: f64) -> f64 {
    let max = maximum(row);
    let sum: f64 = row
        .iter()
        .map(|x| ((f64::from(*x) - max) / temperature).exp())
        .sum();
    1.0 / sum
}

/// The probability of each class.
pub(super) fn softmax(row: &[f32]) -> Vec<f64> {
    softmax_at(row, 1.0)
}

/// The same at a temperature.
pub(super) fn softmax_at(row: &[f32], temperature: f64) -> Vec<f64> {
    let max = maximum(row);
    let power = |x: &f32| ((f64::from(*x) - max) / temperature).exp();
    let mut p: Vec<f64> = row.iter().map(power).collect();
    let sum: f64 = p.iter().sum();
    p.iter_mut().for_each(|p| *p /= sum);
    p
}
