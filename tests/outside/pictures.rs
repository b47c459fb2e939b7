//! Pictures and small sets of them, valid files for the readers of images.

use std::io::{Cursor, Write};

use image::{DynamicImage, ExtendedColorType, ImageFormat};

use super::seeds::archive;

/// A picture of 20x15 in every form that its format has.
pub fn all() -> Vec<Vec<u8>> {
    let rgb = DynamicImage::ImageRgb8(image::RgbImage::from_fn(20, 15, |x, y| {
        image::Rgb([(12 * x) as u8, (16 * y) as u8, 9])
    }));
    let forms = [
        rgb.clone(),
        DynamicImage::ImageLuma8(rgb.to_luma8()),
        DynamicImage::ImageRgba8(rgb.to_rgba8()),
        DynamicImage::ImageRgb16(rgb.to_rgb16()),
    ];
    let mut files: Vec<Vec<u8>> = forms.iter().map(|form| written(form, ImageFormat::Png)).collect();
    for format in [
        ImageFormat::Jpeg,
        ImageFormat::WebP,
        ImageFormat::Bmp,
        ImageFormat::Pnm,
    ] {
        files.extend(forms[..2].iter().map(|form| written(form, format)));
    }
    files
}

fn written(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A folder of classes as tar, packed tar and zip.
pub fn archives() -> Vec<Vec<u8>> {
    let picture = |grey: u8| {
        let mut bytes = Vec::new();
        let encoder = image::codecs::png::PngEncoder::new(&mut bytes);
        image::ImageEncoder::write_image(encoder, &[grey; 12], 4, 3, ExtendedColorType::L8).unwrap();
        bytes
    };
    let names = ["train/a/x.png", "train/b/y.png", "test/a/z.png", "test/b/z.png"];
    let files: Vec<(&str, Vec<u8>)> = names.into_iter().zip([1, 2, 3, 4].map(picture)).collect();
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in &files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, bytes.as_slice()).unwrap();
    }
    let tar = tar.into_inner().unwrap();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    packed.write_all(&tar).unwrap();
    let members: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(name, bytes)| (*name, bytes.as_slice()))
        .collect();
    vec![tar, packed.finish().unwrap(), archive(&members)]
}

/// Two images of 3x4, and two labels.
pub fn idx() -> Vec<Vec<u8>> {
    let head = |magic: u32, dims: &[u32]| -> Vec<u8> {
        let words = std::iter::once(&magic).chain(dims);
        words.flat_map(|word| word.to_be_bytes()).collect()
    };
    let images = [head(0x803, &[2, 3, 4]), (0..24).collect()].concat();
    vec![images, [head(0x801, &[2]), vec![0, 1]].concat()]
}

/// Two grey and three coloured images of 2x3 with their labels, as members of an `.npz`.
pub fn arrays() -> Vec<Vec<u8>> {
    let array = |kind: &str, shape: &str, bytes: &[u8]| {
        let dict = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}\n");
        let start = [&b"\x93NUMPY\x01\x00"[..], &(dict.len() as u16).to_le_bytes()].concat();
        [&start, dict.as_bytes(), bytes].concat()
    };
    let train = array("|u1", "2, 2, 3", &[9; 12]);
    let labels = array("<i8", "2, 1", &[1_i64, 0].map(i64::to_le_bytes).concat());
    let test = array("|u1", "3, 2, 3, 3", &[7; 54]);
    let of_test = array(">i2", "3,", &[0, 1, 0, 0, 0, 1]);
    vec![
        archive(&[("train_images.npy", &train), ("train_labels.npy", &labels)]),
        archive(&[
            ("x_test.npy", &test),
            ("y_test.npy", &of_test),
            ("x_train.npy", &train),
        ]),
    ]
}
