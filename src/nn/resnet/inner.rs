//! A network in evaluation mode, layer by layer: the maps between its layers, and gradients with respect to
//! the pictures.

use candle_core::{Tensor, Var};

use super::{Layers, ResNet};
use crate::engine::{Block, EPSILON, Plan, Unit, max_pool};
use crate::nn::{Error, Result};

/// Told of a map `[n, channels, h, w]`.
type Seen<'a> = &'a mut dyn FnMut(&Tensor) -> Result<()>;

/// The layers of a network in evaluation mode. No gradient reaches the network's own numbers.
///
/// Its *stages* are the stem (0) and those of the network (from 1 on), each with the map that it gives.
#[derive(Clone, Copy, Debug)]
pub struct Inner<'a>(pub(super) &'a ResNet);

impl Inner<'_> {
    /// The layers, where they can be looked at.
    fn plan(&self) -> Result<&Plan> {
        match &self.0.layers {
            Layers::Residual(plan) => Ok(plan),
            Layers::Wide(_) => Err(Error::Config {
                field: "form",
                value: "wide".to_owned(),
                expected: "a residual network, whose layers can be looked at",
            }),
        }
    }

    /// Number of stages, the stem among them.
    pub fn stages(&self) -> usize {
        self.plan().map_or(1, |plan| plan.stages.len() + 1)
    }

    /// Returns the map of each stage up to `last`, the stem's first, of pictures `x` `[n, in_channels, h,
    /// w]`.
    ///
    /// # Errors
    /// [`Error::Shape`] if `x` does not fit; candle's errors.
    pub fn maps(&self, x: &Tensor, last: usize) -> Result<Vec<Tensor>> {
        let mut maps = vec![self.stem(x, &mut None)?];
        for stage in 1..=last {
            let map = self.stage(stage, &maps[stage - 1], &mut None)?;
            maps.push(map);
        }
        Ok(maps)
    }

    /// Returns the pooled features `[n, feature_len]` that the layers after `stage` make of a map of it.
    ///
    /// # Errors
    /// Candle's errors.
    pub fn after(&self, stage: usize, map: &Tensor) -> Result<Tensor> {
        let mut map = map.clone();
        for later in stage + 1..self.stages() {
            map = self.stage(later, &map, &mut None)?;
        }
        pooled(&map)
    }

    /// Returns the pooled features of pictures, and tells `seen` of what every convolution and every ReLU
    /// gives, in the order of the layers.
    ///
    /// # Errors
    /// As [`Self::maps`]; whatever `seen` fails with.
    pub fn each(&self, x: &Tensor, seen: Seen<'_>) -> Result<Tensor> {
        let mut seen = Some(seen);
        let mut map = self.stem(x, &mut seen)?;
        for stage in 1..self.stages() {
            map = self.stage(stage, &map, &mut seen)?;
        }
        pooled(&map)
    }

    /// Returns the mean of each channel of a stage's map, `rows` `[n, channels]`, and the gradient of
    /// `sum(rows * of(rows))` with respect to the pictures, `of(rows)` taken as a constant.
    ///
    /// # Errors
    /// As [`Self::maps`]; whatever `of` fails with.
    pub fn gradient(
        &self,
        x: &Tensor,
        stage: usize,
        of: impl FnOnce(&Tensor) -> Result<Tensor>,
    ) -> Result<(Tensor, Tensor)> {
        let x = Var::from_tensor(&x.detach())?;
        let maps = self.maps(&x, stage)?;
        let rows = pooled(&maps[stage])?;
        drop(maps);
        let seen = rows.detach();
        let grads = (&rows * of(&seen)?.detach())?.sum_all()?.backward()?;
        let missing = || Error::NoGradient {
            name: "the pictures".to_owned(),
        };
        Ok((seen, grads.get(&x).ok_or_else(missing)?.clone()))
    }

    fn stem(&self, x: &Tensor, seen: &mut Option<Seen<'_>>) -> Result<Tensor> {
        self.0.check_pictures(x)?;
        let plan = self.plan()?;
        let map = relu(&self.unit(&plan.stem, x, seen)?, seen)?;
        match plan.pool {
            true => Ok(max_pool(&map)?),
            false => Ok(map),
        }
    }

    fn stage(&self, stage: usize, map: &Tensor, seen: &mut Option<Seen<'_>>) -> Result<Tensor> {
        let plan = self.plan()?;
        let first: usize = plan.stages[..stage - 1].iter().sum();
        let mut map = map.clone();
        for block in &plan.blocks[first..first + plan.stages[stage - 1]] {
            map = self.block(block, &map, seen)?;
        }
        Ok(map)
    }

    fn block(&self, block: &Block, x: &Tensor, seen: &mut Option<Seen<'_>>) -> Result<Tensor> {
        let mut map = x.clone();
        for (place, unit) in block.units.iter().enumerate() {
            if place > 0 {
                map = relu(&map, seen)?;
            }
            map = self.unit(unit, &map, seen)?;
        }
        let shortcut = match &block.projection {
            Some(unit) => self.unit(unit, x, seen)?,
            None => x.clone(),
        };
        relu(&(map + shortcut)?, seen)
    }

    /// A convolution and the batch norm after it, as one convolution with a bias where nobody looks at what
    /// is between them.
    fn unit(&self, unit: &Unit, x: &Tensor, seen: &mut Option<Seen<'_>>) -> Result<Tensor> {
        let variables = self.0.tensors.variables();
        let (channels, side) = (unit.channels_out, unit.kernel);
        let (_, _, h, w) = x.dims4()?;
        let conv = |weight: &Tensor| self.0.engine.conv2d(x, weight, &unit.shape([h, w]));
        let trained = |start: usize, shape: &[usize]| variables.trained(start, shape).map(|t| t.detach());
        let weight = trained(unit.weight, &[channels, unit.channels_in, side, side])?;
        let gamma = trained(unit.gamma, &[channels])?;
        let scale = (gamma / (variables.buffer(unit.var, &[channels])? + EPSILON)?.sqrt()?)?;
        let shift =
            (trained(unit.beta, &[channels])? - (variables.buffer(unit.mean, &[channels])? * &scale)?)?;
        let shift = shift.reshape((1, channels, 1, 1))?;
        let y = match seen {
            Some(seen) => {
                let y = conv(&weight)?;
                seen(&y)?;
                y.broadcast_mul(&scale.reshape((1, channels, 1, 1))?)?
            }
            None => conv(&weight.broadcast_mul(&scale.reshape((channels, 1, 1, 1))?)?)?,
        };
        Ok(y.broadcast_add(&shift)?)
    }
}

fn relu(x: &Tensor, seen: &mut Option<Seen<'_>>) -> Result<Tensor> {
    let y = x.relu()?;
    if let Some(seen) = seen {
        seen(&y)?;
    }
    Ok(y)
}

/// The mean of each channel: `[n, channels]`.
fn pooled(map: &Tensor) -> Result<Tensor> {
    Ok(map.flatten_from(2)?.mean(2)?)
}
