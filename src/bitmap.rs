//! Pictures as they pass between rooms: decoded, 8 bits a channel, without knowing where they came from.

use image::imageops::{FilterType, resize};
use image::{ImageBuffer, Rgb};

/// Bytes of pixels that a byte of a picture's file stands for at most: DEFLATE packs 1,032 into one, and a
/// JPEG needs a bit for each block of 8x8 in each of its planes.
const MOST_PER_BYTE: u64 = 2048;
/// Bytes of pixels that any file may promise.
pub(crate) const FREE: u64 = 1 << 20;

/// Returns the bits of a pixel as a PNG packs them, by its head: those of a palette's picture are less than
/// those of its colours.
pub(crate) fn png_bits_per_pixel(bytes: &[u8]) -> Option<u16> {
    let (depth, colours) = (u16::from(*bytes.get(24)?), *bytes.get(25)?);
    let channels = match colours {
        0 | 3 => 1,
        4 => 2,
        2 => 3,
        6 => 4,
        _ => return None,
    };
    Some(depth * channels)
}

/// Checks that a file of `len` bytes can hold the pixels that its header promises, before memory is asked for
/// them; `free` bytes of pixels are no promise, mostly [`FREE`].
///
/// # Errors
/// Says that it cannot.
pub(crate) fn check_promise(
    len: usize,
    free: u64,
    width: u32,
    height: u32,
    bits_per_pixel: u16,
) -> Result<(), String> {
    let row = (u64::from(width) * u64::from(bits_per_pixel)).div_ceil(8);
    let promised = u64::from(height).saturating_mul(row);
    match promised <= free.saturating_add(MOST_PER_BYTE.saturating_mul(len as u64)) {
        true => Ok(()),
        false => Err(format!(
            "its header promises {width}x{height} pixels, more than its {len} bytes can hold"
        )),
    }
}

/// An RGB picture of 8 bits a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitmap {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Red, green, blue of each pixel, row by row from the top: `[height, width, 3]`.
    pub rgb: Vec<u8>,
}

impl Bitmap {
    /// Bytes that a picture of this size has.
    pub(crate) fn expected_bytes(&self) -> usize {
        self.width.saturating_mul(self.height).saturating_mul(3)
    }

    /// Returns the picture at another size, by bicubic interpolation (Catmull-Rom, a = -0.5, as wide as the
    /// scale: what Pillow calls BICUBIC, up to rounding). It is made of additions and multiplications alone,
    /// in one order, so equal pictures stay equal.
    pub fn resized(&self, width: usize, height: usize) -> Self {
        if (self.width, self.height) == (width, height) {
            return self.clone();
        }
        // A picture has 3 * width * height bytes; sides are far below 2^32.
        let whole =
            ImageBuffer::<Rgb<u8>, _>::from_raw(self.width as u32, self.height as u32, self.rgb.clone())
                .expect("pixels fill the picture");
        let rgb = resize(&whole, width as u32, height as u32, FilterType::CatmullRom).into_raw();
        Self { width, height, rgb }
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Sized {
        width: usize,
        height: usize,
        rgb: Vec<u8>,
        #[serde(default)]
        resized: Vec<Sized>,
    }

    /// Pillow rounds between its two passes; ours are rounded once.
    #[test]
    fn resized_as_pillow_does_within_a_grey_level() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let json = std::fs::read(root.join("tests/fixtures/diffusion/resize.json")).unwrap();
        let fixture: Sized = serde_json::from_slice(&json).unwrap();
        let picture = Bitmap {
            width: fixture.width,
            height: fixture.height,
            rgb: fixture.rgb,
        };
        assert_eq!(picture.resized(picture.width, picture.height), picture);
        for expected in fixture.resized {
            let found = picture.resized(expected.width, expected.height);
            let size = (expected.width, expected.height);
            assert_eq!((found.width, found.height), size);
            assert_eq!(found.rgb.len(), expected.rgb.len());
            let pairs = found.rgb.iter().zip(&expected.rgb);
            let largest = pairs.map(|(a, b)| a.abs_diff(*b)).max();
            assert!(largest <= Some(1), "{size:?}: {largest:?}");
        }
    }
}
