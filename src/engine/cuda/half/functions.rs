//! The compiled kernels, and how each is launched.

use std::collections::HashMap;

use candle_core::cuda::cudarc::driver::{CudaFunction, sys};
use candle_core::{CudaDevice, Result};

use crate::engine::cuda::failed;
use crate::engine::cuda::modules::{self, Module};

/// Width of a head, keys of a step and queries of a block of the kernels for Hopper.
const HOPPER_ATTENTION: [(usize, usize, usize); 2] = [(40, 128, 128), (80, 64, 128)];

/// A kernel for convolutions: its function and the rows and columns of a block.
pub(super) struct Tile {
    pub(super) function: CudaFunction,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) threads: usize,
    pub(super) memory: usize,
}

/// A kernel for attention: queries of a block.
pub(super) struct Flash {
    pub(super) function: CudaFunction,
    pub(super) queries: usize,
    pub(super) threads: usize,
    pub(super) memory: usize,
}

pub(super) struct Functions {
    pub(super) hopper: bool,
    /// Blocks of 160 outputs: the small and the large.
    pub(super) conv160: [Tile; 2],
    pub(super) conv128: [Tile; 2],
    pub(super) conv16: Tile,
    pub(super) conv_sum: CudaFunction,
    /// By the width of a head.
    pub(super) attention: HashMap<usize, Flash>,
    pub(super) group_sums: CudaFunction,
    pub(super) group_apply: CudaFunction,
    pub(super) layer_norm: CudaFunction,
    pub(super) geglu: CudaFunction,
}

struct Loader<'a>(&'a CudaDevice);

impl Loader<'_> {
    /// A function that takes so many bytes of shared memory.
    fn function(&self, name: &str, memory: usize) -> Result<CudaFunction> {
        let module = match name.starts_with("hopper") {
            true => Module::Hopper,
            false => Module::Diffusion,
        };
        let function = modules::function(self.0, module, name)?;
        if memory > 48 << 10 {
            let attribute = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            function.set_attribute(attribute, memory as i32).map_err(failed)?;
        }
        Ok(function)
    }

    fn tile(&self, name: &str, [rows, columns, threads, stages]: [usize; 4]) -> Result<Tile> {
        let memory = stages * (rows + columns) * 128 + 1024;
        Ok(Tile {
            function: self.function(name, memory)?,
            rows,
            columns,
            threads,
            memory,
        })
    }

    /// By the width of a head.
    fn attention(&self, hopper: bool) -> Result<HashMap<usize, Flash>> {
        let mut attention = HashMap::new();
        for (width, queries) in [(40_usize, 128_usize), (64, 128), (80, 128), (160, 64)] {
            let padded = width.div_ceil(16) * 16;
            let row = if padded / 8 % 2 == 1 { padded } else { padded + 8 };
            let memory = (queries + 4 * 64) * row * 2;
            let flash = Flash {
                function: self.function(&format!("attention_{width}x{queries}"), memory)?,
                queries,
                threads: 128,
                memory,
            };
            attention.insert(width, flash);
        }
        for (width, keys, queries) in HOPPER_ATTENTION.into_iter().filter(|_| hopper) {
            let memory = width.div_ceil(64) * (queries + 4 * keys) * 128 + 1024;
            let flash = Flash {
                function: self.function(&format!("hopper_attention_{width}x{keys}x{queries}"), memory)?,
                queries,
                threads: 2 * queries,
                memory,
            };
            attention.insert(width, flash);
        }
        Ok(attention)
    }
}

impl Functions {
    /// Loads all kernels; those for Hopper if they are wanted and the GPU is of that kind.
    pub(super) fn load(device: &CudaDevice, hopper: bool) -> Result<Self> {
        let major = sys::CUdevice_attribute_enum::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR;
        let stream = device.cuda_stream();
        let hopper = hopper && stream.context().attribute(major).map_err(failed)? == 9;
        let load = Loader(device);
        let [small160, large160, small128, large128] = match hopper {
            true => [
                load.tile("hopper_128x160", [128, 160, 256, 5])?,
                load.tile("hopper_256x160", [256, 160, 256, 4])?,
                load.tile("hopper_128x128", [128, 128, 256, 5])?,
                load.tile("hopper_256x128", [256, 128, 256, 4])?,
            ],
            false => [
                load.tile("conv_64x160", [64, 160, 128, 3])?,
                load.tile("conv_128x160", [128, 160, 128, 3])?,
                load.tile("conv_128x128", [128, 128, 128, 3])?,
                load.tile("conv_128x128", [128, 128, 128, 3])?,
            ],
        };
        Ok(Self {
            hopper,
            conv160: [small160, large160],
            conv128: [small128, large128],
            conv16: load.tile("conv_128x16", [128, 16, 128, 3])?,
            conv_sum: load.function("conv_sum", 0)?,
            attention: load.attention(hopper)?,
            group_sums: load.function("group_sums", 64 << 10)?,
            group_apply: load.function("group_apply", 0)?,
            layer_norm: load.function("layer_norm", 0)?,
            geglu: load.function("geglu", 0)?,
        })
    }
}
