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
    let byte = |x: &f32| (unit(*x) * 255.0).round_ties_even() as u8;
    each(images, |image, width, height| Bitmap {
        width,
        height,
        rgb: image.iter().map(byte).collect(),
    })
}

/// Brings `[batch, h, w, 3]`, values around -1 to 1, to another size and cuts off to bytes, as the public
/// code of DREAM-OOD does (`scripts/dream_ood.py`): PyTorch's bilinear `interpolate` of `clamp((x + 1) / 2)`,
/// without smoothing, times 255. To half the size these are the means of 2x2 pixels.
pub(crate) fn interpolated(images: &Tensor, width: usize, height: usize) -> Result<Vec<Bitmap>> {
    each(images, |image, own_width, own_height| {
        let (columns, rows) = (neighbours(own_width, width), neighbours(own_height, height));
        let pixel =
            |y: usize, x: usize, channel: usize| unit(image[(y * own_width + x) * CHANNELS + channel]);
        let mut rgb = Vec::with_capacity(width * height * CHANNELS);
        for (y, v) in &rows {
            for (x, u) in &columns {
                for channel in 0..CHANNELS {
                    let of_row = |y: usize| (1.0 - u) * pixel(y, x[0], channel) + u * pixel(y, x[1], channel);
                    let value = (1.0 - v) * of_row(y[0]) + v * of_row(y[1]);
                    rgb.push((255.0 * value) as u8);
                }
            }
        }
        Bitmap { width, height, rgb }
    })
}

/// Red, green, blue.
const CHANNELS: usize = 3;

fn unit(x: f32) -> f32 {
    (x / 2.0 + 0.5).clamp(0.0, 1.0)
}

/// Returns, for each of `to` places along a side of `from` pixels, the two pixels that it lies between, by
/// their middles, and how far it is from the first.
fn neighbours(from: usize, to: usize) -> Vec<([usize; 2], f32)> {
    let scale = from as f32 / to as f32;
    let one = |place: usize| {
        let at = ((place as f32 + 0.5) * scale - 0.5).max(0.0);
        let first = (at as usize).min(from - 1);
        ([first, (first + 1).min(from - 1)], at - first as f32)
    };
    (0..to).map(one).collect()
}

/// Makes a picture of each of `[batch, h, w, 3]`.
fn each(images: &Tensor, make: impl Fn(&[f32], usize, usize) -> Bitmap) -> Result<Vec<Bitmap>> {
    let (_, height, width, channels) = images.dims4()?;
    let values = images.flatten_all()?.to_vec1::<f32>()?;
    if values.iter().any(|v| !v.is_finite()) {
        return Err(DiffusionError::NonFiniteResult { what: "a picture" });
    }
    let images = values.chunks_exact((height * width * channels).max(1));
    Ok(images.map(|image| make(image, width, height)).collect())
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
    #[derive(serde::Deserialize)]
    struct Interpolated {
        width: usize,
        height: usize,
        #[serde(default)]
        numbers: Vec<f32>,
        #[serde(default)]
        rgb: Vec<u8>,
        #[serde(default)]
        resized: Vec<Interpolated>,
    }

    #[test]
    fn interpolated_as_pytorch_does() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let json = std::fs::read(root.join("tests/fixtures/diffusion/interpolate.json")).unwrap();
        let fixture: Interpolated = serde_json::from_slice(&json).unwrap();
        let (width, height) = (fixture.width, fixture.height);
        let image = Tensor::from_vec(fixture.numbers, (1, height, width, 3), &Device::Cpu).unwrap();
        let twice = Tensor::cat(&[&image, &image], 0).unwrap();
        assert_eq!(fixture.resized.len(), 6);
        for expected in fixture.resized {
            let found = interpolated(&twice, expected.width, expected.height).unwrap();
            assert_eq!(found.len(), 2);
            for found in found {
                assert_eq!((found.width, found.height), (expected.width, expected.height));
                assert_eq!(found.rgb, expected.rgb, "{}x{}", expected.width, expected.height);
            }
        }
    }
}
