//! One image as its container stores it, and as pixels.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bulk::Part;
use super::error::DatasetError;
use super::files;
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
    /// What lies beside the images that may say something of each, and is not read.
    fn unread(&self) -> &[String] {
        &[]
    }
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

    fn unread(&self) -> &[String] {
        FileASplit::unread(self)
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
    /// The file of a picture.
    File(PathBuf),
    /// The bytes of a picture's file, by number in what holds them.
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

impl Pixels {
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
                None => Err(wrong(
                    "the row has no bytes (where it has a path instead, name the folder of the pictures)"
                        .to_owned(),
                )),
            },
        }
    }
}
