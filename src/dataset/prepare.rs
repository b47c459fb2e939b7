//! Brings an image to the size and the colours that a model takes, the same way for every set.

use image::imageops::{FilterType, resize};
use image::{ImageBuffer, Luma, Rgb};
use serde::{Deserialize, Serialize};

use super::error::DatasetError;
use super::item::Pixels;
use crate::words::words;

words! {
    /// The colours wanted; the result has three channels in any case.
    pub enum Channels {
        /// Luma of ITU-R BT.601, three times over: for an ID set that is grey, so that colour does not give
        /// OOD images away.
        Gray = "gray",
        /// Colours as they are; grey images have three equal channels.
        Rgb = "rgb",
    }
}

words! {
    /// How an image of another size is fitted.
    pub enum Fit {
        /// Scale until it covers the target, then cut the middle out: torchvision's `Resize` and
        /// `CenterCrop`.
        Crop = "crop",
        /// Scale both sides, whatever the proportions.
        Stretch = "stretch",
        /// Do not scale; put it in the middle of black. An image larger than the target is an error.
        Pad = "pad",
    }
}

/// What is done to every image of a set. Scaling is bilinear with antialiasing (a triangle filter as wide as
/// the scale).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Preparation {
    /// Width wanted, in pixels.
    pub width: usize,
    /// Height wanted, in pixels.
    pub height: usize,
    /// Colours wanted.
    pub channels: Channels,
    /// What to do with images of another size.
    pub fit: Fit,
    /// With [`Fit::Crop`]: the length that the shorter side is scaled to before the middle is cut out (256
    /// for 224 in torchvision's recipes). Without it, the image is scaled until it just covers the target.
    pub resize: Option<usize>,
}

/// A part of an image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its first column.
    pub x: usize,
    /// Its first row.
    pub y: usize,
    /// Its columns, at least one.
    pub width: usize,
    /// Its rows, at least one.
    pub height: usize,
}

impl Preparation {
    /// Returns the preparation to `width` x `height` with crop.
    pub fn new(width: usize, height: usize, channels: Channels) -> Self {
        Self {
            width,
            height,
            channels,
            fit: Fit::Crop,
            resize: None,
        }
    }

    pub(super) fn check(&self) -> Result<(), DatasetError> {
        let good = 1..=65535;
        if !good.contains(&self.width) || !good.contains(&self.height) {
            return Err(DatasetError::TargetSize {
                width: self.width,
                height: self.height,
            });
        }
        match self.resize {
            Some(resize) if resize < self.width.max(self.height) || !good.contains(&resize) => {
                Err(DatasetError::Resize {
                    resize,
                    target: (self.width, self.height),
                })
            }
            _ => Ok(()),
        }
    }

    fn coloured(&self, image: Pixels) -> Pixels {
        match self.channels {
            Channels::Gray => luma(image),
            Channels::Rgb => image,
        }
    }

    /// Returns a part of the image, scaled to the target whatever its proportions, as `[height, width, 3]`.
    ///
    /// # Errors
    /// If the part is empty or not all inside of the image, or the target's size cannot be.
    pub(crate) fn cut(&self, image: Pixels, part: Window) -> Result<Vec<u8>, DatasetError> {
        self.check()?;
        let inside = |start: usize, len: usize, side: usize| len > 0 && start <= side && len <= side - start;
        if !inside(part.x, part.width, image.width) || !inside(part.y, part.height, image.height) {
            return Err(DatasetError::Window {
                part,
                size: (image.width, image.height),
            });
        }
        let image = self.coloured(image);
        let channels = image.channels;
        let rows = image
            .bytes
            .chunks_exact(image.width * channels)
            .skip(part.y)
            .take(part.height);
        let row = |row: &[u8]| row[part.x * channels..][..part.width * channels].to_vec();
        let cut = Pixels {
            width: part.width,
            height: part.height,
            channels,
            bytes: rows.flat_map(row).collect(),
        };
        Ok(scale(cut, self.width, self.height).into_rgb())
    }

    /// Returns the image as `[height, width, 3]` of this preparation. `name` is for the error message.
    ///
    /// # Errors
    /// If it is too large to pad, or the target's size cannot be.
    pub(crate) fn apply(&self, image: Pixels, name: &str) -> Result<Vec<u8>, DatasetError> {
        self.check()?;
        let image = self.coloured(image);
        if (image.width, image.height) == (self.width, self.height) && self.resize.is_none() {
            return Ok(image.into_rgb());
        }
        let fitted = match self.fit {
            Fit::Stretch => scale(image, self.width, self.height),
            Fit::Crop => {
                let covered = self.resize.map_or((self.width, self.height), |side| (side, side));
                let (width, height) = cover((image.width, image.height), covered);
                let scaled = scale(image, width, height);
                let x = centre(width - self.width);
                let y = centre(height - self.height);
                self.window(&scaled, (0, 0), (x, y))
            }
            Fit::Pad if image.width > self.width || image.height > self.height => {
                return Err(DatasetError::TooLarge {
                    name: name.to_owned(),
                    width: image.width,
                    height: image.height,
                    target: (self.width, self.height),
                });
            }
            Fit::Pad => {
                let x = (self.width - image.width) / 2;
                let y = (self.height - image.height) / 2;
                self.window(&image, (x, y), (0, 0))
            }
        };
        Ok(fitted.into_rgb())
    }

    /// Copies as much of `image` from `from` on as fits into a black target at `to`; both are (x, y).
    fn window(&self, image: &Pixels, to: (usize, usize), from: (usize, usize)) -> Pixels {
        let channels = image.channels;
        let mut bytes = vec![0; self.width * self.height * channels];
        let width = (self.width - to.0).min(image.width - from.0) * channels;
        let source = image.bytes.chunks_exact(image.width * channels).skip(from.1);
        let target = bytes.chunks_exact_mut(self.width * channels).skip(to.1);
        for (target, source) in target.zip(source) {
            target[to.0 * channels..][..width].copy_from_slice(&source[from.0 * channels..][..width]);
        }
        Pixels {
            width: self.width,
            height: self.height,
            channels,
            bytes,
        }
    }
}

/// ITU-R BT.601 luma in 16-bit fixed point, as Pillow's `convert("L")` computes it.
fn luma(image: Pixels) -> Pixels {
    if image.channels == 1 {
        return image;
    }
    let (pixels, _) = image.bytes.as_chunks::<3>();
    let weigh = |[r, g, b]: &[u8; 3]| {
        let sum = 19595 * u32::from(*r) + 38470 * u32::from(*g) + 7471 * u32::from(*b);
        ((sum + 0x8000) >> 16) as u8
    };
    Pixels {
        channels: 1,
        bytes: pixels.iter().map(weigh).collect(),
        ..image
    }
}

/// The size that covers `target` with the proportions of `size`; the longer side is rounded down, as
/// torchvision does.
fn cover(size: (usize, usize), target: (usize, usize)) -> (usize, usize) {
    match size.0 * target.1 >= size.1 * target.0 {
        true => ((size.0 * target.1 / size.1).max(target.0), target.1),
        false => (target.0, (size.1 * target.0 / size.0).max(target.1)),
    }
}

/// Half of `rest`, a half rounded to even, as torchvision's `CenterCrop`.
fn centre(rest: usize) -> usize {
    rest / 2 + usize::from(rest % 4 == 3)
}

fn scale(image: Pixels, width: usize, height: usize) -> Pixels {
    if (image.width, image.height) == (width, height) {
        return image;
    }
    let (w, h) = (image.width as u32, image.height as u32);
    let (to_w, to_h) = (width as u32, height as u32);
    // `Pixels` holds width * height * channels bytes, so that a buffer of that size always takes them.
    let missing = "pixels fill the image";
    let bytes = match image.channels {
        1 => {
            let buffer = ImageBuffer::<Luma<u8>, _>::from_raw(w, h, image.bytes).expect(missing);
            resize(&buffer, to_w, to_h, FilterType::Triangle).into_raw()
        }
        _ => {
            let buffer = ImageBuffer::<Rgb<u8>, _>::from_raw(w, h, image.bytes).expect(missing);
            resize(&buffer, to_w, to_h, FilterType::Triangle).into_raw()
        }
    };
    Pixels {
        width,
        height,
        channels: image.channels,
        bytes,
    }
}
