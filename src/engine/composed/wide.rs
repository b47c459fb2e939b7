//! Wide residual networks (Zagoruyko and Komodakis 2016), with norms before convolutions.

use candle_core::{D, Result, Tensor};

use super::residual::{Convolve, Forward, NormPlace, last};
use crate::engine::layers::Residual;
use crate::engine::plan::Variables;
use crate::engine::raw::{Head, Run};
use crate::engine::wide::{Conv, Norm, WidePlan};

#[derive(Debug)]
pub(super) struct Network {
    plan: WidePlan,
    conv2d: Convolve,
}

impl Network {
    pub(super) fn new(plan: &WidePlan, conv2d: Convolve) -> Self {
        Self {
            plan: plan.clone(),
            conv2d,
        }
    }
}

impl Residual for Network {
    fn forward(&self, variables: &Variables, x: &Tensor, run: Run) -> Result<Tensor> {
        let plan = &self.plan;
        let mut pass = Forward::new(variables, self.conv2d, run.train);
        let mut x = conv(&pass, &plan.stem, x)?;
        for block in &plan.blocks {
            let [first, second] = &block.norms;
            let normed = norm(&mut pass, first, &x)?;
            let shortcut = match &block.projection {
                Some(projection) => conv(&pass, projection, &normed)?,
                None => x,
            };
            let [first, last] = &block.convs;
            let inner = conv(&pass, first, &normed)?;
            let inner = norm(&mut pass, second, &inner)?;
            x = (conv(&pass, last, &inner)? + shortcut)?;
        }
        let x = norm(&mut pass, &plan.last, &x)?;
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

fn conv(pass: &Forward<'_>, conv: &Conv, x: &Tensor) -> Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    pass.conv(conv.weight, &conv.shape([h, w]), x)
}

/// A norm and the ReLU behind it.
fn norm(pass: &mut Forward<'_>, norm: &Norm, x: &Tensor) -> Result<Tensor> {
    let place = NormPlace {
        channels: norm.channels,
        gamma: norm.gamma,
        beta: norm.beta,
        mean: norm.mean,
        var: norm.var,
    };
    pass.norm(&place, x)?.relu()
}
