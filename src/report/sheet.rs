//! Pictures side by side in one PNG.

use super::{ClassSheet, ReportError};
use crate::bitmap::Bitmap;

/// The most pixels of a contact sheet.
const PIXELS: usize = 1 << 28;
/// White pixels between cells, before magnification by `scale`.
const GAP: usize = 1;

/// A picture and what it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// The picture.
    pub bitmap: Bitmap,
    /// What it shows, in a few words ("outlier 12, d_k 0.41").
    pub caption: String,
}

impl Picture {
    pub(super) fn check(&self) -> Result<(), ReportError> {
        let (expected, actual) = (self.bitmap.expected_bytes(), self.bitmap.rgb.len());
        if expected == 0 || actual != expected {
            return Err(ReportError::PictureSize {
                caption: self.caption.clone(),
                width: self.bitmap.width,
                height: self.bitmap.height,
                expected,
                actual,
            });
        }
        Ok(())
    }

    /// Pixels of the longer side.
    pub(super) fn side(&self) -> usize {
        self.bitmap.width.max(self.bitmap.height)
    }

    /// Returns the picture as PNG, reduced to at most `side` pixels in each direction: grey when it has no
    /// colour, which takes a third of the bytes.
    pub(super) fn png(&self, side: usize) -> Result<(Bitmap, Vec<u8>), ReportError> {
        let bitmap = reduced(&self.bitmap, side);
        let png = encode(&bitmap)?;
        Ok((bitmap, png))
    }
}

/// Returns the picture reduced to at most `side` pixels in each direction, by the mean over squares.
pub(super) fn reduced(whole: &Bitmap, side: usize) -> Bitmap {
    let factor = whole.width.max(whole.height).div_ceil(side.max(1));
    if factor <= 1 {
        return whole.clone();
    }
    let (width, height) = (whole.width.div_ceil(factor), whole.height.div_ceil(factor));
    let mut rgb = Vec::with_capacity(width * height * 3);
    let mut sums = vec![[0_u32; 3]; width];
    for band in whole.rgb.chunks(factor * whole.width * 3) {
        sums.fill([0; 3]);
        let mut rows = 0;
        for row in band.chunks_exact(whole.width * 3) {
            rows += 1;
            for (square, sum) in row.chunks(factor * 3).zip(&mut sums) {
                for pixel in square.chunks_exact(3) {
                    sum.iter_mut().zip(pixel).for_each(|(s, v)| *s += u32::from(*v));
                }
            }
        }
        for (x, sum) in sums.iter().enumerate() {
            // The last square of a row or column may be narrower; it holds at least one pixel.
            let n = rows * factor.min(whole.width - x * factor) as u32;
            rgb.extend(sum.map(|s| ((s + n / 2) / n) as u8));
        }
    }
    Bitmap { width, height, rgb }
}

/// Returns a PNG of the pictures in rows of `columns`, each pixel drawn as a square of `scale` pixels.
///
/// Cells are as large as the largest picture; a smaller one stands in the middle of its cell. White lines
/// part them.
///
/// # Errors
/// When there is nothing to draw, a picture's bytes do not fit its size, or the sheet would exceed 2^28
/// pixels.
pub fn contact_sheet(pictures: &[Picture], columns: usize, scale: usize) -> Result<Vec<u8>, ReportError> {
    let cells: Vec<Option<&Picture>> = pictures.iter().map(Some).collect();
    draw(&cells, columns, scale, &[])
}

/// Returns a PNG with a row per class: `each` real pictures, as many of the class prompt, and as many
/// imagined outliers, the three groups parted by a wider white line.
///
/// A class that has fewer leaves white cells. A kind that no class has is left out.
///
/// # Errors
/// As [`contact_sheet`].
pub fn comparison_sheet(classes: &[ClassSheet], each: usize, scale: usize) -> Result<Vec<u8>, ReportError> {
    let kinds: [fn(&ClassSheet) -> &[Picture]; 3] = [|c| &c.real, |c| &c.inliers, |c| &c.outliers];
    let present: Vec<_> = kinds
        .into_iter()
        .filter(|kind| classes.iter().any(|c| !kind(c).is_empty()))
        .collect();
    let mut cells = Vec::new();
    for class in classes {
        for kind in &present {
            let pictures = kind(class);
            cells.extend((0..each).map(|i| pictures.get(i)));
        }
    }
    let breaks: Vec<usize> = (1..present.len()).map(|i| i * each).collect();
    draw(&cells, present.len() * each, scale, &breaks)
}

/// Draws cells row after row; before each column in `breaks` the gap is four times as wide.
fn draw(
    cells: &[Option<&Picture>],
    columns: usize,
    scale: usize,
    breaks: &[usize],
) -> Result<Vec<u8>, ReportError> {
    let pictures = || cells.iter().flatten();
    pictures().try_for_each(|p| p.check())?;
    let columns = columns.min(cells.len());
    let widest = pictures().map(|p| p.bitmap.width).max().unwrap_or(0);
    let highest = pictures().map(|p| p.bitmap.height).max().unwrap_or(0);
    if columns == 0 || scale == 0 || widest == 0 {
        return Err(ReportError::EmptySheet {
            pictures: pictures().count(),
            columns,
            scale,
        });
    }
    let rows = cells.len().div_ceil(columns);
    let left = |column: usize| {
        let wider = breaks.iter().filter(|b| **b <= column).count();
        (column * (widest + GAP) + wider * 3 * GAP).saturating_mul(scale)
    };
    let width = left(columns - 1).saturating_add(widest.saturating_mul(scale));
    let height = (rows * (highest + GAP) - GAP).saturating_mul(scale);
    if width.saturating_mul(height) > PIXELS {
        return Err(ReportError::SheetTooLarge {
            width,
            height,
            limit: PIXELS,
        });
    }
    let mut rgb = vec![255_u8; width * height * 3];
    for (i, picture) in cells.iter().enumerate() {
        let Some(Picture { bitmap: picture, .. }) = picture else {
            continue;
        };
        let x0 = left(i % columns) + (widest - picture.width) / 2 * scale;
        let y0 = ((i / columns) * (highest + GAP) + (highest - picture.height) / 2) * scale;
        for y in 0..picture.height * scale {
            // Within the sheet: the cell is at least as large as the picture.
            let start = ((y0 + y) * width + x0) * 3;
            let source = &picture.rgb[y / scale * picture.width * 3..][..picture.width * 3];
            let target = &mut rgb[start..][..picture.width * scale * 3];
            for (pixel, square) in source.chunks_exact(3).zip(target.chunks_exact_mut(3 * scale)) {
                square
                    .chunks_exact_mut(3)
                    .for_each(|out| out.copy_from_slice(pixel));
            }
        }
    }
    encode(&Bitmap { width, height, rgb })
}

fn encode(bitmap: &Bitmap) -> Result<Vec<u8>, ReportError> {
    let Bitmap { width, height, rgb } = bitmap;
    let too_large = || ReportError::SheetTooLarge {
        width: *width,
        height: *height,
        limit: PIXELS,
    };
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(
        &mut out,
        u32::try_from(*width).map_err(|_| too_large())?,
        u32::try_from(*height).map_err(|_| too_large())?,
    );
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Balanced);
    let grey = rgb.chunks_exact(3).all(|p| p[0] == p[1] && p[1] == p[2]);
    encoder.set_color(if grey {
        png::ColorType::Grayscale
    } else {
        png::ColorType::Rgb
    });
    let mut writer = encoder.write_header()?;
    if grey {
        let bytes: Vec<u8> = rgb.iter().step_by(3).copied().collect();
        writer.write_image_data(&bytes)?;
    } else {
        writer.write_image_data(rgb)?;
    }
    writer.finish()?;
    Ok(out)
}
