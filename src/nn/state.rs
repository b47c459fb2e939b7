//! States as safetensors bytes, and states in files of PyTorch's.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::{Error, Result};
use crate::floats::{self, Format};
use crate::pickle::torch::{TorchFile, TorchTensor};

/// Named tensors, in the order of their names.
pub type State = BTreeMap<String, Tensor>;

/// Returns the tensors as the bytes of a safetensors file (f32, little-endian; the same state gives the same
/// bytes).
///
/// # Errors
/// If a tensor cannot be read back from its device.
pub fn to_safetensors(state: &State) -> Result<Vec<u8>> {
    let mut parts = Vec::with_capacity(state.len());
    for (name, tensor) in state {
        let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        parts.push((name.as_str(), tensor.dims().to_vec(), floats::to_bytes(&values)));
    }
    let views = (parts.iter())
        .map(|(name, shape, bytes)| Ok((*name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>>>()?;
    Ok(safetensors::serialize(views, None)?)
}

/// Reads the tensors of a safetensors file as f32 (f16, bf16 and f64 are converted; counters of other types,
/// such as `num_batches_tracked`, are left out).
///
/// # Errors
/// [`Error::Safetensors`] if the bytes are not such a file.
pub fn from_safetensors(bytes: &[u8], device: &Device) -> Result<State> {
    let file = SafeTensors::deserialize(bytes)?;
    let mut state = State::new();
    for (name, view) in file.iter() {
        let Some(format) = Format::of(view.dtype()) else {
            continue;
        };
        let numbers = floats::from_bytes(format, view.data());
        state.insert(name.to_owned(), Tensor::from_vec(numbers, view.shape(), device)?);
    }
    Ok(state)
}

/// Bytes that tell what a file is.
const HEAD: u64 = 32;

/// What `DataParallel` puts before every name.
const PARALLEL: &str = "module.";

/// Reads the state in a file: safetensors, or what `torch.save` makes of a state dict (of any version of
/// PyTorch), also one under the key `state_dict`, `model_state_dict` or `model`. Which of them it is, its
/// first bytes say. `DataParallel`'s prefix `module.` is taken off; numbers become f32; counters are left
/// out. Nothing in a pickle is executed.
///
/// # Errors
/// [`Error::StateFile`] if the file cannot be read or holds no tensors.
pub fn read_state(path: &Path, device: &Device) -> Result<State> {
    let wrong = |reason: String| Error::StateFile {
        path: path.to_owned(),
        reason,
    };
    let mut head = Vec::new();
    let file = std::fs::File::open(path).map_err(|e| wrong(e.to_string()))?;
    file.take(HEAD)
        .read_to_end(&mut head)
        .map_err(|e| wrong(e.to_string()))?;
    let state = if TorchFile::begins(&head) {
        read_pickled(path, device).map_err(|e| wrong(format!("not a PyTorch file: {e}")))?
    } else {
        let bytes = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
        from_safetensors(&bytes, device).map_err(|e| wrong(e.to_string()))?
    };
    if state.is_empty() {
        return Err(wrong(
            "no tensor in it, nor under state_dict, model_state_dict or model".into(),
        ));
    }
    match state.keys().all(|name| name.starts_with(PARALLEL)) {
        true => Ok(state
            .into_iter()
            .map(|(name, t)| (name[PARALLEL.len()..].to_owned(), t))
            .collect()),
        false => Ok(state),
    }
}

fn read_pickled(path: &Path, device: &Device) -> std::result::Result<State, String> {
    let file = TorchFile::open(path).map_err(|e| e.to_string())?;
    let floats = file
        .tensors()
        .iter()
        .filter(|(_, tensor)| tensor.format().is_some());
    let read = |(name, tensor): (&String, &TorchTensor)| {
        let mut numbers = vec![0.0; tensor.count()];
        file.read(tensor, &mut numbers)
            .map_err(|reason| format!("tensor `{name}`: {reason}"))?;
        let tensor = Tensor::from_vec(numbers, tensor.shape(), device).map_err(|e| e.to_string())?;
        Ok((name.clone(), tensor))
    };
    floats.map(read).collect()
}

/// Checks that `state` holds exactly the tensors `expected`, of these shapes. `num_batches_tracked` counters,
/// which PyTorch keeps and nothing here needs, are let through.
pub(crate) fn check<'a>(
    state: &State,
    expected: impl Iterator<Item = (&'a str, &'a [usize])> + Clone,
) -> Result<()> {
    for (name, shape) in expected.clone() {
        let Some(tensor) = state.get(name) else {
            return Err(Error::MissingTensor {
                name: name.to_owned(),
                expected: shape.to_vec(),
            });
        };
        if tensor.dims() != shape {
            return Err(Error::TensorShape {
                name: name.to_owned(),
                expected: shape.to_vec(),
                actual: tensor.dims().to_vec(),
            });
        }
    }
    let known: std::collections::BTreeSet<&str> = expected.map(|(name, _)| name).collect();
    for (name, tensor) in state {
        if !known.contains(name.as_str()) && !name.ends_with("num_batches_tracked") {
            return Err(Error::ExtraTensor {
                name: name.clone(),
                actual: tensor.dims().to_vec(),
            });
        }
    }
    Ok(())
}
