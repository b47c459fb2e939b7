//! States as safetensors bytes.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::{Error, Result};

/// Named tensors, in the order of their names.
pub type State = BTreeMap<String, Tensor>;

/// Returns the tensors as the bytes of a safetensors file (f32, little-endian; the same state gives the same bytes).
///
/// # Errors
/// If a tensor cannot be read back from its device.
pub fn to_safetensors(state: &State) -> Result<Vec<u8>> {
    let mut parts = Vec::with_capacity(state.len());
    for (name, tensor) in state {
        let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        parts.push((name.as_str(), tensor.dims().to_vec(), bytes));
    }
    let views = (parts.iter())
        .map(|(name, shape, bytes)| Ok((*name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>>>()?;
    Ok(safetensors::serialize(views, None)?)
}

/// Reads the tensors of a safetensors file as f32 (f16, bf16 and f64 are converted; counters of other types, such as
/// `num_batches_tracked`, are left out).
///
/// # Errors
/// [`Error::Safetensors`] if the bytes are not such a file.
pub fn from_safetensors(bytes: &[u8], device: &Device) -> Result<State> {
    let file = SafeTensors::deserialize(bytes)?;
    let mut state = State::new();
    for (name, view) in file.iter() {
        let dtype = match view.dtype() {
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            Dtype::F64 => DType::F64,
            _ => continue,
        };
        let tensor = Tensor::from_raw_buffer(view.data(), dtype, view.shape(), &Device::Cpu)?;
        state.insert(name.to_owned(), tensor.to_dtype(DType::F32)?.to_device(device)?);
    }
    Ok(state)
}

/// Checks that `state` holds exactly the tensors `expected`, of these shapes. `num_batches_tracked` counters, which PyTorch
/// keeps and nothing here needs, are let through.
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
