//! Registered image sets.

use std::path::Path;

use dream_schema::Dataset;
use redb::ReadableTable;

use super::error::At;
use super::names::near_names;
use super::{Result, Store, StoreError, layout};

impl Store {
    /// Registers an image set. The same set again may have moved: its path is brought up to date.
    ///
    /// # Errors
    /// [`StoreError::DatasetChanged`] if the name is taken by other pictures.
    pub fn put_dataset(&self, dataset: &Dataset) -> Result<()> {
        let path = &self.path;
        let transaction = self.write()?;
        {
            let mut table = transaction.open_table(layout::DATASETS).at(path)?;
            if let Some(stored) = find(&table, path, &dataset.name)?
                && stored.digest != dataset.digest
            {
                return Err(StoreError::DatasetChanged {
                    name: dataset.name.clone(),
                    stored: stored.digest,
                    given: dataset.digest.clone(),
                });
            }
            let json = serde_json::to_vec(dataset)?;
            table.insert(dataset.name.as_str(), json.as_slice()).at(path)?;
        }
        transaction.commit().at(path)
    }

    /// Returns a registered image set.
    ///
    /// # Errors
    /// [`StoreError::UnknownDataset`].
    pub fn dataset(&self, name: &str) -> Result<Dataset> {
        let table = self.read()?.open_table(layout::DATASETS).at(&self.path)?;
        if let Some(dataset) = find(&table, &self.path, name)? {
            return Ok(dataset);
        }
        let names = all(&table, &self.path)?.into_iter().map(|dataset| dataset.name);
        Err(StoreError::UnknownDataset {
            name: name.to_owned(),
            near: near_names(name, names),
        })
    }

    /// Returns all registered image sets, by name.
    ///
    /// # Errors
    /// If the disk fails or a record is corrupt.
    pub fn datasets(&self) -> Result<Vec<Dataset>> {
        let table = self.read()?.open_table(layout::DATASETS).at(&self.path)?;
        all(&table, &self.path)
    }

    /// Forgets a registered image set. Runs that read it keep its digest.
    ///
    /// # Errors
    /// [`StoreError::UnknownDataset`].
    pub fn remove_dataset(&self, name: &str) -> Result<()> {
        self.dataset(name)?;
        let transaction = self.write()?;
        transaction
            .open_table(layout::DATASETS)
            .at(&self.path)?
            .remove(name)
            .at(&self.path)?;
        transaction.commit().at(&self.path)
    }
}

/// Returns the image set of that name, if there is one.
pub(super) fn find(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    path: &Path,
    name: &str,
) -> Result<Option<Dataset>> {
    let json = table.get(name).at(path)?;
    json.map(|json| parse(path, name, json.value())).transpose()
}

/// Returns all image sets, by name.
pub(super) fn all(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    path: &Path,
) -> Result<Vec<Dataset>> {
    let mut datasets = Vec::new();
    for item in table.iter().at(path)? {
        let (name, json) = item.at(path)?;
        datasets.push(parse(path, name.value(), json.value())?);
    }
    Ok(datasets)
}

fn parse(path: &Path, name: &str, json: &[u8]) -> Result<Dataset> {
    serde_json::from_slice(json).map_err(|error| StoreError::CorruptRecord {
        path: path.to_owned(),
        record: format!("data set {name}"),
        reason: error.to_string(),
    })
}
