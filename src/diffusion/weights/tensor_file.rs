//! A file of tensors in any format.

use std::path::Path;

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
