//! What parameters tell networks apart: the axes of a sweep.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Network;
use crate::stage::{Refusals, StageError, lineage, nearest_name, observe};
use crate::store::Store;

/// Parameters of networks, by dotted keys that begin with the stage: `sample.sampling.sigma`.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The keys: those that were named, then the others in which networks of one kind differ.
    pub keys: Vec<String>,
    /// How many of them were named.
    pub named: usize,
    /// The value of each key, network by network; none where a network has no such parameter.
    pub values: Vec<Vec<Option<Value>>>,
}

/// Returns the parameters of networks and of all that they came from: those named, and those that differ
/// between networks of one kind.
///
/// # Errors
/// [`StageError::Refused`] if no network has a parameter that is named; also if the store fails.
pub fn settings(store: &Store, networks: &[Network], named: &[String]) -> Result<Settings, StageError> {
    let all = networks.iter().map(|network| of_network(store, network));
    let all = all.collect::<Result<Vec<_>, _>>()?;
    let known: BTreeSet<&String> = all.iter().flat_map(BTreeMap::keys).collect();
    let mut refusals = Refusals::of("compare");
    for key in named.iter().filter(|key| !known.contains(key)) {
        let near = nearest_name(key, known.iter().map(|key| key.as_str()));
        let near = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        refusals.refuse(key, format!("no run has this parameter{near}"));
    }
    refusals.finish()?;
    let differs = |key: &&String| {
        (0..networks.len()).any(|a| {
            let others = (0..a).filter(|b| networks[*b].kind == networks[a].kind);
            others.into_iter().any(|b| all[a].get(*key) != all[b].get(*key))
        })
    };
    let others = known.into_iter().filter(|key| !named.contains(key));
    let others = others.filter(differs).cloned();
    let keys: Vec<String> = named.iter().cloned().chain(others).collect();
    let values = all
        .iter()
        .map(|of| keys.iter().map(|key| of.get(key).cloned()).collect());
    Ok(Settings {
        values: values.collect(),
        keys,
        named: named.len(),
    })
}

/// Returns the parameters of a network and of what it came from. What is observed follows from the sets.
fn of_network(store: &Store, network: &Network) -> Result<BTreeMap<String, Value>, StageError> {
    let mut all = BTreeMap::new();
    let Some(evaluation) = network.evaluations.first() else {
        return Ok(all);
    };
    // Inputs come before what reads them: of two runs of a stage, the one that is nearer says.
    for run in lineage::ancestors(store, *evaluation)? {
        if run.spec.stage != observe::NAME {
            flatten(run.spec.stage, run.spec.params, &mut all);
        }
    }
    Ok(all)
}

fn flatten(key: String, value: Value, all: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (below, value) in map {
                flatten(format!("{key}.{below}"), value, all);
            }
        }
        other => {
            all.insert(key, other);
        }
    }
}
