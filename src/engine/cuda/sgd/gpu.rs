//! The velocity of a variable on a GPU.

use candle_core::cuda::cudarc::driver::{CudaSlice, DevicePtr};
use candle_core::cuda_backend::CudaStorage;
use candle_core::{CpuStorage, CudaDevice, Device, InplaceOp2, Layout, Result, Tensor, Var};

use super::update;
use crate::engine::cuda::launch;
use crate::engine::cuda::modules::{self, Module};
use crate::engine::layers::Momentum;
use crate::engine::raw::SgdRule;

/// The velocity on the device, which the kernel changes in place.
#[derive(Debug)]
pub(in crate::engine::cuda) struct Velocity {
    device: CudaDevice,
    numbers: Option<CudaSlice<f32>>,
}

impl Velocity {
    pub(in crate::engine::cuda) fn new(device: &CudaDevice) -> Self {
        Self {
            device: device.clone(),
            numbers: None,
        }
    }
}

impl Momentum for Velocity {
    fn step(&mut self, var: &Var, grad: &Tensor, rule: &SgdRule) -> Result<()> {
        let first = self.numbers.is_none();
        let velocity = match self.numbers.take() {
            Some(velocity) => velocity,
            None => self.device.alloc_zeros::<f32>(var.elem_count())?,
        };
        let update = Update {
            rule,
            first,
            velocity: &velocity,
        };
        var.inplace_op2(grad, &update)?;
        self.numbers = Some(velocity);
        Ok(())
    }

    /// A copy on the host.
    fn velocity(&self, var: &Var) -> Result<Option<Tensor>> {
        let host = |numbers| Tensor::from_vec(self.device.clone_dtoh(numbers)?, var.shape(), &Device::Cpu);
        self.numbers.as_ref().map(host).transpose()
    }

    fn set(&mut self, var: &Var, velocity: Option<&Tensor>) -> Result<()> {
        let here = |velocity: &Tensor| {
            let numbers: Vec<f32> = velocity.to_dtype(var.dtype())?.flatten_all()?.to_vec1()?;
            self.device.clone_htod(&numbers)
        };
        self.numbers = velocity.map(here).transpose()?;
        Ok(())
    }
}

struct Update<'a> {
    rule: &'a SgdRule,
    first: bool,
    velocity: &'a CudaSlice<f32>,
}

impl InplaceOp2 for Update<'_> {
    fn name(&self) -> &'static str {
        "dream-sgd"
    }

    fn cpu_fwd(&self, _: &mut CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<()> {
        candle_core::bail!("sgd: a CUDA variable was promised")
    }

    fn cuda_fwd(
        &self,
        weights: &mut CudaStorage,
        weights_layout: &Layout,
        grad: &CudaStorage,
        grad_layout: &Layout,
    ) -> Result<()> {
        let device = weights.device.clone();
        let stream = device.cuda_stream();
        let (Some((w, end)), Some((g, _))) = (
            weights_layout.contiguous_offsets(),
            grad_layout.contiguous_offsets(),
        ) else {
            candle_core::bail!("sgd: a contiguous f32 variable was promised");
        };
        let len = end - w;
        let w = weights.as_cuda_slice::<f32>()?.device_ptr(&stream).0 + 4 * w as u64;
        let g = grad.as_cuda_slice::<f32>()?.device_ptr(&stream).0 + 4 * g as u64;
        let v = self.velocity.device_ptr(&stream).0;
        let (what, args) = update([w, v, g], len, self.rule, self.first);
        let function = modules::function(&device, Module::Residual, what.kernel)?;
        // SAFETY: the arguments are the kernel's, and every array is `len` long.
        unsafe { launch(&stream, &function, &what, &args) }
    }
}
