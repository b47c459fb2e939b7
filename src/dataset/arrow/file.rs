//! One Arrow file: its heads and the labels are read at once, an image from its place when it is asked for.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayData, ArrayRef, make_array};
use arrow::buffer::Buffer;
use arrow::datatypes::DataType;
use serde_json::Value;

use super::super::bulk::Bulk;
use super::super::error::DatasetError;
use super::super::item::Encoded;
use super::super::table::Table;
use super::super::table::columns::{Chosen, LABEL_TYPE, class_names, damaged, features, wrong};
use super::super::table::rows::Row;
use super::messages::{Batch, Name, Span, walk};
use super::places::{Kinds, Places};
use crate::content::Content;

/// The columns that are read of every batch, in this order.
const IMAGE: usize = 0;
const BYTES: usize = 1;
const PATH: usize = 2;
const LABEL: usize = 3;

/// An Arrow file.
pub(super) struct ArrowFile {
    bulk: Arc<Bulk>,
    chosen: Chosen,
    /// Bytes of an offset: 4, or 8 of a large type.
    width: usize,
    /// Whether images are a part of a struct.
    nested: bool,
    path: Option<DataType>,
    label: Option<DataType>,
    unread: Vec<String>,
    batches: Vec<Rows>,
}

/// A batch.
struct Rows {
    /// Rows of the file before it.
    first: usize,
    batch: Batch,
    places: Mutex<Option<Arc<Places>>>,
}

impl ArrowFile {
    /// Opens a file; also returns the class names in its metadata, or else in `info`, the features that a
    /// `dataset_info.json` beside it says.
    pub fn open(path: &Path, info: &Value) -> Result<(Self, Vec<String>), DatasetError> {
        if matches!(Content::at(path), Ok(Content::LfsPointer(_))) {
            return Err(DatasetError::Pointer {
                path: path.to_owned(),
            });
        }
        let bulk = Bulk::open(path)?;
        let (schema, (chosen, features), batches) = walk(&bulk, |schema| {
            let features = match schema.metadata().get("huggingface") {
                Some(text) => features(path, text)?,
                None => info.clone(),
            };
            let chosen = Chosen::of(path, schema, &features)?;
            let names = wanted(&chosen);
            Ok(((chosen, features), names))
        })?;
        let kind_of = |name: &str| schema.field_with_name(name).ok().map(|field| field.data_type());
        let classes = match &chosen.label {
            Some(label) => class_names(path, &features[label.as_str()])?,
            None => Vec::new(),
        };
        let label = chosen.label.as_deref().and_then(kind_of);
        if let (Some(name), Some(kind)) = (&chosen.label, label)
            && !(kind.is_string() || kind.is_numeric() || *kind == DataType::Null)
        {
            return Err(wrong(path, name, LABEL_TYPE, &kind.to_string()));
        }
        let Kinds {
            width,
            nested,
            path: paths,
        } = Kinds::of(path, &schema, &chosen.image)?;
        let mut file = Self {
            label: label.cloned(),
            path: paths,
            unread: chosen.unread(&schema),
            width,
            nested,
            chosen,
            bulk,
            batches: Vec::new(),
        };
        let mut first = 0_usize;
        for batch in batches {
            let rows = batch.rows;
            file.check(&batch)?;
            file.batches.push(Rows {
                first,
                batch,
                places: Mutex::default(),
            });
            // Each row has an offset in the file.
            first += rows;
        }
        Ok((file, classes))
    }

    fn damaged(&self, reason: impl ToString) -> DatasetError {
        damaged(&self.bulk.path, reason)
    }

    /// The buffers of nulls, offsets and values of a batch's images.
    fn image_buffers<'a>(&self, batch: &'a Batch) -> Option<&'a [Span; 3]> {
        let place = if self.nested { BYTES } else { IMAGE };
        batch.columns.get(place)?.as_deref()?.first_chunk()
    }

    /// Checks that a batch has an offset for each of its rows, so that there are no more than the file holds.
    fn check(&self, batch: &Batch) -> Result<(), DatasetError> {
        let buffers = self.image_buffers(batch);
        let [_, offsets, _] = buffers.ok_or_else(|| self.damaged("a batch without its images"))?;
        let needed = (batch.rows as u64)
            .checked_add(1)
            .and_then(|n| n.checked_mul(self.width as u64));
        match batch.rows == 0 || needed.is_some_and(|needed| needed <= offsets.len) {
            true => Ok(()),
            false => Err(self.damaged(format!("a batch of {} rows, and fewer images", batch.rows))),
        }
    }

    fn read(&self, span: Span) -> Result<Vec<u8>, DatasetError> {
        self.bulk.read(span.start, span.len as usize)
    }

    /// Reads a column of a batch whole.
    fn array(&self, batch: &Batch, column: usize, kind: &DataType) -> Result<ArrayRef, DatasetError> {
        let spans = batch.columns.get(column).and_then(Option::as_deref);
        let spans = spans.ok_or_else(|| self.damaged("a column is lost"))?;
        let mut builder = ArrayData::builder(kind.clone())
            .len(batch.rows)
            .align_buffers(true);
        if *kind != DataType::Null
            && let Some((nulls, values)) = spans.split_first()
        {
            if nulls.len > 0 {
                builder = builder.null_bit_buffer(Some(self.read(*nulls)?.into()));
            }
            // The first is of numbers, and Arrow takes it for granted that they are whole.
            let width = match kind {
                DataType::Utf8 | DataType::Binary => 4,
                DataType::LargeUtf8 | DataType::LargeBinary => 8,
                DataType::Utf8View | DataType::BinaryView => 16,
                other => other.primitive_width().unwrap_or(1) as u64,
            };
            if values
                .first()
                .is_some_and(|first| !first.len.is_multiple_of(width))
            {
                return Err(self.damaged("a column that ends within a number"));
            }
            for span in values {
                builder = builder.add_buffer(Buffer::from(self.read(*span)?));
            }
        }
        let data = builder.build().map_err(|error| self.damaged(error))?;
        Ok(make_array(data))
    }

    fn places(&self, rows: &Rows) -> Result<Arc<Places>, DatasetError> {
        let mut held = rows.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = &*held {
            return Ok(places.clone());
        }
        let buffers = self.image_buffers(&rows.batch);
        let [own, offsets, values] = buffers.ok_or_else(|| self.damaged("a batch without its images"))?;
        // A null struct leaves its parts undefined.
        let outer = rows
            .batch
            .columns
            .get(IMAGE)
            .and_then(|spans| spans.as_ref()?.first());
        let outer = outer.filter(|_| self.nested);
        let mut valid = Vec::new();
        for nulls in std::iter::once(own).chain(outer).filter(|nulls| nulls.len > 0) {
            if nulls.len < rows.batch.rows.div_ceil(8) as u64 {
                return Err(self.damaged("a column whose nulls are cut"));
            }
            valid.push(self.read(*nulls)?);
        }
        let places = Arc::new(Places {
            offsets: self.read(*offsets)?,
            valid,
            values: *values,
        });
        *held = Some(places.clone());
        Ok(places)
    }
}

/// The columns of [`IMAGE`], [`BYTES`], [`PATH`] and [`LABEL`].
fn wanted(chosen: &Chosen) -> Vec<Name> {
    let part = |part| (chosen.image.clone(), part);
    let label = chosen.label.iter().map(|label| (label.clone(), None));
    [part(None), part(Some("bytes")), part(Some("path"))]
        .into_iter()
        .chain(label)
        .collect()
}

impl Table for ArrowFile {
    fn unread(&self) -> Vec<String> {
        self.unread.clone()
    }

    fn is_labelled(&self) -> bool {
        self.label.is_some()
    }

    fn says_names(&self) -> bool {
        self.chosen.names
    }

    fn rows(&self) -> Result<Vec<Row>, DatasetError> {
        let mut rows = Vec::new();
        for Rows { batch, .. } in &self.batches {
            let read = |kind: &Option<DataType>, column: usize| {
                let kind = kind.as_ref();
                kind.map(|kind| self.array(batch, column, kind)).transpose()
            };
            let (paths, labels) = (read(&self.path, PATH)?, read(&self.label, LABEL)?);
            let labels = self.chosen.label.as_deref().zip(labels.as_ref());
            rows.extend(Row::of_batch(
                &self.bulk.path,
                batch.rows,
                paths.as_ref(),
                labels,
            )?);
        }
        Ok(rows)
    }
}

impl Encoded for ArrowFile {
    fn bytes(&self, row: usize) -> Result<Option<Vec<u8>>, DatasetError> {
        let number = self
            .batches
            .partition_point(|rows| rows.first + rows.batch.rows <= row);
        let Some(rows) = self.batches.get(number) else {
            return Ok(None);
        };
        let place = self.places(rows)?.get(row - rows.first, self.width);
        match place.ok_or_else(|| self.damaged("an image that begins or ends beyond its batch"))? {
            Some(span) => self.read(span).map(Some),
            None => Ok(None),
        }
    }
}
