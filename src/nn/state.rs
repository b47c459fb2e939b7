//! States as safetensors bytes, and states in files of PyTorch's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::fit::{fit, padded};
use super::{Error, ResNetConfig, Result};
use crate::floats::{self, Format};
use crate::tensor_file::{Entry, TensorFile, TensorFileError};

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

/// What `DataParallel` puts before every name.
const PARALLEL: &str = "module.";

/// A file of weights whose list of tensors has been read: safetensors, or what `torch.save` writes, of any
/// version of PyTorch. Which of them it is, its first bytes say. Nothing in a pickle is executed.
pub struct StateFile {
    path: PathBuf,
    file: TensorFile,
    entries: Vec<Entry>,
}

impl std::fmt::Debug for StateFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl StateFile {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// [`Error::StateFile`] if it cannot be read, or is no file of tensors.
    pub fn open(path: &Path) -> Result<Self> {
        let wrong = |error: TensorFileError| Error::StateFile {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        let file = TensorFile::open(path).map_err(wrong)?;
        let mut entries = file.entries();
        entries.retain(|entry| entry.format.is_some());
        Ok(Self {
            path: path.to_owned(),
            entries,
            file,
        })
    }

    /// Returns the names of its tensors of floating-point numbers, with the path to each.
    pub fn names(&self) -> Vec<String> {
        self.entries.iter().map(Entry::full_name).collect()
    }

    /// Says whether a tensor of it is called as weights are: a file of features has tensors, too.
    pub fn has_weights(&self) -> bool {
        self.entries.iter().any(|entry| entry.name.contains("weight"))
    }

    /// Checks that the weights of this network are in the file, and returns what is
    /// to be told of where they were found. Numbers are not read.
    ///
    /// # Errors
    /// [`Error::Misfit`].
    pub fn fits(&self, config: &ResNetConfig, new_head: bool) -> Result<Vec<String>> {
        Ok(fit(&self.entries, &config.shapes()?, new_head)?.notes)
    }

    /// Reads the weights of this network, by torchvision's names and as f32, onto the CPU; those of its last
    /// layer only without `new_head`.
    ///
    /// # Errors
    /// [`Error::Misfit`], and [`Error::StateFile`] if a number cannot be read or is not finite.
    pub fn read(&self, config: &ResNetConfig, new_head: bool) -> Result<State> {
        let fit = fit(&self.entries, &config.shapes()?, new_head)?;
        let mut state = State::new();
        for (name, entry) in fit.tensors {
            let numbers = self.numbers(entry)?;
            let is_variance = name.ends_with(".running_var");
            let refused = |number: &f32| !number.is_finite() || is_variance && *number < 0.0;
            if let Some(at) = numbers.iter().position(refused) {
                let why = match numbers[at].is_finite() {
                    true => "a variance is at least 0",
                    false => "numbers of weights are finite",
                };
                let number = numbers[at];
                return Err(self.wrong(
                    entry,
                    &format!("number {at} is {number}, and {why}; the file is broken"),
                ));
            }
            let shape = entry.shape.as_slice();
            state.insert(name, Tensor::from_vec(numbers, shape, &Device::Cpu)?);
        }
        for (name, shape) in fit.padding {
            let numbers = padded(&name, &shape);
            state.insert(name, Tensor::from_vec(numbers, shape, &Device::Cpu)?);
        }
        Ok(state)
    }

    fn wrong(&self, entry: &Entry, what: &str) -> Error {
        Error::StateFile {
            path: self.path.clone(),
            reason: format!("tensor `{}`: {what}", entry.full_name()),
        }
    }

    fn numbers(&self, entry: &Entry) -> Result<Vec<f32>> {
        let mut numbers = vec![0.0; entry.count()];
        let read = self.file.read(entry, 0, &mut numbers);
        read.map_err(|error| self.wrong(entry, &error.to_string()))?;
        Ok(numbers)
    }
}

/// Reads the state dict in a file (see [`StateFile`]), also one under a key as training programs write it.
/// `DataParallel`'s prefix `module.` is taken off; numbers become f32; counters are left out.
///
/// # Errors
/// [`Error::StateFile`] if the file cannot be read or holds no tensors.
pub fn read_state(path: &Path, device: &Device) -> Result<State> {
    let file = StateFile::open(path)?;
    let Some(container) = file.entries.first().map(|entry| &entry.container) else {
        return Err(Error::StateFile {
            path: path.to_owned(),
            reason: "there is no tensor in it".into(),
        });
    };
    let own = || file.entries.iter().filter(|entry| entry.container == *container);
    let parallel = own().all(|entry| entry.name.starts_with(PARALLEL));
    let named = |entry: &Entry| {
        let name = entry.name.strip_prefix(PARALLEL).filter(|_| parallel);
        let (numbers, shape) = (file.numbers(entry)?, entry.shape.as_slice());
        let tensor = Tensor::from_vec(numbers, shape, device)?;
        Ok((name.unwrap_or(&entry.name).to_owned(), tensor))
    };
    own().map(named).collect()
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
