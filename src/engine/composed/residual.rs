//! Residual networks.

use std::collections::BTreeMap;

use candle_core::{D, Result, Tensor};

use crate::engine::layers::Residual;
use crate::engine::plan::{EPSILON, MOMENTUM, Plan, Unit, Variables};
use crate::engine::raw::{ConvShape, Head, Run};

/// A convolution that gradients go back through.
pub(in crate::engine) type Convolve = fn(&Tensor, &Tensor, &ConvShape) -> Result<Tensor>;

#[derive(Debug)]
pub(super) struct Network {
    plan: Plan,
    conv2d: Convolve,
}

impl Network {
    pub(super) fn new(plan: &Plan, conv2d: Convolve) -> Self {
        Self {
            plan: plan.clone(),
            conv2d,
        }
    }
}

/// The forward pass of a network, with what its norms see of the batch.
pub(super) struct Forward<'a> {
    variables: &'a Variables,
    train: bool,
    conv2d: Convolve,
    /// Statistics of the batch by their start in the buffers.
    statistics: BTreeMap<usize, Tensor>,
}

impl Residual for Network {
    fn forward(&self, variables: &Variables, x: &Tensor, run: Run) -> Result<Tensor> {
        let plan = &self.plan;
        let mut pass = Forward::new(variables, self.conv2d, run.train);
        let mut x = pass.unit(&plan.stem, x)?.relu()?;
        if plan.pool {
            x = max_pool(&x)?;
        }
        for block in &plan.blocks {
            let shortcut = match &block.projection {
                Some(unit) => pass.unit(unit, &x)?,
                None => x.clone(),
            };
            for (i, unit) in block.units.iter().enumerate() {
                if i > 0 {
                    x = x.relu()?;
                }
                x = pass.unit(unit, &x)?;
            }
            x = (x + shortcut)?.relu()?;
        }
        let features = x.mean(D::Minus1)?.mean(D::Minus1)?; // [n, features]
        pass.close()?;
        match run.head {
            Head::Features => Ok(features),
            Head::Logits => last(variables, [plan.fc_weight, plan.fc_bias], plan.outputs, &features),
        }
    }

    fn last(&self, variables: &Variables, features: &Tensor) -> Result<Tensor> {
        let plan = &self.plan;
        Ok(last(variables, [plan.fc_weight, plan.fc_bias], plan.outputs, features)?.detach())
    }
}

/// The last layer, of features `[n, features]`; where its weight and bias start.
pub(super) fn last(
    variables: &Variables,
    [weight, bias]: [usize; 2],
    outputs: usize,
    features: &Tensor,
) -> Result<Tensor> {
    let weight = variables.trained(weight, &[outputs, features.dim(1)?])?;
    let bias = variables.trained(bias, &[outputs])?;
    features.matmul(&weight.t()?)?.broadcast_add(&bias)
}

/// Where the numbers of a norm are, and how many channels it has.
pub(super) struct NormPlace {
    pub channels: usize,
    pub gamma: usize,
    pub beta: usize,
    pub mean: usize,
    pub var: usize,
}

impl<'a> Forward<'a> {
    pub(super) fn new(variables: &'a Variables, conv2d: Convolve, train: bool) -> Self {
        Self {
            variables,
            train,
            conv2d,
            statistics: BTreeMap::new(),
        }
    }

    /// Moves the running statistics towards those of the batch.
    pub(super) fn close(self) -> Result<()> {
        if !self.train {
            return Ok(());
        }
        let batch = Tensor::cat(&self.statistics.into_values().collect::<Vec<_>>(), 0)?;
        let old = self.variables.buffers.detach();
        let new = (old.affine(1.0 - MOMENTUM, 0.0)? + batch.affine(MOMENTUM, 0.0)?)?;
        self.variables.buffers.set(&new)
    }

    fn unit(&mut self, unit: &Unit, x: &Tensor) -> Result<Tensor> {
        let (_, _, h, w) = x.dims4()?;
        let y = self.conv(unit.weight, &unit.shape([h, w]), x)?;
        let place = NormPlace {
            channels: unit.channels_out,
            gamma: unit.gamma,
            beta: unit.beta,
            mean: unit.mean,
            var: unit.var,
        };
        self.norm(&place, &y)
    }

    /// The convolution whose weight starts at `weight`.
    pub(super) fn conv(&self, weight: usize, shape: &ConvShape, x: &Tensor) -> Result<Tensor> {
        let [rows, columns] = shape.kernel;
        let dims = [shape.channels_out, shape.channels_in, rows, columns];
        (self.conv2d)(x, &self.variables.trained(weight, &dims)?, shape)
    }

    /// The batch norm of `y` `[n, channels, h, w]`.
    pub(super) fn norm(&mut self, norm: &NormPlace, y: &Tensor) -> Result<Tensor> {
        let channels = norm.channels;
        let trained = |start: usize| self.variables.trained(start, &[1, channels, 1, 1]);
        let buffer = |start: usize| self.variables.buffer(start, &[channels]);
        let column = (1, channels, 1, 1);
        let (mean, var) = if self.train {
            let rows = y.transpose(0, 1)?.flatten_from(1)?; // [channels, n * h * w]
            let count = rows.dim(1)? as f64;
            let mean = rows.mean_keepdim(1)?;
            let var = rows.broadcast_sub(&mean)?.sqr()?.mean_keepdim(1)?;
            // Running statistics keep the unbiased variance, normalisation uses the biased one (as PyTorch).
            let unbiased = var.detach().affine(count / (count - 1.0).max(1.0), 0.0)?;
            self.statistics.insert(norm.mean, mean.detach().flatten_all()?);
            self.statistics.insert(norm.var, unbiased.flatten_all()?);
            (mean, var)
        } else {
            (buffer(norm.mean)?, buffer(norm.var)?)
        };
        let scale = (trained(norm.gamma)? / (var.reshape(column)? + EPSILON)?.sqrt()?)?;
        let centred = y.broadcast_sub(&mean.reshape(column)?)?;
        centred.broadcast_mul(&scale)?.broadcast_add(&trained(norm.beta)?)
    }
}

/// 3x3 max-pool of stride 2 and padding 1 of numbers that are not negative (so that zeros may pad).
pub(crate) fn max_pool(x: &Tensor) -> Result<Tensor> {
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
