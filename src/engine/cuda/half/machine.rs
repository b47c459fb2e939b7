//! What the kernels of half precision run on.

use std::fmt::Debug;
use std::sync::Arc;

use candle_core::{DType, Result, Shape, Tensor};

use crate::engine::cuda::launch::{Arg, Launch};
use crate::engine::layers::Repeat;

/// Bytes for the parts of split convolutions: 264 blocks of 128 x 160 sums, two for each multiprocessor of
/// the largest GPU.
pub(in crate::engine::cuda) const PARTS: usize = 24 << 20;
/// Numbers for the sums of group norms.
pub(in crate::engine::cuda) const SUMS: usize = 1 << 20;

/// A GPU, or in tests what stands for one.
pub(in crate::engine::cuda) trait Machine: Debug + Send + Sync {
    /// Whether it has the kernels for compute capability 9.0.
    fn hopper(&self) -> bool;

    /// Bytes of shared memory that a block may have.
    fn shared(&self) -> usize;

    /// The address of a tensor's first number; it must be contiguous and of this type.
    fn address(&self, x: &Tensor, dtype: DType) -> Result<u64>;

    /// A new f16 tensor, all of which `write` writes from the address on.
    fn output(&self, shape: Shape, write: &dyn Fn(u64) -> Result<()>) -> Result<Tensor>;

    /// Addresses of the workspaces of [`PARTS`] bytes and of [`SUMS`] numbers.
    fn parts(&self) -> u64;
    fn sums(&self) -> u64;

    fn launch(&self, launch: &Launch, args: &[Arg]) -> Result<()>;

    /// `y[r, o] = sum over i of x[r, i] w[o, i] + bias[o] + residual[r, o]` for so many rows, outputs and
    /// inputs; `at`: addresses of x, w and y.
    fn product(
        &self,
        sizes: [usize; 3],
        at: [u64; 3],
        bias: Option<u64>,
        residual: Option<u64>,
    ) -> Result<()>;

    /// Work that is recorded once and then repeated with one call.
    fn repeat(self: Arc<Self>) -> Box<dyn Repeat>;

    /// Says once why work could not be recorded or repeated, and was done anew.
    fn trouble(&self) -> Option<String> {
        None
    }
}
