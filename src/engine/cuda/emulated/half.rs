//! The device that stands for a GPU in half precision.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Result, Shape, Tensor, bail};
use half::f16;

use super::program::Program;
use super::{Arg, Launch};
use crate::engine::composed;
use crate::engine::cuda::half::{Machine, PARTS, SUMS};
use crate::engine::layers::Repeat;

#[derive(Debug)]
pub(super) struct Device {
    program: Program,
    hopper: bool,
    shared: usize,
    parts: u64,
    sums: u64,
    /// Copies of the tensors that a layer reads.
    copies: Mutex<Vec<u64>>,
}

impl Device {
    pub(super) fn start(hopper: bool, shared: usize) -> Option<Self> {
        let program = Program::start()?;
        Some(Self {
            parts: program.allocate(PARTS),
            sums: program.allocate(4 * SUMS),
            program,
            hopper,
            shared,
            copies: Mutex::default(),
        })
    }
}

impl Machine for Device {
    fn hopper(&self) -> bool {
        self.hopper
    }

    fn shared(&self) -> usize {
        self.shared
    }

    /// A copy, as far from an aligned address as the tensor is in its storage.
    fn address(&self, x: &Tensor, dtype: DType) -> Result<u64> {
        let start = x.layout().start_offset() * dtype.size_in_bytes() % 256;
        if !x.is_contiguous() || x.dtype() != dtype {
            bail!("expected contiguous {dtype:?}, found {x:?}");
        }
        let x = x.flatten_all()?;
        let bytes = match dtype {
            DType::F16 => bytemuck::cast_slice(&x.to_vec1::<f16>()?).to_vec(),
            DType::F32 => bytemuck::cast_slice(&x.to_vec1::<f32>()?).to_vec(),
            _ => bail!("unexpected {dtype:?}"),
        };
        let at = self.program.allocate(start + bytes.len());
        self.program.write(at + start as u64, &bytes);
        let mut copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        copies.push(at);
        Ok(at + start as u64)
    }

    fn output(&self, shape: Shape, write: &dyn Fn(u64) -> Result<()>) -> Result<Tensor> {
        let count = shape.elem_count();
        let out = self.program.allocate(2 * count);
        write(out)?;
        let bits = self.program.take::<u16>(out, count);
        for copy in self
            .copies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .drain(..)
        {
            self.program.free(copy);
        }
        if let Some(at) = bits.iter().position(|bits| *bits == u16::MAX) {
            bail!("number {at} of {shape:?} is not written");
        }
        let numbers: Vec<f16> = bits.into_iter().map(f16::from_bits).collect();
        Tensor::from_vec(numbers, shape, &candle_core::Device::Cpu)
    }

    fn parts(&self) -> u64 {
        self.parts
    }

    fn sums(&self) -> u64 {
        self.sums
    }

    fn launch(&self, launch: &Launch, args: &[Arg]) -> Result<()> {
        if launch.memory > self.shared {
            bail!("{launch:?}: a block may have {} bytes", self.shared);
        }
        self.program.launch(launch, args);
        Ok(())
    }

    fn product(
        &self,
        [rows, outputs, inputs]: [usize; 3],
        [x, w, y]: [u64; 3],
        bias: Option<u64>,
        residual: Option<u64>,
    ) -> Result<()> {
        let read = |at, count| {
            let numbers = self.program.numbers::<u16>(at, count);
            let numbers = numbers.into_iter().map(|bits| f16::from_bits(bits).to_f32());
            numbers.collect::<Vec<f32>>()
        };
        let (x, w) = (read(x, rows * inputs), read(w, outputs * inputs));
        let bias = bias.map_or(vec![0.0; outputs], |at| read(at, outputs));
        let residual = residual.map_or(vec![0.0; rows * outputs], |at| read(at, rows * outputs));
        let numbers: Vec<u16> = (0..rows * outputs)
            .map(|i| {
                let (x, w) = (&x[i / outputs * inputs..], &w[i % outputs * inputs..]);
                let products = x[..inputs].iter().zip(w).map(|(x, w)| x * w);
                let sum = products.sum::<f32>() + bias[i % outputs] + residual[i];
                f16::from_f32(sum).to_bits()
            })
            .collect();
        self.program.write(y, bytemuck::cast_slice(&numbers));
        Ok(())
    }

    fn repeat(self: Arc<Self>) -> Box<dyn Repeat> {
        composed::repeat()
    }
}
