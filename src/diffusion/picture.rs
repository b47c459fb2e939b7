//! Decoded pictures.

use candle_core::Tensor;

use super::error::{DiffusionError, Result};
use crate::bitmap::Bitmap;

/// Returns `images` `[batch, ..]` with those that are not finite in all numbers replaced by what `again`
/// makes in their place, `[1, ..]`.
pub(crate) fn replace_if_not_finite(
    images: Tensor,
    again: impl Fn(usize) -> Result<Tensor>,
) -> Result<Tensor> {
    // 0 times a number that is not finite is none.
    let sums = (images.flatten_from(1)? * 0.0)?.sum(1)?.to_vec1::<f32>()?;
    if sums.iter().all(|sum| *sum == 0.0) {
        return Ok(images);
    }
    let one = |(i, sum): (usize, &f32)| match *sum == 0.0 {
        true => Ok(images.narrow(0, i, 1)?),
        false => again(i),
    };
    let all = sums.iter().enumerate().map(one).collect::<Result<Vec<_>>>()?;
    Ok(Tensor::cat(&all, 0)?)
}

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

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn only_images_that_are_not_finite_are_made_again() {
        let image = |numbers: [f32; 2]| Tensor::from_slice(&numbers, (1, 2, 1), &Device::Cpu).unwrap();
        let whole = [
            [1.0, -2.0],
            [f32::NAN, 0.0],
            [0.0, 3e38],
            [1.0, f32::NEG_INFINITY],
        ];
        let images = Tensor::cat(&whole.map(image), 0).unwrap();
        let made = replace_if_not_finite(images.clone(), |i| Ok(image([i as f32, 9.0]))).unwrap();
        let numbers = made.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(numbers, [1.0, -2.0, 1.0, 9.0, 0.0, 3e38, 3.0, 9.0]);
        let fine = images.narrow(0, 0, 1).unwrap();
        let none = replace_if_not_finite(fine, |_| unreachable!()).unwrap();
        assert_eq!(none.dims(), [1, 2, 1]);
    }
}
