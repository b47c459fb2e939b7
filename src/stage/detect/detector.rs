//! A trained classifier, for evaluations.

use dream_schema::RunId;

use super::Params;
use crate::dataset::Preparation;
use crate::nn::ResNet;
use crate::ood;
use crate::stage::phi::TrainedPhi;
use crate::stage::pictures::Pictures;
use crate::stage::training::{self, Training};
use crate::stage::{Context, ImageSource, Role, Source, StageError, params};
use crate::store::Readable;

/// A trained classifier, read from a `detect` run.
pub struct Detector {
    training: Training,
    classes: Vec<String>,
    network: ResNet,
    phi: Option<ood::Phi>,
}

impl Detector {
    /// Loads the checkpoint of a finished `detect` run: the best on its validation images if it has some,
    /// else the last.
    ///
    /// # Errors
    /// If it has none, or its image set is not registered.
    pub fn load(ctx: &Context<'_>, id: RunId) -> Result<Self, StageError> {
        let run = ctx.store.run(id)?;
        let params: Params = params(&run)?;
        let classes = ImageSource::find(ctx.store, &run, &Role::Images)?
            .classes()
            .to_vec();
        let missing = || StageError::Mismatch(format!("run {id} has no checkpoint"));
        let mut state = training::used_model(ctx, &run)?.ok_or_else(missing)?;
        let phi = match &params.outlier {
            Some(loss) => {
                let phi = TrainedPhi::new(&loss.phi, 0, ctx.engine.device())?;
                phi.load(&mut state)?;
                Some(phi.frozen()?)
            }
            None => None,
        };
        let network = params.training.network(classes.len(), 0, ctx)?;
        network.tensors().load_state_dict(&state)?;
        Ok(Self {
            training: params.training,
            classes,
            network,
            phi,
        })
    }

    /// Returns the names of the classes that it tells apart.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Returns phi, if it was trained with outliers.
    pub fn phi(&self) -> Option<&ood::Phi> {
        self.phi.as_ref()
    }

    /// Returns how images are brought to its input.
    pub fn preparation(&self) -> Preparation {
        self.training.preparation()
    }

    /// Returns the logits of every image, `[n, classes]`, flat.
    ///
    /// # Errors
    /// If an image cannot be read, or the user interrupts.
    pub(in crate::stage) fn logits(
        &self,
        ctx: &Context<'_>,
        images: &Pictures<'_>,
    ) -> Result<Vec<f32>, StageError> {
        let samples: Vec<u32> = (0..images.len() as u32).collect();
        self.training.outputs(ctx, &self.network, images, &samples, Ok)
    }
}
