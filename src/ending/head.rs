//! The head of a Parquet file, whoever wrote it: the one way by which files are opened.
//!
//! A writer may leave the Arrow types of its columns beside those of Parquet. They are a hint: where the
//! reader does not know one of them (Polars writes integers of 128 bits, on which arrow-ipc 59 panics), the
//! file is read in Parquet's own types.

use std::path::Path;

use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::{ParquetError, Result};

use super::Ending;
use crate::caught::caught;
use crate::input;

impl Ending {
    /// Opens a file.
    pub(crate) fn open(path: &Path) -> std::io::Result<Self> {
        input::open(path).map(Self)
    }

    /// Reads the head, with columns in Parquet's own types.
    pub(crate) fn head(&self) -> Result<ArrowReaderMetadata> {
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let damaged = || ParquetError::General("its head does not hold together".to_owned());
        caught(|| ArrowReaderMetadata::load(self, options)).ok_or_else(damaged)?
    }

    /// Reads the head, with columns in the Arrow types of whoever wrote the file, as far as they are known.
    #[cfg(feature = "sql")]
    pub(crate) fn head_as_written(&self) -> Result<ArrowReaderMetadata> {
        let head = self.head()?;
        let metadata = head.metadata().clone();
        let written = caught(|| ArrowReaderMetadata::try_new(metadata, ArrowReaderOptions::new()));
        Ok(written.and_then(Result::ok).unwrap_or(head))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, LargeStringArray, RecordBatch};
    use arrow::datatypes::DataType;
    use parquet::arrow::ArrowWriter;
    use parquet::file::metadata::KeyValue;

    use super::*;

    /// What Polars 2.1 says of a column of 128 bits and one of texts.
    const POLARS: &str = "/////6IAAAAEAAAA8v///xQAAAAEAAEAAAAKAAsACAAKAAQA+P///wwAAAAIAAgAAAAEAAIAAAAwAAAA\
                          BAAAAMT///8cAAAAEAAAAAgAAAABFAAAAAAAAPz///8EAAQAAQAAAHQAAADs////OAAAACAAAAAYAAAA\
                          AQIAABAAEgAEABAAEQAIAAAADAAAAAAA9P///4AAAAABAAAACAAJAAQACAABAAAAbgA=";

    /// Writes a file that says `hint` of its Arrow types; without one, what they are.
    fn written(folder: &Path, hint: Option<&str>) -> Ending {
        let columns: [(&str, ArrayRef); 2] = [
            ("n", Arc::new(Int64Array::from(vec![1]))),
            ("t", Arc::new(LargeStringArray::from(vec!["a"]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let path = folder.join("a.parquet");
        let file = std::fs::File::create(&path).unwrap();
        let mut writer = match hint {
            None => ArrowWriter::try_new(file, batch.schema(), None).unwrap(),
            Some(hint) => {
                let options = parquet::arrow::arrow_writer::ArrowWriterOptions::new();
                let options = options.with_skip_arrow_metadata(true);
                let mut writer = ArrowWriter::try_new_with_options(file, batch.schema(), options).unwrap();
                let key = parquet::arrow::ARROW_SCHEMA_META_KEY.to_owned();
                writer.append_key_value_metadata(KeyValue::new(key, hint.to_owned()));
                writer
            }
        };
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        Ending::open(&path).unwrap()
    }

    fn types(head: &ArrowReaderMetadata) -> Vec<DataType> {
        let fields = head.schema().fields().iter();
        fields.map(|field| field.data_type().clone()).collect()
    }

    #[test]
    fn types_that_the_reader_does_not_know_are_left_aside() {
        let folder = tempfile::tempdir().unwrap();
        let file = written(folder.path(), None);
        let own = [DataType::Int64, DataType::Utf8];
        assert_eq!(types(&file.head().unwrap()), own);
        let as_written = [DataType::Int64, DataType::LargeUtf8];
        assert_eq!(types(&file.head_as_written().unwrap()), as_written);
        for hint in [POLARS, "AAAA"] {
            let file = written(folder.path(), Some(hint));
            assert_eq!(types(&file.head_as_written().unwrap()), own);
        }
    }

    #[test]
    fn a_file_that_is_cut_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        drop(written(folder.path(), None));
        let path = folder.path().join("a.parquet");
        std::fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(100)
            .unwrap();
        assert!(Ending::open(&path).unwrap().head_as_written().is_err());
    }
}
