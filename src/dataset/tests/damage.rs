//! Any bytes give a set or an error, whatever the format: never a panic, never memory without bound.

use std::fs;
use std::path::Path;

use super::archives::{tar, zip};
use super::layouts::tree;
use super::{fixture, gzip, png};
use crate::dataset::item::Pixels;
use crate::dataset::{DatasetError, Reading, describe, preview};

/// A small generator of numbers (SplitMix64), so that a failure can be had again.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end.max(1) as u64) as usize
    }

    /// Bytes with a few changes: others in their place, a part lost, doubled or filled.
    fn changed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            let len = self.below(16).min(bytes.len() - at);
            match self.below(5) {
                0 => bytes.truncate(at),
                1 => drop(bytes.drain(at..at + len)),
                2 => bytes[at..at + len].fill(0xff),
                3 => bytes.extend_from_within(at..at + len),
                _ => bytes
                    .iter_mut()
                    .skip(at)
                    .take(1)
                    .for_each(|b| *b = self.below(256) as u8),
            }
        }
        bytes
    }
}

#[test]
fn damaged_files_of_every_format_are_read_or_refused() {
    let folder = tree(&["train/a/x.png", "train/b/y.png", "test/a/z.png"]);
    let packed = tar(folder.path());
    let picture = image::RgbImage::from_fn(20, 15, |x, y| image::Rgb([(12 * x) as u8, (16 * y) as u8, 9]));
    let mut jpeg = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
    let jpeg = jpeg.into_inner();
    let fixtures = [
        "svhn/test_32x32.mat",
        "svhn/train_32x32.mat",
        "compressed/snappy.parquet",
    ];
    let fixtures = fixtures.map(|name| {
        (
            name.rsplit('/').next().unwrap_or_default(),
            fs::read(fixture(name)).unwrap(),
        )
    });
    let seeds = [
        ("set.tar.gz", gzip(&packed)),
        ("set.tar", packed),
        ("set.zip", zip(folder.path(), &["train/a/x.png", "test/a/z.png"])),
        (
            "train-images-idx3-ubyte",
            super::idx_file(0x803, &[2, 3, 4], &[7; 24]),
        ),
        ("test_batch.bin", vec![1; 2 * 3073]),
        ("x.png", png(4, 3, &[9; 12])),
        ("x.jpg", jpeg),
    ];
    let dir = tempfile::tempdir().unwrap();
    let mut numbers = Numbers(7);
    let skipping = Reading {
        skip_bad: true,
        ..Reading::default()
    };
    for (name, bytes) in seeds.into_iter().chain(fixtures) {
        let own = dir.path().join(name.replace('.', "-"));
        fs::create_dir(&own).unwrap();
        fs::write(
            own.join("train-labels-idx1-ubyte"),
            super::idx_file(0x801, &[2], &[0, 1]),
        )
        .unwrap();
        for _ in 0..400 {
            let bytes = numbers.changed(&bytes);
            fs::write(own.join(name), &bytes).unwrap();
            let path = if name.starts_with("set.") {
                own.join(name)
            } else {
                own.clone()
            };
            for reading in [Reading::default(), skipping.clone()] {
                let _ = describe(&path, &reading);
            }
            let _ = preview(&path, &Reading::default());
            let _ = Pixels::of_file(&bytes);
        }
    }
}

#[test]
fn lines_and_tables_of_anything() {
    let mut numbers = Numbers(11);
    let text = b"cifar10/test/airplane/0001.png 0\n\xef\xbb\xbf\"a b\",-1\r\nx\t99999999999999\n# no\n";
    let table = b"\xef\xbb\xbfname,token_word,prompt_suffix\n\"a \"\"b\"\", c\",hen,\" x\"\nkite,kite,\n";
    for _ in 0..20_000 {
        let lines = numbers.changed(text);
        String::from_utf8_lossy(&lines)
            .lines()
            .for_each(|line| drop(crate::dataset::list::line::line(line)));
        let _ = crate::stage::classes::parse_classes(&numbers.changed(table));
    }
}

/// A header can promise any size.
#[test]
fn pictures_of_any_size_are_refused_before_memory_is_asked_for() {
    let mut bytes = png(4, 3, &[9; 12]);
    for (at, side) in [(16, u32::MAX >> 1), (20, 1 << 30)] {
        bytes[at..at + 4].copy_from_slice(&side.to_be_bytes());
    }
    // The checksum of the header, by ISO 3309.
    let mut crc = flate2::Crc::new();
    crc.update(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    assert!(Pixels::of_file(&bytes).is_err());
    assert!(Pixels::decode(&bytes, Path::new("set"), "x").is_err());
}

/// A page header that asks to pass over two billion parts, found by libFuzzer: parquet 59 would try each.
#[test]
fn a_page_header_that_goes_on_beyond_its_file_is_damage() {
    let error = describe(&fixture("endless.parquet"), &Reading::default());
    assert!(matches!(error, Err(DatasetError::Corrupt { .. })), "{error:?}");
}

#[test]
fn a_large_picture_of_one_colour_is_read_whatever_its_bits_are() {
    use ::png::{BitDepth, ColorType, Encoder};
    let side = 2_000_u32;
    for (colours, depth, bits) in [
        (ColorType::Indexed, BitDepth::Eight, 8),
        (ColorType::Indexed, BitDepth::One, 1),
        (ColorType::Grayscale, BitDepth::One, 1),
        (ColorType::Rgb, BitDepth::Eight, 24),
    ] {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, side, side);
        encoder.set_color(colours);
        encoder.set_depth(depth);
        encoder.set_compression(::png::Compression::High);
        if colours == ColorType::Indexed {
            encoder.set_palette(vec![9, 9, 9, 200, 100, 50]);
        }
        let rows = vec![0; side as usize * (side as usize * bits).div_ceil(8)];
        encoder.write_header().unwrap().write_image_data(&rows).unwrap();
        // By the bits of its colours one of a bit would be refused.
        let fits = crate::bitmap::check_promise(bytes.len(), crate::bitmap::FREE, side, side, 24).is_ok();
        assert_eq!(fits, depth != BitDepth::One, "{} bytes", bytes.len());
        let read = Pixels::of_file(&bytes).unwrap();
        assert_eq!(
            (read.width, read.height),
            (2_000, 2_000),
            "{colours:?} of {} bytes",
            bytes.len()
        );
    }
}
