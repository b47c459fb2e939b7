//! What a network's kernels run on.

use candle_core::Result;

use super::shape::{Direction, Shape};
use crate::engine::cuda::launch::{Arg, Launch};
use crate::engine::options::Precision;

/// A matrix whose columns are `rows` numbers apart, and whether it is meant transposed.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine::cuda) struct Matrix {
    pub(in crate::engine::cuda) at: u64,
    pub(in crate::engine::cuda) rows: usize,
    pub(in crate::engine::cuda) turned: bool,
}

/// A GPU, or in tests what stands for one. Addresses are its own.
pub(in crate::engine::cuda) trait Machine {
    fn launch(&self, launch: &Launch, args: &[Arg]) -> Result<()>;

    /// An address of the scratch memory of `len` bytes, which the next call of this gives again.
    fn scratch(&mut self, len: usize) -> Result<u64>;

    /// The address of a network's segments in this precision: of `numbers`, when it is first asked.
    fn segments(&mut self, precision: Precision, numbers: &dyn Fn() -> Vec<i64>) -> Result<u64>;

    /// `Forward` makes y of x and w, `Input` x of w and y, `Weight` w of x and y; `at`: x, w and y.
    fn convolve(
        &mut self,
        shape: Shape,
        precision: Precision,
        direction: Direction,
        at: [u64; 3],
    ) -> Result<()>;

    /// c = a b + beta c of f32 matrices, columns first; `[m, n, k]`: a is m by k, b is k by n.
    fn multiply(&self, sizes: [usize; 3], ab: [Matrix; 2], beta: f32, c: u64) -> Result<()>;
}
