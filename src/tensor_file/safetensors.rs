//! safetensors: a JSON header that names every tensor's type, shape and place, then the bytes.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use safetensors::tensor::{Metadata, TensorInfo};

use super::TensorFileError;
use crate::floats::{self, Format};
use crate::input;

/// Longest header that is read; the same limit as the safetensors library's.
const MAX_HEADER: u64 = 100_000_000;
/// Numbers of a tensor that a task reads.
const NUMBERS: usize = 1 << 20;

/// A safetensors file whose header has been read and checked against the file's length.
pub(crate) struct Safetensors {
    path: PathBuf,
    /// Where the tensors' bytes begin.
    data: u64,
    tensors: BTreeMap<String, TensorInfo>,
}

impl Safetensors {
    pub(crate) fn open(path: &Path) -> Result<Self, TensorFileError> {
        let mut file = input::open(path)?;
        let length = file.metadata()?.len();
        let wrong = |reason: String| TensorFileError::Format(reason);
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
        let mut json = vec![0; header as usize]; // no longer than the file
        file.read_exact(&mut json)?;
        // What it says of shapes and places agrees with itself, or it is no metadata.
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

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The tensors by name.
    pub(crate) fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    /// Fills `out` with numbers of a tensor in this format, from the `skipped`th on.
    pub(crate) fn read(
        &self,
        tensor: &TensorInfo,
        format: Format,
        skipped: usize,
        out: &mut [f32],
    ) -> io::Result<()> {
        let start = self.data + tensor.data_offsets.0 as u64;
        let parts = out.par_chunks_mut(NUMBERS).enumerate();
        parts.try_for_each(|(i, part)| {
            // A handle of its own for each part: reads do not disturb each other's position.
            let mut file = input::open(&self.path)?;
            let first = (skipped + i * NUMBERS) * format.size();
            file.seek(SeekFrom::Start(start + first as u64))?;
            floats::read(&mut file, format, part)
        })
    }

    /// Returns the bytes of a tensor.
    pub(crate) fn bytes(&self, tensor: &TensorInfo) -> io::Result<Vec<u8>> {
        let (start, end) = tensor.data_offsets;
        let mut file = input::open(&self.path)?;
        file.seek(SeekFrom::Start(self.data + start as u64))?;
        let mut bytes = vec![0; end - start]; // no longer than the file
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}
