//! Whether the sets of an evaluation are what they are given as: activations or scores of one classifier, and
//! no images that are two things.

use std::sync::Arc;

use serde::Deserialize;

use super::{NamedNetwork, given};
use crate::stage::{ImageSource, Known, Refusals, Role, StageError, detect, import, observe};
use crate::store::{Readable as _, Store};

/// Refuses activations of another classifier than the first ones, and of a set that is there already.
pub(super) fn check(
    store: &Store,
    role: &Role,
    known: &Known,
    seen: &[(Role, Arc<Known>)],
    refusals: &mut Refusals,
) -> Result<(), StageError> {
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
            } else if (is_outside(role) || is_outside(other)) && imported_as(theirs)?.as_ref() == Some(&own) {
                let Named { dataset, split } = &own;
                let found = format!(
                    "it is called `{dataset}`, split `{split}`, as {} is: they could not be told apart",
                    called(other)
                );
                refusals.refuse(role, found);
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
    let Some((set, split)) = looks_at(store, known)? else {
        return Ok(());
    };
    for (other, theirs) in strangers() {
        if let Some((their_set, their_split)) = looks_at(store, theirs)?
            && set.is_same(&their_set)
        {
            let is_id = *other == Role::Id;
            let other = called(other);
            if split == their_split {
                refusals.refuse(role, format!("these are the images of {other} once more"));
            } else if is_outside(role) && is_id {
                let found = match trained_on(store, known, &split)? {
                    true => "these are the images that the classifier was trained on".to_owned(),
                    false => format!("these are images of {other} too, of the split `{split}`"),
                };
                refusals.refuse(role, found);
            }
        }
    }
    Ok(())
}

/// Refuses validation images that scores or the classifier learnt from, where hyperparameters are searched on
/// them: k-NN finds every image itself among its neighbours.
pub(super) fn check_held_out(
    store: &Store,
    seen: &[(Role, Arc<Known>)],
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
        let found = "hyperparameters are searched on ID images held out of training, and these are the \
                     training images";
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

/// Returns the set and the split that a run of `observe` looks at; none of an import.
fn looks_at(store: &Store, known: &Known) -> Result<Option<(ImageSource, String)>, StageError> {
    if known.stage != observe::NAME {
        return Ok(None);
    }
    let set = known.source::<ImageSource>(store, &Role::Images)?;
    Ok(Some((set, known.params::<observe::Params>()?.split)))
}

/// Says whether a split of what was looked at is what the classifier was trained on.
fn trained_on(store: &Store, known: &Known, split: &str) -> Result<bool, StageError> {
    let Some(detector) = known.input(&Role::Detector) else {
        return Ok(false);
    };
    let detector = detector.known(store, &Role::Detector, &[detect::NAME])?;
    let own = detector.params::<detect::Params>()?.training.split;
    Ok(own == split && known.same_source(&detector, &Role::Images))
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
struct Named {
    dataset: String,
    split: String,
}

fn imported_as(known: &Known) -> Result<Option<Named>, StageError> {
    let is_import = known.stage == import::NAME;
    is_import.then(|| known.params::<Named>()).transpose()
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
