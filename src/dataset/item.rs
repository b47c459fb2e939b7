//! One image as its container stores it, and as pixels.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::{DynamicImage, ImageDecoder as _, ImageError, ImageFormat, ImageReader, Limits};

use super::bulk::Part;
use super::error::DatasetError;
use super::{files, jpeg};
use crate::bitmap::{check_promise, png_bits_per_pixel};
use crate::content::{self, Content};
use crate::input;

/// What a reader of one container format offers.
pub(super) trait Container {
    /// Names of the splits, sorted.
    fn splits(&self) -> Vec<String>;
    /// Class names by label; empty if the container names none.
    fn classes(&self) -> &[String];
    /// The images of an existing split, in the set's order.
    fn items(&self, split: &str) -> Result<Vec<Item>, DatasetError>;
    /// What lies beside the images that may say something of each, and is not read.
    fn unread(&self) -> &[String] {
        &[]
    }
}

/// A container with one file per split.
pub(super) trait FileASplit {
    /// The file of each split.
    fn files(&self) -> &BTreeMap<String, PathBuf>;
    /// Class names by label; empty if the container names none.
    fn classes(&self) -> &[String];
    /// The images of the file of a split, in its order.
    fn read(&self, split: &str, file: &Path) -> Result<Vec<Item>, DatasetError>;
}

impl<C: FileASplit> Container for C {
    fn splits(&self) -> Vec<String> {
        self.files().keys().cloned().collect()
    }

    fn classes(&self) -> &[String] {
        FileASplit::classes(self)
    }

    fn items(&self, split: &str) -> Result<Vec<Item>, DatasetError> {
        let file = self.files().get(split);
        file.map_or(Ok(Vec::new()), |file| self.read(split, file))
    }
}

/// An image not yet decoded.
#[derive(Clone)]
pub(super) struct Item {
    /// File name, or number within the split.
    pub name: String,
    pub label: Option<u32>,
    pub stored: Stored,
}

/// How a container stores an image.
#[derive(Clone)]
pub(super) enum Stored {
    /// Bytes of pixels.
    Planes(Planes),
    /// A PNG or JPEG file.
    File(PathBuf),
    /// The bytes of a PNG or JPEG file, by number in what holds them.
    Encoded(Arc<dyn Encoded>, usize),
}

/// Pixels as bytes.
#[derive(Clone)]
pub(super) struct Planes {
    pub width: usize,
    pub height: usize,
    /// 1 (grey) or 3 (RGB).
    pub channels: usize,
    pub order: Order,
    pub part: Part,
}

/// How pixels lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// `[channels, height, width]`.
    Rows,
    /// `[channels, width, height]`, as MATLAB has it.
    Columns,
    /// `[height, width, channels]`.
    Pixels,
}

/// What holds the bytes of many encoded images.
pub(super) trait Encoded: Send + Sync {
    /// The bytes of one; none where there should be an image and is not.
    fn bytes(&self, number: usize) -> Result<Option<Vec<u8>>, DatasetError>;
}

/// An image as decoded, of one channel where it is stored grey: such sets are scaled in a third of the time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pixels {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// 1 (grey) or 3 (RGB).
    pub(crate) channels: usize,
    /// `[height, width, channels]`.
    pub(crate) bytes: Vec<u8>,
}

/// Memory that a decoder may ask for.
const DECODER_MEMORY: u64 = 1 << 30;

/// Memory that the decoder of a PNG or JPEG file may ask for: of a PNG what its pixels need at most, for a
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
    /// Decodes the bytes of a PNG or JPEG file. Transparency is dropped, 16 bits become 8. `set` and `name`
    /// are for the error.
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

    /// Decodes the bytes of a PNG or JPEG file; the error says what is wrong with them.
    pub(crate) fn of_file(bytes: &[u8]) -> Result<Self, String> {
        let format = match Content::of(bytes) {
            Content::Png => ImageFormat::Png,
            Content::Jpeg => {
                jpeg::whole(bytes)?;
                ImageFormat::Jpeg
            }
            Content::LfsPointer(_) => return Err(content::POINTER.to_owned()),
            Content::Empty => return Err("the file is empty".to_owned()),
            other => return Err(format!("it is {other}; PNG and JPEG are read")),
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
        check_promise(bytes.len(), width, height, bits)?;
        if decoder.total_bytes() > DECODER_MEMORY {
            return Err(format!("its {width}x{height} pixels are too many"));
        }
        let image = DynamicImage::from_decoder(decoder).map_err(said)?;
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

    /// The image as RGB bytes, grey repeated.
    pub(super) fn into_rgb(self) -> Vec<u8> {
        match self.channels {
            1 => self.bytes.into_iter().flat_map(|v| [v; 3]).collect(),
            _ => self.bytes,
        }
    }
}

impl Stored {
    /// The bytes of a file beside images, which a folder lists like them.
    pub fn file_bytes(&self) -> Result<Vec<u8>, DatasetError> {
        match self {
            Self::File(path) => files::read(path, input::LABELS),
            Self::Encoded(held, number) => Ok(held.bytes(*number)?.unwrap_or_default()),
            Self::Planes(planes) => planes.part.read(),
        }
    }
}

impl Planes {
    fn pixels(&self) -> Result<Pixels, DatasetError> {
        let Self {
            width,
            height,
            channels,
            ..
        } = *self;
        let planes = self.part.read()?;
        let area = width * height;
        let bytes = match (channels, self.order) {
            (_, Order::Pixels) | (1, Order::Rows) => planes,
            (_, Order::Rows) => {
                let pixel = |i: usize| planes.iter().skip(i).step_by(area).copied();
                (0..area).flat_map(pixel).collect()
            }
            (_, Order::Columns) => {
                let pixel = |i: usize| {
                    let place = i % width * height + i / width;
                    planes.iter().skip(place).step_by(area).copied()
                };
                (0..area).flat_map(pixel).collect()
            }
        };
        Ok(Pixels {
            width,
            height,
            channels,
            bytes,
        })
    }
}

impl Item {
    /// Decodes the image.
    pub(super) fn decode(&self, set: &Path) -> Result<Pixels, DatasetError> {
        let wrong = |reason: String| DatasetError::Image {
            path: set.to_owned(),
            name: self.name.clone(),
            reason,
        };
        match &self.stored {
            Stored::Planes(planes) => planes.pixels(),
            Stored::File(path) => match files::read(path, input::PICTURE) {
                Ok(bytes) => Pixels::decode(&bytes, set, &self.name),
                // A link that leads nowhere, a file that may not be read: an image that is not there.
                Err(DatasetError::Io { source, .. }) => {
                    Err(wrong(format!("its file cannot be opened: {source}")))
                }
                Err(error) => Err(error),
            },
            Stored::Encoded(held, number) => match held.bytes(*number)? {
                Some(bytes) => Pixels::decode(&bytes, set, &self.name),
                None => Err(wrong("the row has no bytes".to_owned())),
            },
        }
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
