//! Transactions: what readers see of one of either kind, and the one that writes.
//!
//! A table that is not there reads as an empty one: a store that was made before the program knew the table
//! has no rows in it. Opening a store for writing makes what is missing. A table that `meta` says is there is
//! an error.
//!
//! Whatever is read or written goes through [`guard`]: a damaged page is an error of the table that it
//! belongs to, and no panic.

use std::borrow::Borrow;
use std::ops::{RangeBounds, RangeInclusive};
use std::path::Path;
use std::sync::Arc;

use redb::{
    AccessGuard, Key, ReadOnlyTable, ReadTransaction, ReadableTable, StorageError, TableDefinition,
    TableError, Value, WriteTransaction,
};

use super::block::{Kept, Tally};
use super::error::At;
use super::format::Format;
use super::guard::guard;
use super::{Result, Snapshot, open};

/// A transaction that can be read from.
enum Transaction<'a> {
    Own(ReadTransaction),
    Read(&'a ReadTransaction),
    Write(&'a WriteTransaction),
}

/// One state of a store.
pub struct View<'a> {
    pub(super) path: &'a Path,
    pub(super) format: Format,
    transaction: Transaction<'a>,
    pub(super) kept: Arc<Kept>,
    /// Counts what is read, where someone wants to know.
    pub(super) tally: Option<&'a Tally>,
}

impl<'a> View<'a> {
    /// Returns the view of a transaction of its own.
    pub(super) fn own(path: &'a Path, transaction: ReadTransaction) -> Result<Self> {
        let format = Format::of(path, &transaction)?;
        Ok(Self {
            path,
            format,
            transaction: Transaction::Own(transaction),
            kept: Arc::default(),
            tally: None,
        })
    }

    /// Returns the view of a snapshot.
    pub(super) fn of(snapshot: &'a Snapshot) -> Self {
        Self {
            path: &snapshot.path,
            format: snapshot.format,
            transaction: Transaction::Read(&snapshot.transaction),
            kept: snapshot.kept.clone(),
            tally: None,
        }
    }

    /// Returns the view, which counts what it reads.
    pub(super) fn tallied(self, tally: &'a Tally) -> Self {
        Self {
            tally: Some(tally),
            ..self
        }
    }

    /// Returns the view of the tables of `format`, whichever the store names.
    pub(super) fn read_as(self, format: Format) -> Self {
        Self { format, ..self }
    }

    /// Says whether it is of a transaction that writes.
    pub(super) fn is_writing(&self) -> bool {
        matches!(self.transaction, Transaction::Write(_))
    }

    /// Opens a table. In a transaction that writes it may not be open already.
    pub(super) fn table<K: Key, V: Value>(
        &self,
        definition: TableDefinition<'_, K, V>,
    ) -> Result<Opened<'_, K, V>> {
        let read = |transaction: &ReadTransaction| {
            guard(self.path, || match transaction.open_table(definition) {
                Ok(table) => Ok(Access::Read(table)),
                Err(TableError::TableDoesNotExist(name)) => {
                    match open::lost_tables(self.path, transaction)?.contains(&name) {
                        true => Err(open::lost_table(self.path, &name)),
                        false => Ok(Access::Missing),
                    }
                }
                Err(error) => Err(error).at(self.path),
            })
        };
        let access = match &self.transaction {
            Transaction::Own(transaction) => read(transaction)?,
            Transaction::Read(transaction) => read(transaction)?,
            Transaction::Write(transaction) => Access::Write(guard(self.path, || {
                transaction.open_table(definition).at(self.path)
            })?),
        };
        Ok(Opened {
            path: self.path,
            access,
        })
    }
}

enum Access<'t, K: Key + 'static, V: Value + 'static> {
    Missing,
    Read(ReadOnlyTable<K, V>),
    Write(redb::Table<'t, K, V>),
}

/// A table that is read.
pub(super) struct Opened<'t, K: Key + 'static, V: Value + 'static> {
    path: &'t Path,
    access: Access<'t, K, V>,
}

impl<K: Key, V: Value> Opened<'_, K, V> {
    /// Returns the value of a key, if it is there.
    pub fn get<'k>(&self, key: impl Borrow<K::SelfType<'k>>) -> Result<Option<AccessGuard<'_, V>>> {
        guard(self.path, || {
            let found = match &self.access {
                Access::Missing => None,
                Access::Read(table) => table.get(key).at(self.path)?,
                Access::Write(table) => table.get(key).at(self.path)?,
            };
            // The value lies where its page says, which is followed here.
            if let Some(found) = &found {
                let _ = found.value();
            }
            Ok(found)
        })
    }

    /// Returns the entries of a range of keys, in order.
    pub fn range<'k, KR>(&self, range: impl RangeBounds<KR> + 'k) -> Result<Entries<'_, K, V>>
    where
        KR: Borrow<K::SelfType<'k>> + 'k,
    {
        let range = guard(self.path, || match &self.access {
            Access::Missing => Ok(None),
            Access::Read(table) => Ok(Some(table.range(range).at(self.path)?)),
            Access::Write(table) => Ok(Some(table.range(range).at(self.path)?)),
        })?;
        Ok(Entries {
            path: self.path,
            range,
        })
    }

    /// Returns all entries, in order.
    pub fn iter(&self) -> Result<Entries<'_, K, V>> {
        let range = guard(self.path, || match &self.access {
            Access::Missing => Ok(None),
            Access::Read(table) => Ok(Some(table.iter().at(self.path)?)),
            Access::Write(table) => Ok(Some(table.iter().at(self.path)?)),
        })?;
        Ok(Entries {
            path: self.path,
            range,
        })
    }
}

/// Entries of a table.
pub(super) struct Entries<'t, K: Key + 'static, V: Value + 'static> {
    path: &'t Path,
    range: Option<redb::Range<'t, K, V>>,
}

/// What redb gives of an entry.
type Taken<'t, K, V> = std::result::Result<Pair<'t, K, V>, StorageError>;

/// An entry of a table: its key and its value.
type Pair<'t, K, V> = (AccessGuard<'t, K>, AccessGuard<'t, V>);

impl<'t, K: Key, V: Value> Entries<'t, K, V> {
    /// Takes an entry from one end. An error is the last that comes.
    fn take(
        &mut self,
        next: impl FnOnce(&mut redb::Range<'t, K, V>) -> Option<Taken<'t, K, V>>,
    ) -> Option<Result<Pair<'t, K, V>>> {
        let range = self.range.as_mut()?;
        let taken = guard(self.path, || {
            let pair = next(range).transpose().at(self.path)?;
            // Key and value lie where their page says, which is followed here.
            if let Some((key, value)) = &pair {
                let _ = (key.value(), value.value());
            }
            Ok(pair)
        });
        if taken.is_err() {
            self.range = None;
        }
        taken.transpose()
    }
}

impl<'t, K: Key, V: Value> Iterator for Entries<'t, K, V> {
    type Item = Result<Pair<'t, K, V>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.take(Iterator::next)
    }
}

impl<K: Key, V: Value> DoubleEndedIterator for Entries<'_, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.take(DoubleEndedIterator::next_back)
    }
}

/// A transaction that writes. What it did is there after [`Writer::commit`], or else nothing of it.
pub(super) struct Writer<'a> {
    pub path: &'a Path,
    pub format: Format,
    transaction: WriteTransaction,
}

impl<'a> Writer<'a> {
    /// Takes `transaction` to write with, to a store of `format`.
    pub fn new(path: &'a Path, format: Format, transaction: WriteTransaction) -> Self {
        Self {
            path,
            format,
            transaction,
        }
    }

    /// Returns what can be read in this transaction.
    pub fn view(&self) -> View<'_> {
        View {
            path: self.path,
            format: self.format,
            transaction: Transaction::Write(&self.transaction),
            kept: Arc::default(),
            tally: None,
        }
    }

    /// Changes a table, made if need be. It may not be open already.
    fn change<K: Key, V: Value, T>(
        &self,
        definition: TableDefinition<'_, K, V>,
        change: impl FnOnce(&mut redb::Table<'_, K, V>) -> std::result::Result<T, StorageError>,
    ) -> Result<T> {
        guard(self.path, || {
            let mut table = self.transaction.open_table(definition).at(self.path)?;
            change(&mut table).at(self.path)
        })
    }

    /// Opens a table, for tests that spoil what is in it.
    #[cfg(test)]
    pub fn table<K: Key, V: Value>(
        &self,
        definition: TableDefinition<'_, K, V>,
    ) -> Result<redb::Table<'_, K, V>> {
        self.transaction.open_table(definition).at(self.path)
    }

    /// Makes a table, if it is not there.
    pub fn make<K: Key, V: Value>(&self, definition: TableDefinition<'_, K, V>) -> Result<()> {
        self.change(definition, |_| Ok(()))
    }

    /// Sets the value of a key.
    pub fn put<'k, 'v, K: Key, V: Value>(
        &self,
        definition: TableDefinition<'_, K, V>,
        key: impl Borrow<K::SelfType<'k>>,
        value: impl Borrow<V::SelfType<'v>>,
    ) -> Result<()> {
        self.change(definition, |table| table.insert(key, value).map(drop))
    }

    /// Removes a key with its value; returns whether it was there.
    pub fn remove<'k, K: Key, V: Value>(
        &self,
        definition: TableDefinition<'_, K, V>,
        key: impl Borrow<K::SelfType<'k>>,
    ) -> Result<bool> {
        self.change(definition, |table| Ok(table.remove(key)?.is_some()))
    }

    /// Removes the keys of a range.
    pub fn remove_range<'k, K: Key, V: Value, KR>(
        &self,
        definition: TableDefinition<'_, K, V>,
        range: RangeInclusive<KR>,
    ) -> Result<()>
    where
        KR: Borrow<K::SelfType<'k>> + 'k,
    {
        self.change(definition, |table| table.retain_in::<KR, _>(range, |_, _| false))
    }

    /// Removes a table and all that is in it, if it is there.
    pub fn drop_table(&self, name: &str) -> Result<()> {
        // Its types do not matter here.
        let table = TableDefinition::<&[u8], &[u8]>::new(name);
        guard(self.path, || self.transaction.delete_table(table).at(self.path))?;
        Ok(())
    }

    /// Makes everything durable.
    pub fn commit(self) -> Result<()> {
        guard(self.path, || self.transaction.commit().at(self.path))
    }
}
