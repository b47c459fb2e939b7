//! Parquet as Hugging Face `datasets` writes it: one file, or a folder of them; see `table` for what their
//! columns and names say.

mod codec;
mod columns;
mod file;
mod pages;
mod stretch;

use std::path::Path;
use std::sync::Arc;

use super::error::DatasetError;
use super::table::TableSet;
use super::table::shards::{self, Ending};
use crate::content::Content;
use file::ImageFile;

/// Whether `path` is a Parquet file or a folder with some.
pub(super) fn is_parquet(path: &Path) -> bool {
    match path.is_dir() {
        true => shards::any(path, Ending::Parquet),
        false => {
            path.extension()
                .is_some_and(|e| e.eq_ignore_ascii_case("parquet"))
                || matches!(Content::at(path), Ok(Content::Parquet))
        }
    }
}

/// Opens a set of Parquet files.
pub(super) fn open(path: &Path) -> Result<TableSet, DatasetError> {
    let (cache, mut number) = (Arc::default(), 0);
    TableSet::of(path, shards::shards(path, Ending::Parquet)?, |path| {
        number += 1;
        ImageFile::open(path, number, &cache)
    })
}
