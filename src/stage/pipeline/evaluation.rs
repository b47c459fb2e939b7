//! An evaluation in its parts: what is observed for it, then the scores.

use dream_schema::Run;

use super::Told;
use super::walk::{Check, Stored, Walker, Work};
use crate::stage::evaluate::{self, Group, Observations, Settings};
use crate::stage::observe::{self, Classifier};
use crate::stage::{Context, ImageSource, Input, Refusals, Role, Source, StageError, detect};
use crate::store::Store;

/// What classifiers are evaluated on, and how.
#[derive(Clone, Copy, Debug)]
pub struct Evaluation<'a> {
    #[expect(missing_docs)]
    pub settings: &'a Settings,
    /// The in-distribution set.
    pub id: &'a ImageSource,
    /// The out-of-distribution sets.
    pub ood: &'a [ImageSource],
    /// Images that hyperparameters are searched on, against those of the validation split.
    pub ood_validation: Option<&'a ImageSource>,
}

impl Evaluation<'_> {
    /// Refuses splits of sets that are none of the evaluation, and a split of validation images that nothing
    /// reads: of several settings (`swept`) another one may read it, and it must be there.
    pub(super) fn check_splits(&self, swept: bool, refusals: &mut Refusals) {
        for name in self.settings.ood_splits.keys() {
            refusals.require_name("ood_splits", "OOD set", name, self.ood.iter().map(Source::name));
        }
        if let (Some(split), None) = (&self.settings.ood_validation_split, self.ood_validation) {
            let found = format!("`{split}`, and there is no set to search hyperparameters on");
            refusals.refuse("ood_validation_split", found);
        }
        let [_, validates] = self.settings.params(None).learns();
        match &self.settings.validation_split {
            Some(split) if !validates && self.ood_validation.is_none() => match swept {
                true => self.id.require_split("validation_split", split, refusals),
                false => refusals.refuse(
                    "validation_split",
                    format!(
                        "`{split}`, and none of the scores learns from validation images, nor are \
                         hyperparameters searched on them"
                    ),
                ),
            },
            Some(_) | None => {}
        }
    }

    /// Refuses what cannot be done of the evaluation of a `detect` run, and returns the planned evaluation,
    /// if there is a classifier to evaluate.
    ///
    /// # Errors
    /// If the store fails.
    pub fn check(
        &self,
        store: &Store,
        detector: Input,
        refusals: &mut Refusals,
    ) -> Result<Option<Input>, StageError> {
        let known = detector.known(store, &Role::Detector, &[detect::NAME]);
        if refusals.take(Role::Detector, known)?.is_none() {
            return Ok(None);
        }
        self.check_splits(false, refusals);
        let mut check = Check {
            store,
            refusals,
            named: None,
        };
        self.walk(store, "", detector, &mut check).map(Some)
    }

    /// Says whether the store has the evaluation of a `detect` run, with all that it reads.
    ///
    /// # Errors
    /// If the store fails.
    pub fn is_answered(&self, store: &Store, detector: Input) -> Result<bool, StageError> {
        let mut stored = Stored { store, missing: 0 };
        self.walk(store, "", detector, &mut stored)?;
        Ok(stored.missing == 0)
    }

    /// Evaluates a `detect` run; `each` is told of every run as it is done.
    ///
    /// # Errors
    /// Whatever a stage fails with; the runs before it stay.
    pub fn run(&self, ctx: &Context<'_>, detector: Input, each: Told<'_>) -> Result<Run, StageError> {
        let mut work = Work {
            ctx,
            each,
            done: Vec::new(),
        };
        self.walk(ctx.store, "", detector, &mut work)?;
        let last = work.done.pop().map(|(_, run)| run);
        last.ok_or_else(|| StageError::Mismatch("the evaluation has no part".into()))
    }

    /// Goes through the parts; `of` ends their names.
    pub(super) fn walk(
        &self,
        store: &Store,
        of: &str,
        detector: Input,
        walker: &mut impl Walker,
    ) -> Result<Input, StageError> {
        let known = detector.known(store, &Role::Detector, &[detect::NAME])?;
        let params = self.settings.params(evaluate::own_score(store, &detector)?);
        let classifier = Classifier::Run(detector);
        let trained_on: ImageSource = known.source(store, &Role::Images)?;
        // Whether the set's classes are the classifier's, under numbers in place of names.
        let renumbers = |images: &ImageSource| {
            let own = images.classes();
            !own.is_empty() && own != trained_on.classes() && images.may_have_classes(trained_on.classes())
        };
        let shifted = |images: &ImageSource| params.groups.get(images.name()) == Some(&Group::Shifted);
        // Whether it has some of the classifier's classes, or all in another order.
        let has_some = |images: &ImageSource| {
            let own = images.classes();
            !own.is_empty() && own != trained_on.classes() && !renumbers(images)
        };
        let mut observe = |images: &ImageSource, split: &str, is_ood: bool| {
            let params = observe::Params {
                dtype: observe::Dtype::default(),
                precision: self.settings.precision,
                split: split.to_owned(),
                numbered: (!is_ood || shifted(images)) && renumbers(images),
                matched: is_ood && shifted(images) && has_some(images),
                network: None,
            };
            let name = format!("observe{of}-{}-{split}", images.name());
            walker.part(&name, observe::ask(&params, &classifier, images))
        };
        let Settings {
            split,
            validation_split,
            ..
        } = self.settings;
        let [learns, validates] = params.learns();
        let train = match learns {
            true => {
                let split = known.params::<detect::Params>()?.training.split;
                Some(observe(&trained_on, &split, false)?)
            }
            false => None,
        };
        let validates = validates || self.ood_validation.is_some();
        let validation = match validation_split.as_ref().filter(|_| validates) {
            Some(split) => Some(observe(self.id, split, false)?),
            None => None,
        };
        let ood_validation = match self.ood_validation {
            Some(set) => {
                let split = self.settings.ood_validation_split.as_deref();
                Some(observe(set, split.unwrap_or_else(|| set.usual_split()), true)?)
            }
            None => None,
        };
        let observations = Observations {
            ood_validation,
            id: observe(self.id, split, false)?,
            ood: (self.ood.iter())
                .map(|set| {
                    Ok((
                        set.name().to_owned(),
                        observe(set, self.settings.split_of(set), true)?,
                    ))
                })
                .collect::<Result<_, StageError>>()?,
            train,
            validation,
        };
        walker.part(&format!("evaluate{of}"), evaluate::ask(&params, &observations))
    }
}
