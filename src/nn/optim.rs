//! Stochastic gradient descent with momentum, as `torch.optim.SGD`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, DType, InplaceOp2, Layout, Tensor, Var};
use rayon::prelude::*;

use super::conv::floats;
use super::state::{self, State};
use super::{Error, Result};

/// Numbers that one task updates.
const CHUNK: usize = 1 << 14;

/// SGD with (Nesterov) momentum and weight decay. PyTorch's update, number for number:
/// `g += weight_decay * w; v = momentum * v + g` (`v = g` in the first step); `w -= lr * (g + momentum * v)` with Nesterov,
/// `w -= lr * v` without.
#[derive(Clone, Debug)]
pub struct Sgd {
    /// Learning rate; set it before each step to follow a schedule.
    pub lr: f64,
    momentum: f64,
    nesterov: bool,
    weight_decay: f64,
    vars: BTreeMap<String, Slot>,
}

#[derive(Clone, Debug)]
struct Slot {
    var: Var,
    velocity: Option<Velocity>,
}

#[derive(Clone, Debug)]
enum Velocity {
    /// On the CPU: numbers that the fused update changes in place.
    Host(Vec<f32>),
    Device(Tensor),
    /// On CUDA: numbers that one kernel changes in place.
    #[cfg(feature = "cuda")]
    Cuda(cuda::Velocity),
}

impl Sgd {
    /// Creates an optimiser of `vars`, by name (the names are those of its own state).
    ///
    /// # Errors
    /// [`Error::Config`] for a negative number or Nesterov without momentum.
    pub fn new(
        vars: impl IntoIterator<Item = (String, Var)>,
        lr: f64,
        momentum: f64,
        nesterov: bool,
        weight_decay: f64,
    ) -> Result<Self> {
        for (field, value) in [("lr", lr), ("momentum", momentum), ("weight_decay", weight_decay)] {
            if !value.is_finite() || value < 0.0 {
                let expected = "a finite number of at least 0";
                return Err(Error::Config {
                    field,
                    value: value.to_string(),
                    expected,
                });
            }
        }
        if nesterov && momentum == 0.0 {
            let expected = "more than 0 where nesterov is set";
            return Err(Error::Config {
                field: "momentum",
                value: "0".into(),
                expected,
            });
        }
        let vars = vars
            .into_iter()
            .map(|(name, var)| (name, Slot { var, velocity: None }))
            .collect();
        Ok(Self {
            lr,
            momentum,
            nesterov,
            weight_decay,
            vars,
        })
    }

    /// Updates every variable by its gradient.
    ///
    /// # Errors
    /// [`Error::NoGradient`] if a variable has none (a loss that forgets a variable is a mistake, not a zero), and nothing
    /// is changed.
    pub fn step(&mut self, grads: &GradStore) -> Result<()> {
        let found = (self.vars.iter())
            .map(|(name, slot)| {
                grads
                    .get(&slot.var)
                    .ok_or_else(|| Error::NoGradient { name: name.clone() })
            })
            .collect::<Result<Vec<_>>>()?;
        for (slot, grad) in self.vars.values_mut().zip(found) {
            let var = slot.var.as_tensor();
            let grad = grad.detach().contiguous()?;
            let first = slot.velocity.is_none();
            if var.device().is_cpu() && var.dtype() == DType::F32 {
                let velocity = match slot.velocity.take() {
                    Some(Velocity::Host(velocity)) => velocity,
                    _ => vec![0.0; var.elem_count()],
                };
                let update = Update {
                    lr: self.lr as f32,
                    momentum: self.momentum as f32,
                    weight_decay: self.weight_decay as f32,
                    nesterov: self.nesterov,
                    first,
                    velocity: Mutex::new(velocity),
                };
                var.inplace_op2(&grad, &update)?;
                let velocity = update
                    .velocity
                    .into_inner()
                    .unwrap_or_else(PoisonError::into_inner);
                slot.velocity = Some(Velocity::Host(velocity));
                continue;
            }
            #[cfg(feature = "cuda")]
            if let (candle_core::Device::Cuda(device), DType::F32) = (var.device(), var.dtype()) {
                let velocity = match slot.velocity.take() {
                    Some(Velocity::Cuda(velocity)) => velocity,
                    _ => cuda::Velocity::new(device, var.elem_count())?,
                };
                let update = cuda::Update {
                    lr: self.lr as f32,
                    momentum: self.momentum as f32,
                    weight_decay: self.weight_decay as f32,
                    nesterov: self.nesterov,
                    first,
                    velocity: &velocity,
                };
                var.inplace_op2(&grad, &update)?;
                slot.velocity = Some(Velocity::Cuda(velocity));
                continue;
            }
            let grad = (grad + var.detach().affine(self.weight_decay, 0.0)?)?;
            let next = match &slot.velocity {
                Some(Velocity::Device(velocity)) => (velocity.affine(self.momentum, 0.0)? + &grad)?,
                _ => grad.clone(),
            };
            let direction = if self.nesterov {
                (&grad + next.affine(self.momentum, 0.0)?)?
            } else {
                next.clone()
            };
            slot.var.set(&(var.detach() - direction.affine(self.lr, 0.0)?)?)?;
            slot.velocity = Some(Velocity::Device(next));
        }
        Ok(())
    }

    /// Returns the velocities by variable name; empty before the first step.
    ///
    /// # Errors
    /// Candle's errors.
    pub fn state_dict(&self) -> Result<State> {
        let mut state = State::new();
        for (name, slot) in &self.vars {
            let velocity = match &slot.velocity {
                None => continue,
                Some(Velocity::Host(values)) => {
                    Tensor::from_slice(values, slot.var.shape(), slot.var.device())?
                }
                Some(Velocity::Device(velocity)) => velocity.copy()?,
                #[cfg(feature = "cuda")]
                Some(Velocity::Cuda(velocity)) => velocity.tensor(slot.var.as_tensor())?,
            };
            state.insert(name.clone(), velocity);
        }
        Ok(state)
    }

    /// Replaces the velocities by those of a state; an empty one is the state before the first step.
    ///
    /// # Errors
    /// [`Error::MissingTensor`], [`Error::ExtraTensor`] or [`Error::TensorShape`], and nothing is changed.
    pub fn load_state_dict(&mut self, state: &State) -> Result<()> {
        if state.is_empty() {
            self.vars.values_mut().for_each(|slot| slot.velocity = None);
            return Ok(());
        }
        let expected = self
            .vars
            .iter()
            .map(|(name, slot)| (name.as_str(), slot.var.dims()));
        state::check(state, expected)?;
        for (name, slot) in &mut self.vars {
            if let Some(velocity) = state.get(name) {
                let velocity = velocity.to_dtype(slot.var.dtype())?;
                #[cfg(feature = "cuda")]
                if let (candle_core::Device::Cuda(device), DType::F32) = (slot.var.device(), slot.var.dtype())
                {
                    let numbers: Vec<f32> = velocity.flatten_all()?.to_vec1()?;
                    slot.velocity = Some(Velocity::Cuda(cuda::Velocity::from_numbers(device, &numbers)?));
                    continue;
                }
                slot.velocity = Some(if slot.var.device().is_cpu() && slot.var.dtype() == DType::F32 {
                    Velocity::Host(velocity.flatten_all()?.to_vec1()?)
                } else {
                    Velocity::Device(velocity.to_device(slot.var.device())?.copy()?)
                });
            }
        }
        Ok(())
    }
}

/// One fused update of a variable on the CPU.
struct Update {
    lr: f32,
    momentum: f32,
    weight_decay: f32,
    nesterov: bool,
    first: bool,
    velocity: Mutex<Vec<f32>>,
}

impl InplaceOp2 for Update {
    fn name(&self) -> &'static str {
        "dream-sgd"
    }

    fn cpu_fwd(
        &self,
        weights: &mut CpuStorage,
        weights_layout: &Layout,
        grad: &CpuStorage,
        grad_layout: &Layout,
    ) -> candle_core::Result<()> {
        let grad = floats(grad, grad_layout)?;
        let mut velocity = self.velocity.lock().unwrap_or_else(PoisonError::into_inner);
        let (CpuStorage::F32(weights), Some((start, end))) = (weights, weights_layout.contiguous_offsets())
        else {
            candle_core::bail!("sgd: a contiguous f32 variable was promised");
        };
        let chunks = weights[start..end]
            .par_chunks_mut(CHUNK)
            .zip(velocity.par_chunks_mut(CHUNK));
        chunks
            .zip(grad.par_chunks(CHUNK))
            .for_each(|((weights, velocity), grad)| {
                for ((w, v), g) in weights.iter_mut().zip(velocity).zip(grad) {
                    let g = g + self.weight_decay * *w;
                    *v = if self.first { g } else { self.momentum * *v + g };
                    let direction = if self.nesterov { g + self.momentum * *v } else { *v };
                    *w -= self.lr * direction;
                }
            });
        Ok(())
    }
}

/// The update on CUDA, one kernel over the flat variable.
#[cfg(feature = "cuda")]
mod cuda {
    use candle_core::cuda::cudarc::driver::{CudaSlice, DevicePtr, LaunchConfig, PushKernelArg};
    use candle_core::cuda_backend::CudaStorage;
    use candle_core::{CpuStorage, CudaDevice, InplaceOp2, Layout, Result, Tensor};

    const PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/resnet.ptx"));

    #[derive(Clone, Debug)]
    pub(super) struct Velocity(CudaSlice<f32>);

    impl Velocity {
        pub(super) fn new(device: &CudaDevice, len: usize) -> Result<Self> {
            Ok(Self(device.alloc_zeros::<f32>(len)?))
        }
        pub(super) fn from_numbers(device: &CudaDevice, numbers: &[f32]) -> Result<Self> {
            Ok(Self(device.clone_htod(numbers)?))
        }
        /// A copy on the host, with the shape of `like`.
        pub(super) fn tensor(&self, like: &Tensor) -> Result<Tensor> {
            let candle_core::Device::Cuda(device) = like.device() else {
                candle_core::bail!("sgd: a CUDA variable was promised");
            };
            Tensor::from_vec(
                device.clone_dtoh(&self.0)?,
                like.shape(),
                &candle_core::Device::Cpu,
            )
        }
    }

    pub(super) struct Update<'a> {
        pub lr: f32,
        pub momentum: f32,
        pub weight_decay: f32,
        pub nesterov: bool,
        pub first: bool,
        pub velocity: &'a Velocity,
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
            let len = (end - w) as i64;
            let w = weights.as_cuda_slice::<f32>()?.device_ptr(&stream).0 + 4 * w as u64;
            let g = grad.as_cuda_slice::<f32>()?.device_ptr(&stream).0 + 4 * g as u64;
            let v = self.velocity.0.device_ptr(&stream).0;
            let function = device.get_or_load_custom_func("sgd", "dream-resnet", PTX)?;
            let (nesterov, first) = (i32::from(self.nesterov), i32::from(self.first));
            let mut builder = function.builder();
            builder
                .arg(&w)
                .arg(&v)
                .arg(&g)
                .arg(&len)
                .arg(&self.lr)
                .arg(&self.momentum)
                .arg(&self.weight_decay);
            builder.arg(&nesterov).arg(&first);
            let config = LaunchConfig {
                grid_dim: (1056, 1, 1),
                block_dim: (256, 1, 1),
                shared_mem_bytes: 0,
            };
            unsafe { builder.launch(config) }.map_err(|e| candle_core::Error::Msg(e.to_string()))?;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::super::from_safetensors;
    use super::*;

    /// The gradient store of a loss whose gradient is `grad`.
    fn grads(var: &Var, grad: &Tensor) -> GradStore {
        (var.as_tensor() * grad)
            .unwrap()
            .sum_all()
            .unwrap()
            .backward()
            .unwrap()
    }

    #[test]
    fn agrees_with_pytorch_and_resumes() {
        let bytes = include_bytes!("../../tests/fixtures/nn/sgd.safetensors");
        let fixture = from_safetensors(bytes, &Device::Cpu).unwrap();
        for (name, momentum, nesterov, decay) in [
            ("plain", 0.0, false, 0.01),
            ("heavy", 0.9, false, 5e-4),
            ("nesterov", 0.9, true, 5e-4),
        ] {
            let get = |part: &str| &fixture[&format!("{name}.{part}")];
            let var = Var::from_tensor(get("start")).unwrap();
            let new = || Sgd::new([("w".to_owned(), var.clone())], 0.1, momentum, nesterov, decay).unwrap();
            let mut sgd = new();
            for step in 0..5 {
                sgd.step(&grads(&var, &get("grads").get(step).unwrap())).unwrap();
                let found = var.to_vec1::<f32>().unwrap();
                let expected = get("weights").get(step).unwrap().to_vec1::<f32>().unwrap();
                for (found, expected) in found.iter().zip(&expected) {
                    assert!(
                        (found - expected).abs() < 1e-6,
                        "{name}, step {step}: {found} {expected}"
                    );
                }
                // A new optimiser with the saved state goes on as if nothing had happened.
                let state = sgd.state_dict().unwrap();
                sgd = new();
                sgd.load_state_dict(&state).unwrap();
            }
        }
    }

    #[test]
    fn a_forgotten_variable_and_bad_settings_are_errors() {
        let (a, b) = (
            Var::new(&[1.0_f32], &Device::Cpu).unwrap(),
            Var::new(&[1.0_f32], &Device::Cpu).unwrap(),
        );
        let vars = [("a".to_owned(), a.clone()), ("b".to_owned(), b)];
        let mut sgd = Sgd::new(vars.clone(), 0.1, 0.9, true, 0.0).unwrap();
        let store = a.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        assert!(matches!(sgd.step(&store), Err(Error::NoGradient { name }) if name == "b"));
        assert!(matches!(
            Sgd::new(vars.clone(), -1.0, 0.0, false, 0.0),
            Err(Error::Config { field: "lr", .. })
        ));
        assert!(Sgd::new(vars, 0.1, 0.0, true, 0.0).is_err());
    }
}
