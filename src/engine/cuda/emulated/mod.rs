//! The kernels on the CPU: their own source, compiled by the machine's C++ compiler with the headers in
//! `tests/kernels/`, which stand for a GPU. Everything around them is what launches them on a GPU, too; only
//! libraries (cuBLASLt, cuBLAS, cuDNN) are loops here.

mod half;
mod program;
mod residual;
mod sampling;
mod tests;

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor, Var};

use self::program::Program;
use super::half::Half;
use super::launch::{Arg, Launch};
use super::{sampling as rounds, sgd};
use crate::engine::layers::{Layers, Momentum, Residual};
use crate::engine::options::Precision;
use crate::engine::plan::Plan;
use crate::engine::raw::SgdRule;
use crate::engine::rounds::{RoundSearch, Rounds};
use crate::engine::{Engine, composed};

/// Engines whose kernels run here, and the factor by which each may be further off than f32 arithmetic in
/// another order: training in f32, half precision, and that with the kernels for Hopper. None where kernels
/// cannot be compiled.
pub(in crate::engine) fn emulated() -> Vec<(Engine, f32)> {
    thread_local! {
        // A test is a thread, and has devices of its own.
        static ENGINES: Vec<(Engine, f32)> = made();
    }
    ENGINES.with(Clone::clone)
}

fn made() -> Vec<(Engine, f32)> {
    let training = Emulated::start(Precision::F32).map(|e| (Engine(Arc::new(e)), 4.0));
    let [ampere, hopper] = [(false, 166_912), (true, 232_448)]
        .map(|(hopper, shared)| in_half(hopper, shared).map(|engine| (engine, 400.0)));
    [training, ampere, hopper].into_iter().flatten().collect()
}

/// Half precision, with the kernels for Hopper or without, where a block may have so many bytes of shared
/// memory.
fn in_half(hopper: bool, shared: usize) -> Option<Engine> {
    let device = half::Device::start(hopper, shared)?;
    let half = Half::new(&Device::Cpu, Arc::new(device), true);
    Some(Engine(Arc::new(half)))
}

/// Training.
#[derive(Debug)]
struct Emulated {
    precision: Precision,
    program: Program,
}

impl Emulated {
    fn start(precision: Precision) -> Option<Self> {
        let program = Program::start()?;
        Some(Self { precision, program })
    }
}

impl Layers for Emulated {
    fn name(&self) -> &'static str {
        "emulated"
    }

    fn device(&self) -> &Device {
        &Device::Cpu
    }

    fn residual(&self, plan: &Plan) -> Box<dyn Residual> {
        Box::new(residual::Network::new(plan, &self.program, self.precision))
    }

    fn rounds(&self, class: &dyn Fn() -> Rounds) -> Result<Option<Box<dyn RoundSearch>>> {
        let class = class();
        assert!(rounds::able(&class));
        Ok(Some(Box::new(rounds::Search::new(self.program.clone(), class)?)))
    }

    fn momentum(&self, var: &Var) -> Box<dyn Momentum> {
        if var.dtype() != DType::F32 {
            return composed::momentum(var);
        }
        Box::new(Velocity {
            program: self.program.clone(),
            numbers: None,
        })
    }
}

/// The velocity of a variable, taken to the kernel and back.
#[derive(Debug)]
struct Velocity {
    program: Program,
    numbers: Option<Vec<f32>>,
}

impl Momentum for Velocity {
    fn step(&mut self, var: &Var, grad: &Tensor, rule: &SgdRule) -> Result<()> {
        let (program, len) = (&self.program, var.elem_count());
        let first = self.numbers.is_none();
        let velocity = self.numbers.take().unwrap_or_else(|| vec![0.0; len]);
        let weights = var.flatten_all()?.to_vec1::<f32>()?;
        let grad = grad.flatten_all()?.to_vec1::<f32>()?;
        let at = [weights, velocity, grad].map(|numbers| program.with(&numbers));
        let (launch, args) = sgd::update(at, len, rule, first);
        program.launch(&launch, &args);
        let [weights, velocity, _] = at.map(|at| program.take::<f32>(at, len));
        self.numbers = Some(velocity);
        var.set(&Tensor::from_vec(weights, var.shape(), &Device::Cpu)?)
    }

    fn velocity(&self, var: &Var) -> Result<Option<Tensor>> {
        let tensor = |numbers: &Vec<f32>| Tensor::from_slice(numbers, var.shape(), &Device::Cpu);
        self.numbers.as_ref().map(tensor).transpose()
    }

    fn set(&mut self, _: &Var, velocity: Option<&Tensor>) -> Result<()> {
        let numbers = |velocity: &Tensor| velocity.flatten_all()?.to_vec1();
        self.numbers = velocity.map(numbers).transpose()?;
        Ok(())
    }
}
