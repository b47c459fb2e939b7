//! Tensors of a safetensors file, checked for shape, type and finiteness as they are taken.

use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};

use super::error::{DiffusionError, Result};
use super::ops::Backend;

/// A safetensors file in memory.
pub(crate) struct Weights<'a> {
    path: PathBuf,
    tensors: SafeTensors<'a>,
    backend: Backend,
    /// Tried before a name that is not there by itself ("text_model.").
    prefix: &'static str,
}

impl<'a> Weights<'a> {
    pub(crate) fn new(path: &Path, bytes: &'a [u8], backend: &Backend, prefix: &'static str) -> Result<Self> {
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| DiffusionError::Safetensors {
            path: path.to_path_buf(),
            message: e.to_string(),
        })?;
        Ok(Self {
            path: path.to_path_buf(),
            tensors,
            backend: backend.clone(),
            prefix,
        })
    }

    /// The names' root.
    pub(crate) fn root(&self) -> Scope<'_> {
        Scope {
            weights: self,
            prefix: String::new(),
        }
    }
}

/// A dotted prefix of tensor names.
#[derive(Clone)]
pub(crate) struct Scope<'a> {
    weights: &'a Weights<'a>,
    prefix: String,
}

impl<'a> Scope<'a> {
    /// Returns the scope below `name`.
    pub(crate) fn child(&self, name: impl std::fmt::Display) -> Self {
        Self {
            weights: self.weights,
            prefix: format!("{}{name}.", self.prefix),
        }
    }

    pub(crate) fn backend(&self) -> &Backend {
        &self.weights.backend
    }

    /// Whether the tensor is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.find(&format!("{}{name}", self.prefix)).is_some()
    }

    fn find(&self, name: &str) -> Option<safetensors::tensor::TensorView<'a>> {
        let tensors = &self.weights.tensors;
        let prefixed = || tensors.tensor(&format!("{}{name}", self.weights.prefix)).ok();
        tensors.tensor(name).ok().or_else(prefixed)
    }

    /// Takes the tensor `name` of `shape` as f32.
    pub(crate) fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        self.tensor_as(name, &[shape])
    }

    /// Takes the tensor `name`, which may have any of `shapes`.
    pub(crate) fn tensor_as(&self, name: &str, shapes: &[&[usize]]) -> Result<Vec<f32>> {
        let name = format!("{}{name}", self.prefix);
        let path = || self.weights.path.clone();
        let expected = shapes.first().map(|s| s.to_vec()).unwrap_or_default();
        let Some(view) = self.find(&name) else {
            return Err(DiffusionError::MissingTensor {
                path: path(),
                name,
                expected,
            });
        };
        if !shapes.contains(&view.shape()) {
            let found = view.shape().to_vec();
            return Err(DiffusionError::TensorShape {
                path: path(),
                name,
                expected,
                found,
            });
        }
        let values = match view.dtype() {
            Dtype::F32 => floats(view.data(), f32::from_le_bytes),
            Dtype::F16 => floats(view.data(), |b| half::f16::from_le_bytes(b).to_f32()),
            Dtype::BF16 => floats(view.data(), |b| half::bf16::from_le_bytes(b).to_f32()),
            other => {
                return Err(DiffusionError::TensorType {
                    path: path(),
                    name,
                    found: format!("{other:?}"),
                });
            }
        };
        match values.iter().position(|v| !v.is_finite()) {
            Some(position) => {
                let value = values[position]; // found there
                Err(DiffusionError::NonFiniteWeight {
                    path: path(),
                    name,
                    position,
                    value,
                })
            }
            None => Ok(values),
        }
    }
}

fn floats<const N: usize>(data: &[u8], read: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    data.as_chunks::<N>().0.iter().map(|b| read(*b)).collect()
}
