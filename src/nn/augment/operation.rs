//! The operations that policies of augmentation are made of, on Pillow images as torchvision's functional_pil
//! does them, byte for byte: nearest neighbours, black outside.

use super::jitter::{Property, blend};
use crate::words::words;

words! {
    /// What is done to a picture, by torchvision's names; how strongly is a magnitude beside it.
    pub enum Operation {
        /// Nothing.
        Identity = "Identity",
        /// Moves rows along themselves, by the magnitude a row.
        ShearX = "ShearX",
        /// Moves columns, likewise.
        ShearY = "ShearY",
        /// Moves the picture to the right by so many pixels.
        TranslateX = "TranslateX",
        /// Moves the picture down by so many pixels.
        TranslateY = "TranslateY",
        /// Turns the picture counterclockwise by so many degrees.
        Rotate = "Rotate",
        /// Multiplies the brightness by 1 + the magnitude.
        Brightness = "Brightness",
        /// The saturation, likewise.
        Color = "Color",
        /// The contrast, likewise.
        Contrast = "Contrast",
        /// The sharpness, likewise.
        Sharpness = "Sharpness",
        /// Keeps so many bits of every byte.
        Posterize = "Posterize",
        /// Inverts bytes from the magnitude on.
        Solarize = "Solarize",
        /// Stretches every channel to 0 .. 255.
        AutoContrast = "AutoContrast",
        /// Makes the histogram of every channel flat.
        Equalize = "Equalize",
        /// Inverts all bytes.
        Invert = "Invert",
    }
}

impl Operation {
    /// Says whether the magnitude may be negative.
    pub fn is_signed(self) -> bool {
        match self {
            Self::ShearX | Self::ShearY | Self::TranslateX | Self::TranslateY | Self::Rotate => true,
            Self::Brightness | Self::Color | Self::Contrast | Self::Sharpness => true,
            Self::Identity | Self::Posterize | Self::Solarize => false,
            Self::AutoContrast | Self::Equalize | Self::Invert => false,
        }
    }

    /// Changes a picture `[height, width, 3]`.
    pub fn apply(self, rgb: &mut Vec<u8>, [height, width]: [usize; 2], magnitude: f64) {
        let mut moved = |matrix: [f64; 6]| *rgb = affine(rgb, [height, width], matrix);
        match self {
            Self::Identity => {}
            // torchvision goes by the angle whose tangent the magnitude is.
            Self::ShearX => moved([1.0, magnitude.atan().tan(), 0.0, 0.0, 1.0, 0.0]),
            Self::ShearY => moved([1.0, 0.0, 0.0, magnitude.atan().tan(), 1.0, 0.0]),
            Self::TranslateX => moved([1.0, 0.0, -magnitude.trunc(), 0.0, 1.0, 0.0]),
            Self::TranslateY => moved([1.0, 0.0, 0.0, 0.0, 1.0, -magnitude.trunc()]),
            Self::Rotate if magnitude % 360.0 == 0.0 => {}
            Self::Rotate => moved(turn([height, width], magnitude)),
            Self::Brightness => Property::Brightness.adjust(rgb, 1.0 + magnitude),
            Self::Color => Property::Saturation.adjust(rgb, 1.0 + magnitude),
            Self::Contrast => Property::Contrast.adjust(rgb, 1.0 + magnitude),
            Self::Sharpness => sharpen(rgb, [height, width], (1.0 + magnitude) as f32),
            Self::Posterize => {
                let dropped = 8 - (magnitude as u32).min(8);
                let mask = ((0xFF_u32 << dropped) & 0xFF) as u8;
                rgb.iter_mut().for_each(|v| *v &= mask);
            }
            Self::Solarize => {
                let bright = rgb.iter_mut().filter(|v| f64::from(**v) >= magnitude);
                bright.for_each(|v| *v = 255 - *v);
            }
            Self::AutoContrast => by_channel(rgb, stretched),
            Self::Equalize => by_channel(rgb, equalised),
            Self::Invert => rgb.iter_mut().for_each(|v| *v = 255 - *v),
        }
    }
}

/// The matrix of a turn about the middle, from places in the result to places in the picture.
fn turn([height, width]: [usize; 2], degrees: f64) -> [f64; 6] {
    // Pillow rounds to 15 digits.
    let round = |v: f64| (v * 1e15).round() / 1e15;
    let angle = -degrees.rem_euclid(360.0).to_radians();
    let (cos, sin) = (round(angle.cos()), round(angle.sin()));
    let (x, y) = (width as f64 / 2.0, height as f64 / 2.0);
    [cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y]
}

/// Takes every pixel from where the matrix says, in Pillow's 16-bit fixed point.
fn affine(rgb: &[u8], [height, width]: [usize; 2], [a, b, c, d, e, f]: [f64; 6]) -> Vec<u8> {
    let fixed = |v: f64| (v * 65536.0 + 0.5).floor() as i64;
    let [right, down] = [[fixed(a), fixed(d)], [fixed(b), fixed(e)]];
    let start = [fixed(c + a * 0.5 + b * 0.5), fixed(f + d * 0.5 + e * 0.5)];
    let mut out = vec![0; rgb.len()];
    let (pixels, _) = rgb.as_chunks::<3>();
    for (at, pixel) in out.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        let (row, column) = ((at / width) as i64, (at % width) as i64);
        let [x, y] = [0, 1].map(|i| (start[i] + down[i] * row + right[i] * column) >> 16);
        let inside = (0..width as i64).contains(&x) && (0..height as i64).contains(&y);
        if inside {
            *pixel = pixels[y as usize * width + x as usize];
        }
    }
    out
}

/// Goes from the smoothed picture through the picture, as Pillow's `ImageEnhance.Sharpness`.
fn sharpen(rgb: &mut [u8], [height, width]: [usize; 2], factor: f32) {
    let smooth = smoothed(rgb, [height, width]);
    rgb.iter_mut()
        .zip(smooth)
        .for_each(|(v, from)| *v = blend(from, *v, factor));
}

/// Pillow's `ImageFilter.SMOOTH`: the mean with the eight neighbours, the pixel itself five times; the border
/// stays.
fn smoothed(rgb: &[u8], [height, width]: [usize; 2]) -> Vec<u8> {
    let mut out = rgb.to_vec();
    for y in 1..height.max(1) - 1 {
        for x in 1..width.max(1) - 1 {
            for c in 0..3 {
                let at = |y: usize, x: usize| u32::from(rgb[(y * width + x) * 3 + c]);
                let rows = y - 1..=y + 1;
                let sum: u32 = rows.map(|y| at(y, x - 1) + at(y, x) + at(y, x + 1)).sum();
                out[(y * width + x) * 3 + c] = ((2 * (sum + 4 * at(y, x)) + 13) / 26) as u8;
            }
        }
    }
    out
}

/// Maps the bytes of every channel by a table made of the channel's histogram, where there is one.
fn by_channel(rgb: &mut [u8], table: impl Fn(&[u32; 256]) -> Option<[u8; 256]>) {
    for c in 0..3 {
        let mut histogram = [0; 256];
        let channel = |rgb: &[u8]| rgb.iter().skip(c).step_by(3).copied().collect::<Vec<u8>>();
        channel(rgb).into_iter().for_each(|v| histogram[v as usize] += 1);
        if let Some(table) = table(&histogram) {
            rgb.iter_mut()
                .skip(c)
                .step_by(3)
                .for_each(|v| *v = table[*v as usize]);
        }
    }
}

/// Pillow's `ImageOps.autocontrast`.
fn stretched(histogram: &[u32; 256]) -> Option<[u8; 256]> {
    let low = histogram.iter().position(|n| *n > 0)?;
    let high = histogram.iter().rposition(|n| *n > 0)?;
    (high > low).then(|| {
        let scale = 255.0 / (high - low) as f64;
        let offset = -(low as f64) * scale;
        std::array::from_fn(|v| (v as f64 * scale + offset) as u8)
    })
}

/// Pillow's `ImageOps.equalize`.
fn equalised(histogram: &[u32; 256]) -> Option<[u8; 256]> {
    let last = histogram.iter().rposition(|n| *n > 0)?;
    let step = histogram[..last].iter().sum::<u32>() / 255;
    (step > 0).then(|| {
        let mut sum = step / 2;
        std::array::from_fn(|v| {
            let value = (sum / step).min(255) as u8;
            sum += histogram[v];
            value
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What tests/fixtures/nn/make_augment.py writes.
    #[derive(serde::Deserialize)]
    struct Fixture {
        size: [usize; 2],
        rgb: Vec<u8>,
        cases: Vec<Case>,
    }

    #[derive(serde::Deserialize)]
    struct Case {
        operation: String,
        magnitude: f64,
        rgb: Vec<u8>,
    }

    #[test]
    fn every_operation_is_torchvisions() {
        let text = include_str!("../../../tests/fixtures/nn/operations.json");
        let fixture: Fixture = serde_json::from_str(text).unwrap();
        for case in &fixture.cases {
            let mut found = fixture.rgb.clone();
            let operation = Operation::from_name(&case.operation).unwrap();
            operation.apply(&mut found, fixture.size, case.magnitude);
            let wrong = found.iter().zip(&case.rgb).filter(|(a, b)| a != b).count();
            assert_eq!(wrong, 0, "{operation} {}: bytes that differ", case.magnitude);
        }
        let tried = |operation: &Operation| fixture.cases.iter().any(|c| c.operation == operation.name());
        assert!(Operation::ALL.iter().all(tried));
    }

    #[test]
    fn pictures_of_a_few_pixels_and_of_one_colour_are_taken() {
        for operation in Operation::ALL {
            for size in [[1, 1], [2, 1], [1, 3], [3, 3]] {
                let mut rgb = vec![77; size[0] * size[1] * 3];
                operation.apply(&mut rgb, size, 0.25);
                assert_eq!(rgb.len(), size[0] * size[1] * 3, "{operation}");
            }
        }
    }
}
