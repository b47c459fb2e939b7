//! SGD with momentum.

use candle_core::{Result, Tensor, Var};

use crate::engine::layers::Momentum;
use crate::engine::raw::SgdRule;

#[derive(Debug, Default)]
pub(super) struct Velocity(Option<Tensor>);

impl Momentum for Velocity {
    fn step(&mut self, var: &Var, grad: &Tensor, rule: &SgdRule) -> Result<()> {
        let weights = var.as_tensor().detach();
        let grad = (grad + weights.affine(rule.weight_decay, 0.0)?)?;
        let next = match &self.0 {
            Some(velocity) => (velocity.affine(rule.momentum, 0.0)? + &grad)?,
            None => grad.clone(),
        };
        let direction = if rule.nesterov {
            (&grad + next.affine(rule.momentum, 0.0)?)?
        } else {
            next.clone()
        };
        var.set(&(weights - direction.affine(rule.lr, 0.0)?)?)?;
        self.0 = Some(next);
        Ok(())
    }

    fn velocity(&self, _: &Var) -> Result<Option<Tensor>> {
        self.0.as_ref().map(Tensor::copy).transpose()
    }

    fn set(&mut self, var: &Var, velocity: Option<&Tensor>) -> Result<()> {
        let here = |velocity: &Tensor| velocity.to_dtype(var.dtype())?.to_device(var.device())?.copy();
        self.0 = velocity.map(here).transpose()?;
        Ok(())
    }
}
