//! The CPU engine as one operation of candle's graph, over the picture and the flat variable of all trainable numbers.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor};

use super::super::Result;
use super::super::conv::{floats, with_floats};
use super::super::params::Params;
use super::Head;
use super::backward;
use super::engine::{self, Numbers, Statistics, Tape};
use super::plan::{MOMENTUM, Plan};
use super::pool::Pool;

struct Network {
    plan: Plan,
    pool: Arc<Pool>,
    params: Params,
    train: bool,
    head: Head,
    with_input: bool,
    tape: Mutex<Option<Tape>>,
    statistics: Arc<Mutex<Statistics>>,
}

pub(super) fn forward(
    plan: &Plan,
    pool: &Arc<Pool>,
    params: &Params,
    x: &Tensor,
    train: bool,
    head: Head,
) -> Result<Tensor> {
    let statistics = Arc::new(Mutex::new(Statistics::new()));
    let op = Network {
        plan: plan.clone(),
        pool: pool.clone(),
        params: params.clone(),
        train,
        head,
        with_input: x.track_op(),
        tape: Mutex::new(None),
        statistics: statistics.clone(),
    };
    let out = x.contiguous()?.apply_op2(params.var(), op)?;
    let batch = std::mem::take(&mut *statistics.lock().unwrap_or_else(PoisonError::into_inner));
    if train {
        let mut buffers = params.buffers().to_vec1::<f32>()?;
        for (start, numbers) in batch {
            for (old, new) in buffers[start..].iter_mut().zip(numbers) {
                *old = (1.0 - MOMENTUM as f32) * *old + MOMENTUM as f32 * new;
            }
        }
        let n = buffers.len();
        params
            .buffers()
            .set(&Tensor::from_vec(buffers, n, params.device())?)?;
    }
    Ok(out)
}

impl CustomOp2 for Network {
    fn name(&self) -> &'static str {
        "dream-resnet"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        flat: &CpuStorage,
        flat_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (x, flat) = (floats(x, x_layout)?, floats(flat, flat_layout)?);
        let (n, _, h, w) = x_layout.shape().dims4()?;
        let buffers = self.params.buffers().to_vec1::<f32>()?;
        let numbers = Numbers {
            flat,
            buffers: &buffers,
        };
        let (out, tape, statistics) = engine::forward(
            &self.plan,
            numbers,
            &self.pool,
            x,
            n,
            [h, w],
            self.train,
            self.head,
        );
        if self.train {
            *self.tape.lock().unwrap_or_else(PoisonError::into_inner) = Some(tape);
            *self.statistics.lock().unwrap_or_else(PoisonError::into_inner) = statistics;
        }
        let width = out.len() / n;
        Ok((CpuStorage::F32(out), Shape::from((n, width))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        flat: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let tape = self.tape.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(tape) = tape.as_ref() else {
            candle_core::bail!(
                "backward through a network in evaluation mode: call forward with train = true, or detach its output"
            );
        };
        let (dflat, dx) = with_floats(x, |x| {
            with_floats(flat, |flat| {
                with_floats(grad, |grad| {
                    Ok(backward::backward(
                        &self.plan,
                        tape,
                        flat,
                        x,
                        grad,
                        self.with_input,
                    ))
                })
            })
        })?;
        let dflat = Tensor::from_vec(dflat, flat.shape(), flat.device())?;
        let dx = dx
            .map(|dx| Tensor::from_vec(dx, x.shape(), x.device()))
            .transpose()?;
        Ok((dx, Some(dflat)))
    }
}
