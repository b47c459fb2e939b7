//! Pictures as PNG files that say where they come from.
//!
//! The bytes depend only on the pixels and the text, so equal pictures have equal digests. Text goes into
//! tEXt chunks while all of it is ASCII, and otherwise into iTXt (UTF-8), so its order is kept.

use std::io::Cursor;

use png::{BitDepth, ColorType, Compression, Decoder, Encoder, Filter, Transformations};

use super::ExchangeError;
use crate::bitmap::{Bitmap, FREE, check_promise};

/// The most pixels that [`decode_png`] accepts: 16,384 squared.
pub const MAX_PIXELS: u64 = 1 << 28;

/// A decoded PNG file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Png {
    /// The picture.
    pub bitmap: Bitmap,
    /// Text chunks: keyword and text, in the order of the file.
    pub text: Vec<(String, String)>,
}

fn wrong(what: impl std::fmt::Display) -> ExchangeError {
    ExchangeError::Png {
        what: what.to_string(),
    }
}

/// Returns the picture as a PNG file with `text` as its text chunks.
///
/// # Errors
/// If the picture's bytes do not fit its size, if a side is 0, or if a keyword is not 1 to 79 Latin-1
/// characters.
pub fn encode_png(bitmap: &Bitmap, text: &[(&str, &str)]) -> Result<Vec<u8>, ExchangeError> {
    let (expected, actual) = (bitmap.expected_bytes(), bitmap.rgb.len());
    let side = |side: usize| u32::try_from(side).ok();
    let sides = side(bitmap.width).zip(side(bitmap.height));
    let Some((width, height)) = sides.filter(|_| actual == expected) else {
        let Bitmap { width, height, .. } = bitmap;
        return Err(wrong(format!(
            "a picture of {width}x{height} has {expected} bytes, got {actual}"
        )));
    };
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, width, height);
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::Balanced);
    encoder.set_filter(Filter::Adaptive);
    let ascii = text.iter().all(|(k, v)| k.is_ascii() && v.is_ascii());
    for (keyword, value) in text {
        let (keyword, value) = ((*keyword).to_owned(), (*value).to_owned());
        if ascii {
            encoder.add_text_chunk(keyword, value)
        } else {
            encoder.add_itxt_chunk(keyword, value)
        }
        .map_err(wrong)?;
    }
    let mut writer = encoder.write_header().map_err(wrong)?;
    writer.write_image_data(&bitmap.rgb).map_err(wrong)?;
    writer.finish().map_err(wrong)?;
    Ok(bytes)
}

/// Decodes a PNG file to 8-bit RGB. Grey is repeated in all three channels and 16 bits are cut to 8.
///
/// # Errors
/// If the bytes are not a whole PNG file, if a pixel is transparent, or if there are more than
/// [`MAX_PIXELS`].
pub fn decode_png(bytes: &[u8]) -> Result<Png, ExchangeError> {
    let mut decoder = Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(wrong)?;
    let (width, height) = (reader.info().width, reader.info().height);
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(wrong(format!(
            "{width}x{height} is more than {MAX_PIXELS} pixels"
        )));
    }
    let bits = reader.info().bits_per_pixel() as u16;
    check_promise(bytes.len(), FREE, width, height, bits).map_err(wrong)?;
    let size = reader
        .output_buffer_size()
        .ok_or_else(|| wrong("too large for memory"))?;
    let mut pixels = vec![0; size];
    let frame = reader.next_frame(&mut pixels).map_err(wrong)?;
    pixels.truncate(frame.buffer_size());
    reader.finish().map_err(wrong)?;
    let rgb = to_rgb(pixels, frame.color_type)?;
    let info = reader.info();
    let mut text = Vec::new();
    for chunk in &info.uncompressed_latin1_text {
        text.push((chunk.keyword.clone(), chunk.text.clone()));
    }
    for chunk in &info.utf8_text {
        text.push((chunk.keyword.clone(), chunk.get_text().map_err(wrong)?));
    }
    let (width, height) = (width as usize, height as usize);
    Ok(Png {
        bitmap: Bitmap { width, height, rgb },
        text,
    })
}

fn to_rgb(pixels: Vec<u8>, color: ColorType) -> Result<Vec<u8>, ExchangeError> {
    let opaque = |pixel: &[u8]| pixel.last() == Some(&255);
    let transparent = || wrong("a pixel is transparent; flatten the picture first");
    match color {
        ColorType::Rgb => Ok(pixels),
        ColorType::Grayscale => Ok(pixels.into_iter().flat_map(|v| [v; 3]).collect()),
        ColorType::Rgba => {
            let chunks = pixels.chunks_exact(4);
            if !chunks.clone().all(opaque) {
                return Err(transparent());
            }
            Ok(chunks.flat_map(|p| p.iter().take(3).copied()).collect())
        }
        ColorType::GrayscaleAlpha => {
            let chunks = pixels.chunks_exact(2);
            if !chunks.clone().all(opaque) {
                return Err(transparent());
            }
            Ok(chunks
                .flat_map(|p| p.first().map_or([0; 3], |v| [*v; 3]))
                .collect())
        }
        // normalize_to_color8 expands palettes.
        ColorType::Indexed => Err(wrong("a palette that could not be expanded")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bitmap(width: usize, height: usize, rgb: Vec<u8>) -> Bitmap {
        Bitmap { width, height, rgb }
    }

    #[test]
    fn text_survives_in_order_and_bytes_repeat() {
        let bitmap = bitmap(2, 3, (0..2 * 3 * 3).map(|v| v as u8 * 13).collect());
        for text in [
            vec![("run", "00ff"), ("class", "otter"), ("index", "7")],
            vec![("run", "00ff"), ("class", "Fischötter 水"), ("index", "7")],
        ] {
            let bytes = encode_png(&bitmap, &text).unwrap();
            assert_eq!(bytes, encode_png(&bitmap, &text).unwrap());
            let picture = decode_png(&bytes).unwrap();
            assert_eq!(picture.bitmap, bitmap);
            let read: Vec<_> = picture
                .text
                .iter()
                .map(|(k, v)| (k.as_str(), v.as_str()))
                .collect();
            assert_eq!(read, text);
        }
    }

    #[test]
    fn wrong_sizes_and_keywords_are_refused() {
        let err = encode_png(&bitmap(2, 2, vec![0; 11]), &[])
            .unwrap_err()
            .to_string();
        assert!(err.contains("12 bytes, got 11"), "{err}");
        assert!(encode_png(&bitmap(0, 2, Vec::new()), &[]).is_err());
        assert!(encode_png(&bitmap(1, 1, vec![0; 3]), &[("", "x")]).is_err());
        assert!(encode_png(&bitmap(1, 1, vec![0; 3]), &[(&"k".repeat(80), "x")]).is_err());
    }

    #[test]
    fn a_file_that_ends_early_is_refused() {
        let whole = encode_png(&bitmap(16, 16, vec![9; 768]), &[("a", "b")]).unwrap();
        for length in 0..whole.len() - 12 {
            assert!(decode_png(&whole[..length]).is_err(), "{length}");
        }
        let mut flipped = whole.clone();
        let middle = whole.len() / 2;
        flipped[middle] ^= 1;
        assert!(decode_png(&flipped).is_err());
    }

    #[test]
    fn other_colour_types_become_rgb() {
        let encode = |color, data: &[u8]| {
            let mut bytes = Vec::new();
            let mut encoder = Encoder::new(&mut bytes, 2, 1);
            encoder.set_color(color);
            encoder.set_depth(BitDepth::Eight);
            encoder.write_header().unwrap().write_image_data(data).unwrap();
            bytes
        };
        let grey = decode_png(&encode(ColorType::Grayscale, &[7, 9])).unwrap();
        assert_eq!(grey.bitmap.rgb, [7, 7, 7, 9, 9, 9]);
        let opaque = decode_png(&encode(ColorType::Rgba, &[1, 2, 3, 255, 4, 5, 6, 255])).unwrap();
        assert_eq!(opaque.bitmap.rgb, [1, 2, 3, 4, 5, 6]);
        let err = decode_png(&encode(ColorType::Rgba, &[1, 2, 3, 255, 4, 5, 6, 254])).unwrap_err();
        assert!(err.to_string().contains("transparent"), "{err}");
        let alpha = decode_png(&encode(ColorType::GrayscaleAlpha, &[7, 255, 9, 255])).unwrap();
        assert_eq!(alpha.bitmap.rgb, [7, 7, 7, 9, 9, 9]);
    }

    proptest! {
        #[test]
        fn pixels_survive(width in 1_usize..20, height in 1_usize..20, seed: u64) {
            let mut state = seed;
            let mut byte = || {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 56) as u8
            };
            let rgb: Vec<u8> = (0..3 * width * height).map(|_| byte()).collect();
            let bitmap = bitmap(width, height, rgb);
            prop_assert_eq!(decode_png(&encode_png(&bitmap, &[]).unwrap()).unwrap().bitmap, bitmap);
        }

        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_png(&bytes);
        }
    }
}
