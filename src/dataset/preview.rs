//! What a set looks like before a picture of it is decoded.

use std::path::Path;

use super::error::DatasetError;
use super::set::{Kind, Reading, Set};

/// What would be read of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// The container format.
    pub kind: Kind,
    /// Class names by label; empty if the container names none.
    pub classes: Vec<String>,
    /// The splits, sorted by name.
    pub splits: Vec<PreviewedSplit>,
}

/// What would be read of a split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewedSplit {
    /// Its name.
    pub name: String,
    /// Number of its images, of which some may turn out not to be decodable.
    pub images: usize,
    /// Number of the classes that it has images of; none where it has no labels.
    pub classes: Option<usize>,
    /// Names of the first images.
    pub first: Vec<String>,
}

/// Names of a split's first images that a preview has.
const FIRST: usize = 3;

/// Opens a set as `reading` says, and says what would be read of it. No picture is decoded.
///
/// # Errors
/// Whatever is wrong with the container; see [`DatasetError`].
pub fn preview(path: &Path, reading: &Reading) -> Result<Preview, DatasetError> {
    let set = Set::open(path, reading)?;
    let mut splits = Vec::new();
    for name in set.container.splits() {
        let items = set.items(&name)?;
        let labels: std::collections::BTreeSet<u32> = items.iter().filter_map(|item| item.label).collect();
        splits.push(PreviewedSplit {
            images: items.len(),
            classes: (!labels.is_empty()).then_some(labels.len()),
            first: items.iter().take(FIRST).map(|item| item.name.clone()).collect(),
            name,
        });
    }
    Ok(Preview {
        kind: set.kind,
        classes: set.container.classes().to_vec(),
        splits,
    })
}
