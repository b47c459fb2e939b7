//! What is refused before an evaluation.

use std::sync::Arc;

use dream_schema::Table;
use serde::Deserialize;

use super::chosen::{self, Chosen, Way};
use super::parts::{self, Parts};
use super::{EXTRA_METRICS, Evaluate, Params, group, own_score};
use crate::stage::detect::OwnScore;
use crate::stage::{
    Asked, ImageSource, Input, Known, Refusals, Role, Source, StageError, StateSource, detect, import,
    observe,
};
use crate::store::Store;

pub(super) fn check(
    store: &Store,
    asked: &mut Asked<Evaluate>,
    refusals: &mut Refusals,
) -> Result<(), StageError> {
    let chosen = chosen::check(&asked.params.scores, refusals);
    let roles: Vec<Role> = asked.inputs().iter().map(|(role, _)| role.clone()).collect();
    for (n, role) in roles.iter().enumerate() {
        if roles[..n].contains(role) {
            refusals.refuse(role, "the set is named twice");
        }
    }
    let sets: Vec<&str> = roles.iter().filter_map(Role::set_name).collect();
    refusals.require(
        !sets.is_empty(),
        "ood",
        "there is no OOD set to evaluate on",
        "one at least",
    );
    if let Some(draws) = &asked.params.draws {
        draws.check(refusals);
    }
    for (place, metric) in asked.params.metrics.iter().enumerate() {
        let known = EXTRA_METRICS.iter().map(|known| known.name());
        refusals.require_name("metrics", "metric to ask for", metric.name(), known);
        if asked.params.metrics[..place].contains(metric) {
            refusals.refuse("metrics", format!("`{metric}` is named twice"));
        }
    }
    let Params {
        groups,
        full_spectrum,
        ..
    } = &asked.params;
    group::check(groups, *full_spectrum, &sets, refusals);

    let mut seen: Vec<(Role, Arc<Known>)> = Vec::new();
    for role in &roles {
        let known = asked.known(store, role, &parts::STAGES, refusals)?;
        let Some(known) = known else { continue };
        if !import::require(&known, Table::Activations, role, refusals) {
            continue;
        }
        check_set(store, role, &known, &seen, refusals)?;
        if *role == Role::Train {
            observe::check_own_set(store, &known, role, refusals)?;
        }
        seen.push((role.clone(), known));
    }
    let mut sets = Vec::new();
    for (role, known) in &seen {
        // What is still to be observed is of one classifier.
        if let Some(run) = known.run
            && let Some(parts) = Parts::of(store, run)?
        {
            sets.push((role.clone(), parts));
        }
    }
    parts::check(&sets, &asked.params.groups, &chosen, refusals);
    // A finished run is answered without the network.
    let chosen = match asked.is_answered(store) {
        true => chosen
            .into_iter()
            .filter(|score| !score.needs().network)
            .collect(),
        false => chosen,
    };
    check_needs(store, &chosen, &seen, refusals)
}

/// Refuses activations of another classifier than the first ones, and of a set that is there already.
fn check_set(
    store: &Store,
    role: &Role,
    known: &Known,
    seen: &[(Role, Arc<Known>)],
    refusals: &mut Refusals,
) -> Result<(), StageError> {
    let Some((_, first)) = seen.first() else {
        return check_id(store, role, known, refusals);
    };
    let again = seen
        .iter()
        .any(|(other, id)| *other == Role::Id && id.run.is_some() && id.run == known.run);
    if again && known.stage == import::NAME {
        refusals.refuse(role, "these are the activations of the ID set once more");
    }
    let id = seen.iter().find(|(other, _)| *other == Role::Id);
    if let (Role::Ood(_), Some((_, id))) = (role, id)
        && let (Some(own), Some(of_id)) = (imported_as(known)?, imported_as(id)?)
        && own == of_id
    {
        let Named { dataset, split } = own;
        refusals.refuse(
            role,
            format!(
                "it is called `{dataset}`, split `{split}`, as the ID set is: their scores could not be told \
                 apart"
            ),
        );
    }
    // What another program made says nothing of its classifier.
    let observed = |known: &Known| known.stage == observe::NAME;
    if observed(known) && observed(first) && !same_classifier(known, first)? {
        refusals.refuse(
            role,
            "the activations are of another classifier than those of the ID set",
        );
    }
    let looks_at = |known: &Known| -> Result<Option<(String, String)>, StageError> {
        if !observed(known) {
            return Ok(None);
        }
        let set = known.source::<ImageSource>(store, &Role::Images)?;
        let split = known.params::<observe::Params>()?.split;
        Ok(set.is_registered().then(|| (set.digest().to_owned(), split)))
    };
    let validation = seen.iter().filter(|(other, _)| *other == Role::OodValidation);
    for (_, other) in validation {
        if let (Some(set), true) = (looks_at(known)?, matches!(role, Role::Ood(_)))
            && looks_at(other)?.as_ref() == Some(&set)
        {
            refusals.refuse(role, "hyperparameters are searched on these very images");
        }
    }
    let id = seen.iter().find(|(other, _)| *other == Role::Id);
    let id = id.map(|(_, id)| looks_at(id)).transpose()?.flatten();
    if let (Some((set, split)), Some(id)) = (looks_at(known)?, id)
        && set == id.0
        && (matches!(role, Role::Ood(_) | Role::OodValidation) || split == id.1)
    {
        refusals.refuse(role, "these are the images of the ID set once more");
    }
    Ok(())
}

/// What imported activations are of.
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

fn same_classifier(a: &Known, b: &Known) -> Result<bool, StageError> {
    let network = |known: &Known| Ok::<_, StageError>(known.params::<observe::Params>()?.network);
    let run = |known: &Known| known.input(&Role::Detector);
    Ok(run(a) == run(b) && network(a)? == network(b)? && a.same_source(b, &Role::Initial))
}

/// Refuses scores that run the network where there is none, or where images or weights are gone.
fn check_networks(
    store: &Store,
    chosen: &[Chosen],
    seen: &[(Role, Arc<Known>)],
    refusals: &mut Refusals,
) -> Result<(), StageError> {
    let names = chosen.iter().filter(|score| score.needs().network);
    let names: Vec<String> = names.map(|score| format!("`{}`", score.label)).collect();
    if names.is_empty() {
        return Ok(());
    }
    let names = names.join(", ");
    for (role, known) in seen {
        if known.stage != observe::NAME {
            let found = format!(
                "the network is run on the images themselves for {names}; an import has activations alone"
            );
            refusals.refuse(role, found);
            continue;
        }
        let mut places = Vec::new();
        let images = refusals.take(role, known.source::<ImageSource>(store, &Role::Images))?;
        places.extend(images.map(|set| (set.name().to_owned(), set.path().to_owned())));
        if known.params::<observe::Params>()?.network.is_some() {
            let weights = refusals.take(role, known.source::<StateSource>(store, &Role::Initial))?;
            places.extend(weights.map(|weights| (weights.name().to_owned(), weights.path().to_owned())));
        }
        for (name, path) in places {
            if !std::path::Path::new(&path).exists() {
                refusals.refuse(
                    role,
                    format!("`{name}`, which is needed again for {names}, is no longer at {path}"),
                );
            }
        }
    }
    Ok(())
}

/// Refuses scores that need what is not there.
fn check_needs(
    store: &Store,
    chosen: &[Chosen],
    seen: &[(Role, Arc<Known>)],
    refusals: &mut Refusals,
) -> Result<(), StageError> {
    let there = |role: &Role| seen.iter().any(|(other, _)| other == role);
    let id = seen.iter().find(|(role, _)| *role == Role::Id);
    let detector: Option<Input> = id.and_then(|(_, known)| known.input(&Role::Detector));
    if there(&Role::OodValidation) && !there(&Role::Validation) {
        let found = "hyperparameters are searched on ID images held out of training, and there are none";
        refusals.refuse(Role::Validation, found);
    }
    check_networks(store, chosen, seen, refusals)?;
    for score in chosen {
        let needs = score.needs();
        let wanted = [
            (needs.train, Role::Train, "training images"),
            (
                needs.validation,
                Role::Validation,
                "ID images held out of training",
            ),
        ];
        for (needed, role, what) in wanted {
            if needed && !there(&role) {
                let score = score.label.clone();
                refusals.take(
                    "scores",
                    Err::<(), _>(StageError::ScoreInput { score, what, role }),
                )?;
            }
        }
        if let Way::Own(own) = score.way
            && id.is_some()
        {
            let there = detector.as_ref().map(|run| own_score(store, run)).transpose()?;
            if there.flatten() != Some(own) {
                let why = match own {
                    OwnScore::Dream => "phi, and the classifier was not trained with outliers and phi",
                    OwnScore::ExtraClass => "a class of outliers, and the classifier has none",
                };
                refusals.refuse("scores", format!("`{}` needs {why}", own.name()));
            }
        }
    }
    Ok(())
}
