//! What scores learn before the first set is scored, and with which values.

use dream_schema::{Run, RunId};

use super::super::chosen::{Chosen, Way};
use super::super::detector;
use super::super::network::Set;
use super::super::search::Search;
use super::super::shown::Shown;
use super::{Evaluation, Ready, Stored, of_fault, of_score};
use crate::ood::score::{Entry, Reference, ScoreError, Values};
use crate::ood::{self, Observed, Phi};
use crate::stage::detect::OwnScore;
use crate::stage::{Context, Role, StageError, detect};

/// What scores learn from, and what their values are searched on.
struct Material<'a> {
    reference: Reference<'a>,
    /// ID and OOD validation images, where values are searched for.
    sides: Option<(Observed<'a>, Observed<'a>)>,
    /// The images themselves, where scores run the network.
    train: Option<Set<'a>>,
    validation: Option<Set<'a>>,
    /// OOD validation images.
    outside: Option<Set<'a>>,
}

/// Returns phi, where the classifier is one of ours that was trained with outliers.
fn phi(ctx: &Context<'_>, run: &Run) -> Result<Option<Phi>, StageError> {
    match detector(ctx.store, run)? {
        Some(detector) => Ok(detect::phi(ctx, &detector)?),
        None => Ok(None),
    }
}

impl Evaluation<'_> {
    /// Lets the scores that have work left learn what they must. Those that cannot are an error, or
    /// `where_possible` left out.
    pub(super) fn learn(&self, stored: &[Stored], where_possible: bool) -> Result<Vec<Ready>, StageError> {
        let wanted = |score: &usize| stored.iter().any(|set| set[*score].is_none());
        let wanted: Vec<usize> = (0..self.scores.len()).filter(wanted).collect();
        let needs = |of: fn(&Chosen) -> bool| wanted.iter().any(|score| of(&self.scores[*score]));
        let shown = |role: Role, needed: bool| match role.input_of(self.run).filter(|_| needed) {
            Some(run) => Shown::load(&self.snapshot, run).map(Some),
            None => Ok(None),
        };
        let train = shown(Role::Train, needs(|score| score.needs().train))?;
        let searches = Role::OodValidation.input_of(self.run).is_some() && needs(Search::is_of);
        let validates = needs(|score| score.needs().validation) || searches;
        let validation = shown(Role::Validation, validates)?;
        let mut outside = shown(Role::OodValidation, searches)?;
        // What labels they have are not classes of the classifier.
        outside.iter_mut().for_each(|shown| shown.labels = None);
        let reference = Reference {
            train: self.view(train.as_ref())?,
            validation: self.view(validation.as_ref())?,
        };
        let images = |role: Role, shown: Option<&Shown>, of: fn(&Chosen) -> bool| match shown {
            Some(shown) if needs(of) => self.images(role.input_of(self.run), shown.labels.clone()),
            Some(_) | None => Ok(None),
        };
        let is_searched = |score: &Chosen| score.needs().network && Search::is_of(score);
        let material = Material {
            reference,
            sides: reference.validation.zip(self.view(outside.as_ref())?),
            train: images(Role::Train, train.as_ref(), |score| {
                score.needs().network && score.needs().train
            })?,
            validation: images(Role::Validation, validation.as_ref(), |score| {
                score.needs().network
            })?,
            outside: images(Role::OodValidation, outside.as_ref(), is_searched)?,
        };
        let mut ready = Vec::with_capacity(self.scores.len());
        for (place, score) in self.scores.iter().enumerate() {
            self.ctx.check_interrupt()?;
            self.ctx.progress.detail(&score.label);
            let learnt = match wanted.contains(&place) {
                true => self.fit(place, score, &material),
                false => Ok(Ready::Stored),
            };
            ready.push(match learnt {
                Err(error @ StageError::Mismatch(_)) if where_possible => {
                    self.ctx.progress.note(&format!("left out: {error}"));
                    Ready::LeftOut
                }
                learnt => learnt?,
            });
            self.ctx.progress.advance(1);
        }
        Ok(ready)
    }

    /// Lets a score learn what it must, with the best values where they are searched for.
    fn fit(&self, place: usize, score: &Chosen, material: &Material<'_>) -> Result<Ready, StageError> {
        let search = Search {
            ctx: self.ctx,
            run: self.run,
            snapshot: &self.snapshot,
        };
        let found = match (&material.sides, &score.way) {
            (Some(sides), Way::Of(way, _)) if Search::is_of(score) => {
                let auroc = |values: &Values| self.auroc(score, *way, values, material, sides);
                Some(search.best(place, score, &auroc)?)
            }
            (Some(_) | None, _) => None,
        };
        let score = found.as_ref().unwrap_or(score);
        match &score.way {
            Way::Of(way, values) => self.fit_with(score, *way, values, material),
            Way::Own(OwnScore::ExtraClass) => Ok(Ready::ExtraClass),
            Way::Given => Ok(Ready::Given),
            Way::Own(OwnScore::Dream) => {
                let missing = || StageError::Mismatch("the classifier has no phi to score with".into());
                phi(self.ctx, self.run)?.map(Ready::Phi).ok_or_else(missing)
            }
        }
    }

    /// Lets a score learn with these values.
    fn fit_with(
        &self,
        score: &Chosen,
        way: Entry,
        values: &Values,
        material: &Material<'_>,
    ) -> Result<Ready, StageError> {
        let missing = |what| of_score(score, "", &ScoreError::Missing { what });
        match way {
            Entry::Shown(_) if score.needs().head && self.head.is_none() => Err(missing("the head")),
            Entry::Shown(way) => {
                let fitted = way.fit(values, &material.reference);
                fitted
                    .map(Ready::Fitted)
                    .map_err(|error| of_score(score, "", &error))
            }
            Entry::Network(way) => {
                let Some(classifier) = &self.classifier else {
                    return Err(missing("the network and its images"));
                };
                let images = [material.train.as_ref(), material.validation.as_ref()];
                let fitted = classifier.fit(way, values, images);
                fitted
                    .map(Ready::Network)
                    .map_err(|fault| of_fault(score, "", fault))
            }
        }
    }

    /// The AUROC of a score with these values, of ID against OOD validation images.
    fn auroc(
        &self,
        score: &Chosen,
        way: Entry,
        values: &Values,
        material: &Material<'_>,
        sides: &(Observed<'_>, Observed<'_>),
    ) -> Result<f64, StageError> {
        let [id, ood] = match self.fit_with(score, way, values, material)? {
            Ready::Fitted(fitted) => [&sides.0, &sides.1].map(|side| {
                let scores = fitted.score(side);
                scores.map_err(|error| of_score(score, "validation images", &error))
            }),
            Ready::Network(fitted) => [&material.validation, &material.outside].map(|side| {
                let (Some(images), Some(classifier)) = (side, &self.classifier) else {
                    let what = "the network and its images";
                    return Err(of_score(score, "", &ScoreError::Missing { what }));
                };
                let scores = images.score_all(fitted.as_ref(), &classifier.lens()?);
                scores.map_err(|fault| of_fault(score, "validation images", fault))
            }),
            // What is searched for is values, and none of these has some.
            Ready::Phi(_) | Ready::ExtraClass | Ready::Given | Ready::Stored | Ready::LeftOut => {
                let label = &score.label;
                return Err(StageError::Mismatch(format!("`{label}` leaves nothing open")));
            }
        };
        Ok(ood::auroc(&id?, &ood?)?)
    }

    /// Opens the images of an observed set, where scores run the network.
    pub(super) fn images(
        &self,
        observed: Option<RunId>,
        labels: Option<Vec<u32>>,
    ) -> Result<Option<Set<'_>>, StageError> {
        let pair = self.classifier.as_ref().zip(observed);
        pair.map(|(classifier, observed)| classifier.open(self.ctx, observed, labels))
            .transpose()
    }

    /// Returns a set as scores see it.
    pub(super) fn view<'s>(&'s self, shown: Option<&'s Shown>) -> Result<Option<Observed<'s>>, StageError> {
        let view = shown.map(|shown| shown.view(self.head.as_ref())).transpose();
        view.map_err(|error| {
            let (set, split) = shown.map_or(("", ""), |shown| (&shown.dataset, &shown.split));
            StageError::Mismatch(format!("activations of `{set}` ({split}): {error}"))
        })
    }
}
