//! Arrow files, as Hugging Face `datasets` writes them: what `save_to_disk` leaves, its cache, or one file,
//! in the stream or the file form (Feather). See `table` for what columns say, `folders` for the layouts.

mod file;
mod folders;
mod messages;
mod places;

use std::path::Path;

use super::error::DatasetError;
use super::table::TableSet;
use crate::content::Content;
use file::ArrowFile;

/// Whether `path` is an Arrow file or a folder with some.
pub(super) fn is_arrow(path: &Path) -> bool {
    match path.is_dir() {
        true => folders::any(path),
        false => {
            path.extension().is_some_and(|e| e.eq_ignore_ascii_case("arrow"))
                || matches!(Content::at(path), Ok(Content::Arrow))
        }
    }
}

/// Opens a set of Arrow files.
pub(super) fn open(path: &Path) -> Result<TableSet, DatasetError> {
    TableSet::of(path, folders::files(path)?, |path| {
        ArrowFile::open(path, &folders::features(path)?)
    })
}

/// What is said of a file whose messages stand elsewhere than behind its head, where only its footer finds
/// them.
fn no_stream(path: &Path) -> DatasetError {
    DatasetError::Foreign {
        path: path.to_owned(),
        what: "an Arrow file".to_owned(),
        reason:
            "its messages do not follow its head as those of a stream do, as in files of Polars: write it as \
                 Parquet"
                .to_owned(),
    }
}

/// What is said of a file whose buffers are compressed, as Feather's are unless one asks otherwise.
fn compressed(path: &Path) -> DatasetError {
    DatasetError::Foreign {
        path: path.to_owned(),
        what: "an Arrow file".to_owned(),
        reason: "its columns are compressed, which are not read: write it without (`to_feather(FILE, \
                 compression=\"uncompressed\")`), or as Parquet"
            .to_owned(),
    }
}
