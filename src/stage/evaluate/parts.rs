//! What activations or imported scores of a run have, as far as a glance at them tells: whether they fit each
//! other, and what scores need of them.

use arrow::datatypes::Int32Type;
use dream_schema::columns::Columns;
use dream_schema::{Activation, Checkpoint, RunId, Table};

use super::chosen::{Chosen, There};
use super::{EXTRA_METRICS, Observations, Params, Role, given, group, labels, metrics};
use crate::stage::training::CheckpointName;
use crate::stage::{Input, MetricName, Refusals, StageError, import, observe};
use crate::store::{Projection, Readable, Store};

/// What a run has of the images of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    /// Logits of an image; none if it is 0.
    logits: usize,
    /// Features of an image; none if it is 0.
    pub features: usize,
    /// BLAKE3 of the last layer.
    head: Option<String>,
    /// Why it is not known which class the network gives each image, where it is not.
    unpredicted: Option<&'static str>,
    /// The first image without a class.
    pub unlabelled: Option<usize>,
    /// The largest class, and the first image of it.
    pub largest: Option<(i32, usize)>,
    /// Number of images.
    pub images: usize,
    /// Another program's.
    pub is_imported: bool,
}

impl Parts {
    /// Reads those of a run, if it has any.
    ///
    /// # Errors
    /// If the store fails.
    pub fn of(store: &Store, run: RunId) -> Result<Option<Self>, StageError> {
        let spec = store.run(run)?.spec;
        let table = given::table_of(&spec);
        let first = store.row::<Activation>(run, 0, 0)?;
        let [logits, features] = first.map_or([0; 2], |row| [row.logits.0.len(), row.features.0.len()]);
        let rows: Vec<Checkpoint> = store.rows(run, None)?;
        let head = rows.into_iter().find(|row| CheckpointName::Head.is_of(row));
        let mut labels: Vec<Option<i32>> = Vec::new();
        let mut unpredicted = (table == Table::Activations && logits == 0).then_some("there are no logits");
        for rows in store.blocks(table, Some(run), None, &Projection::Narrow)? {
            let (_, rows) = rows?;
            let columns = Columns::new(table, &rows);
            labels.extend(columns.optional_numbers::<Int32Type>("label")?);
            let predicted = || columns.numbers::<Int32Type>("predicted");
            if table == Table::Scores && predicted()?.iter().any(|class| *class < 0) {
                unpredicted = Some("not every image has a predicted class");
            }
        }
        if labels.is_empty() {
            return Ok(None);
        }
        let known = labels
            .iter()
            .enumerate()
            .filter_map(|(image, label)| Some(((*label)?, image)));
        Ok(Some(Self {
            logits,
            features,
            head: head.map(|row| row.blake3),
            unpredicted,
            unlabelled: labels.iter().position(Option::is_none),
            largest: known.reduce(|a, b| if b.0 > a.0 { b } else { a }),
            images: labels.len(),
            is_imported: spec.stage == import::NAME,
        }))
    }
}

impl There {
    /// Says what of the things that scores need is in these activations.
    ///
    /// # Errors
    /// If the store fails.
    pub fn of(store: &Store, observations: &Observations) -> Result<Self, StageError> {
        let parts = |input: &Input| match input {
            Input::Stored(run) => Parts::of(store, *run),
            Input::Planned(_) => Ok(None),
        };
        let Observations {
            id,
            ood,
            train,
            validation,
            ood_validation: _,
        } = observations;
        let optional = [train, validation].map(|input| input.as_ref());
        let inputs = [id]
            .into_iter()
            .chain(optional.into_iter().flatten())
            .chain(ood.iter().map(|(_, run)| run));
        let all = inputs.map(parts).collect::<Result<Vec<_>, _>>()?;
        let all: Vec<&Parts> = all.iter().flatten().collect();
        let of_train = train.as_ref().map(parts).transpose()?.flatten();
        Ok(Self {
            train: train.is_some(),
            validation: validation.is_some(),
            network: all.iter().all(|parts| !parts.is_imported),
            logits: all.iter().all(|parts| parts.logits > 0),
            features: all.iter().all(|parts| parts.features > 0),
            head: all.first().is_none_or(|parts| parts.head.is_some()),
            labels: of_train.is_none_or(|parts| parts.unlabelled.is_none()),
        })
    }
}

/// Returns those of [`EXTRA_METRICS`] that can be taken of these activations.
///
/// # Errors
/// If the store fails.
pub fn all_metrics(
    store: &Store,
    params: &Params,
    observations: &Observations,
) -> Result<Vec<MetricName>, StageError> {
    let id = std::iter::once((Role::Id, &observations.id));
    let ood = observations.ood.iter();
    let inputs = id.chain(ood.map(|(name, input)| (Role::Ood(name.clone()), input)));
    let mut sets = Vec::new();
    for (role, input) in inputs {
        if let Input::Stored(run) = input
            && let Some(parts) = Parts::of(store, *run)?
        {
            sets.push((role, parts));
        }
    }
    let metrics = EXTRA_METRICS.iter().copied();
    Ok(metrics
        .filter(|name| unjudged(*name, &sets, params).is_none())
        .collect())
}

/// Returns the first set of whose images a metric asks whether they are classified rightly where that is not
/// known, and why it is not.
fn unjudged<'a>(name: MetricName, sets: &'a [(Role, Parts)], params: &Params) -> Option<(&'a Role, String)> {
    let mut judged = sets
        .iter()
        .filter(|(role, _)| metrics::judges(name, role, params));
    let why = |parts: &Parts| match (parts.unpredicted, parts.unlabelled) {
        (Some(why), _) => Some(why.to_owned()),
        (None, Some(image)) => Some(format!("image {image} has no class")),
        _ => None,
    };
    judged.find_map(|(role, parts)| Some((role, why(parts)?)))
}

/// Refuses activations that do not fit each other, and scores and metrics that need of them what they do not
/// have.
pub(super) fn check(sets: &[(Role, Parts)], params: &Params, chosen: &[Chosen], refusals: &mut Refusals) {
    let groups = &params.groups;
    for name in &params.metrics {
        if let Some((role, why)) = unjudged(*name, sets, params) {
            let found = format!("`{name}` asks which images are classified rightly, and of {role} {why}");
            refusals.refuse("metrics", found);
        }
    }
    let Some((first_role, first)) = sets.iter().find(|(role, _)| *role == Role::Id).or(sets.first()) else {
        return;
    };
    for (role, parts) in sets {
        let widths = [
            ("logits", parts.logits, first.logits),
            ("features", parts.features, first.features),
        ];
        for (what, own, expected) in widths {
            if own > 0 && expected > 0 && own != expected {
                let found = format!(
                    "an image has {own} {what}, of {first_role} {expected}: the activations are of another \
                     classifier"
                );
                refusals.refuse(role, found);
            }
        }
        let heads = parts.head.as_ref().zip(first.head.as_ref());
        if parts.is_imported && first.is_imported && heads.is_some_and(|(own, expected)| own != expected) {
            let found = format!("the last layer is another than that of {first_role}");
            refusals.refuse(role, found);
        }
        if let (true, Some((label, image))) = (group::has_classes(groups, role), parts.largest)
            && parts.logits > 0
            && label as usize >= parts.logits
        {
            let found = format!(
                "image {image} is of class {label}, but there are {} logits",
                parts.logits
            );
            refusals.refuse(role, found);
        }
        check_needs(role, parts, chosen, refusals);
    }
    labels::check(sets, groups, refusals);
    let names = names(chosen, |score| score.needs().head);
    if let (None, Some(names)) = (&first.head, names) {
        let found = format!("the last layer is read by {names}, and these activations came without");
        refusals.refuse(first_role, found);
    }
}

fn check_needs(role: &Role, parts: &Parts, chosen: &[Chosen], refusals: &mut Refusals) {
    let reads = |of: fn(&Chosen) -> bool| {
        names(chosen, |score| {
            let needs = score.needs();
            of(score)
                && match role {
                    Role::Train => needs.train,
                    Role::Validation => needs.validation,
                    _ => true,
                }
        })
    };
    let lacks = [
        (parts.logits == 0, "logits", reads(|score| score.needs().logits)),
        (
            parts.features == 0,
            "features",
            reads(|score| score.needs().features),
        ),
    ];
    for (lacking, what, names) in lacks {
        if let (true, Some(names)) = (lacking, names) {
            refusals.refuse(role, format!("{what} are read by {names}, and there are none"));
        }
    }
    let learns = matches!(role, Role::Train | Role::Validation);
    if let (true, Some(image), Some(names)) = (learns, parts.unlabelled, reads(|score| score.needs().labels))
    {
        refusals.refuse(
            role,
            format!("classes are what {names} learn from, and image {image} has none"),
        );
    }
}

/// The names of the scores that are meant, if there are any.
fn names(chosen: &[Chosen], meant: impl Fn(&Chosen) -> bool) -> Option<String> {
    let names: Vec<String> = chosen
        .iter()
        .filter(|score| meant(score))
        .map(|score| format!("`{}`", score.label))
        .collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// The stages whose runs have activations.
pub(super) const STAGES: [&str; 2] = [observe::NAME, import::NAME];
