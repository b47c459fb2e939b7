//! One Parquet file: names and labels of its rows are read at once, the images when they are asked for, a
//! stretch of a row group at a time.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
    RowSelection, RowSelector,
};

use super::super::error::DatasetError;
use super::super::files;
use super::super::item::Encoded;
use super::columns::{Columns, LABEL_TYPE, class_names, features, wrong};
use super::pages::Values;
use super::stretch::{Cache, Images, Stretch, lock, stretches};
use crate::content::Content;
use crate::ending::Ending;
use crate::input;

/// Makes a reader of the file.
type Builder = ParquetRecordBatchReaderBuilder<Ending>;
/// Names and labels read at a time.
const BATCH: usize = 8192;
/// What a label column says of a row.
pub(super) enum Said {
    Number(i64),
    Name(String),
}

impl Said {
    /// Returns the name of a class, if it says one.
    pub fn name(self) -> Option<String> {
        match self {
            Self::Number(_) => None,
            Self::Name(name) => Some(name),
        }
    }
}

/// Name (where it has one) and label of a row.
pub(super) struct Row {
    pub name: Option<String>,
    pub label: Option<Said>,
}

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

pub(super) fn damaged(path: &Path, error: impl ToString) -> DatasetError {
    DatasetError::Corrupt {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

/// Runs a step of the Parquet reader. parquet 59 panics on some damaged pages (a bit width above the type's);
/// to us that is damage like any other. The reader is not used again after it.
fn contained<T>(path: &Path, step: impl FnOnce() -> T) -> Result<T, DatasetError> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(step))
        .map_err(|_| damaged(path, "the Parquet reader gave up on one of its pages"))
}

fn open(path: &Path) -> Result<Ending, DatasetError> {
    input::open(path).map(Ending).map_err(files::io(path))
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
        // The Arrow schema that writers embed is not needed, and arrow-ipc 59 panics on a damaged one.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let file = open(path)?;
        let metadata = contained(path, || ArrowReaderMetadata::load(&file, options))?;
        let metadata = metadata.map_err(|e| damaged(path, e))?;
        let features = features(path, &metadata)?;
        let columns = Columns::of(path, &metadata, &features)?;
        let classes = match &columns.label {
            Some((label, _)) => class_names(path, &features[label.as_str()])?,
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

    /// Columns beside those of the image and its label, in words.
    pub fn unread(&self) -> Vec<String> {
        let label = self.columns.label.as_ref().map(|(name, _)| name.as_str());
        let fields = self.metadata.schema().fields().iter();
        let beside = fields
            .filter(|field| *field.name() != self.columns.image && Some(field.name().as_str()) != label);
        beside
            .map(|field| format!("the column {} ({})", field.name(), field.data_type()))
            .collect()
    }

    /// Says whether it has a column of labels.
    pub fn is_labelled(&self) -> bool {
        self.columns.label.is_some()
    }

    /// Says whether its labels are names of classes.
    pub fn says_names(&self) -> bool {
        self.columns.names
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

    /// Names and labels of all rows.
    pub fn rows(&self) -> Result<Vec<Row>, DatasetError> {
        let count = self.stretches.iter().map(|s| s.rows).sum::<usize>();
        let label = self.columns.label.as_ref();
        let leaves: Vec<usize> = self
            .columns
            .path
            .into_iter()
            .chain(label.map(|(_, leaf)| *leaf))
            .collect();
        let mut rows = Vec::new();
        if leaves.is_empty() {
            rows.resize_with(count, || Row {
                name: None,
                label: None,
            });
            return Ok(rows);
        }
        let mut reader = self.reader(leaves, |builder| builder.with_batch_size(BATCH))?;
        while let Some(batch) = contained(&self.path, || reader.next())? {
            let batch = batch.map_err(|e| damaged(&self.path, e))?;
            let lost = || damaged(&self.path, "a column is lost");
            let labels = match label {
                Some((name, _)) => Some(self.labels(name, batch.column_by_name(name).ok_or_else(lost)?)?),
                None => None,
            };
            let parts = batch
                .columns()
                .iter()
                .find_map(|c| c.as_any().downcast_ref::<StructArray>());
            let paths = match parts.and_then(|parts| parts.column_by_name("path")) {
                Some(paths) => Some(cast(paths, &DataType::LargeUtf8).map_err(|e| damaged(&self.path, e))?),
                None => None,
            };
            let paths = paths.as_ref().map(|paths| paths.as_string::<i64>());
            for row in 0..batch.num_rows() {
                let name = paths.filter(|p| p.is_valid(row)).map(|p| p.value(row).to_owned());
                rows.push(Row {
                    name: name.filter(|name| !name.is_empty()),
                    label: labels.as_ref().and_then(|labels| said(labels, row)),
                });
            }
        }
        match rows.len() == count {
            true => Ok(rows),
            false => Err(damaged(
                &self.path,
                format!("{} rows, of {count} by its metadata", rows.len()),
            )),
        }
    }

    /// Brings labels to 64-bit integers, or to texts where they are names.
    fn labels(&self, name: &str, array: &ArrayRef) -> Result<ArrayRef, DatasetError> {
        let kind = array.data_type();
        let cast = |kind: &DataType| cast(array, kind).map_err(|e| damaged(&self.path, e));
        if kind.is_string() {
            return cast(&DataType::LargeUtf8);
        }
        if kind.is_floating() {
            let numbers = cast(&DataType::Float64)?;
            let mut numbers = numbers.as_primitive::<Float64Type>().iter().flatten();
            if let Some(fraction) = numbers.find(|number| number.fract() != 0.0) {
                return Err(wrong(&self.path, name, LABEL_TYPE, &fraction.to_string()));
            }
        } else if !kind.is_integer() && *kind != DataType::Null {
            return Err(wrong(&self.path, name, LABEL_TYPE, &kind.to_string()));
        }
        cast(&DataType::Int64)
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

/// What a row says; a null is no label, and neither is -1 or an empty text.
fn said(labels: &ArrayRef, row: usize) -> Option<Said> {
    if labels.is_null(row) {
        return None;
    }
    match labels.as_string_opt::<i64>() {
        Some(names) => Some(names.value(row))
            .filter(|name| !name.is_empty())
            .map(|name| Said::Name(name.to_owned())),
        None => Some(labels.as_primitive::<Int64Type>().value(row))
            .filter(|number| *number != -1)
            .map(Said::Number),
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
