//! What the stages of a preset read from outside the store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Named, Preset};
use crate::dataset::{self, Reading};
use crate::stage::classes::ClassRow;
use crate::stage::{ImageSource, ModelSource, Source, StageError, register_images, register_model};
use crate::store::Store;

/// How far sources are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// As they are registered, wherever their files are now: for questions about what is stored. What is not
    /// registered is glanced at.
    Recorded,
    /// As far as registrations and the names in files tell, for checks. Nothing is registered.
    Glance,
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
            Reach::Register => register_model(store, name, &path, None),
            Reach::Recorded | Reach::Glance => match ModelSource::named(store, name) {
                Ok(known) if Path::new(known.path()) == path => Ok(known),
                _ => Ok(ModelSource::glance(name, &path)),
            },
        }
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
            && let Ok(known) = ImageSource::named(store, &named.name)
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
            lists: BTreeMap::new(),
            classes: folders.iter().map(ClassRow::class_folder).collect(),
            skip_bad: named.skip_bad,
        };
        match reach {
            Reach::Register => register_images(store, &named.name, &path, &reading),
            Reach::Recorded | Reach::Glance => ImageSource::glance(&named.name, &path, &reading),
        }
    }

    fn path(&self, named: &Named) -> Result<Option<PathBuf>, StageError> {
        let Some(path) = &named.path else { return Ok(None) };
        let path = self.folder().join(path);
        Ok(Some(dataset::place(&path).map_err(StageError::access(&path))?))
    }
}
