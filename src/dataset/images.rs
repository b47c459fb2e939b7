//! The images of a split, ready for a model: all at once, or those asked for.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::describe::{STRETCH, Skipped};
use super::error::DatasetError;
use super::item::{Item, Pixels};
use super::prepare::Preparation;
use super::set::{Reading, Set};

/// Images of one size, ready for a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageSet {
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// Always 3.
    pub channels: usize,
    /// `[n, height, width, channels]`, 0 to 255.
    pub pixels: Vec<u8>,
    /// Labels, if the set has them.
    pub labels: Option<Vec<u32>>,
    /// Image names (a path within the set, or a number).
    pub names: Vec<String>,
}

impl ImageSet {
    /// Returns the number of images.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Returns whether there are no images; a split without any is refused.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Returns image `index`, `[height, width, channels]`, if there is one.
    pub fn image(&self, index: usize) -> Option<&[u8]> {
        let size = self.height * self.width * self.channels;
        self.pixels.chunks_exact(size.max(1)).nth(index)
    }
}

/// A split whose images are decoded when they are asked for: for sets that do not fit into memory.
pub struct Images {
    path: PathBuf,
    classes: Vec<String>,
    labels: Option<Vec<u32>>,
    items: Vec<Item>,
}

impl Images {
    /// Opens a split of the set at `path`, read as `reading` says, without the images `skipped`, which
    /// [`super::describe`] found.
    ///
    /// # Errors
    /// An unknown split, the place of an image to leave out holds one of another name, or whatever is wrong
    /// with the container; see [`DatasetError`]. Images are not decoded yet.
    pub fn open(
        path: &Path,
        reading: &Reading,
        split: &str,
        skipped: &[Skipped],
    ) -> Result<Self, DatasetError> {
        let set = Set::open(path, reading)?;
        let mut items = set.items(split)?;
        for bad in skipped {
            if items.get(bad.index).is_none_or(|item| item.name != bad.name) {
                return Err(DatasetError::Layout {
                    path: path.to_owned(),
                    reason: format!(
                        "image {} is not {}, which was to be left out",
                        bad.index, bad.name
                    ),
                });
            }
        }
        if !skipped.is_empty() {
            let left_out: std::collections::BTreeSet<usize> = skipped.iter().map(|bad| bad.index).collect();
            let all = items.into_iter().enumerate();
            items = all
                .filter(|(i, _)| !left_out.contains(i))
                .map(|(_, item)| item)
                .collect();
        }
        Ok(Self {
            classes: set.container.classes().to_vec(),
            path: set.path,
            // A container gives a label to all images of a split or to none.
            labels: items.iter().map(|item| item.label).collect(),
            items,
        })
    }

    /// Returns the number of images, at least one.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Returns whether there are no images; a split without any is refused.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Returns the labels, if the set has them.
    pub fn labels(&self) -> Option<&[u32]> {
        self.labels.as_deref()
    }

    /// Returns the class names by label; empty if the container names none.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Returns the name of image `index` (a path within the set, or a number), if there is one.
    pub fn name(&self, index: usize) -> Option<&str> {
        self.items.get(index).map(|item| item.name.as_str())
    }

    /// Returns image `index` as it is, decoded.
    ///
    /// # Errors
    /// An index beyond the split, or an image that cannot be decoded, by name.
    pub(crate) fn decode(&self, index: usize) -> Result<Pixels, DatasetError> {
        let item = self.items.get(index).ok_or_else(|| DatasetError::Index {
            path: self.path.clone(),
            index,
            images: self.items.len(),
        })?;
        item.decode(&self.path)
    }

    /// Returns the images `indices` as `[indices, height, width, 3]`, decoded and prepared in parallel.
    ///
    /// # Errors
    /// An index beyond the split, or an image that cannot be decoded or prepared.
    pub fn read(&self, indices: &[usize], preparation: &Preparation) -> Result<Vec<u8>, DatasetError> {
        preparation.check()?;
        let size = preparation.width * preparation.height * 3;
        let total = indices.len().checked_mul(size);
        let mut pixels = Vec::new();
        if total.is_none_or(|total| pixels.try_reserve_exact(total).is_err()) {
            return Err(DatasetError::Memory {
                images: indices.len(),
                width: preparation.width,
                height: preparation.height,
            });
        }
        pixels.resize(indices.len() * size, 0);
        let stretches = pixels.chunks_mut(size * STRETCH).zip(indices.chunks(STRETCH));
        for (pixels, indices) in stretches {
            pixels
                .par_chunks_exact_mut(size)
                .zip(indices)
                .try_for_each(|(out, index)| {
                    let name = self.name(*index).unwrap_or_default();
                    out.copy_from_slice(&preparation.apply(self.decode(*index)?, name)?);
                    Ok::<_, DatasetError>(())
                })?;
        }
        Ok(pixels)
    }
}

impl Images {
    /// Prepares every image, in parallel. The set's order is kept.
    ///
    /// # Errors
    /// An image that cannot be decoded or prepared.
    pub fn load(self, preparation: &Preparation) -> Result<ImageSet, DatasetError> {
        let all: Vec<usize> = (0..self.len()).collect();
        Ok(ImageSet {
            height: preparation.height,
            width: preparation.width,
            channels: 3,
            pixels: self.read(&all, preparation)?,
            labels: self.labels,
            names: self.items.into_iter().map(|item| item.name).collect(),
        })
    }
}

/// Reads one split of a set as `reading` says, and prepares every image, in parallel. The set's order is
/// kept.
///
/// # Errors
/// An unknown split, or whatever is wrong with a file or image of it; see [`DatasetError`].
pub fn load(
    path: &Path,
    reading: &Reading,
    split: &str,
    preparation: &Preparation,
) -> Result<ImageSet, DatasetError> {
    preparation.check()?;
    Images::open(path, reading, split, &[])?.load(preparation)
}
