//! A folder of Parquet files as tables.
//!
//! A file's table is the one that an export wrote into its metadata, or else its name without the extension.
//! In the folder of an archive its records stand for further tables (`records.rs`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::catalog::{MemTable, TableProvider};

use super::parquet::FileTable;
use super::records::Records;
use super::{folder, message};
use crate::exchange::parquet::ParquetFile;
use crate::query::{self, QueryError, TableName};

/// The tables of a folder.
pub(super) struct Folder {
    tables: BTreeMap<String, Arc<FileTable>>,
    /// Files that cannot be read. What table they are of, their names may tell.
    broken: Vec<PathBuf>,
    records: Option<Records>,
}

impl Folder {
    /// Reads the heads of the files; those that may have rows in common are read as far as it takes to see.
    /// One that is broken is an error of the tables that it may be of, once they are named.
    pub(super) fn open(folder: &Path) -> query::Result<Self> {
        let mut files: BTreeMap<String, Vec<ParquetFile>> = BTreeMap::new();
        let (mut broken, mut first) = (Vec::new(), None);
        for path in folder::files(folder)? {
            match ParquetFile::open(&path) {
                Ok(file) => {
                    let name = file.table().unwrap_or_else(|| folder::stem(&path));
                    files.entry(name).or_default().push(file);
                }
                Err(error) => {
                    first.get_or_insert(error);
                    broken.push(path);
                }
            }
        }
        if files.is_empty() {
            if let Some(error) = first {
                return Err(error.into());
            }
            let folder = folder.to_owned();
            return Err(QueryError::NoParquet { folder });
        }
        let tables = files.into_iter().map(|(name, files)| {
            folder::check_apart(&name, &files)?;
            let table = FileTable::new(name.clone(), files)?;
            Ok((name, Arc::new(table)))
        });
        Ok(Self {
            tables: tables.collect::<query::Result<_>>()?,
            broken,
            records: Records::of(folder),
        })
    }

    /// Returns the names of the tables.
    pub(super) fn names(&self) -> Vec<String> {
        let derived = Records::tables().map(TableName::name);
        let derived = derived.iter().filter(|name| self.derived(name).is_some());
        let mut names: Vec<String> = self.tables.keys().cloned().collect();
        names.extend(derived.map(|name| (*name).to_owned()));
        names.sort_unstable();
        names
    }

    /// Returns the records that stand for a table of which there are no files.
    fn derived(&self, name: &str) -> Option<(&Records, TableName)> {
        let records = self.records.as_ref().filter(|_| !self.tables.contains_key(name));
        records.zip(Records::table_of(name))
    }

    /// Says whether a table, or a file that cannot be read, is called so.
    pub(super) fn has(&self, name: &str) -> bool {
        let is_it = |path: &PathBuf| {
            folder::stem(path) == name || folder::said_table(path, &[]).as_deref() == Some(name)
        };
        self.tables.contains_key(name) || self.derived(name).is_some() || self.broken.iter().any(is_it)
    }

    /// Says whether a table was written by an export.
    pub(super) fn is_exported(&self, name: &str) -> bool {
        let exported = |file: &ParquetFile| file.table().is_some();
        let files = self.tables.get(name);
        files.is_some_and(|table| table.files.iter().any(exported)) || self.derived(name).is_some()
    }

    /// Returns the table of that name, if there is one.
    ///
    /// # Errors
    /// If a broken file may be of that table: its rows would be missing.
    pub(super) fn table(&self, name: &str) -> query::Result<Option<Arc<dyn TableProvider>>> {
        if let Some(path) = self.broken.iter().find(|path| self.may_be_of(path, name)) {
            ParquetFile::open(path)?;
            return Err(QueryError::Folder {
                folder: path.clone(),
                source: std::io::Error::other("it has changed meanwhile; ask again"),
            });
        }
        if let Some((records, table)) = self.derived(name) {
            let rows = records.rows(table)?;
            let table = MemTable::try_new(rows.schema(), vec![vec![rows]]).map_err(message::error)?;
            return Ok(Some(Arc::new(table)));
        }
        let table = self.tables.get(name).cloned();
        Ok(table.map(|table| table as Arc<dyn TableProvider>))
    }

    /// Says whether a broken file may be of a table: its name says so, or says nothing where the files of
    /// that table have such names, too.
    fn may_be_of(&self, path: &Path, table: &str) -> bool {
        let known: Vec<&str> = self.tables.keys().map(String::as_str).collect();
        match folder::said_table(path, &known) {
            Some(said) => said == table,
            None if folder::stem(path) == table => true,
            None => self.tables.get(table).is_some_and(|table| {
                let says_nothing = |file: &ParquetFile| folder::said_table(file.path(), &known).is_none();
                table.files.iter().any(says_nothing)
            }),
        }
    }
}
