//! Pictures decoded from the bytes of their files: PNG, JPEG, WebP, BMP and PNM.

use std::path::Path;

use image::{DynamicImage, ImageDecoder as _, ImageError, ImageFormat, ImageReader, Limits};

use super::error::DatasetError;
use super::item::Pixels;
use super::{jpeg, webp};
use crate::bitmap::{FREE, check_promise, png_bits_per_pixel};
use crate::content::{self, Content};

/// The formats that are read, in words.
pub(super) const READ: &str = "PNG, JPEG, WebP, BMP and PNM (PPM, PGM, PBM)";
/// Bytes of pixels that any WebP file may promise.
const FREE_OF_WEBP: u64 = 16 << 20;
/// Memory that a decoder may ask for.
const DECODER_MEMORY: u64 = 1 << 30;

/// Memory that the decoder of a file may ask for: of a PNG what its pixels need at most, for a
/// colour profile of a megabyte can unpack to a thousand.
fn memory_for(bytes: &[u8], format: ImageFormat) -> u64 {
    let side = |at: usize| {
        let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
        word.map_or(0, |word| u64::from(u32::from_be_bytes(word)))
    };
    match format {
        // The header chunk comes first: four channels of 16 bits a pixel are the most.
        ImageFormat::Png => {
            let pixels = side(16).saturating_mul(side(20)).saturating_mul(8);
            pixels.saturating_add(16 << 20).min(DECODER_MEMORY)
        }
        _ => DECODER_MEMORY,
    }
}

impl Pixels {
    /// Decodes the bytes of a picture's file. Transparency is dropped, 16 bits become 8. `set` and `name` are
    /// for the error.
    ///
    /// # Errors
    /// [`DatasetError::Image`] if they are no such file, or not all of one.
    pub(crate) fn decode(bytes: &[u8], set: &Path, name: &str) -> Result<Self, DatasetError> {
        Self::of_file(bytes).map_err(|reason| DatasetError::Image {
            path: set.to_owned(),
            name: name.to_owned(),
            reason,
        })
    }

    /// Decodes the bytes of a picture's file; the error says what is wrong with them.
    pub(crate) fn of_file(bytes: &[u8]) -> Result<Self, String> {
        let format = match Content::of(bytes) {
            Content::Png => ImageFormat::Png,
            Content::Jpeg => {
                jpeg::whole(bytes)?;
                ImageFormat::Jpeg
            }
            Content::Webp => {
                webp::check(bytes)?;
                ImageFormat::WebP
            }
            Content::Bmp => ImageFormat::Bmp,
            Content::Pnm => ImageFormat::Pnm,
            Content::LfsPointer(_) => return Err(content::POINTER.to_owned()),
            Content::Empty => return Err("the file is empty".to_owned()),
            other => return Err(format!("it is {other}; {READ} are read")),
        };
        let mut reader = ImageReader::with_format(std::io::Cursor::new(bytes), format);
        let mut limits = Limits::default();
        limits.max_alloc = Some(memory_for(bytes, format));
        reader.limits(limits);
        // Some decoders end their words with a line break.
        let said = |error: ImageError| error.to_string().trim_end().to_owned();
        let decoder = reader.into_decoder().map_err(said)?;
        let (width, height) = decoder.dimensions();
        let packed = (format == ImageFormat::Png).then(|| png_bits_per_pixel(bytes));
        let bits = packed
            .flatten()
            .unwrap_or_else(|| decoder.original_color_type().bits_per_pixel());
        // Some bytes of a WebP are a picture of one colour, whatever its size.
        let free = if format == ImageFormat::WebP {
            FREE_OF_WEBP
        } else {
            FREE
        };
        check_promise(bytes.len(), free, width, height, bits)?;
        if decoder.total_bytes() > DECODER_MEMORY {
            return Err(format!("its {width}x{height} pixels are too many"));
        }
        let image = match format {
            ImageFormat::Jpeg => jpeg::decode(bytes)?,
            _ => DynamicImage::from_decoder(decoder).map_err(said)?,
        };
        let (width, height) = (image.width() as usize, image.height() as usize);
        let (channels, bytes) = match image.color().has_color() {
            true => (3, image.into_rgb8().into_raw()),
            false => (1, image.into_luma8().into_raw()),
        };
        Ok(Self {
            width,
            height,
            channels,
            bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_decoder_of_a_png_has_the_memory_of_its_pixels() {
        let header = |width: u32, height: u32| {
            let start = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
            [&start[..], &width.to_be_bytes(), &height.to_be_bytes()].concat()
        };
        let memory = |width, height| memory_for(&header(width, height), ImageFormat::Png);
        assert_eq!(memory(2, 1), 16 + (16 << 20));
        assert_eq!(memory(4000, 3000), 4000 * 3000 * 8 + (16 << 20));
        assert_eq!(memory(u32::MAX, u32::MAX), DECODER_MEMORY);
        assert_eq!(memory_for(b"\x89PNG", ImageFormat::Png), 16 << 20);
    }
}
