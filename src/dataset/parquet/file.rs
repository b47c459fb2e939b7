//! One Parquet file: names and labels of its rows are read at once, the images when they are asked for, a
//! stretch of a row group at a time.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, BinaryArray, StructArray};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};

use super::super::error::DatasetError;
use super::super::files;
use super::super::item::Encoded;
use super::super::table::Table;
use super::super::table::columns::{class_names, damaged};
use super::super::table::rows::Row;
use super::columns::{Columns, features};
use super::pages::Values;
use super::stretch::{Cache, Images, Stretch, lock, stretches};
use crate::caught::caught;
use crate::content::Content;
use crate::ending::Ending;

/// Makes a reader of the file.
type Builder = ParquetRecordBatchReaderBuilder<Ending>;
/// Names and labels read at a time.
const BATCH: usize = 8192;
/// A Parquet file.
pub(super) struct ImageFile {
    path: PathBuf,
    metadata: ArrowReaderMetadata,
    columns: Columns,
    stretches: Vec<Stretch>,
    /// By row group: where its images lie, if it is a large one and that is known.
    large: Vec<OnceLock<Option<Values>>>,
    cache: Arc<Cache>,
    /// Its number among the files of the set.
    number: usize,
}

/// Runs a step of the Parquet reader. parquet 59 panics on some damaged pages (a bit width above the type's);
/// to us that is damage like any other. The reader is not used again after it.
fn contained<T>(path: &Path, step: impl FnOnce() -> T) -> Result<T, DatasetError> {
    caught(step).ok_or_else(|| damaged(path, "the Parquet reader gave up on one of its pages"))
}

fn open(path: &Path) -> Result<Ending, DatasetError> {
    Ending::open(path).map_err(files::io(path))
}

impl ImageFile {
    /// Opens a file, the `number`th of its set; also returns the class names in its metadata, if there are
    /// any.
    pub fn open(path: &Path, number: usize, cache: &Arc<Cache>) -> Result<(Self, Vec<String>), DatasetError> {
        if matches!(Content::at(path), Ok(Content::LfsPointer(_))) {
            return Err(DatasetError::Pointer {
                path: path.to_owned(),
            });
        }
        let metadata = open(path)?.head().map_err(|e| damaged(path, e))?;
        let features = features(path, &metadata)?;
        let columns = Columns::of(path, &metadata, &features)?;
        let classes = match &columns.chosen.label {
            Some(label) => class_names(path, &features[label.as_str()])?,
            None => Vec::new(),
        };
        let stretches = stretches(&metadata, columns.bytes);
        let large = metadata
            .metadata()
            .row_groups()
            .iter()
            .map(|_| OnceLock::new())
            .collect();
        let file = Self {
            large,
            path: path.to_owned(),
            metadata,
            columns,
            stretches,
            cache: cache.clone(),
            number,
        };
        Ok((file, classes))
    }

    fn reader(
        &self,
        leaves: Vec<usize>,
        choose: impl FnOnce(Builder) -> Builder,
    ) -> Result<ParquetRecordBatchReader, DatasetError> {
        let builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(open(&self.path)?, self.metadata.clone());
        let mask = ProjectionMask::leaves(builder.parquet_schema(), leaves);
        let reader = contained(&self.path, || choose(builder.with_projection(mask)).build())?;
        reader.map_err(|e| damaged(&self.path, e))
    }

    /// Where the images of a large row group lie, if that is known.
    fn values(&self, group: usize) -> Option<&Values> {
        let about = self.metadata.metadata().row_groups().get(group)?;
        let column = about.columns().get(self.columns.bytes)?;
        self.large
            .get(group)?
            .get_or_init(|| Values::find(&self.path, column))
            .as_ref()
    }

    /// Reads the images of a stretch.
    fn read(&self, stretch: &Stretch) -> Result<Images, DatasetError> {
        let _one = stretch.large.then(|| lock(&self.cache.large));
        let selection = RowSelection::from(vec![
            RowSelector::skip(stretch.skip),
            RowSelector::select(stretch.rows),
        ]);
        let mut reader = self.reader(vec![self.columns.bytes], |builder| {
            let group = builder.with_row_groups(vec![stretch.group]);
            group.with_row_selection(selection).with_batch_size(stretch.rows)
        })?;
        let mut images = Images::default();
        while let Some(batch) = contained(&self.path, || reader.next())? {
            let batch = batch.map_err(|e| damaged(&self.path, e))?;
            let column = batch
                .columns()
                .first()
                .ok_or_else(|| damaged(&self.path, "a column is lost"))?;
            let (bytes, nulls) = match column.as_any().downcast_ref::<StructArray>() {
                // A null struct leaves its parts undefined.
                Some(parts) => (parts.column(0), parts.logical_nulls()),
                None => (column, None),
            };
            let bytes = bytes
                .as_any()
                .downcast_ref::<BinaryArray>()
                .ok_or_else(|| damaged(&self.path, "a column of images of another type"))?;
            images.push(bytes.clone(), nulls);
        }
        match images.rows() == stretch.rows {
            true => Ok(images),
            false => Err(damaged(
                &self.path,
                format!("{} images, of {} by its metadata", images.rows(), stretch.rows),
            )),
        }
    }
}

impl Table for ImageFile {
    fn unread(&self) -> Vec<String> {
        self.columns.chosen.unread(self.metadata.schema())
    }

    fn is_labelled(&self) -> bool {
        self.columns.label.is_some()
    }

    fn says_names(&self) -> bool {
        self.columns.chosen.names
    }

    fn rows(&self) -> Result<Vec<Row>, DatasetError> {
        let count = self.stretches.iter().map(|s| s.rows).sum::<usize>();
        let columns = &self.columns;
        let leaves: Vec<usize> = columns.path.into_iter().chain(columns.label).collect();
        if leaves.is_empty() {
            return Ok(Row::bare(count));
        }
        let mut rows = Vec::new();
        let mut reader = self.reader(leaves, |builder| builder.with_batch_size(BATCH))?;
        while let Some(batch) = contained(&self.path, || reader.next())? {
            let batch = batch.map_err(|e| damaged(&self.path, e))?;
            let lost = || damaged(&self.path, "a column is lost");
            let labels = match &columns.chosen.label {
                Some(name) => Some((name.as_str(), batch.column_by_name(name).ok_or_else(lost)?)),
                None => None,
            };
            let parts = batch
                .columns()
                .iter()
                .find_map(|c| c.as_any().downcast_ref::<StructArray>());
            let paths = parts.and_then(|parts| parts.column_by_name("path"));
            rows.extend(Row::of_batch(&self.path, batch.num_rows(), paths, labels)?);
        }
        match rows.len() == count {
            true => Ok(rows),
            false => Err(damaged(
                &self.path,
                format!("{} rows, of {count} by its metadata", rows.len()),
            )),
        }
    }
}

impl Encoded for ImageFile {
    fn bytes(&self, row: usize) -> Result<Option<Vec<u8>>, DatasetError> {
        let number = self.stretches.partition_point(|s| s.first + s.rows <= row);
        let Some(stretch) = self.stretches.get(number) else {
            return Ok(None);
        };
        if stretch.large
            && let Some(values) = self.values(stretch.group)
        {
            return values.get(row - stretch.first + stretch.skip);
        }
        let images = self.cache.get((self.number, number), || self.read(stretch))?;
        Ok(images.get(row - stretch.first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ways to an image give the same bytes.
    #[test]
    fn images_of_large_row_groups_are_found_where_they_lie() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/dataset");
        for name in [
            "compressed/none",
            "compressed/snappy",
            "compressed/zstd",
            "compressed/gzip",
            "compressed/brotli",
            "compressed/lz4",
            "shapes/train",
            "shards/data/train-00000-of-00002",
        ] {
            let path = fixtures.join(format!("{name}.parquet"));
            let (file, _) = ImageFile::open(&path, 0, &Arc::default()).unwrap();
            let mut seen = 0;
            for stretch in &file.stretches {
                let values = file.values(stretch.group).unwrap_or_else(|| panic!("{name}"));
                let images = file.read(stretch).unwrap();
                for row in 0..stretch.rows {
                    assert_eq!(values.get(row + stretch.skip).unwrap(), images.get(row), "{name}");
                    seen += 1;
                }
            }
            assert!(seen > 0, "{name}");
        }
        let (null, _) = ImageFile::open(&fixtures.join("null_image.parquet"), 0, &Arc::default()).unwrap();
        assert_eq!(null.values(0).unwrap().get(0).unwrap(), None);
    }
}
