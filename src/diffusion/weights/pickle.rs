//! PyTorch's own format: a zip archive with a pickle that describes the tensors, and a file of numbers for each. The pickle
//! is only read, nothing in it is executed.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use candle_core::DType;
use candle_core::pickle::PthTensors;

use super::file::unreadable;
use crate::diffusion::error::{DiffusionError, Result};

/// Under this key training programs keep the weights, beside their own state.
const STATE: &str = "state_dict";

/// A pickle whose list of tensors has been read.
pub(crate) struct PickleFile {
    path: PathBuf,
    tensors: PthTensors,
}

impl PickleFile {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let wrong = |message: String| DiffusionError::Pickle {
            path: path.to_path_buf(),
            message,
        };
        let mut magic = [0; 4];
        let mut file = File::open(path).map_err(unreadable(path))?;
        if file.read_exact(&mut magic).is_err() || &magic != b"PK\x03\x04" {
            return Err(wrong("it does not begin like a zip archive".into()));
        }
        let bare = || PthTensors::new(path, None);
        let tensors = PthTensors::new(path, Some(STATE)).or_else(|_| bare());
        let tensors = tensors.map_err(|e| wrong(e.to_string()))?;
        if tensors.tensor_infos().is_empty() {
            return Err(wrong("there is no tensor in it, nor in its `state_dict`".into()));
        }
        Ok(Self {
            path: path.to_path_buf(),
            tensors,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.tensor_infos().keys().map(String::as_str)
    }

    pub(super) fn shape(&self, name: &str) -> Option<&[usize]> {
        let info = self.tensors.tensor_infos().get(name)?;
        Some(info.layout.dims())
    }

    pub(super) fn read(&self, name: &str, out: &mut [f32]) -> Result<()> {
        let wrong = |message: String| DiffusionError::Pickle {
            path: self.path.clone(),
            message: format!("tensor `{name}`: {message}"),
        };
        let tensor = self.tensors.get(name).map_err(|e| wrong(e.to_string()))?;
        let tensor = tensor.ok_or_else(|| wrong("is not there".into()))?;
        if ![DType::F32, DType::F16, DType::BF16].contains(&tensor.dtype()) {
            return Err(DiffusionError::TensorType {
                path: self.path.clone(),
                name: name.to_owned(),
                found: format!("{:?}", tensor.dtype()),
            });
        }
        let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        out.copy_from_slice(&values); // the caller has asked for the shape
        Ok(())
    }
}
