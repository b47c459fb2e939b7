//! `evaluate`: scores the ID test set and every OOD set with a trained classifier, and takes the detection metrics.

use std::collections::BTreeMap;

use dream_schema::{Metric, Run, RunId, RunSpec, Score};
use serde::{Deserialize, Serialize};

use super::pictures::{HELD_BYTES, Pictures};
use super::{Context, Source, StageError, detect, input, params, required_input, source};
use crate::ood::{self, Convention};
use crate::store::Store;

/// Name of the stage.
pub const NAME: &str = "evaluate";
/// Version of its algorithm.
pub const VERSION: u32 = 1;

/// How the role of an OOD set begins.
const OOD_ROLE: &str = "ood/";

/// What is measured, and by which convention.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The detection scores: `msp`, `max_logit`, `energy`, `dream`. `dream`, phi(E(x)), is only had from a classifier with phi.
    pub scores: Vec<ScoreName>,
    /// Whose definition of the metrics: `dream-ood`, `openood`, `pytorch-ood`.
    pub convention: String,
    /// The split of the ID set.
    pub split: String,
    /// The split of the OOD sets.
    pub ood_split: String,
}

/// A detection score; higher means more in-distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScoreName {
    /// Maximum softmax probability.
    Msp,
    /// Maximum logit.
    MaxLogit,
    /// Energy E(x): logsumexp of the logits.
    Energy,
    /// phi(E(x)), the log-odds of being in-distribution (DREAM-OOD, Eq. 8).
    Dream,
}

impl ScoreName {
    /// Returns the name that stands in the column `score`.
    pub fn as_str(self) -> &'static str {
        match self {
            ScoreName::Msp => "msp",
            ScoreName::MaxLogit => "max_logit",
            ScoreName::Energy => "energy",
            ScoreName::Dream => "dream",
        }
    }
}

/// Returns the specification of the evaluation of the classifier of the run `detector`.
///
/// # Errors
/// If that is no finished `detect` run, a set has two roles, or the convention is unknown.
pub fn spec(
    store: &Store,
    params: &Params,
    detector: RunId,
    id: &Source,
    ood: &[Source],
) -> Result<RunSpec, StageError> {
    convention(params)?;
    let mut sources = BTreeMap::from([source::role("id", id)]);
    for set in ood {
        if set.digest() == id.digest()
            || sources
                .insert(format!("{OOD_ROLE}{}", set.name()), set.digest().to_owned())
                .is_some()
        {
            return Err(StageError::Mismatch(format!(
                "the image set `{}` is named twice",
                set.name()
            )));
        }
    }
    if ood.is_empty() {
        return Err(StageError::Mismatch("there is no OOD set to evaluate on".into()));
    }
    Ok(RunSpec {
        stage: NAME.into(),
        stage_version: VERSION,
        params: serde_json::json!(params),
        seed: 0,
        inputs: vec![input(store, "detector", detector, &[detect::NAME])?],
        sources,
    })
}

fn convention(params: &Params) -> Result<Convention, StageError> {
    let names: Vec<&str> = Convention::ALL.iter().map(|c| c.name()).collect();
    Convention::from_name(&params.convention).ok_or_else(|| {
        StageError::Mismatch(format!(
            "there is no convention `{}`; there are {}",
            params.convention,
            names.join(", ")
        ))
    })
}

/// A set of test images with its logits `[n, classes]`.
struct Scored {
    dataset: String,
    split: String,
    logits: Vec<f32>,
    labels: Option<Vec<u32>>,
    /// Images of the split that cannot be decoded.
    left_out: usize,
}

/// Executes the run.
///
/// # Errors
/// If an image set is not what it was, or the classifier gives NaN.
pub fn execute(ctx: &Context<'_>, run: &Run) -> Result<(), StageError> {
    let params: Params = params(run)?;
    let convention = convention(&params)?;
    let detector = detect::Detector::load(ctx, required_input(run, "detector")?)?;
    let roles: Vec<&str> = run
        .spec
        .sources
        .keys()
        .filter_map(|role| role.strip_prefix(OOD_ROLE))
        .collect();
    ctx.progress.begin("evaluate", roles.len() as u64 + 1, "sets");
    let score_set = |source: &Source, split: &str| -> Result<Scored, StageError> {
        ctx.check_interrupt()?;
        source.verify_images()?;
        let left_out = source.left_out(split).len();
        if left_out > 0 {
            ctx.progress.note(&source.say_left_out(split));
        }
        let images = Pictures::of_set(source, split, detector.preparation(), true, HELD_BYTES)?;
        let logits = detector.logits(ctx, &images)?;
        ctx.progress.advance(1);
        Ok(Scored {
            dataset: source.name().to_owned(),
            split: split.to_owned(),
            logits,
            labels: images.labels().map(<[u32]>::to_vec),
            left_out,
        })
    };
    let id = score_set(&Source::find(ctx.store, run, "id")?, &params.split)?;
    let mut ood = Vec::new();
    for name in roles {
        let digest = run
            .spec
            .sources
            .get(&format!("{OOD_ROLE}{name}"))
            .map_or("", String::as_str);
        let mut scored = score_set(&Source::with_digest(ctx.store, name, digest)?, &params.ood_split)?;
        // Their own labels, if they have any, are not the classifier's classes.
        (scored.dataset, scored.labels) = (name.to_owned(), None);
        ood.push(scored);
    }
    let (scores, metrics) = measure(&params, convention, &detector, &id, &ood)?;
    ctx.store.batch(run.id).add(&scores)?.add(&metrics)?.commit()?;
    Ok(())
}

fn measure(
    params: &Params,
    convention: Convention,
    detector: &detect::Detector,
    id: &Scored,
    ood: &[Scored],
) -> Result<(Vec<Score>, Vec<Metric>), StageError> {
    let mut rows = Rows {
        classes: detector.classes(),
        scores: Vec::new(),
        metrics: Vec::new(),
    };
    let labels = id.labels.as_deref().unwrap_or_default();
    rows.metric(
        "accuracy",
        Some(&id.dataset),
        None,
        ood::accuracy(&id.logits, rows.classes.len(), labels)?,
    );
    for name in &params.scores {
        let Some(of_id) = values(*name, detector, id)? else {
            continue;
        };
        rows.score(*name, id, &of_id)?;
        let mut found = Vec::new();
        for set in ood {
            let of_ood = values(*name, detector, set)?.unwrap_or_default();
            rows.score(*name, set, &of_ood)?;
            let detection = ood::detection(&of_id, &of_ood, convention)?;
            rows.detection(*name, Some(&set.dataset), &detection);
            found.push(detection);
        }
        // Without a data set: the mean over all of them.
        rows.detection(*name, None, &ood::mean(&found)?);
    }
    for set in std::iter::once(id).chain(ood).filter(|set| set.left_out > 0) {
        rows.metric("images_left_out", Some(&set.dataset), None, set.left_out as f64);
    }
    Ok((rows.scores, rows.metrics))
}

/// Returns a score of every image of the set, or none if the classifier does not have it.
fn values(
    name: ScoreName,
    detector: &detect::Detector,
    set: &Scored,
) -> Result<Option<Vec<f32>>, StageError> {
    let classes = detector.classes().len();
    Ok(Some(match name {
        ScoreName::Msp => ood::msp(&set.logits, classes)?,
        ScoreName::MaxLogit => ood::max_logit(&set.logits, classes)?,
        ScoreName::Energy => ood::energy(&set.logits, classes, 1.0)?,
        ScoreName::Dream => match detector.phi() {
            Some(phi) => ood::phi(&ood::energy(&set.logits, classes, 1.0)?, phi)?,
            None => return Ok(None),
        },
    }))
}

/// The rows of an evaluation as they come in.
struct Rows<'a> {
    classes: &'a [String],
    scores: Vec<Score>,
    metrics: Vec<Metric>,
}

impl Rows<'_> {
    fn score(&mut self, name: ScoreName, set: &Scored, values: &[f32]) -> Result<(), StageError> {
        let predicted = ood::predictions(&set.logits, self.classes.len())?;
        for (sample, (value, predicted)) in values.iter().zip(predicted).enumerate() {
            let label = set.labels.as_ref().and_then(|l| l.get(sample)).copied();
            self.scores.push(Score {
                class_id: label,
                class_name: label.and_then(|l| self.classes.get(l as usize)).cloned(),
                index: self.scores.len() as u64,
                dataset: set.dataset.clone(),
                split: set.split.clone(),
                score: name.as_str().into(),
                sample: sample as i64,
                value: *value,
                label: label.map(|l| l as i32),
                predicted: predicted as i32,
            });
        }
        Ok(())
    }

    fn detection(&mut self, score: ScoreName, dataset: Option<&str>, d: &ood::Detection) {
        for (name, value) in [
            ("fpr95", d.fpr95),
            ("auroc", d.auroc),
            ("aupr_in", d.aupr_in),
            ("aupr_out", d.aupr_out),
        ] {
            self.metric(name, dataset, Some(score.as_str()), value);
        }
    }

    fn metric(&mut self, name: &str, dataset: Option<&str>, score: Option<&str>, value: f64) {
        self.metrics.push(Metric {
            class_id: None,
            class_name: None,
            index: self.metrics.len() as u64,
            name: name.into(),
            dataset: dataset.map(str::to_owned),
            score: score.map(str::to_owned),
            epoch: None,
            value,
        });
    }
}
