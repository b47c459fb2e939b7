//! What the stages of a preset read from outside the store.

use std::path::{Path, PathBuf};

use super::{Named, Preset};
use dream_schema::Dataset;

use crate::dataset::{self, Reading};
use crate::stage::classes::ClassRow;
use crate::stage::{
    ImageSource, ModelSource, Refusals, Source, StageError, check_source_name, read_images, read_model,
    register_images, register_model,
};
use crate::store::{Readable as _, Store, StoreError};

/// How far sources are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// As they are registered, wherever their files are now: for questions about what is stored. What is not
    /// registered is glanced at.
    Recorded,
    /// As far as registrations and the names in files tell, for checks. Nothing is registered.
    Glance,
    /// What a preset has a path of is read whole, and nothing registered; others are glanced at.
    Read,
    /// They are read whole and registered.
    Register,
}

/// What the stages of a preset read.
pub(super) struct Sources {
    pub id: ImageSource,
    pub ood: Vec<ImageSource>,
    pub ood_validation: Option<ImageSource>,
    pub model: ModelSource,
}

impl Sources {
    /// Returns what is registered of each, or is to be.
    pub fn entries(&self) -> impl Iterator<Item = &Dataset> {
        let images = std::iter::once(&self.id)
            .chain(&self.ood)
            .chain(&self.ood_validation);
        images.map(Source::entry).chain([self.model.entry()])
    }

    /// Refuses what was read and is not what is registered under its name.
    pub fn check_names(&self, store: &Store, refusals: &mut Refusals) -> Result<(), StageError> {
        refusals.begin("data");
        for entry in self.entries() {
            if let Ok(stored) = store.dataset(&entry.name) {
                refuse_if_other(stored, Some(entry), refusals)?;
            }
        }
        Ok(())
    }

    /// Registers what was read.
    pub fn register(&self, store: &Store) -> Result<(), StageError> {
        Ok(self.entries().try_for_each(|entry| store.put_dataset(entry))?)
    }
}

impl Preset {
    /// Returns the in-distribution set.
    ///
    /// # Errors
    /// If it cannot be read, or is neither registered nor has a path.
    pub fn id_set(&self, store: &Store, reach: Reach) -> Result<ImageSource, StageError> {
        self.images(store, &self.data.id, reach)
    }

    /// Returns the out-of-distribution sets.
    ///
    /// # Errors
    /// If one cannot be read, or is neither registered nor has a path.
    pub fn ood_sets(&self, store: &Store, reach: Reach) -> Result<Vec<ImageSource>, StageError> {
        let sets = self.data.ood.iter();
        sets.map(|named| self.images(store, named, reach)).collect()
    }

    /// Returns the set that hyperparameters are searched on, if there is one.
    ///
    /// # Errors
    /// If it cannot be read, or is neither registered nor has a path.
    pub fn ood_validation_set(&self, store: &Store, reach: Reach) -> Result<Option<ImageSource>, StageError> {
        let named = self.data.ood_validation.as_ref();
        named.map(|named| self.images(store, named, reach)).transpose()
    }

    /// Returns the diffusion model.
    ///
    /// # Errors
    /// If it cannot be read, or is neither registered nor has a path.
    pub fn model(&self, store: &Store, reach: Reach) -> Result<ModelSource, StageError> {
        let name = &self.model.name;
        if reach == Reach::Recorded
            && let Ok(known) = ModelSource::named(store, name)
        {
            return Ok(known);
        }
        let Some(path) = self.path(&self.model)? else {
            return ModelSource::named(store, name);
        };
        match reach {
            Reach::Register => register_model(store, name, &path, None, &self.stop),
            Reach::Read => read_model(store, name, &path, None, &self.stop),
            Reach::Recorded | Reach::Glance => Ok(match known::<ModelSource>(store, name)? {
                Some(known) if Path::new(known.path()) == path => known,
                _ => ModelSource::glance(name, &path),
            }),
        }
    }

    /// Refuses what lies elsewhere than what is registered under its name, and is something else: it is read
    /// for that.
    pub(super) fn refuse_others(&self, store: &Store, refusals: &mut Refusals) -> Result<(), StageError> {
        let elsewhere = |named: &Named| -> Result<Option<Dataset>, StageError> {
            let path = self.path(named)?;
            let stored = store.dataset(&named.name).ok();
            Ok(stored.filter(|stored| path.is_some_and(|path| path != Path::new(&stored.path))))
        };
        refusals.begin("data");
        let sets = std::iter::once(&self.data.id)
            .chain(&self.data.ood)
            .chain(&self.data.ood_validation);
        for named in sets {
            if let Some(stored) = elsewhere(named)? {
                let read = refusals.take(&named.name, self.images(store, named, Reach::Read))?;
                refuse_if_other(stored, read.as_ref().map(Source::entry), refusals)?;
            }
        }
        refusals.begin("model");
        if let Some(stored) = elsewhere(&self.model)? {
            let read = refusals.take("path", self.model(store, Reach::Read))?;
            refuse_if_other(stored, read.as_ref().map(Source::entry), refusals)?;
        }
        Ok(())
    }

    /// Returns an image set that the preset names.
    pub(super) fn images(
        &self,
        store: &Store,
        named: &Named,
        reach: Reach,
    ) -> Result<ImageSource, StageError> {
        if reach == Reach::Recorded
            && let Ok(known) = ImageSource::named(store, &named.name)
        {
            return Ok(known);
        }
        let Some(path) = self.path(named)? else {
            return ImageSource::named(store, &named.name);
        };
        if reach == Reach::Glance
            && let Some(known) = known::<ImageSource>(store, &named.name)?
            && Path::new(known.path()) == path
        {
            return Ok(known);
        }
        let folders = match named.class_folders {
            true => self.classes()?,
            false => Vec::new(),
        };
        let reading = Reading {
            kind: named.kind,
            classes: folders.iter().map(ClassRow::class_folder).collect(),
            skip_bad: named.skip_bad,
            stop: self.stop.clone(),
            ..Reading::default()
        };
        match reach {
            Reach::Register => register_images(store, &named.name, &path, &reading),
            Reach::Read => read_images(store, &named.name, &path, &reading),
            Reach::Recorded | Reach::Glance => {
                let glance = ImageSource::glance(&named.name, &path, &reading)?;
                Ok(match known::<ImageSource>(store, &named.name)? {
                    Some(known) => glance.counted_as(&known),
                    None => glance,
                })
            }
        }
    }

    pub(super) fn path(&self, named: &Named) -> Result<Option<PathBuf>, StageError> {
        let Some(path) = &named.path else { return Ok(None) };
        let path = self.folder().join(path);
        Ok(Some(dataset::place(&path).map_err(StageError::access(&path))?))
    }
}

/// Refuses what was read under a name, if it is not what is registered under it.
fn refuse_if_other(
    stored: Dataset,
    read: Option<&Dataset>,
    refusals: &mut Refusals,
) -> Result<(), StageError> {
    let Some(read) = read.filter(|read| read.digest != stored.digest) else {
        return Ok(());
    };
    let changed = StoreError::DatasetChanged {
        name: read.name.clone(),
        stored: stored.digest,
        given: read.digest.clone(),
    };
    refusals.take(&read.name, Err::<(), _>(changed))?;
    Ok(())
}

/// Returns what is registered under a name that a preset gives, if there is anything.
///
/// # Errors
/// If it is of another kind, or nothing can have that name.
fn known<T: Source>(store: &Store, name: &str) -> Result<Option<T>, StageError> {
    match store.dataset(name) {
        Ok(entry) => T::of(entry).map(Some),
        Err(StoreError::UnknownDataset { .. }) => check_source_name(store, name).map(|()| None),
        Err(error) => Err(error.into()),
    }
}
