//! Scores that run the network: the classifier and the images of observed sets, as the runs have them on
//! record.

use candle_core::Tensor;
use dream_schema::RunId;

use crate::ood::score::network::{Album, Albums, Lens, NetworkError, NetworkFitted, NetworkScore, Take};
use crate::ood::score::{ScoreError, Values};
use crate::stage::detect::Detector;
use crate::stage::pictures::{HELD_BYTES, Pictures};
use crate::stage::{Context, ImageSource, Role, Source, StageError, observe, params};
use crate::store::Readable;

/// Images that are passed at once, at the most, and their pixels: the maps between the layers are kept for
/// the way back.
const BATCH: [usize; 2] = [64, 1 << 17];

/// Whose rows are committed at once.
pub(super) const STRETCH: usize = 1920; // whole batches

/// What keeps a score from its values.
pub(super) enum Fault {
    /// The score itself.
    Score(ScoreError),
    /// Anything else.
    Other(StageError),
}

impl From<StageError> for Fault {
    fn from(error: StageError) -> Self {
        Self::Other(error)
    }
}

impl From<NetworkError> for Fault {
    fn from(error: NetworkError) -> Self {
        match error {
            NetworkError::Score(error) => Self::Score(error),
            NetworkError::Network(error) => Self::Other(error.into()),
            // What an album of ours fails with.
            NetworkError::Pictures(error) => Self::Other(match error.downcast::<StageError>() {
                Ok(error) => *error,
                Err(error) => StageError::Mismatch(error.to_string()),
            }),
        }
    }
}

/// The classifier that a run's activations are of.
pub(super) struct Classifier(Detector);

impl Classifier {
    /// Loads the classifier of an `observe` run.
    ///
    /// # Errors
    /// If its weights are not there, or have changed.
    pub fn load(ctx: &Context<'_>, observed: RunId) -> Result<Self, StageError> {
        let run = ctx.store.run(observed)?;
        Ok(Self(observe::classifier(ctx, &run)?))
    }

    pub fn lens(&self) -> Result<Lens<'_>, StageError> {
        self.0.lens()
    }

    /// Lets a score learn what it must.
    pub fn fit(
        &self,
        score: &dyn NetworkScore,
        values: &Values,
        [train, validation]: [Option<&Set<'_>>; 2],
    ) -> Result<Box<dyn NetworkFitted>, Fault> {
        let albums = Albums {
            train: train.map(|set| set as &dyn Album),
            validation: validation.map(|set| set as &dyn Album),
        };
        let lens = self.lens()?;
        if let Some(error) = lens.fault(self.0.classes().len()) {
            return Err(Fault::Score(error));
        }
        Ok(score.fit(values, &lens, &albums)?)
    }

    /// Opens the images that an `observe` run looked at, which [`verify`] has checked. `labels`: their
    /// classes, where all have one.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn open<'a>(
        &'a self,
        ctx: &'a Context<'a>,
        observed: RunId,
        labels: Option<Vec<u32>>,
    ) -> Result<Set<'a>, StageError> {
        let run = ctx.store.run(observed)?;
        let source = ImageSource::find(ctx.store, &run, &Role::Images)?;
        let split = params::<observe::Params>(&run)?.split;
        let images = Pictures::of_set(&source, &split, self.0.preparation(), true, HELD_BYTES)?;
        Ok(Set {
            ctx,
            detector: &self.0,
            images,
            labels,
            name: format!("{}, split {split}", source.name()),
        })
    }
}

/// Checks that the images of `observe` runs are what was observed. (Weights are checked as they are loaded.)
///
/// # Errors
/// If they have changed, or cannot be read.
pub(super) fn verify(ctx: &Context<'_>, observed: &[RunId]) -> Result<(), StageError> {
    let mut seen: Vec<String> = Vec::new();
    for id in observed {
        ctx.check_interrupt()?;
        let source = ImageSource::find(ctx.store, &ctx.store.run(*id)?, &Role::Images)?;
        if !seen.iter().any(|digest| digest == source.digest()) {
            source.verify_images(ctx)?;
            seen.push(source.digest().to_owned());
        }
    }
    Ok(())
}

/// The images of an observed set.
pub(super) struct Set<'a> {
    ctx: &'a Context<'a>,
    detector: &'a Detector,
    images: Pictures<'a>,
    labels: Option<Vec<u32>>,
    name: String,
}

impl Set<'_> {
    /// Returns the scores of the images `samples`.
    pub fn score(
        &self,
        fitted: &dyn NetworkFitted,
        lens: &Lens<'_>,
        samples: &[u32],
    ) -> Result<Vec<f32>, Fault> {
        let mut values = Vec::with_capacity(samples.len());
        self.pass(samples, &mut |_, x| {
            values.extend(fitted.score(lens, x)?);
            self.ctx.progress.advance(x.dim(0)? as u64);
            Ok(())
        })?;
        Ok(values)
    }

    /// Returns the scores of all its images.
    pub fn score_all(&self, fitted: &dyn NetworkFitted, lens: &Lens<'_>) -> Result<Vec<f32>, Fault> {
        let samples: Vec<u32> = (0..self.images.len() as u32).collect();
        self.score(fitted, lens, &samples)
    }

    fn pass(&self, samples: &[u32], take: Take<'_>) -> Result<(), NetworkError> {
        let mut failed = None;
        let still = self.detector.still();
        let passed = still.each(self.ctx, &self.images, samples, BATCH, |samples, x: &Tensor| {
            take(samples, x).map_err(|error| {
                // It stands for the error that is kept.
                failed = Some(error);
                StageError::Interrupted
            })
        });
        match (failed, passed) {
            (Some(error), _) => Err(error),
            (None, Err(error)) => Err(NetworkError::Pictures(Box::new(error))),
            (None, Ok(())) => Ok(()),
        }
    }
}

impl Album for Set<'_> {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn labels(&self) -> Option<&[u32]> {
        self.labels.as_deref()
    }

    fn each(&self, pictures: &[u32], take: Take<'_>) -> Result<(), NetworkError> {
        let mut done = 0;
        self.pass(pictures, &mut |samples, x| {
            take(samples, x)?;
            done += samples.len();
            let (all, name) = (pictures.len(), &self.name);
            self.ctx
                .progress
                .detail(&format!("learns: {done} of {all} images of {name}"));
            Ok(())
        })
    }
}
