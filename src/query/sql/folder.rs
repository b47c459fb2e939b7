//! Which Parquet files a folder has for queries, and whether two of them hold the same rows.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::Array as _;
use arrow::datatypes::{DataType, Field};
use arrow::row::{RowConverter, SortField};
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;

use super::records::Records;
use crate::caught::caught;
use crate::exchange::parquet::ParquetFile;
use crate::query::{QueryError, Result, TableName};

const RUN: &str = "run";
const INDEX: &str = "index";

/// What the folders of runs in an archive are called: now, and in version 1.
const RUN_KEYS: [&str; 2] = ["run_id", RUN];

/// Returns the Parquet files of a folder, by name: those in it, and below it those in folders that are called
/// `key=value`, as of an archive ([`crate::archive`]), whose runs that are not there whole are passed over. A
/// file stands for itself.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    if folder.is_file() {
        return Ok(vec![folder.to_owned()]);
    }
    let mut files = Vec::new();
    collect(folder, Records::of(folder).as_ref(), &mut files)?;
    files.sort();
    Ok(files)
}

fn collect(folder: &Path, records: Option<&Records>, files: &mut Vec<PathBuf>) -> Result<()> {
    let io = |source| QueryError::Folder {
        folder: folder.to_owned(),
        source,
    };
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let name = path.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
        let is_parquet = path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("parquet"));
        if name.starts_with(['.', '_']) {
            continue;
        }
        if let Some((key, value)) = name.split_once('=')
            && path.is_dir()
        {
            if !RUN_KEYS.contains(&key) || records.is_none_or(|records| records.has(value)) {
                collect(&path, records, files)?;
            }
        } else if is_parquet && path.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

/// Returns a file's name without its ending.
pub(super) fn stem(path: &Path) -> String {
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Returns the table that a file's name says: one that is `known`, or of a store, alone or with something
/// behind it, as in `outliers-2.parquet`; or that of its folder in an archive.
pub(super) fn said_table(path: &Path, known: &[&str]) -> Option<String> {
    if let Some(table) = partition(path, "table") {
        return Some(table);
    }
    let (stem, stores) = (stem(path), TableName::names());
    let is_said = |name: &&str| {
        let rest = stem.strip_prefix(*name);
        rest.is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
    };
    let names = known.iter().copied().chain(stores.iter().map(String::as_str));
    let said = names.filter(is_said).max_by_key(|name| name.len());
    said.map(str::to_owned)
}

/// Refuses exported files of one table that have rows in common: they would count twice.
///
/// # Errors
/// [`QueryError::Doubled`], or if a file cannot be read.
pub(super) fn check_apart(table: &str, files: &[ParquetFile]) -> Result<()> {
    let exported: Vec<&ParquetFile> = files
        .iter()
        .filter(|file| file.table().is_some() && has(file, RUN) && !is_part(file.path()))
        .collect();
    for (place, file) in exported.iter().enumerate() {
        for other in &exported[..place] {
            if apart(file, other, RUN) || apart(file, other, INDEX) || apart(file, other, "class_id") {
                continue;
            }
            let rows = common_rows(file, other)?;
            if rows > 0 {
                return Err(QueryError::Doubled {
                    table: table.to_owned(),
                    file: file.path().to_owned(),
                    other: other.path().to_owned(),
                    rows,
                });
            }
        }
    }
    Ok(())
}

fn has(file: &ParquetFile, column: &str) -> bool {
    file.schema().index_of(column).is_ok()
}

/// Says whether a file lies in a folder of an archive, whose parts have no rows in common.
fn is_part(path: &Path) -> bool {
    RUN_KEYS.iter().any(|key| partition(path, key).is_some())
}

/// Returns what the folder `key=value` says in which a file lies.
fn partition(path: &Path, key: &str) -> Option<String> {
    let folders = path.parent()?.components().rev();
    let mut said = folders.filter_map(|part| {
        let part = part.as_os_str().to_str()?;
        Some(part.strip_prefix(key)?.strip_prefix('=')?.to_owned())
    });
    said.next()
}

/// Says whether the statistics of a column rule out that the files have a value in common.
fn apart(a: &ParquetFile, b: &ParquetFile, column: &str) -> bool {
    let of = |file: &ParquetFile| {
        file.schema()
            .field_with_name(column)
            .ok()
            .map(Field::data_type)
            .cloned()
    };
    match (span(a, column), span(b, column)) {
        (Some(one), Some(two)) if of(a) == of(b) => one.1 < two.0 || two.1 < one.0,
        _ => false,
    }
}

/// Returns the smallest and the largest value of a column by the statistics, as bytes of the same order.
fn span(file: &ParquetFile, column: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let groups = file.metadata().row_groups();
    let parquet = file.metadata().file_metadata().schema_descr();
    let statistics = StatisticsConverter::try_new(column, file.schema(), parquet).ok()?;
    let ends = caught(|| {
        [
            statistics.row_group_mins(groups),
            statistics.row_group_maxes(groups),
        ]
    });
    let [low, high] = ends?.map(|ends| {
        ends.ok()
            .filter(|ends| ends.null_count() == 0 && !ends.is_empty())
    });
    let (low, high) = low.zip(high)?;
    let order = RowConverter::new(vec![SortField::new(low.data_type().clone())]).ok()?;
    let low = order.convert_columns(&[low]).ok()?;
    let high = order.convert_columns(&[high]).ok()?;
    let bytes = |row: arrow::row::Row<'_>| row.as_ref().to_vec();
    Some((low.iter().min().map(bytes)?, high.iter().max().map(bytes)?))
}

/// Counts the rows of `a` that are in `b`, too, by all columns of numbers and texts that both have.
fn common_rows(a: &ParquetFile, b: &ParquetFile) -> Result<usize> {
    let plain = |field: &&Arc<Field>| {
        !field.data_type().is_nested()
            && !matches!(field.data_type(), DataType::Binary | DataType::LargeBinary)
    };
    let fields = a.schema().fields().iter().filter(plain);
    let both: Vec<Arc<Field>> = fields
        .filter(|field| {
            let other = b.schema().field_with_name(field.name());
            other.is_ok_and(|other| other.data_type() == field.data_type())
        })
        .cloned()
        .collect();
    let known: HashSet<u64> = hashes(b, &both)?.into_iter().collect();
    Ok(hashes(a, &both)?
        .iter()
        .filter(|hash| known.contains(hash))
        .count())
}

/// Returns a hash of each row, of these columns.
fn hashes(file: &ParquetFile, fields: &[Arc<Field>]) -> Result<Vec<u64>> {
    let mut places: Vec<usize> = (fields.iter())
        .filter_map(|field| file.schema().index_of(field.name()).ok())
        .collect();
    places.sort_unstable();
    let sort = fields
        .iter()
        .map(|field| SortField::new(field.data_type().clone()));
    let converter = RowConverter::new(sort.collect())?;
    let mut hashes = Vec::new();
    for batch in file.rows(&places, (0..file.metadata().num_row_groups()).collect())? {
        let batch = batch?;
        let columns = fields
            .iter()
            .filter_map(|field| batch.column_by_name(field.name()).cloned());
        let rows = converter.convert_columns(&columns.collect::<Vec<_>>())?;
        hashes.extend(rows.iter().map(|row| {
            let mut hasher = DefaultHasher::new();
            row.as_ref().hash(&mut hasher);
            hasher.finish()
        }));
    }
    Ok(hashes)
}
