//! Opening a store: what is refused, and the marks that a new one gets.

use std::io::Read;
use std::path::Path;

use dream_schema::Table;
use redb::{Builder, ConcurrencyMode, Database, ReadTransaction, StorageBackend, TableError};

use super::error::At;
use super::{Base, Result, Store, StoreError, layout};

/// The first bytes of every redb file.
const REDB_MAGIC: [u8; 9] = [b'r', b'e', b'd', b'b', 0x1A, 0x0A, 0xA9, 0x0D, 0x0A];
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
        Self::create_at(path)
    }

    /// Opens a store for reading and writing.
    ///
    /// # Errors
    /// If there is no file, it is not a store of a format that this program knows, or another process writes to it.
    pub fn open(path: impl AsRef<Path>) -> Result<Store> {
        let path = path.as_ref();
        look(path)?;
        let database = builder().open(path).at(path)?;
        Self::checked(path, Base::Write(database))
    }

    /// Opens a store, or creates it if there is none.
    ///
    /// # Errors
    /// As [`Store::open`] and [`Store::create`].
    pub fn open_or_create(path: impl AsRef<Path>) -> Result<Store> {
        let path = path.as_ref();
        match look(path) {
            Ok(()) => {}
            Err(StoreError::Missing { .. }) => return Self::create_at(path),
            Err(error) => return Err(error),
        }
        let database = builder().open(path).at(path)?;
        let store = Self {
            path: path.to_owned(),
            base: Base::Write(database),
        };
        // A process that was killed while it created the store leaves a database without tables.
        let transaction = store.read()?;
        let unfinished = transaction.list_tables().at(path)?.next().is_none();
        if unfinished {
            store.mark()?;
        }
        check(path, &store.read()?)?;
        Ok(store)
    }

    /// Opens a store for reading. Any number of processes may, also while another one writes; each read sees what is
    /// committed when it begins.
    ///
    /// # Errors
    /// If there is no file, it is not a store of a format that this program knows, or its last writer was killed and none has
    /// opened it since.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Store> {
        let path = path.as_ref();
        look(path)?;
        let database = builder().open_read_only(path).at(path)?;
        Self::checked(path, Base::Read(database))
    }

    /// Opens or creates a store on a storage of the caller's; `path` is only for messages.
    ///
    /// # Errors
    /// If the storage fails or holds something else.
    pub fn with_backend(path: impl AsRef<Path>, backend: impl StorageBackend) -> Result<Store> {
        let path = path.as_ref();
        // Locks of byte ranges are the file system's; such a storage belongs to this process alone.
        let database = Builder::new()
            .set_cache_size(CACHE)
            .create_with_backend(backend)
            .at(path)?;
        let store = Self {
            path: path.to_owned(),
            base: Base::Write(database),
        };
        let transaction = store.read()?;
        let unfinished = transaction.list_tables().at(path)?.next().is_none();
        if unfinished {
            store.mark()?;
        }
        check(path, &store.read()?)?;
        Ok(store)
    }

    /// Gives back what freed pages and half-empty regions take in the file. Returns whether the file changed.
    ///
    /// # Errors
    /// If the store is being read (a [`Blocks`](super::Blocks) is alive, or another process reads), or the disk fails.
    pub fn compact(&mut self) -> Result<bool> {
        match &mut self.base {
            Base::Write(database) => database.compact().at(&self.path),
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
            Base::Write(database) => database.check_integrity().at(&self.path),
            Base::Read(_) => Err(StoreError::ReadOnly {
                path: self.path.clone(),
            }),
        }
    }

    fn create_at(path: &Path) -> Result<Store> {
        let database: Database = builder().create(path).at(path)?;
        let store = Self {
            path: path.to_owned(),
            base: Base::Write(database),
        };
        store.mark()?;
        Ok(store)
    }

    fn checked(path: &Path, base: Base) -> Result<Store> {
        let store = Self {
            path: path.to_owned(),
            base,
        };
        check(path, &store.read()?)?;
        Ok(store)
    }

    /// Makes an empty database a store: every table is there from the start, so that readers need not ask.
    fn mark(&self) -> Result<()> {
        let transaction = self.write()?;
        {
            let mut meta = transaction.open_table(layout::META).at(&self.path)?;
            let version = layout::VERSION.to_string();
            for (key, value) in [("magic", layout::MAGIC), ("version", &version), ("features", "")] {
                meta.insert(key, value).at(&self.path)?;
            }
            transaction.open_table(layout::RUNS).at(&self.path)?;
            transaction.open_table(layout::ALIASES).at(&self.path)?;
            transaction.open_table(layout::DATASETS).at(&self.path)?;
            transaction.open_table(layout::BLOB_INFO).at(&self.path)?;
            transaction.open_table(layout::BLOBS).at(&self.path)?;
            for table in Table::ALL {
                let (index, blocks) = layout::tables(table);
                transaction.open_table(index).at(&self.path)?;
                transaction.open_table(blocks).at(&self.path)?;
            }
        }
        transaction.commit().at(&self.path)
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .set_cache_size(CACHE)
        .set_concurrency_mode(ConcurrencyMode::SingleWriter);
    builder
}

/// Looks whether there is a redb file, before redb touches it.
fn look(path: &Path) -> Result<()> {
    let io = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => StoreError::Missing {
            path: path.to_owned(),
        },
        _ => StoreError::Io {
            path: path.to_owned(),
            source,
        },
    };
    let mut head = Vec::new();
    let file = std::fs::File::open(path).map_err(io)?;
    file.take(REDB_MAGIC.len() as u64)
        .read_to_end(&mut head)
        .map_err(io)?;
    if head == REDB_MAGIC {
        return Ok(());
    }
    let reason = if head.is_empty() {
        "the file is empty"
    } else {
        "it is no redb file"
    };
    Err(StoreError::NotAStore {
        path: path.to_owned(),
        reason: reason.to_owned(),
    })
}

/// Refuses a database that is not ours, or that a later version wrote.
fn check(path: &Path, transaction: &ReadTransaction) -> Result<()> {
    let not_a_store = |reason: &str| StoreError::NotAStore {
        path: path.to_owned(),
        reason: reason.to_owned(),
    };
    let meta = match transaction.open_table(layout::META) {
        Ok(meta) => meta,
        Err(TableError::Storage(error)) => return Err(error).at(path),
        Err(_) => return Err(not_a_store("it is a redb file of another program")),
    };
    let text = |key: &str| -> Result<Option<String>> {
        Ok(meta.get(key).at(path)?.map(|value| value.value().to_owned()))
    };
    if text("magic")?.as_deref() != Some(layout::MAGIC) {
        return Err(not_a_store("it is a redb file of another program"));
    }
    let found = text("version")?
        .and_then(|version| version.parse::<u32>().ok())
        .ok_or_else(|| not_a_store("its format version is missing"))?;
    if found > layout::VERSION {
        return Err(StoreError::Newer {
            path: path.to_owned(),
            found,
            supported: layout::VERSION,
        });
    }
    let features = text("features")?.unwrap_or_default();
    let unknown = |feature: &&str| !feature.is_empty() && !layout::FEATURES.contains(feature);
    if let Some(feature) = features.split(',').find(unknown) {
        return Err(StoreError::UnknownFeature {
            path: path.to_owned(),
            feature: feature.to_owned(),
        });
    }
    Ok(())
}
