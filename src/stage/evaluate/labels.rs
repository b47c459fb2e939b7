//! Whether labels bear out what sets are given as: the ID set, OOD sets, sets of the ID classes under a
//! shift.

use super::group::{self, Groups};
use super::parts::Parts;
use crate::stage::{ImageSource, Known, Refusals, Role, StageError, detect, observe};
use crate::store::Store;

fn is_shifted(groups: &Groups, role: &Role) -> bool {
    role.set_name().is_some() && group::has_classes(groups, role)
}

/// Refuses observed images as those of the ID classes under a shift where they have none of these, or their
/// labels were not taken for these. What is imported says it row by row: [`check`].
pub(super) fn check_shifted(
    store: &Store,
    role: &Role,
    known: &Known,
    groups: &Groups,
    refusals: &mut Refusals,
) -> Result<(), StageError> {
    if known.stage != observe::NAME || !is_shifted(groups, role) {
        return Ok(());
    }
    let set = refusals.take(role, known.source::<ImageSource>(store, &Role::Images))?;
    let (Some(set), params) = (set, known.params::<observe::Params>()?) else {
        return Ok(());
    };
    set.require_labels(role, refusals);
    let classes = match (&params.network, known.input(&Role::Detector)) {
        (Some(network), _) => network.classes.clone(),
        (None, Some(detector)) => {
            let detector = detector.known(store, &Role::Detector, &[detect::NAME])?;
            let trained_on = refusals.take(role, detector.source::<ImageSource>(store, &Role::Images))?;
            trained_on.map(|set| set.classes().to_vec()).unwrap_or_default()
        }
        (None, None) => Vec::new(),
    };
    let has_labels = params.matched || params.numbered || set.classes() == classes;
    if has_labels || set.classes().is_empty() || classes.is_empty() {
        return Ok(());
    }
    if refusals.take(role, set.places_among(&classes))?.is_some() {
        let found = "these activations have no labels: the classes of the set, which are some of the \
                     classifier's or in another order, were not matched with these by name";
        refusals.refuse(role, found);
    }
    Ok(())
}

/// Refuses imported images of a shifted set without a class, and OOD images that stand in the place of the ID
/// images: of these none has a class, of others, which are not said to be of the ID classes, all have one.
pub(super) fn check(sets: &[(Role, Parts)], groups: &Groups, refusals: &mut Refusals) {
    for (role, parts) in sets.iter().filter(|(role, _)| is_shifted(groups, role)) {
        if let (true, Some(image)) = (parts.is_imported, parts.unlabelled) {
            let found = format!(
                "the images of a shifted set have the classifier's classes, and image {image} has none"
            );
            refusals.refuse(role, found);
        }
    }
    let id = sets.iter().find(|(role, _)| *role == Role::Id);
    if id.is_none_or(|(_, parts)| parts.largest.is_some()) {
        return;
    }
    for (role, parts) in sets {
        if role.set_name().is_some() && !is_shifted(groups, role) && parts.unlabelled.is_none() {
            let found = "all of its images have a class, and no image of the ID set has one: the two seem \
                         to be swapped. Where they are not, this set is to be imported without its labels";
            refusals.refuse(role, found);
        }
    }
}
