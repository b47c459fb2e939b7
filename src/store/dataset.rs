//! What is registered: image sets, diffusion models, state dicts.

use std::path::Path;

use dream_schema::Dataset;

use super::face::Viewed;
use super::view::{View, Writer};
use super::{Result, Store, StoreError, layout};
use crate::words::near_names;

impl Store {
    /// Registers an image set, a model or a state dict. The same again may have moved: its path is brought up
    /// to date.
    ///
    /// # Errors
    /// [`StoreError::BadName`], or [`StoreError::DatasetChanged`] if the name is taken by something else.
    pub fn put_dataset(&self, dataset: &Dataset) -> Result<()> {
        // A name that an older program gave is known by now.
        if find(&self.view()?, &dataset.name)?.is_none() {
            super::check_name(&dataset.name)?;
        }
        self.copy_dataset(dataset)
    }

    /// Takes over an entry of another store, under the name that it has there, whatever that is.
    ///
    /// # Errors
    /// [`StoreError::DatasetChanged`] if the name is taken by something else.
    pub fn copy_dataset(&self, dataset: &Dataset) -> Result<()> {
        if find(&self.view()?, &dataset.name)?.as_ref() == Some(dataset) {
            return Ok(());
        }
        let writer = self.write()?;
        if let Some(stored) = find(&writer.view(), &dataset.name)?
            && stored.digest != dataset.digest
        {
            return Err(StoreError::DatasetChanged {
                name: dataset.name.clone(),
                stored: stored.digest,
                given: dataset.digest.clone(),
            });
        }
        write(&writer, dataset)?;
        writer.commit()
    }

    /// Forgets what is registered under a name. Runs that read it keep its digest.
    ///
    /// # Errors
    /// [`StoreError::UnknownDataset`].
    pub fn remove_dataset(&self, name: &str) -> Result<()> {
        let writer = self.write()?;
        require(&writer.view(), name)?;
        writer.remove(layout::DATASETS, name)?;
        writer.commit()
    }

    /// Gives what is registered under a name another one. Runs that read it find it by its digest.
    ///
    /// # Errors
    /// [`StoreError::UnknownDataset`], [`StoreError::BadName`], or [`StoreError::NameTaken`].
    pub fn rename_dataset(&self, name: &str, new: &str) -> Result<()> {
        super::check_name(new)?;
        let writer = self.write()?;
        let mut dataset = require(&writer.view(), name)?;
        if name == new {
            return Ok(());
        }
        if find(&writer.view(), new)?.is_some() {
            return Err(StoreError::NameTaken { name: new.to_owned() });
        }
        writer.remove(layout::DATASETS, name)?;
        dataset.name = new.to_owned();
        write(&writer, &dataset)?;
        writer.commit()
    }
}

/// Writes a record, over the one of the same name.
pub(super) fn write(writer: &Writer<'_>, dataset: &Dataset) -> Result<()> {
    let json = serde_json::to_vec(dataset)?;
    writer.put(layout::DATASETS, dataset.name.as_str(), json.as_slice())
}

/// Returns what is registered under a name, if there is anything.
pub(super) fn find(view: &View<'_>, name: &str) -> Result<Option<Dataset>> {
    let table = view.table(layout::DATASETS)?;
    let json = table.get(name)?;
    json.map(|json| parse(view.path, name, json.value())).transpose()
}

/// Returns what is registered under a name.
pub(super) fn require(view: &View<'_>, name: &str) -> Result<Dataset> {
    if let Some(dataset) = find(view, name)? {
        return Ok(dataset);
    }
    let names = all(view)?.into_iter().map(|dataset| dataset.name);
    Err(StoreError::UnknownDataset {
        name: name.to_owned(),
        near: near_names(name, names),
    })
}

/// Returns everything that is registered, by name.
pub(super) fn all(view: &View<'_>) -> Result<Vec<Dataset>> {
    let table = view.table(layout::DATASETS)?;
    let mut datasets = Vec::new();
    for item in table.iter()? {
        let (name, json) = item?;
        datasets.push(parse(view.path, name.value(), json.value())?);
    }
    Ok(datasets)
}

/// Returns the names of entries that cannot be read, and why.
pub(super) fn illegible(view: &View<'_>) -> Result<Vec<(String, String)>> {
    let table = view.table(layout::DATASETS)?;
    let mut illegible = Vec::new();
    for item in table.iter()? {
        let (name, json) = item?;
        if let Err(error) = Dataset::from_json(json.value()) {
            illegible.push((name.value().to_owned(), error.to_string()));
        }
    }
    Ok(illegible)
}

pub(super) fn parse(path: &Path, name: &str, json: &[u8]) -> Result<Dataset> {
    Dataset::from_json(json).map_err(|error| StoreError::CorruptRecord {
        path: path.to_owned(),
        record: format!("data set {name}"),
        reason: error.to_string(),
    })
}
