//! What is refused before an evaluation.

use std::sync::Arc;

use dream_schema::Table;

use super::chosen::{self, Chosen, Way};
use super::parts::{self, Parts};
use super::search::Search;
use super::{EXTRA_METRICS, Evaluate, Params, given, group, held_out, own_score, sets};
use crate::ood::score::Extent;
use crate::stage::{
    Asked, ImageSource, Input, Known, Refusals, Role, Source, StageError, StateSource, detect, import,
    observe,
};
use crate::store::{RESERVED, Store};

pub(super) fn check(
    store: &Store,
    asked: &mut Asked<Evaluate>,
    refusals: &mut Refusals,
) -> Result<(), StageError> {
    let (chosen, stages, table) = match given::is_asked(store, asked)? {
        true => {
            given::check(asked, refusals);
            (Vec::new(), &[import::NAME][..], Table::Scores)
        }
        false => {
            let chosen = chosen::check(&asked.params.scores, refusals);
            (chosen, &parts::STAGES[..], Table::Activations)
        }
    };
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
    for set in sets.iter().filter(|set| **set == RESERVED) {
        let found = format!("a set is called `{set}`, as tables call the mean over sets");
        refusals.refuse("ood", found);
    }
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
        let known = asked.known(store, role, stages, refusals)?;
        let Some(known) = known else { continue };
        if !import::require(&known, table, role, refusals) {
            continue;
        }
        sets::check(store, role, &known, &seen, groups, refusals)?;
        if *role == Role::Train {
            observe::check_training_images(store, &known, role, refusals)?;
        }
        seen.push((role.clone(), known));
    }
    if let Some((_, id)) = seen.iter().find(|(role, _)| *role == Role::Id) {
        asked.params.network = sets::network(store, id)?;
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
    parts::check(&sets, &asked.params, &chosen, refusals);
    if !asked.params.where_possible {
        let stored = sets.iter().find(|(role, _)| *role == Role::Train);
        let train = seen.iter().find(|(role, _)| *role == Role::Train);
        let extent = match (stored, train) {
            (Some((_, parts)), _) => Extent {
                train: Some(parts.images),
                features: Some(parts.features).filter(|width| *width > 0),
            },
            (None, Some((_, train))) => extent_to_be(store, train)?,
            (None, None) => Extent::default(),
        };
        let is_searched = roles.contains(&Role::OodValidation);
        check_extent(&chosen, extent, is_searched, refusals);
    }
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

/// Returns how many training images will be looked at, and how many features they will have, as far as that
/// is known.
fn extent_to_be(store: &Store, train: &Known) -> Result<Extent, StageError> {
    if train.stage != observe::NAME {
        return Ok(Extent::default());
    }
    let params = train.params::<observe::Params>()?;
    let features = match (params.network, train.input(&Role::Detector)) {
        (Some(network), _) => network.features(),
        (None, Some(detector)) => {
            let detector = detector.known(store, &Role::Detector, &[detect::NAME])?;
            detector.params::<detect::Params>()?.training.features()
        }
        (None, None) => None,
    };
    Ok(Extent {
        train: observe::count(store, train)?.map(|count| count as usize),
        features,
    })
}

/// Refuses scores whose values do not go together or ask for more training images or features than there are;
/// of one whose values are searched for, all settings that are tried. Some alone are left out of the search.
fn check_extent(chosen: &[Chosen], extent: Extent, is_searched: bool, refusals: &mut Refusals) {
    for score in chosen {
        let Way::Of(way, values) = &score.way else {
            continue;
        };
        if is_searched && Search::is_of(score) {
            if let Some((count, error)) = Search::unfit(score, extent) {
                let label = &score.label;
                let found =
                    format!("`{label}`: none of the {count} settings of a search is possible: {error}");
                refusals.refuse("scores", found);
            }
        } else if let Err(error) = way.check(values, extent) {
            refusals.refuse("scores", format!("`{}`: {error}", score.label));
        }
    }
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
    let learners = chosen.iter().filter(|score| score.needs().validation);
    let learners: Vec<String> = learners.map(|score| format!("`{}`", score.label)).collect();
    if there(&Role::OodValidation) && chosen.iter().any(Search::is_of) {
        held_out::check(store, seen, "hyperparameters are searched on", refusals)?;
    } else if !learners.is_empty() {
        let verb = if learners.len() == 1 { "learns" } else { "learn" };
        let who = format!("{} {verb} from", learners.join(", "));
        held_out::check(store, seen, &who, refusals)?;
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
                refusals.refuse("scores", own.needs());
            }
        }
    }
    Ok(())
}
