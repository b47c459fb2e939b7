//! `select`: rates imagined pictures by a classifier (its confidence, and the distance to the training images
//! in its feature space) and chooses some by that. Nothing is deleted: all ratings are rows, and a classifier
//! that is trained with the run takes the chosen pictures.

use dream_schema::{Rating, Run, RunId, Table};
use serde::{Deserialize, Serialize};

use super::detect::Detector;
use super::evaluate::Shown;
use super::nearest::Nearest;
use super::pictures::{HELD_BYTES, Pictures};
use super::{
    Asked, Context, Input, Known, Order, Refusals, Role, Stage, StageError, imagine, import, observe,
    required_input,
};
use crate::ood::score;
use crate::store::{Readable, Store};

/// Name of the stage.
pub const NAME: &str = "select";
/// Version of its algorithm.
pub const VERSION: u32 = 1;

/// The stages whose runs have pictures to choose from.
pub const STAGES: [&str; 2] = [imagine::NAME, import::NAME];

/// Pictures that are passed at once.
const STRETCH: usize = 2000;

/// Which pictures are chosen: those within all bounds that are given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// Which neighbour among the training images the distance is measured to, from 1.
    pub k: usize,
    /// Bounds of the distance to it, of features divided by their norm: 0 to 2.
    #[serde(skip_serializing_if = "Bounds::is_open")]
    pub knn: Bounds,
    /// Bounds of the largest probability.
    #[serde(skip_serializing_if = "Bounds::is_open")]
    pub confidence: Bounds,
    /// Bounds of the largest probability of another class than the picture's: pictures that are surely of
    /// another class are no outliers.
    #[serde(skip_serializing_if = "Bounds::is_open")]
    pub other: Bounds,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            k: 50,
            knn: Bounds::default(),
            confidence: Bounds::default(),
            other: Bounds::default(),
        }
    }
}

/// A least and a largest number, both allowed themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    #[expect(missing_docs)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    #[expect(missing_docs)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

impl Params {
    /// Says whether every picture is chosen: they are rated, and no more.
    pub(super) fn chooses_all(&self) -> bool {
        self.knn.is_open() && self.confidence.is_open() && self.other.is_open()
    }
}

impl Bounds {
    fn is_open(&self) -> bool {
        *self == Self::default()
    }

    fn hold(self, value: f32) -> bool {
        let value = f64::from(value);
        self.min.is_none_or(|min| value >= min) && self.max.is_none_or(|max| value <= max)
    }

    /// Refuses bounds outside 0 to `largest`, or that nothing can be within.
    fn check(self, key: &str, largest: f64, refusals: &mut Refusals) {
        for bound in [self.min, self.max].into_iter().flatten() {
            let holds = (0.0..=largest).contains(&bound);
            refusals.require(holds, key, bound, &format!("a number from 0 to {largest}"));
        }
        if let (Some(min), Some(max)) = (self.min, self.max) {
            refusals.require(min <= max, key, format!("{min} to {max}"), "the least first");
        }
    }
}

/// Ratings of pictures.
#[derive(Clone, Debug)]
pub struct Select;

/// Asks for a choice among `pictures`, by the classifier that observed its training images in `train`.
pub fn ask(params: &Params, pictures: impl Into<Input>, train: impl Into<Input>) -> Asked<Select> {
    Asked::new(params, 0)
        .reads(Role::Pictures, pictures.into())
        .reads(Role::Train, train.into())
}

impl Stage for Select {
    const NAME: &'static str = NAME;
    const VERSION: u32 = VERSION;
    type Params = Params;

    fn check(store: &Store, asked: &mut Asked<Self>, refusals: &mut Refusals) -> Result<(), StageError> {
        let Params {
            k,
            knn,
            confidence,
            other,
        } = asked.params;
        refusals.require(k > 0, "k", k, "1 at least");
        knn.check("knn", 2.0, refusals);
        confidence.check("confidence", 1.0, refusals);
        other.check("other", 1.0, refusals);
        if let Some(known) = asked.known(store, &Role::Pictures, &STAGES, refusals)?
            && import::require(&known, Table::Images, &Role::Pictures, refusals)
            && let Some(run) = known.run
            && store.count(run, Table::Images)? == 0
        {
            refusals.refuse(Role::Pictures, format!("run {run} has no picture"));
        }
        let train = asked.known(store, &Role::Train, &[observe::NAME], refusals)?;
        if let Some(train) = &train {
            observe::check_training_images(store, train, &Role::Train, refusals)?;
        }
        let count = match &train {
            Some(train) => observe::count(store, train)?,
            None => None,
        };
        if let Some(count) = count {
            let found = format!("the {k}-th nearest of {count} training images");
            refusals.require(k as u64 <= count, "k", found, "as many at most as there are");
        }
        Ok(())
    }

    /// Executes the run; the rows of a class are committed together.
    fn execute(ctx: &Context<'_>, order: &Order<'_, Params>) -> Result<(), StageError> {
        execute(ctx, order.run, &order.params)
    }
}

fn execute(ctx: &Context<'_>, run: &Run, params: &Params) -> Result<(), StageError> {
    let (from, train) = (
        required_input(run, &Role::Pictures)?,
        required_input(run, &Role::Train)?,
    );
    let detector = observe::classifier(ctx, &ctx.store.run(train)?)?;
    let training = {
        let shown = Shown::load(&ctx.store.snapshot()?, train)?;
        Nearest::of(train, &shown.features, shown.width, params.k)?
    };
    let pictures = Pictures::of_run(ctx.store, from, detector.preparation(), true, HELD_BYTES)?;
    let total = pictures.len() as u64;
    ctx.progress.begin(NAME, total, "pictures");
    let mut first = 0; // pictures come class by class
    for class in ctx.store.parts(from, Table::Images)? {
        let indices = ctx.store.indices(from, Table::Images, class)?;
        let samples: Vec<u32> = (first..first + indices.len() as u32).collect();
        first += indices.len() as u32;
        if ctx.store.indices(run.id, Table::Ratings, class)?.len() == indices.len() {
            ctx.progress.skip(samples.len() as u64);
            continue;
        }
        let class = Class::of(ctx, from, class, &detector)?;
        let mut rows = Vec::with_capacity(samples.len());
        for stretch in samples.chunks(STRETCH) {
            let shown = detector.shown(ctx, &pictures, stretch)?;
            let width = detector.feature_len();
            let shown = || shown.chunks_exact(width + detector.outputs());
            let features: Vec<f32> = shown().flat_map(|row| &row[..width]).copied().collect();
            for (shown, distance) in shown().zip(training.distances(from, &features)?) {
                let logits = &shown[width..][..detector.classes().len()];
                rows.push(class.rate(logits, distance, params));
            }
            ctx.progress.advance(stretch.len() as u64);
        }
        for (row, index) in rows.iter_mut().zip(indices) {
            row.index = index;
        }
        ctx.store.put(run.id, &rows)?;
    }
    let chosen = chosen(ctx.store, run.id)?.len();
    ctx.progress
        .note(&format!("{chosen} of {total} pictures are chosen"));
    Ok(())
}

/// A class of pictures.
struct Class {
    id: u32,
    name: Option<String>,
    /// Its place among the classifier's.
    place: Option<usize>,
}

impl Class {
    fn of(ctx: &Context<'_>, from: RunId, id: u32, detector: &Detector) -> Result<Self, StageError> {
        let first = ctx.store.indices(from, Table::Images, id)?.first().copied();
        let row = first.map(|index| ctx.store.row::<dream_schema::Image>(from, id, index));
        let name = row.transpose()?.flatten().map(|row| row.class_name);
        let place = detector
            .classes()
            .iter()
            .position(|class| Some(class) == name.as_ref());
        Ok(Self { id, name, place })
    }

    /// The rating of a picture, but for its index.
    fn rate(&self, logits: &[f32], knn_distance: f32, params: &Params) -> Rating {
        let p = score::softmax(logits);
        let likeliest = p
            .iter()
            .enumerate()
            .max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
        let (predicted, confidence) = likeliest.map_or((0, 0.0), |(class, p)| (class, *p as f32));
        let others = p
            .iter()
            .enumerate()
            .filter(|(class, _)| Some(*class) != self.place);
        let other = others.map(|(_, p)| *p as f32).fold(0.0, f32::max);
        let chosen =
            params.knn.hold(knn_distance) && params.confidence.hold(confidence) && params.other.hold(other);
        Rating {
            class_id: self.id,
            class_name: self.name.clone().unwrap_or_default(),
            index: 0,
            predicted: predicted as i32,
            confidence,
            own: self.place.map(|place| p[place] as f32),
            other,
            knn_distance,
            chosen: i32::from(chosen),
        }
    }
}

/// Pictures of a run, by class and index.
pub(super) type Keys = Vec<(u32, u64)>;

/// Returns the pictures that a run chose.
///
/// # Errors
/// If the store fails.
pub(super) fn chosen(store: &Store, run: RunId) -> Result<Keys, StageError> {
    let rows: Vec<Rating> = store.rows(run, None)?;
    let chosen = rows.iter().filter(|row| row.chosen != 0);
    Ok(chosen.map(|row| (row.class_id, row.index)).collect())
}

/// Returns the run whose pictures are taken where a run of pictures is asked for, and which of them: all
/// where none were chosen among.
///
/// # Errors
/// If the store fails.
pub(super) fn behind(store: &Store, run: RunId) -> Result<(RunId, Option<Keys>), StageError> {
    let asked = store.run(run)?;
    match asked.spec.stage == NAME {
        true => Ok((
            required_input(&asked, &Role::Pictures)?,
            Some(chosen(store, run)?),
        )),
        false => Ok((run, None)),
    }
}

/// Returns what is known of the run behind a choice, or of the run itself.
///
/// # Errors
/// If the store fails.
pub(super) fn known_behind(
    store: &Store,
    known: &std::sync::Arc<Known>,
) -> Result<std::sync::Arc<Known>, StageError> {
    match known.input(&Role::Pictures).filter(|_| known.stage == NAME) {
        Some(pictures) => pictures.known(store, &Role::Pictures, &STAGES),
        None => Ok(known.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_picture_is_chosen_within_all_bounds() {
        let class = Class {
            id: 7,
            name: Some("bag".to_owned()),
            place: Some(1),
        };
        // Probabilities of a quarter, a half and a quarter.
        let logits = [0.0, 2.0_f32.ln(), 0.0];
        let rated = |bounds: serde_json::Value| {
            let mut params = json!({ "k": 1 });
            for (key, value) in bounds.as_object().unwrap() {
                params[key] = value.clone();
            }
            class.rate(&logits, 0.75, &serde_json::from_value(params).unwrap())
        };
        let open = rated(json!({}));
        assert_eq!(
            (open.class_id, open.class_name.as_str(), open.predicted),
            (7, "bag", 1)
        );
        assert!((open.confidence - 0.5).abs() < 1e-6 && (open.other - 0.25).abs() < 1e-6);
        assert_eq!(
            (open.own, open.knn_distance, open.chosen),
            (Some(open.confidence), 0.75, 1)
        );
        for (key, inside, outside) in [("knn", 0.75, 0.8), ("confidence", 0.4, 0.6), ("other", 0.2, 0.3)] {
            assert_eq!(rated(json!({ key: { "min": inside } })).chosen, 1, "{key}");
            assert_eq!(rated(json!({ key: { "min": outside } })).chosen, 0, "{key}");
            assert_eq!(rated(json!({ key: { "max": outside } })).chosen, 1, "{key}");
            assert_eq!(rated(json!({ key: { "max": inside - 0.1 } })).chosen, 0, "{key}");
        }
        let both = json!({ "knn": { "min": 0.7, "max": 0.8 }, "confidence": { "max": 0.4 } });
        assert_eq!(rated(both).chosen, 0);
    }
}
