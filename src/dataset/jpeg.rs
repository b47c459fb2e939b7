//! Whether a JPEG file is whole. Decoders draw what there is of a cut one and leave the rest grey.

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

    #[test]
    fn a_file_that_ends_early_is_told() {
        let image = image::RgbImage::from_fn(40, 30, |x, y| image::Rgb([(x * 6) as u8, (y * 8) as u8, 77]));
        let mut out = std::io::Cursor::new(Vec::new());
        image.write_to(&mut out, image::ImageFormat::Jpeg).unwrap();
        let file = out.into_inner();
        assert_eq!(whole(&file), Ok(()));
        assert_eq!(whole(&[&file[..], b"trailing bytes"].concat()), Ok(()));
        for end in 2..file.len() {
            assert!(whole(&file[..end]).is_err(), "{end} of {}", file.len());
        }
    }
}
