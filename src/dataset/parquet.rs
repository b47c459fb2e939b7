//! Parquet as Hugging Face `datasets` writes it: one file, or a directory with one file (or several shards) a
//! split.
//!
//! The column `image` (or `img`) is `struct<bytes: binary, path: string>` or plain binary, each value a PNG
//! or JPEG file; an integer column `label` (or `labels`, `fine_label`) is optional. Class names are those of
//! the ClassLabel in the file's `huggingface` metadata.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use super::error::DatasetError;
use super::files;
use super::folder::ALL;
use super::item::{Container, Item, Stored};

const IMAGE_COLUMNS: [&str; 2] = ["image", "img"];
const LABEL_COLUMNS: [&str; 3] = ["label", "labels", "fine_label"];
/// What a column of images holds.
const IMAGE_TYPE: &str = "struct<bytes, path> or binary";
/// Rows decoded at a time.
const BATCH: usize = 1024;

/// A set of Parquet files.
pub(super) struct ParquetSet {
    path: PathBuf,
    /// Shards by split.
    splits: BTreeMap<String, Vec<PathBuf>>,
    classes: Vec<String>,
}

fn parquet_files(dir: &Path) -> Result<Vec<(String, PathBuf)>, DatasetError> {
    let entries = files::list(dir)?.into_iter().filter(|e| !e.is_dir);
    let named = entries.filter_map(|e| Some((e.name.strip_suffix(".parquet")?.to_owned(), e.path)));
    Ok(named.collect())
}

/// Whether `path` is a Parquet file or a directory with some (itself, or in `data`).
pub(super) fn is_parquet(path: &Path) -> bool {
    match path.is_dir() {
        true => [path.to_owned(), path.join("data")]
            .iter()
            .any(|dir| parquet_files(dir).is_ok_and(|files| !files.is_empty())),
        false => path.extension().is_some_and(|e| e == "parquet"),
    }
}

/// The split of a file name: what stands before the shard number of `train-00000-of-00002`, or the whole
/// stem.
fn split_of(stem: &str) -> &str {
    let number = |text: &str| text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit());
    let shard = stem.rsplit_once("-of-").and_then(|(head, total)| {
        let (split, index) = head.rsplit_once('-')?;
        (number(index) && number(total)).then_some(split)
    });
    shard.unwrap_or(stem)
}

fn damaged(path: &Path, error: impl ToString) -> DatasetError {
    DatasetError::Corrupt {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

fn open(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>, DatasetError> {
    let file = File::open(path).map_err(|source| DatasetError::Io {
        path: path.to_owned(),
        source,
    })?;
    // The Arrow schema that writers embed is not needed, and arrow-ipc 59 panics on a damaged one.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).map_err(|e| damaged(path, e))
}

/// Runs a step of the Parquet reader. parquet 59 panics on some damaged pages (a bit width above the type's);
/// to us that is damage like any other. The reader is not used again after it.
fn contained<T>(path: &Path, step: impl FnOnce() -> T) -> Result<T, DatasetError> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(step))
        .map_err(|_| damaged(path, "the Parquet reader gave up on one of its pages"))
}

fn column_of<'a>(schema: &Schema, names: &[&'a str]) -> Option<&'a str> {
    let exists = |name: &&str| schema.column_with_name(name).is_some();
    names.iter().copied().find(|name| exists(name))
}

/// Class names of the label column, from the file's `huggingface` metadata; empty if there are none.
fn class_names(path: &Path) -> Result<Vec<String>, DatasetError> {
    let file = open(path)?;
    let metadata = file.metadata().file_metadata().key_value_metadata();
    let text = metadata
        .into_iter()
        .flatten()
        .find(|pair| pair.key == "huggingface")
        .and_then(|pair| pair.value.as_deref());
    let (Some(text), Some(label)) = (text, column_of(file.schema(), &LABEL_COLUMNS)) else {
        return Ok(Vec::new());
    };
    let json: serde_json::Value =
        serde_json::from_str(text).map_err(|e| damaged(path, format!("huggingface metadata: {e}")))?;
    let names = json["info"]["features"][label]["names"].as_array();
    let names = names.into_iter().flatten();
    names
        .map(|name| {
            let name = name.as_str().map(str::to_owned);
            name.ok_or_else(|| damaged(path, "huggingface metadata: a class name that is no text"))
        })
        .collect()
}

/// The files of each split.
fn shards(path: &Path) -> Result<BTreeMap<String, Vec<PathBuf>>, DatasetError> {
    let mut splits: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    if path.is_dir() {
        let mut found = parquet_files(path)?;
        let data = path.join("data");
        if found.is_empty() && data.is_dir() {
            found = parquet_files(&data)?;
        }
        for (stem, file) in found {
            splits.entry(split_of(&stem).to_owned()).or_default().push(file);
        }
    } else {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let split = match split_of(&stem) {
            known @ ("train" | "test" | "validation" | "val") => known,
            _ => ALL,
        };
        splits.insert(split.to_owned(), vec![path.to_owned()]);
    }
    if splits.is_empty() {
        return Err(DatasetError::Layout {
            path: path.to_owned(),
            reason: "no .parquet files in it".to_owned(),
        });
    }
    Ok(splits)
}

impl ParquetSet {
    pub fn open(path: &Path) -> Result<Self, DatasetError> {
        let splits = shards(path)?;
        let mut classes: Vec<String> = Vec::new();
        for file in splits.values().flatten() {
            let names = class_names(file)?;
            if !classes.is_empty() && !names.is_empty() && names != classes {
                return Err(DatasetError::Layout {
                    path: file.clone(),
                    reason: "its class names are not those of the other files".to_owned(),
                });
            }
            if classes.is_empty() {
                classes = names;
            }
        }
        if classes.is_empty() && path.is_dir() {
            classes = files::class_names(path)?;
        }
        Ok(Self {
            path: path.to_owned(),
            splits,
            classes,
        })
    }

    fn read(&self, file: &Path, items: &mut Vec<Item>) -> Result<(), DatasetError> {
        let builder = open(file)?;
        let schema = builder.schema().clone();
        let Some(image) = column_of(&schema, &IMAGE_COLUMNS) else {
            return Err(DatasetError::Column {
                path: file.to_owned(),
                column: "image".to_owned(),
                expected: IMAGE_TYPE,
                actual: "absent".to_owned(),
            });
        };
        let label = column_of(&schema, &LABEL_COLUMNS);
        let mask = ProjectionMask::columns(
            builder.parquet_schema(),
            [Some(image), label].into_iter().flatten(),
        );
        let reader = builder.with_projection(mask).with_batch_size(BATCH).build();
        let mut reader = reader.map_err(|e| damaged(file, e))?;
        while let Some(batch) = contained(file, || reader.next())? {
            let batch = batch.map_err(|e| damaged(file, e))?;
            let rows = Rows::of(file, &batch, image, label)?;
            for row in 0..batch.num_rows() {
                items.push(rows.item(row, items.len(), self.classes.len())?);
            }
        }
        Ok(())
    }
}

/// The columns of a batch, in the types that they are read as.
struct Rows<'a> {
    file: &'a Path,
    /// The image's column, whose nulls are those of the whole image.
    image: &'a ArrayRef,
    bytes: ArrayRef,
    paths: Option<ArrayRef>,
    labels: Option<ArrayRef>,
}

impl<'a> Rows<'a> {
    fn of(
        file: &'a Path,
        batch: &'a RecordBatch,
        image: &str,
        label: Option<&str>,
    ) -> Result<Self, DatasetError> {
        let column = |name: &str| {
            let array = batch.column_by_name(name);
            array.ok_or_else(|| damaged(file, format!("the column {name} is lost")))
        };
        let wrong = |column: &str, expected, actual: &DataType| DatasetError::Column {
            path: file.to_owned(),
            column: column.to_owned(),
            expected,
            actual: actual.to_string(),
        };
        let convert = |array: &ArrayRef, to: &DataType| cast(array, to).map_err(|e| damaged(file, e));
        let array = column(image)?;
        let wrong_image = || wrong(image, IMAGE_TYPE, array.data_type());
        let (bytes, paths) = match array.as_any().downcast_ref::<StructArray>() {
            Some(parts) => {
                let bytes = parts.column_by_name("bytes").ok_or_else(wrong_image)?;
                (bytes, parts.column_by_name("path"))
            }
            None => (array, None),
        };
        use DataType::{Binary, BinaryView, LargeBinary};
        if !matches!(bytes.data_type(), Binary | LargeBinary | BinaryView) {
            return Err(wrong_image());
        }
        let labels = match label {
            Some(name) => {
                let array = column(name)?;
                if !array.data_type().is_integer() {
                    return Err(wrong(name, "an integer", array.data_type()));
                }
                Some(convert(array, &DataType::Int64)?)
            }
            None => None,
        };
        Ok(Self {
            file,
            image: array,
            bytes: convert(bytes, &LargeBinary)?,
            paths: paths
                .map(|paths| convert(paths, &DataType::LargeUtf8))
                .transpose()?,
            labels,
        })
    }

    /// The image of a row, which is the `number`th of its split.
    fn item(&self, row: usize, number: usize, classes: usize) -> Result<Item, DatasetError> {
        let paths = self.paths.as_ref().map(|paths| paths.as_string::<i64>());
        let name = match paths.filter(|paths| paths.is_valid(row) && !paths.value(row).is_empty()) {
            Some(paths) => paths.value(row).to_owned(),
            None => number.to_string(),
        };
        let label = match self
            .labels
            .as_ref()
            .map(|labels| labels.as_primitive::<Int64Type>())
        {
            Some(labels) if labels.is_null(row) => {
                return Err(DatasetError::Image {
                    path: self.file.to_owned(),
                    name,
                    reason: "the row has no label".to_owned(),
                });
            }
            Some(labels) => {
                let value = labels.value(row);
                let label = u32::try_from(value).map_err(|_| DatasetError::Label {
                    path: self.file.to_owned(),
                    name: name.clone(),
                    label: value,
                    classes,
                })?;
                Some(label)
            }
            None => None,
        };
        let bytes = self.bytes.as_binary::<i64>();
        // A null struct leaves its parts undefined.
        let stored = match self.image.is_null(row) || bytes.is_null(row) {
            true => Stored::Absent,
            false => Stored::Encoded(bytes.value(row).to_vec()),
        };
        Ok(Item { name, label, stored })
    }
}

impl Container for ParquetSet {
    fn splits(&self) -> Vec<String> {
        self.splits.keys().cloned().collect()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn items(&self, split: &str) -> Result<Vec<Item>, DatasetError> {
        let mut items = Vec::new();
        for file in self.splits.get(split).into_iter().flatten() {
            self.read(file, &mut items)?;
        }
        // Shards with and without labels would leave some images without one.
        let labelled = items.iter().filter(|item| item.label.is_some()).count();
        match labelled == 0 || labelled == items.len() {
            true => Ok(items),
            false => Err(DatasetError::Count {
                path: self.path.clone(),
                split: split.to_owned(),
                images: items.len(),
                labels: labelled,
            }),
        }
    }
}
