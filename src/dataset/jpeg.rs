//! JPEG files that are whole. Decoders draw what they can of a cut or damaged one and leave the rest grey.

use image::{DynamicImage, GrayImage, RgbImage};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// Decodes the pixels of a file: grey where it is, else red, green and blue.
///
/// # Errors
/// Says what keeps the decoder from drawing all of it.
pub(super) fn decode(bytes: &[u8]) -> Result<DynamicImage, String> {
    // What stands between headers is no matter to a picture, what is wrong in its coded data is.
    let lenient = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), lenient);
    let said = |error: zune_jpeg::errors::DecodeErrors| format!("its picture is damaged: {error}");
    decoder.decode_headers().map_err(said)?;
    let grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let colours = if grey { ColorSpace::Luma } else { ColorSpace::RGB };
    decoder.set_options(lenient.set_strict_mode(true).jpeg_set_out_colorspace(colours));
    let pixels = decoder.decode().map_err(said)?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    let (width, height) = (width as u32, height as u32);
    let image = match grey {
        true => GrayImage::from_raw(width, height, pixels).map(DynamicImage::from),
        false => RgbImage::from_raw(width, height, pixels).map(DynamicImage::from),
    };
    image.ok_or_else(|| "its picture is damaged: it has fewer pixels than its header says".to_owned())
}

/// Checks that the file goes on to its end-of-image marker (ITU-T T.81, B.1): segments by their lengths, and
/// behind a start of scan its coded data up to the next marker. What follows the end is no matter.
///
/// # Errors
/// Says where the file ends instead.
pub(super) fn whole(bytes: &[u8]) -> Result<(), String> {
    let cut = |scans: usize| match scans {
        0 => "it is cut: the file ends before its picture begins".to_owned(),
        _ => format!(
            "it is cut: the file ends after {} bytes, within its picture",
            bytes.len()
        ),
    };
    let (mut at, mut scans) = (2, 0);
    loop {
        // A marker is 0xFF, as often as the writer liked, and a byte that is neither 0 nor 0xFF. Bytes
        // between segments that are none are passed over, as libjpeg does.
        let marker = loop {
            match bytes.get(at..at + 2) {
                None => return Err(cut(scans)),
                Some(&[0xff, code]) if code != 0 && code != 0xff => break code,
                Some(_) => at += 1,
            }
        };
        at += 2;
        match marker {
            // End of image.
            0xd9 => return if scans > 0 { Ok(()) } else { Err(cut(0)) },
            // Start of image, restarts, TEM: no segment follows.
            0x01 | 0xd0..=0xd8 => {}
            _ => {
                let Some(&[high, low]) = bytes.get(at..at + 2) else {
                    return Err(cut(scans));
                };
                at += usize::from(u16::from_be_bytes([high, low])).max(2);
                // The coded data of a scan is passed over by the search for the next marker: within it, 0xFF
                // is followed by 0, or is a restart.
                scans += usize::from(marker == 0xda);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Vec<u8> {
        let image = RgbImage::from_fn(40, 30, |x, y| image::Rgb([(x * 6) as u8, (y * 8) as u8, 77]));
        let mut out = std::io::Cursor::new(Vec::new());
        image.write_to(&mut out, image::ImageFormat::Jpeg).unwrap();
        out.into_inner()
    }

    #[test]
    fn a_file_that_ends_early_is_told() {
        let file = file();
        assert_eq!(whole(&file), Ok(()));
        assert_eq!(whole(&[&file[..], b"trailing bytes"].concat()), Ok(()));
        for end in 2..file.len() {
            assert!(whole(&file[..end]).is_err(), "{end} of {}", file.len());
        }
    }

    #[test]
    fn coded_data_that_is_none_is_told_and_bytes_between_headers_are_not() {
        let file = file();
        let pixels = image::load_from_memory(&file).unwrap();
        assert_eq!(decode(&file), Ok(pixels.clone()));
        // Bytes that belong to no segment, as some cameras write them.
        let stray = [&file[..2], &[0; 9], &file[2..]].concat();
        assert_eq!(decode(&stray), Ok(pixels));
        let scan = file.windows(2).position(|marker| marker == [0xff, 0xda]).unwrap() + 14;
        let mut damaged = file.clone();
        // Ones without end: the code of no symbol (T.81, C.2).
        damaged[scan + 40..scan + 60].copy_from_slice(&[0xff, 0].repeat(10));
        assert_eq!(whole(&damaged), Ok(()));
        let reason = decode(&damaged).unwrap_err();
        assert!(reason.starts_with("its picture is damaged: "), "{reason}");
    }
}
