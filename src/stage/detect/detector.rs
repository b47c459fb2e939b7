//! A trained classifier, for what looks at images with it.

use candle_core::Tensor;
use dream_schema::{Run, RunId};

use super::Params;
use crate::dataset::Preparation;
use crate::nn::{self, ResNet, ResNetConfig, State};
use crate::ood;
use crate::ood::score::network::Lens;
use crate::stage::phi::{TrainedPhi, is_phi};
use crate::stage::pictures::Pictures;
use crate::stage::training::{self, Still};
use crate::stage::{Context, ImageSource, Role, Source, StageError, params};
use crate::store::Readable;

/// A trained classifier.
pub struct Detector {
    still: Still,
    classes: Vec<String>,
    network: ResNet,
}

/// Returns phi of a `detect` run, if it was trained with it.
///
/// # Errors
/// If it has no checkpoint.
pub(in crate::stage) fn phi(ctx: &Context<'_>, run: &Run) -> Result<Option<ood::Phi>, StageError> {
    let Some(name) = params::<Params>(run)?.phi() else {
        return Ok(None);
    };
    let phi = TrainedPhi::new(&name, 0, ctx.engine.device())?;
    phi.load(&mut state(ctx, run)?)?;
    Ok(Some(phi.frozen()?))
}

fn state(ctx: &Context<'_>, run: &Run) -> Result<State, StageError> {
    let missing = || StageError::Mismatch(format!("run {} has no checkpoint", run.id));
    training::used_model(ctx, run)?.ok_or_else(missing)
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
        let mut state = state(ctx, &run)?;
        state.retain(|name, _| !is_phi(name));
        let outputs = classes.len() + params.extra_outputs();
        let network = params.training.network(outputs, 0, ctx)?;
        network.tensors().load_state_dict(&state)?;
        Ok(Self {
            still: params.training.still(),
            classes,
            network,
        })
    }

    /// Makes a classifier of `classes` from weights that another program trained.
    ///
    /// # Errors
    /// If the weights are not of this network.
    pub(in crate::stage) fn of_state(
        ctx: &Context<'_>,
        config: ResNetConfig,
        still: Still,
        classes: &[String],
        state: &State,
    ) -> Result<Self, StageError> {
        let network = ResNet::new(config, 0, ctx.engine)?;
        network.tensors().load_state_dict(state)?;
        Ok(Self {
            still,
            classes: classes.to_vec(),
            network,
        })
    }

    /// Returns the names of the classes that it tells apart.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Length of its feature vectors.
    pub fn feature_len(&self) -> usize {
        self.network.feature_len()
    }

    /// Number of its outputs: a logit a class, and that of outliers where they have a class of their own.
    pub(in crate::stage) fn outputs(&self) -> usize {
        self.network.config().num_outputs
    }

    /// Returns how images are brought to its input.
    pub fn preparation(&self) -> Preparation {
        self.still.preparation
    }

    /// Returns the tensors of the last layer, `fc.weight` `[classes, feature_len]` and `fc.bias` `[classes]`,
    /// without the class of outliers.
    ///
    /// # Errors
    /// If they cannot be read back from the device.
    pub(in crate::stage) fn head(&self) -> Result<State, StageError> {
        let mut state = self.network.tensors().state_dict()?;
        state.retain(|name, _| name.starts_with("fc."));
        for tensor in state.values_mut() {
            *tensor = tensor.narrow(0, 0, self.classes.len())?.contiguous()?;
        }
        Ok(state)
    }

    /// Returns how images are brought to its input and scaled.
    pub(in crate::stage) fn still(&self) -> &Still {
        &self.still
    }

    /// Returns it as scores that run the network see it.
    ///
    /// # Errors
    /// If its numbers cannot be read back from the device.
    pub(in crate::stage) fn lens(&self) -> Result<Lens<'_>, StageError> {
        let std: Vec<f32> = self.still.std.iter().map(|std| *std as f32).collect();
        Ok(Lens::new(&self.network, &std)?)
    }

    /// Returns the features of the images `samples` and then the outputs, `[samples, feature_len + outputs]`,
    /// flat.
    ///
    /// # Errors
    /// If an image cannot be read, or the user interrupts.
    pub(in crate::stage) fn shown(
        &self,
        ctx: &Context<'_>,
        images: &Pictures<'_>,
        samples: &[u32],
    ) -> Result<Vec<f32>, StageError> {
        let pass = |x: &Tensor| -> nn::Result<Tensor> {
            let features = self.network.features(x, false)?.detach();
            let logits = self.network.last(&features)?;
            Ok(Tensor::cat(&[features, logits], 1)?)
        };
        self.still.outputs(ctx, images, samples, pass)
    }
}
