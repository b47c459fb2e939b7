//! Whether images were held out of training, as far as the lineage of a classifier and names tell.

use std::sync::Arc;

use super::sets::{imported_as, looks_at};
use crate::stage::{Known, Refusals, Role, StageError, detect};
use crate::store::Store;

/// Refuses validation images that scores or the classifier learnt from: k-NN finds every image itself among
/// its neighbours, and features and confidence of what the classifier knows by heart are others. `who` says
/// what needs images that were held out of training: `knn` learns from.
pub(super) fn check(
    store: &Store,
    seen: &[(Role, Arc<Known>)],
    who: &str,
    refusals: &mut Refusals,
) -> Result<(), StageError> {
    let of = |role: Role| seen.iter().find(|(own, _)| *own == role).map(|(_, known)| known);
    let Some(validation) = of(Role::Validation) else {
        return Ok(());
    };
    let learnt = match of(Role::Train) {
        Some(train) => same_images(store, validation, train)?,
        None => false,
    };
    let trained = match looks_at(store, validation)? {
        Some((_, split)) => trained_on(store, validation, &split)?,
        None => false,
    };
    if learnt || trained {
        let found = format!("{who} ID images held out of training, and these are the training images");
        refusals.refuse(Role::Validation, found);
    }
    Ok(())
}

/// Says whether activations are of the same images, as far as their names tell.
fn same_images(store: &Store, one: &Known, other: &Known) -> Result<bool, StageError> {
    if one.run.is_some() && one.run == other.run {
        return Ok(true);
    }
    if let Some((own, theirs)) = imported_as(one)?.zip(imported_as(other)?) {
        return Ok(own == theirs);
    }
    let looked_at = looks_at(store, one)?.zip(looks_at(store, other)?);
    Ok(looked_at
        .is_some_and(|((set, split), (other, other_split))| set.is_same(&other) && split == other_split))
}

/// Says whether a split of what was looked at is what the classifier was trained on, or the one that it was
/// trained from.
pub(super) fn trained_on(store: &Store, known: &Known, split: &str) -> Result<bool, StageError> {
    let mut next = known.input(&Role::Detector);
    while let Some(detector) = next {
        let detector = detector.known(store, &Role::Detector, &[detect::NAME])?;
        let own = detector.params::<detect::Params>()?.training.split;
        if own == split && known.same_source(&detector, &Role::Images) {
            return Ok(true);
        }
        next = detector.input(&Role::Initial);
    }
    Ok(false)
}
