//! Opening a store: what is refused, and the marks that a new one gets.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::Path;

use dream_schema::Table;
use redb::{
    Builder, ConcurrencyMode, Database, ReadTransaction, ReadableTableMetadata, StorageBackend, TableError,
    TableHandle,
};

use super::error::At;
use super::face::Viewed;
use super::format::Format;
use super::guard::guard;
use super::head::{clear_unborn, look};
use super::{Base, Result, Store, StoreError, layout};

/// Memory for pages. redb's own default, 1 GiB, is much beside a model that is training.
const CACHE: usize = 256 << 20;

impl Store {
    /// Creates a store.
    ///
    /// # Errors
    /// If there is a file already, or it cannot be written.
    pub fn create(path: impl AsRef<Path>) -> Result<Store> {
        let path = path.as_ref();
        if path.exists() {
            return Err(StoreError::Exists {
                path: path.to_owned(),
            });
        }
        Self::create_at(path, Format::NEWEST)
    }

    /// Opens a store for reading and writing.
    ///
    /// # Errors
    /// If there is no file, it is not a store of a format that this program knows, it is cut short or
    /// damaged, it may only be read, or another process writes to it.
    pub fn open(path: impl AsRef<Path>) -> Result<Store> {
        let path = path.as_ref();
        look(path)?;
        Self::complete(path, writable(path)?, Unmarked::Refuse)
    }

    /// Opens a store, or creates it if there is none.
    ///
    /// # Errors
    /// As [`Store::open`] and [`Store::create`].
    pub fn open_or_create(path: impl AsRef<Path>) -> Result<Store> {
        let path = path.as_ref();
        match look(path) {
            Ok(()) => {}
            Err(StoreError::Missing { .. }) => return Self::create_at(path, Format::NEWEST),
            Err(StoreError::NotAStore { .. }) if clear_unborn(path)? => {
                return Self::create_at(path, Format::NEWEST);
            }
            Err(error) => return Err(error),
        }
        Self::complete(path, writable(path)?, Unmarked::Mark(Format::NEWEST))
    }

    /// Opens a store for reading. Any number of processes may, also while another one writes; each read sees
    /// what is committed when it begins.
    ///
    /// # Errors
    /// If there is no file, it is not a store of a format that this program knows, or its last writer was
    /// killed and none has opened it since.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Store> {
        let path = path.as_ref();
        look(path)?;
        let database = guard(path, || builder().open_read_only(path).at(path))?;
        Self::reading(path, database)
    }

    /// Returns the store of a database that is open for reading.
    pub(super) fn reading(path: &Path, database: redb::ReadOnlyDatabase) -> Result<Store> {
        let store = Self {
            path: path.to_owned(),
            base: Base::Read(database),
            beneath: Vec::new(),
        };
        store.view()?;
        Ok(store)
    }

    /// Checks whether the file of a store may be written to, or made where there is none, and leaves it as it
    /// is.
    ///
    /// # Errors
    /// [`StoreError::NotWritable`], or [`StoreError::NoFolder`].
    pub fn check_writable(path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        match OpenOptions::new().read(true).write(true).open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => require_folder(path),
            opened => opened.map(drop).at(path).map_err(not_writable),
        }
    }

    /// Makes an empty store in memory, for checks where there is no file yet.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn in_memory() -> Result<Store> {
        Self::with_backend("(in memory)", redb::backends::InMemoryBackend::new())
    }

    /// Opens or creates a store on a storage of the caller's; `path` is only for messages.
    ///
    /// # Errors
    /// If the storage fails or holds something else.
    pub fn with_backend(path: impl AsRef<Path>, backend: impl StorageBackend) -> Result<Store> {
        Self::on_backend(path.as_ref(), Format::NEWEST, backend)
    }

    /// Gives back what freed pages and half-empty regions take in the file. Returns whether the file changed.
    ///
    /// # Errors
    /// If the store is being read (a [`Blocks`](super::Blocks) is alive, or another process reads), or the
    /// disk fails.
    pub fn compact(&mut self) -> Result<bool> {
        match &mut self.base {
            Base::Write(database) => guard(&self.path, || database.compact().at(&self.path)),
            Base::Read(_) => Err(StoreError::ReadOnly {
                path: self.path.clone(),
            }),
        }
    }

    /// Lets redb check its own pages and repair them if it can. Returns whether they were whole.
    ///
    /// # Errors
    /// If they cannot be repaired, or the disk fails.
    pub fn check_pages(&mut self) -> Result<bool> {
        match &mut self.base {
            Base::Write(database) => guard(&self.path, || database.check_integrity().at(&self.path)),
            Base::Read(_) => Err(StoreError::ReadOnly {
                path: self.path.clone(),
            }),
        }
    }

    pub(super) fn create_at(path: &Path, format: Format) -> Result<Store> {
        require_folder(path)?;
        let database = builder().create(path).at(path)?;
        Self::complete(path, database, Unmarked::Mark(format))
    }

    fn on_backend(path: &Path, format: Format, backend: impl StorageBackend) -> Result<Store> {
        // Locks of byte ranges are the file system's; such a storage belongs to this process alone.
        let database = Builder::new()
            .set_cache_size(CACHE)
            .create_with_backend(backend)
            .at(path)?;
        Self::complete(path, database, Unmarked::Mark(format))
    }

    /// Creates a store of any format.
    #[cfg(test)]
    pub(super) fn create_as(path: &Path, format: Format) -> Result<Store> {
        Self::create_at(path, format)
    }

    /// Creates a store of the oldest format.
    #[cfg(test)]
    pub(crate) fn create_v1(path: &Path) -> Result<Store> {
        Self::create_at(path, Format::V1)
    }

    /// Opens a storage; if it is empty it becomes a store of `format`.
    #[cfg(test)]
    pub(super) fn with_backend_as(path: &str, format: Format, backend: impl StorageBackend) -> Result<Store> {
        Self::on_backend(Path::new(path), format, backend)
    }

    /// Returns the store of a database that is open for writing, after making the tables that are missing:
    /// all of them in a new store, and in one that an older program made those of artifacts that it did not
    /// know.
    fn complete(path: &Path, database: Database, unmarked: Unmarked) -> Result<Store> {
        let store = Self {
            path: path.to_owned(),
            base: Base::Write(database),
            beneath: Vec::new(),
        };
        let transaction = store.read()?;
        let there = guard(path, || {
            if let Some(lost) = lost_tables(path, &transaction)?.first() {
                return Err(lost_table(path, lost));
            }
            unknown_table(path, &transaction)?;
            tables(path, &transaction)
        })?;
        // A process that was killed while it created the store leaves a database without tables.
        let format = match unmarked {
            Unmarked::Mark(format) if there.is_empty() => format,
            Unmarked::Mark(_) | Unmarked::Refuse => Format::of(path, &transaction)?,
        };
        drop(transaction);
        let needed = format.all_strips().into_iter();
        let mut needed = needed.flat_map(|strip| [strip.index_name(), strip.blocks_name()]);
        if there.is_empty() || needed.any(|table| !there.contains(&table)) {
            store.make_tables(format)?;
        }
        Ok(store)
    }

    /// Marks the database as a store of `format` and makes the tables that are missing.
    fn make_tables(&self, format: Format) -> Result<()> {
        let writer = self.writer(format)?;
        let is_new = writer.view().table(layout::META)?.get("magic")?.is_none();
        if is_new {
            for (key, value) in [("magic", layout::MAGIC), ("features", "")] {
                writer.put(layout::META, key, value)?;
            }
        }
        writer.mark()?;
        writer.make(layout::RUNS)?;
        writer.make(layout::ALIASES)?;
        writer.make(layout::DATASETS)?;
        writer.make(layout::BLOB_INFO)?;
        writer.make(layout::BLOBS)?;
        writer.make_artifact_tables()?;
        writer.commit()
    }
}

/// Returns the names of the tables of the file.
fn tables(path: &Path, transaction: &ReadTransaction) -> Result<BTreeSet<String>> {
    let tables = transaction.list_tables().at(path)?;
    Ok(tables.map(|table| table.name().to_owned()).collect())
}

/// Returns the names of tables that the store has by what `meta` says (from format 3 on) and that are not in
/// the file.
pub(super) fn lost_tables(path: &Path, transaction: &ReadTransaction) -> Result<Vec<String>> {
    let meta = match transaction.open_table(layout::META) {
        Ok(meta) => meta,
        // Whether it is a store at all is asked elsewhere.
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error).at(path),
    };
    let Some(named) = meta.get(layout::TABLES).at(path)? else {
        return Ok(Vec::new());
    };
    let there = tables(path, transaction)?;
    let named = named.value().split_whitespace().map(str::to_owned);
    Ok(named.filter(|name| !there.contains(name)).collect())
}

/// Returns the error for a table that a store has lost.
pub(super) fn lost_table(path: &Path, name: &str) -> StoreError {
    StoreError::Damaged {
        path: path.to_owned(),
        reason: format!("the table `{name}` is not there any more"),
    }
}

/// Refuses a store with rows in a table of artifacts that this program does not know: it could neither check
/// the runs that have them nor remove them whole.
///
/// # Errors
/// [`StoreError::UnknownFeature`].
pub(super) fn unknown_table(path: &Path, transaction: &ReadTransaction) -> Result<()> {
    for handle in transaction.list_tables().at(path)? {
        let name = handle.name().to_owned();
        let Some((table, _)) = name.split_once('/') else {
            continue;
        };
        let known = Table::from_name(table).is_some();
        if !known
            && !transaction
                .open_untyped_table(handle)
                .at(path)?
                .is_empty()
                .at(path)?
        {
            return Err(StoreError::UnknownFeature {
                path: path.to_owned(),
                feature: format!("table {table}"),
            });
        }
    }
    Ok(())
}

/// What becomes of a database without any table.
enum Unmarked {
    /// It becomes a store of that format.
    Mark(Format),
    /// It is refused.
    Refuse,
}

/// Refuses a file whose folder is not there.
pub(super) fn require_folder(path: &Path) -> Result<()> {
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) if !folder.is_dir() => Err(StoreError::NoFolder {
            path: path.to_owned(),
            folder: folder.to_owned(),
        }),
        Some(_) | None => Ok(()),
    }
}

pub(super) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .set_cache_size(CACHE)
        .set_concurrency_mode(ConcurrencyMode::SingleWriter);
    builder
}

/// Opens the database of a file for writing.
fn writable(path: &Path) -> Result<Database> {
    guard(path, || builder().open(path).at(path)).map_err(not_writable)
}

/// Tells a file that may not be written to from one that the system failed with.
fn not_writable(error: StoreError) -> StoreError {
    match error {
        StoreError::Io { path, source }
            if matches!(
                source.kind(),
                ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            StoreError::NotWritable { path, source }
        }
        other => other,
    }
}
