//! Whether the splits of a set are of the same classes.

use std::collections::BTreeMap;
use std::path::Path;

use super::error::DatasetError;
use super::kind::Kind;
use super::set::Reading;

/// Refuses a folder whose splits have directories of other classes, unless a list says which are classes: the
/// numbers of its labels would not be those that another tool gives them split by split. `sizes` are the
/// numbers of images of each class by split, none in one without labels.
///
/// # Errors
/// [`DatasetError::ClassSets`].
pub(crate) fn check_class_sets(
    path: &Path,
    kind: Kind,
    reading: &Reading,
    classes: &[String],
    sizes: &BTreeMap<String, Vec<usize>>,
) -> Result<(), DatasetError> {
    if kind != Kind::ImageFolder || !reading.classes.is_empty() {
        return Ok(());
    }
    let labelled = || sizes.iter().filter(|(_, sizes)| !sizes.is_empty());
    for (split, sizes) in labelled() {
        for (other, others) in labelled() {
            let pairs = sizes.iter().zip(others).zip(classes);
            let lacking = pairs.filter(|((own, other), _)| **own == 0 && **other > 0);
            let lacking: Vec<String> = lacking.map(|(_, class)| class.clone()).collect();
            if !lacking.is_empty() {
                return Err(DatasetError::ClassSets {
                    path: path.to_owned(),
                    split: split.clone(),
                    other: other.clone(),
                    lacking,
                });
            }
        }
    }
    Ok(())
}
