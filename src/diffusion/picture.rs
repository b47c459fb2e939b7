//! Decoded pictures.

use candle_core::Tensor;

use super::error::{DiffusionError, Result};
use crate::bitmap::Bitmap;

/// Rounds `[batch, h, w, 3]`, values around -1 to 1, as diffusers does: `round(clamp(x / 2 + 0.5) * 255)`,
/// halves to even.
pub(crate) fn bitmaps(images: &Tensor) -> Result<Vec<Bitmap>> {
    let (_, height, width, channels) = images.dims4()?;
    let values = images.flatten_all()?.to_vec1::<f32>()?;
    if values.iter().any(|v| !v.is_finite()) {
        return Err(DiffusionError::NonFiniteResult { what: "a picture" });
    }
    let byte = |x: &f32| ((x / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0).round_ties_even() as u8;
    let bitmap = |image: &[f32]| Bitmap {
        width,
        height,
        rgb: image.iter().map(byte).collect(),
    };
    Ok(values
        .chunks_exact((height * width * channels).max(1))
        .map(bitmap)
        .collect())
}
