//! One image as its container stores it, and as pixels.

use std::path::{Path, PathBuf};

use super::error::DatasetError;
use super::files;

/// What a reader of one container format offers.
pub(super) trait Container {
    /// Names of the splits, sorted.
    fn splits(&self) -> Vec<String>;
    /// Class names by label; empty if the container names none.
    fn classes(&self) -> &[String];
    /// The images of an existing split, in the set's order.
    fn items(&self, split: &str) -> Result<Vec<Item>, DatasetError>;
}

/// An image not yet decoded.
pub(super) struct Item {
    /// File name, or number within the split.
    pub name: String,
    pub label: Option<u32>,
    pub stored: Stored,
}

/// How a container stores an image.
pub(super) enum Stored {
    /// Bytes of pixels, in planes `[channels, height, width]`.
    Planes {
        width: usize,
        height: usize,
        channels: usize,
        bytes: Vec<u8>,
    },
    /// A PNG or JPEG file.
    File(PathBuf),
    /// The bytes of a PNG or JPEG file.
    Encoded(Vec<u8>),
    /// Nothing, where there should be an image.
    Absent,
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

impl Pixels {
    /// Decodes the bytes of a PNG or JPEG file. Transparency is dropped, 16 bits become 8. `set` and `name`
    /// are for the error.
    ///
    /// # Errors
    /// [`DatasetError::Image`] if they are no such file.
    pub(crate) fn decode(bytes: &[u8], set: &Path, name: &str) -> Result<Self, DatasetError> {
        let image = image::load_from_memory(bytes).map_err(|error| DatasetError::Image {
            path: set.to_owned(),
            name: name.to_owned(),
            // Some decoders end their words with a line break.
            reason: error.to_string().trim_end().to_owned(),
        })?;
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

impl Item {
    /// Decodes the image.
    pub(super) fn decode(&self, set: &Path) -> Result<Pixels, DatasetError> {
        match &self.stored {
            Stored::Planes {
                width,
                height,
                channels,
                bytes,
            } => {
                let area = width * height;
                let interleaved = match channels {
                    1 => bytes.clone(),
                    _ => {
                        let pixel = |i: usize| bytes.iter().skip(i).step_by(area).copied();
                        (0..area).flat_map(pixel).collect()
                    }
                };
                Ok(Pixels {
                    width: *width,
                    height: *height,
                    channels: *channels,
                    bytes: interleaved,
                })
            }
            Stored::File(path) => Pixels::decode(&files::read(path)?, set, &self.name),
            Stored::Encoded(bytes) => Pixels::decode(bytes, set, &self.name),
            Stored::Absent => Err(DatasetError::Image {
                path: set.to_owned(),
                name: self.name.clone(),
                reason: "the row has no bytes".to_owned(),
            }),
        }
    }
}
