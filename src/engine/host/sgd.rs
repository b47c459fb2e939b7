//! SGD with momentum in one pass over a variable.

use candle_core::{Device, Result, Tensor, Var};
use rayon::prelude::*;

use super::op::in_place;
use crate::engine::layers::Momentum;
use crate::engine::raw::SgdRule;

/// Numbers that one task updates.
const CHUNK: usize = 1 << 14;

/// The velocity, which the update changes in place.
#[derive(Debug, Default)]
pub(super) struct Velocity(Option<Vec<f32>>);

impl Momentum for Velocity {
    fn step(&mut self, var: &Var, grad: &Tensor, rule: &SgdRule) -> Result<()> {
        let first = self.0.is_none();
        let velocity = self.0.get_or_insert_with(|| vec![0.0; var.elem_count()]);
        let (lr, momentum, decay) = (rule.lr as f32, rule.momentum as f32, rule.weight_decay as f32);
        let nesterov = rule.nesterov;
        in_place(var.as_tensor(), grad, "dream-sgd", |weights, grad| {
            let chunks = weights.par_chunks_mut(CHUNK).zip(velocity.par_chunks_mut(CHUNK));
            chunks
                .zip(grad.par_chunks(CHUNK))
                .for_each(|((weights, velocity), grad)| {
                    for ((w, v), g) in weights.iter_mut().zip(velocity).zip(grad) {
                        let g = g + decay * *w;
                        *v = if first { g } else { momentum * *v + g };
                        let direction = if nesterov { g + momentum * *v } else { *v };
                        *w -= lr * direction;
                    }
                });
        })
    }

    fn velocity(&self, var: &Var) -> Result<Option<Tensor>> {
        let tensor = |numbers: &Vec<f32>| Tensor::from_slice(numbers, var.shape(), &Device::Cpu);
        self.0.as_ref().map(tensor).transpose()
    }

    fn set(&mut self, var: &Var, velocity: Option<&Tensor>) -> Result<()> {
        let numbers = |velocity: &Tensor| velocity.to_dtype(var.dtype())?.flatten_all()?.to_vec1();
        self.0 = velocity.map(numbers).transpose()?;
        Ok(())
    }
}
