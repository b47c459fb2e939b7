//! Whether what a file holds besides activations is theirs.

use std::path::Path;

use super::Matrix;
use crate::nn::State;
use crate::stage::StageError;

/// Rows whose logits are held against the last layer's.
const HELD_AGAINST: usize = 64;
/// How far a logit may be from the last layer's, as a share of the largest one: activations may have been
/// kept in 16 bits.
const FAR: f32 = 0.02;

/// Refuses a last layer that does not give the logits of the features: scores that read it would be of
/// another network.
pub(super) fn check_fit(
    path: &Path,
    head: &State,
    features: &Matrix,
    logits: &Matrix,
) -> Result<(), StageError> {
    let (Some(weight), Some(bias)) = (head.get("fc.weight"), head.get("fc.bias")) else {
        return Ok(());
    };
    let (weight, bias) = (weight.to_vec2::<f32>()?, bias.to_vec1::<f32>()?);
    for row in 0..features.rows().unwrap_or(0).min(HELD_AGAINST) {
        let (feature, logit) = (features.row(row), logits.row(row));
        let largest = logit.iter().fold(1.0_f32, |most, value| most.max(value.abs()));
        for (class, (weight, bias)) in weight.iter().zip(&bias).enumerate() {
            let product: f32 = weight.iter().zip(feature).map(|(w, h)| w * h).sum();
            let (given, found) = (logit[class], product + bias);
            if (given - found).abs() > FAR * largest {
                let message = format!(
                    "logit {class} of row {row} is {given}, but the last layer gives {found}: it is another \
                     network's, or takes other features; without the layer they are imported"
                );
                let path = path.to_owned();
                return Err(StageError::File { path, message });
            }
        }
    }
    Ok(())
}

/// Refuses a last layer with a number that is none: every score that reads it would fail.
pub(super) fn check_finite(path: &Path, head: &State) -> Result<(), StageError> {
    for (name, tensor) in head {
        let values = tensor.flatten_all()?.to_vec1::<f32>()?;
        if let Some(place) = values.iter().position(|value| !value.is_finite()) {
            let (path, value) = (path.to_owned(), values[place]);
            let message =
                format!("number {place} of the last layer's {name} is {value} (numbers are kept as f32)");
            return Err(StageError::File { path, message });
        }
    }
    Ok(())
}

/// Refuses a last layer of another width than the features, or of other classes than the logits.
pub(super) fn check_head(
    path: &Path,
    head: &State,
    features: &Matrix,
    logits: &Matrix,
) -> Result<(), StageError> {
    let Some([classes, width]) = head
        .get("fc.weight")
        .and_then(|weight| weight.dims().first_chunk::<2>())
    else {
        return Ok(());
    };
    let pairs = [
        (features.width, *width, "features", "takes"),
        (logits.width, *classes, "logits", "gives"),
    ];
    for (own, of_head, what, does) in pairs {
        if own > 0 && own != of_head {
            let path = path.to_owned();
            let message = format!("an image has {own} {what}, but the last layer {does} {of_head}");
            return Err(StageError::File { path, message });
        }
    }
    Ok(())
}
