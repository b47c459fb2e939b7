//! A file of tensors in any format.

use std::path::Path;

use super::pickle::PickleFile;
use super::safetensors::SafetensorsFile;
use crate::diffusion::error::Result;

/// A file of tensors, whose header has been read.
pub(crate) trait TensorFile: Send + Sync {
    fn path(&self) -> &Path;

    /// Names of the tensors, in no particular order.
    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_>;

    /// Shape of a tensor, if it is there.
    fn shape(&self, name: &str) -> Option<&[usize]>;

    /// Reads a tensor of as many numbers as `out` has room for, as f32.
    fn read(&self, name: &str, out: &mut [f32]) -> Result<()>;
}

/// Opens a file, whose format its name says: `.safetensors`, or else PyTorch's own (`.bin`, `.ckpt`, `.pt`,
/// `.pth`).
pub(crate) fn open(path: &Path) -> Result<Box<dyn TensorFile>> {
    let extension = path.extension();
    if extension.is_some_and(|e| e.eq_ignore_ascii_case("safetensors")) {
        Ok(Box::new(SafetensorsFile::open(path)?))
    } else {
        Ok(Box::new(PickleFile::open(path)?))
    }
}
