//! The network composed of candle's operations: what runs where there is no fast engine, and what the engine is checked
//! against.

use std::collections::BTreeMap;

use candle_core::{D, Tensor};

use super::super::Result;
use super::super::conv::conv2d;
use super::super::params::Params;
use super::Head;
use super::plan::{EPSILON, MOMENTUM, Plan, Unit};

struct Network<'a> {
    params: &'a Params,
    train: bool,
    /// Statistics of the batch by their start in the buffers.
    statistics: BTreeMap<usize, Tensor>,
}

pub(super) fn forward(plan: &Plan, params: &Params, x: &Tensor, train: bool, head: Head) -> Result<Tensor> {
    let mut network = Network {
        params,
        train,
        statistics: BTreeMap::new(),
    };
    let mut x = network.unit(&plan.stem, x)?.relu()?;
    if plan.pool {
        x = max_pool(&x)?;
    }
    for block in &plan.blocks {
        let shortcut = match &block.projection {
            Some(unit) => network.unit(unit, &x)?,
            None => x.clone(),
        };
        for (i, unit) in block.units.iter().enumerate() {
            if i > 0 {
                x = x.relu()?;
            }
            x = network.unit(unit, &x)?;
        }
        x = (x + shortcut)?.relu()?;
    }
    let features = x.mean(D::Minus1)?.mean(D::Minus1)?; // [n, features]
    if train {
        let batch = Tensor::cat(&network.statistics.into_values().collect::<Vec<_>>(), 0)?;
        let old = params.buffers().detach();
        params
            .buffers()
            .set(&(old.affine(1.0 - MOMENTUM, 0.0)? + batch.affine(MOMENTUM, 0.0)?)?)?;
    }
    match head {
        Head::Features => Ok(features),
        Head::Logits => {
            let logits = features.matmul(&params.get("fc.weight")?.t()?)?;
            Ok(logits.broadcast_add(&params.get("fc.bias")?)?)
        }
    }
}

impl Network<'_> {
    fn unit(&mut self, unit: &Unit, x: &Tensor) -> Result<Tensor> {
        let get = |part: &str| self.params.get(&format!("{}.{part}", unit.norm));
        let weight = self.params.get(&format!("{}.weight", unit.conv))?;
        let y = conv2d(x, &weight, unit.stride, unit.kernel / 2, 1)?;
        let column = (1, unit.channels_out, 1, 1);
        let (mean, var) = if self.train {
            let rows = y.transpose(0, 1)?.flatten_from(1)?; // [channels, n * h * w]
            let count = rows.dim(1)? as f64;
            let mean = rows.mean_keepdim(1)?;
            let var = rows.broadcast_sub(&mean)?.sqr()?.mean_keepdim(1)?;
            // Running statistics keep the unbiased variance, normalisation uses the biased one (as PyTorch).
            let unbiased = var.detach().affine(count / (count - 1.0).max(1.0), 0.0)?;
            self.statistics.insert(unit.mean, mean.detach().flatten_all()?);
            self.statistics.insert(unit.var, unbiased.flatten_all()?);
            (mean, var)
        } else {
            (get("running_mean")?.detach(), get("running_var")?.detach())
        };
        let scale = (get("weight")?.reshape(column)? / (var.reshape(column)? + EPSILON)?.sqrt()?)?;
        let centred = y.broadcast_sub(&mean.reshape(column)?)?;
        Ok(centred
            .broadcast_mul(&scale)?
            .broadcast_add(&get("bias")?.reshape(column)?)?)
    }
}

/// 3x3 max-pool of stride 2 and padding 1 of numbers that are not negative (so that zeros may pad).
fn max_pool(x: &Tensor) -> Result<Tensor> {
    let mut x = x.clone();
    for dim in [2, 3] {
        let out = (x.dim(dim)? - 1) / 2 + 1;
        let padded = x.pad_with_zeros(dim, 1, 2)?;
        let pick = |from: u32| {
            let index: Vec<u32> = (0..out as u32).map(|i| 2 * i + from).collect();
            padded.index_select(&Tensor::new(index, x.device())?, dim)
        };
        x = pick(0)?.maximum(&pick(1)?)?.maximum(&pick(2)?)?;
    }
    Ok(x)
}
