//! Residual networks as one operation of candle's graph, over the picture and the flat variable of all
//! trainable numbers: batch norm, ReLU and residual sums are folded into the convolutions' copies, and what
//! the backward pass needs is kept.

mod backward;
mod forward;
mod pool;

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{Device, Result, Tensor, bail};

use self::forward::{Numbers, Statistics, Tape, linear};
use self::pool::Pool;
use super::op::{Differentiable, Gradients, Output, View, differentiable};
use crate::engine::layers::Residual;
use crate::engine::plan::{MOMENTUM, Plan, Variables};
use crate::engine::raw::Run;

/// A network and its memory.
#[derive(Debug)]
pub(super) struct Network {
    plan: Arc<Plan>,
    pool: Arc<Pool>,
}

impl Network {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            plan: Arc::new(plan.clone()),
            pool: Arc::default(),
        }
    }
}

impl Residual for Network {
    fn forward(&self, variables: &Variables, x: &Tensor, run: Run) -> Result<Tensor> {
        let statistics = Arc::new(Mutex::new(Statistics::new()));
        let pass = Pass {
            plan: self.plan.clone(),
            pool: self.pool.clone(),
            buffers: variables.buffers.to_vec1()?,
            run,
            with_input: x.track_op(),
            tape: Mutex::new(None),
            statistics: statistics.clone(),
        };
        let out = differentiable(x, &variables.flat, pass)?;
        if run.train {
            let batch = std::mem::take(&mut *statistics.lock().unwrap_or_else(PoisonError::into_inner));
            let mut buffers = variables.buffers.to_vec1::<f32>()?;
            for (start, numbers) in batch {
                for (old, new) in buffers[start..].iter_mut().zip(numbers) {
                    *old = (1.0 - MOMENTUM as f32) * *old + MOMENTUM as f32 * new;
                }
            }
            let n = buffers.len();
            variables
                .buffers
                .set(&Tensor::from_vec(buffers, n, &Device::Cpu)?)?;
        }
        Ok(out)
    }

    fn last(&self, variables: &Variables, features: &Tensor) -> Result<Tensor> {
        let flat = variables.flat.flatten_all()?.to_vec1::<f32>()?;
        let logits = linear(&self.plan, &flat, &features.flatten_all()?.to_vec1::<f32>()?);
        Tensor::from_vec(logits, (features.dim(0)?, self.plan.outputs), &Device::Cpu)
    }
}

/// One run of the network.
struct Pass {
    plan: Arc<Plan>,
    pool: Arc<Pool>,
    buffers: Vec<f32>,
    run: Run,
    with_input: bool,
    tape: Mutex<Option<Tape>>,
    statistics: Arc<Mutex<Statistics>>,
}

impl Differentiable for Pass {
    const NAME: &'static str = "dream-resnet";

    fn forward(&self, x: View, flat: View) -> Output {
        let &[n, _, h, w] = x.dims else {
            bail!("a residual network cannot take {:?}", x.dims);
        };
        let input = forward::Input {
            x: x.data,
            samples: n,
            size: [h, w],
        };
        let numbers = Numbers {
            flat: flat.data,
            buffers: &self.buffers,
        };
        let done = forward::forward(&self.plan, numbers, &self.pool, input, self.run);
        if self.run.train {
            *self.tape.lock().unwrap_or_else(PoisonError::into_inner) = Some(done.tape);
            *self.statistics.lock().unwrap_or_else(PoisonError::into_inner) = done.statistics;
        }
        let width = done.out.len() / n;
        Ok((done.out, (n, width).into()))
    }

    fn backward(&self, x: View, flat: View, grad: &[f32]) -> Result<Gradients> {
        let tape = self.tape.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(tape) = tape.as_ref() else {
            bail!(
                "backward through a network in evaluation mode: call forward with train = true, or detach \
                 its output"
            );
        };
        let (dflat, dx) = backward::backward(&self.plan, tape, flat.data, x.data, grad, self.with_input);
        Ok((dx, Some(dflat)))
    }
}
