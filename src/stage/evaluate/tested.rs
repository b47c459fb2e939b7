//! What an evaluation was tested on, as far as the runs on record tell.

use std::collections::BTreeMap;

use arrow::datatypes::{Int32Type, Int64Type};
use dream_schema::columns::Columns;
use dream_schema::{Run, RunInput};

use super::{given, shown};
use crate::stage::{Role, StageError};
use crate::store::{Projection, Readable, Store};

/// A test set of an evaluation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestedSet {
    /// What its rows call it.
    pub dataset: String,
    /// The split that was looked at.
    pub split: String,
    /// The digest of the registered set; none where another program looked at it.
    pub digest: Option<String>,
    /// Number of images.
    pub images: u64,
}

impl TestedSet {
    /// Says whether nothing on record tells it from another one. Of images that another program looked at no
    /// more is known than names and their number.
    pub fn may_be(&self, other: &Self) -> bool {
        match (&self.digest, &other.digest) {
            (Some(own), Some(theirs)) => own == theirs && self.split == other.split,
            (None, None) => self == other,
            (Some(_), None) | (None, Some(_)) => self.dataset == other.dataset,
        }
    }

    /// Says whether the same is on record of both.
    pub fn is_known_as(&self, other: &Self) -> bool {
        self.may_be(other) && self.digest.is_some() == other.digest.is_some()
    }

    /// The set in words.
    pub fn in_words(&self) -> String {
        let Self {
            dataset,
            split,
            images,
            ..
        } = self;
        format!("{images} images of `{dataset}`, split `{split}`")
    }
}

/// The images of a set in the order of its rows: the place of each in its split, and its class.
pub type Images = Vec<(i64, Option<i32>)>;

/// Returns what an evaluation's test sets are, by role; nothing of one whose version looked at the images
/// itself.
///
/// # Errors
/// If the store fails.
pub fn sets(store: &Store, evaluation: &Run) -> Result<BTreeMap<String, TestedSet>, StageError> {
    let mut sets = BTreeMap::new();
    for input in tested(evaluation) {
        let spec = store.run(input.run)?.spec;
        let split = spec.params.get("split").and_then(serde_json::Value::as_str);
        let set = TestedSet {
            dataset: shown::dataset(store, input.run)?,
            split: split.unwrap_or_default().to_owned(),
            digest: spec.sources.get(&Role::Images.to_string()).cloned(),
            images: store.count(input.run, given::table_of(&spec))?,
        };
        sets.insert(input.role.clone(), set);
    }
    Ok(sets)
}

/// Returns the images of an evaluation's test sets, by role; nothing of one whose version looked at them
/// itself.
///
/// # Errors
/// If the store fails.
pub fn images(store: &Store, evaluation: &Run) -> Result<BTreeMap<String, Images>, StageError> {
    let mut sets = BTreeMap::new();
    for input in tested(evaluation) {
        let mut images = Images::new();
        let table = given::table_of(&store.run(input.run)?.spec);
        for rows in store.blocks(table, Some(input.run), None, &Projection::Narrow)? {
            let (_, rows) = rows?;
            let columns = Columns::new(table, &rows);
            let labels = columns.optional_numbers::<Int32Type>("label")?;
            images.extend(columns.numbers::<Int64Type>("sample")?.into_iter().zip(labels));
        }
        sets.insert(input.role.clone(), images);
    }
    Ok(sets)
}

fn tested(evaluation: &Run) -> impl Iterator<Item = &RunInput> {
    let inputs = evaluation.spec.inputs.iter();
    inputs.filter(|input| Role::Id.is(&input.role) || Role::ood_name(&input.role).is_some())
}
