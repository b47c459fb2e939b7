//! Stretches of the rows of Parquet files: the images that are read, and held, at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{Array, BinaryArray};
use arrow::buffer::NullBuffer;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;

use super::super::error::DatasetError;

/// Bytes of images that are read at a time.
const STRETCH: u64 = 64 << 20;
/// Bytes of images, as they are stored, that all files of a set hold at most.
const HELD: usize = 512 << 20;

/// Consecutive rows of a row group.
pub(super) struct Stretch {
    pub group: usize,
    /// Rows of the group before it.
    pub skip: usize,
    /// Rows of the file before it.
    pub first: usize,
    pub rows: usize,
    /// Whether its row group is so large that only one stretch is read at a time.
    pub large: bool,
}

/// Cuts the row groups into stretches of about [`STRETCH`] bytes of images.
pub(super) fn stretches(metadata: &ArrowReaderMetadata, leaf: usize) -> Vec<Stretch> {
    let (mut stretches, mut first) = (Vec::new(), 0);
    for (group, about) in metadata.metadata().row_groups().iter().enumerate() {
        let rows = usize::try_from(about.num_rows()).unwrap_or_default();
        let size = about
            .columns()
            .get(leaf)
            .map_or(0, |column| column.uncompressed_size());
        let bytes = u64::try_from(size).unwrap_or_default().max(1);
        let each = (STRETCH.saturating_mul(rows as u64) / bytes).clamp(1, rows.max(1) as u64) as usize;
        let mut skip = 0;
        while skip < rows {
            let rows = each.min(rows - skip);
            stretches.push(Stretch {
                group,
                skip,
                first: first + skip,
                rows,
                large: bytes > STRETCH,
            });
            skip += rows;
        }
        first += rows;
    }
    stretches
}

/// The images of a stretch.
#[derive(Default)]
pub(super) struct Images {
    batches: Vec<(BinaryArray, Option<NullBuffer>)>,
    bytes: usize,
    rows: usize,
}

impl Images {
    /// Adds a batch; where its images are part of a struct, that has nulls of its own.
    pub fn push(&mut self, images: BinaryArray, nulls: Option<NullBuffer>) {
        self.rows += images.len();
        self.bytes += images.values().len();
        self.batches.push((images, nulls));
    }

    /// Returns how many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the encoded image of a row, if it has one.
    pub fn get(&self, mut row: usize) -> Option<Vec<u8>> {
        for (bytes, nulls) in &self.batches {
            if row < bytes.len() {
                let absent = bytes.is_null(row) || nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
                return (!absent).then(|| bytes.value(row).to_vec());
            }
            row -= bytes.len();
        }
        None
    }
}

/// A stretch, by file and number in it.
type Key = (usize, usize);
/// A stretch that is held, or being read.
type Held = Arc<Mutex<Option<Arc<Images>>>>;

/// The stretches that were read last, up to [`HELD`] bytes.
#[derive(Default)]
pub(super) struct Cache {
    held: Mutex<Vec<(Key, Held, usize)>>,
    /// Held while a stretch of a large row group is read.
    pub large: Mutex<()>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cache {
    /// Returns a stretch, read if it is not held.
    ///
    /// # Errors
    /// As of `read`.
    pub fn get(
        &self,
        key: Key,
        read: impl FnOnce() -> Result<Images, DatasetError>,
    ) -> Result<Arc<Images>, DatasetError> {
        let slot = {
            let mut held = lock(&self.held);
            // The last one in the list was asked for last.
            let entry = match held.iter().position(|(known, _, _)| *known == key) {
                Some(place) => held.remove(place),
                None => (key, Held::default(), 0),
            };
            let slot = entry.1.clone();
            held.push(entry);
            slot
        };
        let mut slot = lock(&slot);
        if let Some(images) = &*slot {
            return Ok(images.clone());
        }
        let images = Arc::new(read()?);
        *slot = Some(images.clone());
        drop(slot);
        let mut held = lock(&self.held);
        if let Some(entry) = held.iter_mut().find(|(known, _, _)| *known == key) {
            entry.2 = images.bytes;
        }
        let mut total: usize = held.iter().map(|(_, _, bytes)| bytes).sum();
        while total > HELD && held.len() > 1 {
            total -= held.remove(0).2;
        }
        Ok(images)
    }
}
