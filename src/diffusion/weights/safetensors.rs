//! safetensors: a JSON header that names every tensor's type, shape and place, then the bytes.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use safetensors::tensor::{Metadata, TensorInfo};

use super::tensor_file::TensorFile;
use crate::diffusion::error::{DiffusionError, Result};
use crate::floats::{self, Format};

/// Longest header that is read; the same limit as the safetensors library's.
const MAX_HEADER: u64 = 100_000_000;
/// Numbers of a tensor that a task reads.
const NUMBERS: usize = 1 << 20;

/// A safetensors file whose header has been read and checked against the file's length.
pub(crate) struct SafetensorsFile {
    path: PathBuf,
    /// Where the tensors' bytes begin.
    data: u64,
    tensors: HashMap<String, TensorInfo>,
}

impl SafetensorsFile {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let wrong = |message: String| DiffusionError::Safetensors {
            path: path.to_path_buf(),
            message,
        };
        let mut file = File::open(path).map_err(DiffusionError::read(path))?;
        let length = file.metadata().map_err(DiffusionError::read(path))?.len();
        let mut size = [0; 8];
        file.read_exact(&mut size)
            .map_err(|_| wrong(format!("{length} bytes are too few for a header")))?;
        let header = u64::from_le_bytes(size);
        let data = header.saturating_add(8);
        if header > MAX_HEADER || data > length {
            return Err(wrong(format!(
                "its header would be {header} bytes long, the file has {length}"
            )));
        }
        let mut json = vec![0; header as usize]; // at most MAX_HEADER
        file.read_exact(&mut json).map_err(DiffusionError::read(path))?;
        let metadata: Metadata = serde_json::from_slice(&json).map_err(|e| wrong(e.to_string()))?;
        let expected = data + metadata.data_len() as u64;
        if expected != length {
            return Err(wrong(format!(
                "its header speaks of {expected} bytes, it has {length}"
            )));
        }
        let tensors = metadata.tensors().into_iter();
        Ok(Self {
            path: path.to_path_buf(),
            data,
            tensors: tensors.map(|(name, info)| (name, info.clone())).collect(),
        })
    }
}

impl TensorFile for SafetensorsFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(self.tensors.keys().map(String::as_str))
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|info| info.shape.as_slice())
    }

    fn read(&self, name: &str, out: &mut [f32]) -> Result<()> {
        let Some(info) = self.tensors.get(name) else {
            return Err(DiffusionError::MissingTensor {
                path: self.path.clone(),
                name: name.to_owned(),
                expected: Vec::new(),
            });
        };
        let format = match Format::of(info.dtype) {
            Some(format @ (Format::F32 | Format::F16 | Format::Bf16)) => format,
            Some(Format::F64) | None => {
                return Err(DiffusionError::TensorType {
                    path: self.path.clone(),
                    name: name.to_owned(),
                    found: format!("{:?}", info.dtype),
                });
            }
        };
        let start = self.data + info.data_offsets.0 as u64;
        let parts = out.par_chunks_mut(NUMBERS).enumerate();
        parts
            .try_for_each(|(i, part)| {
                // A handle of its own for each part: reads do not disturb each other's position.
                let mut file = File::open(&self.path)?;
                file.seek(SeekFrom::Start(start + (i * NUMBERS * format.size()) as u64))?;
                floats::read(&mut file, format, part)
            })
            .map_err(DiffusionError::read(&self.path))
    }
}
