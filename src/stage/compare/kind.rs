//! What makes two evaluations those of one kind of network.

use std::collections::BTreeSet;

use dream_schema::{Run, RunSpec};

use crate::ood::Convention;
use crate::stage::evaluate::Draws;
use crate::stage::{Role, StageError, detect, evaluate, import, lineage, params, required_input};
use crate::store::{Readable, Store};

/// Returns the run that an evaluation's classifier is of: a `detect` run, or where another program trained it
/// the one that has its activations or scores.
pub(super) fn classifier(store: &Store, evaluation: &Run) -> Result<Run, StageError> {
    match evaluate::detector(store, evaluation)? {
        Some(detector) => Ok(detector),
        None => Ok(store.run(required_input(evaluation, &Role::Id)?)?),
    }
}

/// Says whether classifiers are one network: one run, or imports of the same files, whatever seed was said.
pub(super) fn is_one_network(one: &Run, other: &Run) -> bool {
    let is_import = one.spec.stage == import::NAME && other.spec.stage == import::NAME;
    let files = &one.spec.sources;
    one.id == other.id || is_import && !files.is_empty() && *files == other.spec.sources
}

/// What tells kinds of networks apart: everything but the seed, all the way up the lineage, and what the test
/// sets are called, since a column of a table is a name.
#[derive(PartialEq)]
pub(super) struct Kind {
    pub name: String,
    pub convention: Convention,
    pub full_spectrum: bool,
    pub draws: Option<Draws>,
    sets: BTreeSet<String>,
    settings: Vec<String>,
}

impl Kind {
    pub fn of(store: &Store, evaluation: &Run, classifier: &Run) -> Result<Self, StageError> {
        let name = match classifier.spec.stage == detect::NAME {
            true => match params::<detect::Params>(classifier)?
                .outlier
                .map(|recipe| recipe.method)
            {
                Some(detect::Method::Phi(_)) => "dream",
                Some(method) => method.name(),
                None => "plain",
            },
            false => import::network_of(&classifier.spec).unwrap_or("other"),
        };
        let is_named = import::network_of(&classifier.spec).is_some();
        let settings = lineage::ancestors(store, evaluation.id)?;
        let mut settings: Vec<String> = settings
            .iter()
            .map(|run| {
                let RunSpec {
                    stage,
                    params,
                    sources,
                    ..
                } = &run.spec;
                // The files of a network that has a name are its seed's own.
                let sources = Some(sources).filter(|_| !(is_named && stage == import::NAME));
                let mut params = params.clone();
                // Of an evaluation it is the name of what it is of, by which networks are told apart here.
                if let (true, Some(params)) = (stage == evaluate::NAME, params.as_object_mut()) {
                    params.remove("network");
                }
                serde_json::json!([stage, params, sources]).to_string()
            })
            .collect();
        settings.sort_unstable();
        let sets = evaluation.spec.inputs.iter().map(|input| input.role.as_str());
        Ok(Self {
            name: name.to_owned(),
            convention: evaluate::convention(evaluation)?,
            full_spectrum: evaluate::full_spectrum(evaluation)?,
            draws: evaluate::draws(evaluation)?,
            sets: sets.filter_map(Role::ood_name).map(str::to_owned).collect(),
            settings,
        })
    }
}
