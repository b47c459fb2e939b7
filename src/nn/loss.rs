//! Losses and normalisations composed only of operations through which candle passes a gradient.

use candle_core::{D, DType, Tensor};

use super::{Error, Result};

/// Returns log(sum(exp(`x`))) over the last dimension, without overflow: `[.., n]` to `[..]`.
///
/// # Errors
/// Candle's errors.
pub fn logsumexp(x: &Tensor) -> Result<Tensor> {
    // The shift cancels, so it needs no gradient.
    let max = x.detach().max_keepdim(D::Minus1)?;
    let sum = x.broadcast_sub(&max)?.exp()?.sum(D::Minus1)?;
    Ok((sum.log()? + max.squeeze(D::Minus1)?)?)
}

/// Returns the mean cross-entropy (nats) of `logits` `[n, classes]` with `labels`, `n` classes.
///
/// # Errors
/// [`Error::Shape`] if there are not `n` labels, [`Error::Range`] if a label is not a class.
pub fn cross_entropy(logits: &Tensor, labels: &[u32]) -> Result<Tensor> {
    let &[n, classes] = logits.dims() else {
        return Err(shape("logits", "[n, classes]".into(), logits));
    };
    if labels.len() != n || n == 0 {
        return Err(shape(
            "logits",
            format!("[{}, classes], one row a label", labels.len()),
            logits,
        ));
    }
    if let Some((index, label)) = labels.iter().enumerate().find(|(_, l)| **l as usize >= classes) {
        return Err(Error::Range {
            what: "label",
            index,
            value: *label as usize,
            limit: classes,
        });
    }
    let labels = Tensor::from_slice(labels, (n, 1), logits.device())?;
    let chosen = logits.contiguous()?.gather(&labels, 1)?.squeeze(1)?;
    Ok((logsumexp(logits)? - chosen)?.mean_all()?)
}

/// Returns the mean cross-entropy (nats) of `logits` `[n, classes]` with the uniform distribution:
/// `logsumexp(f) - mean(f)` (outlier exposure).
///
/// # Errors
/// Candle's errors.
pub fn cross_entropy_to_uniform(logits: &Tensor) -> Result<Tensor> {
    Ok((logsumexp(logits)? - logits.mean(D::Minus1)?)?.mean_all()?)
}

/// Returns the squared hinges of the energies `-logsumexp(f)` of two sets of logits, each `[n, classes]`: how
/// far those of `inside` lie above the first margin, and those of `outside` below the second; the mean over
/// each (Liu et al. 2020, Eqs. 8 and 9).
///
/// # Errors
/// Candle's errors.
pub fn energy_margins(inside: &Tensor, outside: &Tensor, [low, high]: [f64; 2]) -> Result<Tensor> {
    let (inside, outside) = (logsumexp(inside)?.neg()?, logsumexp(outside)?.neg()?);
    let above = (inside - low)?.relu()?.sqr()?.mean_all()?;
    let below = outside.affine(-1.0, high)?.relu()?.sqr()?.mean_all()?;
    Ok((above + below)?)
}

/// Returns the rows of `logits` `[n, classes]` divided by `temperature` times their length, to which 1e-7 is
/// added (LogitNorm, as the authors' code).
///
/// # Errors
/// Candle's errors.
pub fn logit_norm(logits: &Tensor, temperature: f64) -> Result<Tensor> {
    let square = logits.sqr()?.sum_keepdim(D::Minus1)?;
    // sqrt has no gradient at zero, where PyTorch's norm has none either.
    let floor = square.detach().le(1e-24)?.to_dtype(DType::F32)?;
    let length = ((square + floor.affine(1e-24, 0.0)?)?.sqrt()? + 1e-7)?;
    Ok((logits.broadcast_div(&length)? / temperature)?)
}

/// Returns the mean binary cross-entropy (nats) of `logits` with `targets` in [0, 1], both of one shape:
/// `log(1 + exp(x)) - x t`.
///
/// # Errors
/// [`Error::Shape`] if the shapes differ.
pub fn binary_cross_entropy_with_logits(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    if logits.dims() != targets.dims() {
        return Err(shape(
            "targets",
            format!("{:?}, that of the logits", logits.dims()),
            targets,
        ));
    }
    // log(1 + exp(x)) = logsumexp(0, x), whose gradient is the sigmoid everywhere.
    let pair = Tensor::stack(&[logits, &logits.zeros_like()?], D::Minus1)?;
    Ok((logsumexp(&pair)? - (logits * targets)?)?.mean_all()?)
}

/// Returns the rows of `x` `[n, m]` divided by their lengths (at least 1e-12, as
/// `torch.nn.functional.normalize`).
///
/// # Errors
/// Candle's errors.
pub fn l2_normalize(x: &Tensor) -> Result<Tensor> {
    let x = x.to_dtype(DType::F32)?;
    // The floor is added to nothing but a zero row: sqrt has no gradient at zero.
    let square = x.sqr()?.sum_keepdim(D::Minus1)?;
    let floor = square
        .detach()
        .le(1e-24)?
        .to_dtype(DType::F32)?
        .affine(1e-24, 0.0)?;
    Ok(x.broadcast_div(&(square + floor)?.sqrt()?)?)
}

fn shape(what: &'static str, expected: String, actual: &Tensor) -> Error {
    Error::Shape {
        what,
        expected,
        actual: actual.dims().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    fn var(values: &[f32], shape: (usize, usize)) -> Var {
        Var::from_slice(values, shape, &Device::Cpu).unwrap()
    }

    /// Checks the gradient of `f` at `x` against central differences.
    fn check(x: &Var, f: impl Fn(&Tensor) -> Tensor) {
        let gradient = f(x)
            .backward()
            .unwrap()
            .get(x)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1::<f32>()
            .unwrap();
        let values = x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (i, gradient) in gradient.iter().enumerate() {
            let at = |step: f32| {
                let mut moved = values.clone();
                moved[i] += step;
                let moved = Tensor::from_vec(moved, x.shape(), &Device::Cpu).unwrap();
                f(&moved).to_scalar::<f32>().unwrap()
            };
            let slope = (at(0.01) - at(-0.01)) / 0.02;
            assert!(
                (slope - gradient).abs() < 2e-3,
                "number {i}: {gradient}, differences say {slope}"
            );
        }
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let x = var(&[0.3, -1.2, 2.0, 0.0, 0.7, -0.4], (2, 3));
        let weights = Tensor::new(&[[1.0_f32, -2.0, 0.5], [0.3, 0.1, 2.0]], &Device::Cpu).unwrap();
        let targets = Tensor::new(&[[1.0_f32, 0.0, 1.0], [0.0, 1.0, 0.25]], &Device::Cpu).unwrap();
        check(&x, |x| logsumexp(x).unwrap().sqr().unwrap().sum_all().unwrap());
        check(&x, |x| cross_entropy(x, &[2, 0]).unwrap());
        check(&x, |x| binary_cross_entropy_with_logits(x, &targets).unwrap());
        check(&x, |x| {
            (l2_normalize(x).unwrap() * &weights).unwrap().sum_all().unwrap()
        });
    }

    #[test]
    fn values_are_right_where_naive_formulas_overflow() {
        let x = Tensor::new(&[[1000.0_f32, 1000.0], [-1000.0, -1001.0]], &Device::Cpu).unwrap();
        let found = logsumexp(&x).unwrap().to_vec1::<f32>().unwrap();
        assert!(
            (found[0] - 1000.6931).abs() < 1e-3 && (found[1] + 999.6867).abs() < 1e-3,
            "{found:?}"
        );
        let targets = Tensor::new(&[[1.0_f32, 0.0], [1.0, 0.0]], &Device::Cpu).unwrap();
        let bce = binary_cross_entropy_with_logits(&x, &targets)
            .unwrap()
            .to_scalar::<f32>()
            .unwrap();
        assert!((bce - 500.0).abs() < 1e-3, "{bce}");
        // log(1 + 3 / e)
        let logits = Tensor::new(&[[1.0_f32, 0.0, 0.0, 0.0]], &Device::Cpu).unwrap();
        let ce = cross_entropy(&logits, &[0]).unwrap().to_scalar::<f32>().unwrap();
        assert!((ce - 0.743_668).abs() < 1e-5, "{ce}");
    }

    #[test]
    fn a_zero_row_stays_zero_and_finite() {
        let x = var(&[0.0, 0.0, 3.0, 4.0], (2, 2));
        let y = l2_normalize(&x).unwrap();
        assert_eq!(y.to_vec2::<f32>().unwrap(), [[0.0, 0.0], [0.6, 0.8]]);
        let gradient = y
            .sum_all()
            .unwrap()
            .backward()
            .unwrap()
            .get(&x)
            .unwrap()
            .to_vec2::<f32>()
            .unwrap();
        assert!(gradient.iter().flatten().all(|g| g.is_finite()), "{gradient:?}");
    }

    #[test]
    fn labels_that_are_no_classes_are_refused() {
        let logits = Tensor::new(&[[1.0_f32, 0.0], [0.0, 1.0]], &Device::Cpu).unwrap();
        assert!(matches!(
            cross_entropy(&logits, &[0, 2]),
            Err(Error::Range {
                index: 1,
                value: 2,
                limit: 2,
                ..
            })
        ));
        assert!(matches!(cross_entropy(&logits, &[0]), Err(Error::Shape { .. })));
    }

    /// What tests/fixtures/nn/make_methods.py writes.
    #[derive(serde::Deserialize)]
    struct Fixture {
        images: Vec<Vec<f32>>,
        outliers: Vec<Vec<f32>>,
        labels: Vec<u32>,
        #[serde(flatten)]
        losses: std::collections::BTreeMap<String, Expected>,
    }

    #[derive(serde::Deserialize)]
    struct Expected {
        value: f32,
        gradients: [Vec<Vec<f32>>; 2],
    }

    #[test]
    fn losses_of_all_methods_and_their_gradients_agree_with_pytorch() {
        let text = include_str!("../../tests/fixtures/nn/losses.json");
        let fixture: Fixture = serde_json::from_str(text).unwrap();
        let flat = |rows: &[Vec<f32>]| var(&rows.concat(), (rows.len(), rows[0].len()));
        let labels = &fixture.labels;
        assert_eq!(fixture.losses.len(), 5);
        for (name, expected) in &fixture.losses {
            let (a, b) = (flat(&fixture.images), flat(&fixture.outliers));
            let loss = match name.as_str() {
                "exposure" => cross_entropy_to_uniform(&b).unwrap(),
                "margins" => energy_margins(&a, &b, [-8.0, -3.0]).unwrap(),
                "extra_class" => {
                    (cross_entropy(&a, labels).unwrap() + cross_entropy(&b, &[3; 3]).unwrap()).unwrap()
                }
                "mixoe" => {
                    let own = (cross_entropy(&b, &labels[..3]).unwrap() * 0.3).unwrap();
                    (own + (cross_entropy_to_uniform(&b).unwrap() * 0.7).unwrap()).unwrap()
                }
                "logit_norm" => cross_entropy(&logit_norm(&a, 0.04).unwrap(), labels).unwrap(),
                other => panic!("{other}"),
            };
            let value = loss.to_scalar::<f32>().unwrap();
            let near = |found: f32, expected: f32| (found - expected).abs() < 2e-5 * (1.0 + expected.abs());
            assert!(near(value, expected.value), "{name}: {value}");
            let grads = loss.backward().unwrap();
            for (var, expected) in [&a, &b].into_iter().zip(&expected.gradients) {
                let found = grads
                    .get(var)
                    .map(|g| g.flatten_all().unwrap().to_vec1::<f32>().unwrap());
                let found = found.unwrap_or(vec![0.0; expected.concat().len()]);
                for (found, expected) in found.iter().zip(expected.concat()) {
                    assert!(near(*found, expected), "{name}: gradient {found}, not {expected}");
                }
            }
        }
    }
}
