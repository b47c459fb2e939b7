//! Residual networks as one operation of candle's graph, as on the CPU: convolutions by cuDNN over
//! channels-last numbers, batch norm, ReLU, residual sums, pooling and their gradients by kernels of our own
//! (`kernels.cu`), one flat gradient.
//!
//! Everything is launched on candle's stream and nothing waits for the GPU. Sums have orders that shapes
//! decide; cuDNN's ways are chosen by its heuristic among the deterministic ones. So bits are equal on the
//! same kind of GPU with the same cuDNN.

/// Launches a kernel over so many blocks of so many threads with these arguments.
macro_rules! launch {
    ($pass:expr, $kernel:expr, $grid:expr, $block:expr; $($arg:expr),* $(,)?) => {{
        let launch = Launch { kernel: $kernel, grid: $grid, block: $block, memory: 0 };
        $pass.machine.launch(&launch, &[$($arg.into()),*])?;
    }};
}

mod backward;
#[cfg(feature = "cuda")]
mod cudnn;
mod forward;
mod frame;
#[cfg(feature = "cuda")]
mod gpu;
mod machine;
#[cfg(feature = "cuda")]
mod op;
mod pass;
mod shape;

#[cfg(test)]
pub(super) use self::frame::Frame;
#[cfg(feature = "cuda")]
pub(super) use self::gpu::Network;
#[cfg(test)]
pub(super) use self::machine::{Machine, Matrix};
#[cfg(test)]
pub(super) use self::pass::Pass;
#[cfg(test)]
pub(super) use self::shape::{Direction, Shape, bytes};

use crate::engine::options::Precision;

/// Blocks of a kernel that sums, and of one that only maps.
const SUMMING: usize = 768;
const MAPPING: usize = 4096;

macro_rules! kernels {
    ($($name:ident)* ; $($plain:ident)*) => {
        /// The names of the kernels for one type of activations.
        #[derive(Debug)]
        struct Kernels { $($name: &'static str,)* $($plain: &'static str,)* }
        impl Kernels {
            const F32: Self = Self {
                $($name: concat!(stringify!($name), "_f32"),)*
                $($plain: stringify!($plain),)*
            };
            const BF16: Self = Self {
                $($name: concat!(stringify!($name), "_bf16"),)*
                $($plain: stringify!($plain),)*
            };
            #[cfg(feature = "cuda")]
            fn names(&self) -> impl Iterator<Item = &'static str> {
                [$(self.$name,)* $(self.$plain,)*].into_iter()
            }
        }
    };
}

kernels! {
    pack_picture pack_weights unpack_gradients moments
    normalize normalize_add normalize_two normalize_pool mean_area
    sums_inner sums_block sums_block_two sums_top sums_top_two sums_pool norm_gradient norm_gradient_masked;
    moments_join norm_of_running bias_rows bias_gradient gradient_join
}

impl Kernels {
    /// Those for activations as they are in this precision.
    fn of(precision: Precision) -> &'static Self {
        match precision {
            Precision::Bf16 => &Self::BF16,
            Precision::F32 | Precision::Tf32 | Precision::F16 => &Self::F32,
        }
    }
}
