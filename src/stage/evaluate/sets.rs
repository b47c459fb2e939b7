//! Whether the sets of an evaluation are what they are given as: activations or scores of one classifier, and
//! no images that are two things.

use std::sync::Arc;

use serde::Deserialize;

use super::group::Groups;
use super::{NamedNetwork, given, held_out, labels};
use crate::stage::{ImageSource, Known, Refusals, Role, Source as _, StageError, detect, import, observe};
use crate::store::{Readable as _, Store};

/// Refuses activations of another classifier than the first ones, of a set that is there already, of images
/// to test on that the classifier was trained on, and of a shifted set without the classifier's classes.
pub(super) fn check(
    store: &Store,
    role: &Role,
    known: &Known,
    seen: &[(Role, Arc<Known>)],
    groups: &Groups,
    refusals: &mut Refusals,
) -> Result<(), StageError> {
    let looked_at = refusals.take(role, looks_at(store, known))?.flatten();
    let learns = matches!(role, Role::Train | Role::Validation);
    let trained = match &looked_at {
        Some((_, split)) if !learns => held_out::trained_on(store, known, split)?,
        _ => false,
    };
    if trained {
        refusals.refuse(role, "these are the images that the classifier was trained on");
    }
    labels::check_shifted(store, role, known, groups, refusals)?;
    let Some((_, first)) = seen.first() else {
        return check_id(store, role, known, refusals);
    };
    check_network(store, role, known, first, refusals)?;
    given::check_score(role, known, first, refusals);
    let strangers = || seen.iter().filter(|(other, _)| !may_share(role, other));
    if let Some(own) = imported_as(known)? {
        for (other, theirs) in strangers() {
            if theirs.run.is_some() && theirs.run == known.run {
                let found = format!("these are the {} of {} once more", noun(known), called(other));
                refusals.refuse(role, found);
            } else if imported_as(theirs)?.as_ref() == Some(&own) {
                let Named { dataset, split } = &own;
                let found = format!(
                    "it is called `{dataset}`, split `{split}`, as {} is: they could not be told apart",
                    called(other)
                );
                refusals.refuse(role, found);
            } else if is_outside(role)
                && *other == Role::Id
                && name_of(store, theirs)?.as_ref() == Some(&own.dataset)
            {
                let Named { dataset, split } = &own;
                refusals.refuse(role, same_name(dataset, split));
            }
        }
    }
    // What another program made says nothing of its classifier.
    let observed = |known: &Known| known.stage == observe::NAME;
    if observed(known) && observed(first) && !same_classifier(known, first)? {
        refusals.refuse(
            role,
            "the activations are of another classifier than those of the ID set",
        );
    }
    let Some((set, split)) = looked_at else {
        return Ok(());
    };
    for (other, theirs) in strangers() {
        let is_beside_id = is_outside(role) && *other == Role::Id && !trained;
        let Some((their_set, their_split)) = looks_at(store, theirs)? else {
            if is_beside_id && name_of(store, theirs)?.as_deref() == Some(set.name()) {
                refusals.refuse(role, same_name(set.name(), &split));
            }
            continue;
        };
        if !set.is_same(&their_set) {
            continue;
        }
        let other = called(other);
        if split == their_split {
            refusals.refuse(role, format!("these are the images of {other} once more"));
        } else if is_beside_id {
            let found = format!("these are images of {other} too, of the split `{split}`");
            refusals.refuse(role, found);
        }
    }
    Ok(())
}

/// Says of a set that it has the name of the ID set: of imports no more is known.
fn same_name(dataset: &str, split: &str) -> String {
    format!("these are images of the ID set `{dataset}` too, of the split `{split}`")
}

/// Returns the set and the split that a run of `observe` looks at; none of an import.
pub(super) fn looks_at(store: &Store, known: &Known) -> Result<Option<(ImageSource, String)>, StageError> {
    if known.stage != observe::NAME {
        return Ok(None);
    }
    let set = known.source::<ImageSource>(store, &Role::Images)?;
    Ok(Some((set, known.params::<observe::Params>()?.split)))
}

/// Says whether the same images may be both: what is learnt from may be what a network was trained on.
fn may_share(one: &Role, other: &Role) -> bool {
    let learns = |role: &Role| matches!(role, Role::Train | Role::Validation);
    learns(one) && learns(other)
}

/// Says whether the images are of none of the classifier's classes.
fn is_outside(role: &Role) -> bool {
    matches!(role, Role::Ood(_) | Role::OodValidation)
}

fn called(role: &Role) -> String {
    match role {
        Role::Id => "the ID set".to_owned(),
        Role::Train => "the training images".to_owned(),
        Role::Validation => "the validation images".to_owned(),
        Role::OodValidation => "the OOD images that hyperparameters are searched on".to_owned(),
        other => format!("`{other}`"),
    }
}

/// What an import is of, in words.
fn noun(known: &Known) -> &'static str {
    match import::score_in(&known.stage, &known.params) {
        Some(_) => "scores",
        None => "activations",
    }
}

/// The network that an import says that it is of.
pub(super) fn network(store: &Store, known: &Known) -> Result<Option<NamedNetwork>, StageError> {
    let Some(run) = known.run else { return Ok(None) };
    let spec = store.run(run)?.spec;
    Ok(import::network_of(&spec).map(|name| NamedNetwork {
        name: name.to_owned(),
        seed: spec.seed,
    }))
}

/// Refuses an import that is said to be of another network than that of the ID set.
fn check_network(
    store: &Store,
    role: &Role,
    known: &Known,
    first: &Known,
    refusals: &mut Refusals,
) -> Result<(), StageError> {
    if let (Some(own), Some(other)) = (network(store, known)?, network(store, first)?)
        && own != other
    {
        let found = format!(
            "the {} are of the network `{}`, seed {}, those of the ID set of `{}`, seed {}",
            noun(known),
            own.name,
            own.seed,
            other.name,
            other.seed
        );
        refusals.refuse(role, found);
    }
    Ok(())
}

/// What an import is of.
#[derive(PartialEq, Deserialize)]
pub(super) struct Named {
    dataset: String,
    split: String,
}

pub(super) fn imported_as(known: &Known) -> Result<Option<Named>, StageError> {
    let is_import = known.stage == import::NAME;
    is_import.then(|| known.params::<Named>()).transpose()
}

/// Returns the name of the set that activations or scores are of.
fn name_of(store: &Store, known: &Known) -> Result<Option<String>, StageError> {
    if let Some(named) = imported_as(known)? {
        return Ok(Some(named.dataset));
    }
    Ok(looks_at(store, known)?.map(|(set, _)| set.name().to_owned()))
}

/// Refuses an ID set whose classes are not the classifier's.
fn check_id(store: &Store, role: &Role, known: &Known, refusals: &mut Refusals) -> Result<(), StageError> {
    if known.stage != observe::NAME {
        return Ok(());
    }
    let Some(id) = refusals.take(role, known.source::<ImageSource>(store, &Role::Images))? else {
        return Ok(());
    };
    id.require_labels(role, refusals);
    match known.input(&Role::Detector) {
        Some(detector) => {
            let detector = detector.known(store, &Role::Detector, &[detect::NAME])?;
            detect::check_classes(store, &detector, &id, role, refusals)
        }
        None => {
            let network = known.params::<observe::Params>()?.network;
            let classes = network.map(|network| network.classes).unwrap_or_default();
            refusals.take(role, id.check_classes(&classes, "the classifier"))?;
            Ok(())
        }
    }
}

/// Says whether two `observe` runs looked with one classifier.
pub(in crate::stage) fn same_classifier(a: &Known, b: &Known) -> Result<bool, StageError> {
    let network = |known: &Known| Ok::<_, StageError>(known.params::<observe::Params>()?.network);
    let run = |known: &Known| known.input(&Role::Detector);
    Ok(run(a) == run(b) && network(a)? == network(b)? && a.same_source(b, &Role::Initial))
}
