//! safetensors, as the weights of a part.

use std::path::Path;

use super::tensor_file::TensorFile;
use crate::diffusion::error::{DiffusionError, Result};
use crate::floats::Format;
use crate::tensor_file::{Safetensors, TensorFileError};

/// A safetensors file whose header has been read and checked against the file's length.
pub(crate) struct SafetensorsFile(Safetensors);

impl SafetensorsFile {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = Safetensors::open(path).map_err(|error| match error {
            TensorFileError::Io(source) => DiffusionError::read(path)(source),
            TensorFileError::Format(message) => DiffusionError::Safetensors {
                path: path.to_path_buf(),
                message,
            },
            other => DiffusionError::Safetensors {
                path: path.to_path_buf(),
                message: other.to_string(),
            },
        })?;
        Ok(Self(file))
    }
}

impl TensorFile for SafetensorsFile {
    fn path(&self) -> &Path {
        self.0.path()
    }

    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(self.0.tensors().keys().map(String::as_str))
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.0.tensors().get(name).map(|info| info.shape.as_slice())
    }

    fn read(&self, name: &str, out: &mut [f32]) -> Result<()> {
        let path = || self.path().to_path_buf();
        let Some(info) = self.0.tensors().get(name) else {
            return Err(DiffusionError::MissingTensor {
                path: path(),
                name: name.to_owned(),
                expected: Vec::new(),
            });
        };
        let format = match Format::of(info.dtype) {
            Some(format @ (Format::F32 | Format::F16 | Format::Bf16)) => format,
            Some(Format::F64) | None => {
                return Err(DiffusionError::TensorType {
                    path: path(),
                    name: name.to_owned(),
                    found: format!("{:?}", info.dtype),
                });
            }
        };
        let read = self.0.read(info, format, 0, out);
        read.map_err(DiffusionError::read(self.path()))
    }
}
