//! PyTorch's own format, as the weights of a part.

use std::path::Path;

use super::tensor_file::TensorFile;
use crate::diffusion::error::{DiffusionError, Result};
use crate::floats::Format;
use crate::pickle::torch::{TorchError, TorchFile};

/// A file of `torch.save` whose list of tensors has been read.
pub(crate) struct PickleFile(TorchFile);

impl PickleFile {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let wrong = |message: String| DiffusionError::Pickle {
            path: path.to_path_buf(),
            message,
        };
        let file = TorchFile::open(path).map_err(|error| match error {
            TorchError::Io(source) => DiffusionError::read(path)(source),
            other => wrong(other.to_string()),
        })?;
        if file.tensors().is_empty() {
            return Err(wrong("there is no tensor in it, nor in its `state_dict`".into()));
        }
        Ok(Self(file))
    }
}

impl TensorFile for PickleFile {
    fn path(&self) -> &Path {
        self.0.path()
    }

    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(self.0.tensors().keys().map(String::as_str))
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        Some(self.0.tensors().get(name)?.shape())
    }

    fn read(&self, name: &str, out: &mut [f32]) -> Result<()> {
        let path = || self.path().to_path_buf();
        let Some(tensor) = self.0.tensors().get(name) else {
            return Err(DiffusionError::MissingTensor {
                path: path(),
                name: name.to_owned(),
                expected: Vec::new(),
            });
        };
        if !matches!(tensor.format(), Some(Format::F32 | Format::F16 | Format::Bf16)) {
            return Err(DiffusionError::TensorType {
                path: path(),
                name: name.to_owned(),
                found: tensor.kind().to_owned(),
            });
        }
        // The caller has asked for the shape.
        let read = self.0.read(tensor, out);
        read.map_err(|error| DiffusionError::Pickle {
            path: path(),
            message: format!("tensor `{name}`: {error}"),
        })
    }
}
