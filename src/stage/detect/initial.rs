//! What a classifier starts from: the plain classifier, or weights in a file.

use candle_core::Tensor;
use dream_schema::Run;

use crate::nn::{ResNet, State};
use crate::stage::training::{self, Training};
use crate::stage::{Context, Role, StageError, phi};
use crate::store::Readable;

/// Loads what the run starts from, if it names anything, into its network; `classes` of the network's outputs
/// are classes, and one behind them stays as it was drawn.
pub(super) fn load(
    ctx: &Context<'_>,
    run: &Run,
    training: &Training,
    network: &ResNet,
    classes: usize,
) -> Result<(), StageError> {
    if let Some(initial) = Role::Initial.input_of(run) {
        let missing = || StageError::Mismatch(format!("run {initial} has no checkpoint to start from"));
        let mut state = training::used_model(ctx, &ctx.store.run(initial)?)?.ok_or_else(missing)?;
        state.retain(|name, _| !phi::is_phi(name));
        grow(&mut state, network)?;
        network.tensors().load_state_dict(&state)?;
    }
    if let Some(mut state) = training::initial(ctx, run, training, network, classes)? {
        grow(&mut state, network)?;
        network.tensors().load_state_dict(&state)?;
    }
    Ok(())
}

/// Adds to a last layer the outputs of the network's own that it lacks.
fn grow(state: &mut State, network: &ResNet) -> Result<(), StageError> {
    let own = network.tensors().state_dict()?;
    for (name, tensor) in state.iter_mut().filter(|(name, _)| name.starts_with("fc.")) {
        let Some(whole) = own.get(name) else { continue };
        let (there, wanted) = (tensor.dim(0)?, whole.dim(0)?);
        if there < wanted && tensor.dims()[1..] == whole.dims()[1..] {
            let rest = whole.narrow(0, there, wanted - there)?;
            *tensor = Tensor::cat(&[&*tensor, &rest], 0)?;
        }
    }
    Ok(())
}
