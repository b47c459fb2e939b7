//! phi of DREAM-OOD's Eq. 8 in training: from an energy E(x) to the log-odds of x being in-distribution.

use candle_core::{Device, Tensor, Var};

use super::StageError;
use crate::nn::{self, State};
use crate::ood;
use crate::rng::{Stream, domain};
use crate::words::words;

words! {
    /// Which phi.
    pub enum PhiName {
        /// A line whose slope is held positive by a softplus: higher energy always means more
        /// in-distribution. A free slope can turn negative in the first steps, and the network then learns to
        /// give ID images the *lower* energy, which inverts the score.
        Linear = "linear",
        /// A line with a free slope.
        LinearFree = "linear-free",
        /// Two lines, whose difference are the log-odds: the public code's `Linear(1, 2)` for CIFAR-100. It
        /// is one line too, but its slope moves twice as fast, and begins as the difference of two draws.
        LinearTwo = "linear-two",
        /// 1 - 512 - ReLU - 2, as in the public code for ImageNet-100.
        TwoLayer = "two-layer",
    }
}

/// Units of the hidden layer of [`PhiName::TwoLayer`].
const HIDDEN: usize = 512;

/// phi with trainable parameters.
pub(super) struct TrainedPhi {
    name: PhiName,
    vars: Vec<(&'static str, Var)>,
}

/// Says whether a tensor of a checkpoint belongs to phi.
pub(super) fn is_phi(name: &str) -> bool {
    name.starts_with("phi.")
}

impl TrainedPhi {
    /// Returns phi as training begins: a slope of ln 2, or layers drawn as PyTorch draws them (uniform within
    /// 1/sqrt(fan-in)).
    pub fn new(name: &PhiName, seed: u64, device: &Device) -> Result<Self, StageError> {
        let mut stream = Stream::new(seed, domain::DETECT_PHI, 0, 0);
        let mut uniform = |n: usize, bound: f32| {
            (0..n)
                .map(|_| (2.0 * stream.uniform() - 1.0) * bound)
                .collect::<Vec<_>>()
        };
        let narrow = 1.0 / (HIDDEN as f32).sqrt();
        let parts = match name {
            PhiName::Linear => vec![("phi.weight", vec![0.0]), ("phi.bias", vec![0.0])],
            PhiName::LinearFree => vec![("phi.weight", uniform(1, 1.0)), ("phi.bias", uniform(1, 1.0))],
            PhiName::LinearTwo => vec![("phi.weight", uniform(2, 1.0)), ("phi.bias", uniform(2, 1.0))],
            PhiName::TwoLayer => vec![
                ("phi.0.weight", uniform(HIDDEN, 1.0)),
                ("phi.0.bias", uniform(HIDDEN, 1.0)),
                ("phi.2.weight", uniform(2 * HIDDEN, narrow)),
                ("phi.2.bias", uniform(2, narrow)),
            ],
        };
        let var = |(name, values): (&'static str, Vec<f32>)| {
            let shape = if name == "phi.2.weight" {
                vec![2, HIDDEN]
            } else {
                vec![values.len()]
            };
            Ok((name, Var::from_tensor(&Tensor::from_vec(values, shape, device)?)?))
        };
        Ok(Self {
            name: *name,
            vars: parts
                .into_iter()
                .map(var)
                .collect::<Result<_, candle_core::Error>>()?,
        })
    }

    /// Returns the parameters by the names that they have in checkpoints.
    pub fn vars(&self) -> Vec<(String, Var)> {
        self.vars
            .iter()
            .map(|(name, var)| ((*name).to_owned(), var.clone()))
            .collect()
    }

    /// Takes the parameters out of a checkpoint.
    pub fn load(&self, state: &mut State) -> Result<(), StageError> {
        for (name, var) in &self.vars {
            let missing = || StageError::Mismatch(format!("the checkpoint has no `{name}`"));
            var.set(&state.remove(*name).ok_or_else(missing)?)?;
        }
        Ok(())
    }

    /// Returns the log-odds of energies `[n]`, with gradients.
    pub fn log_odds(&self, energy: &Tensor) -> Result<Tensor, StageError> {
        let var = |i: usize| self.vars[i].1.as_tensor();
        Ok(match self.name {
            PhiName::Linear => energy.broadcast_mul(&softplus(var(0))?)?.broadcast_add(var(1))?,
            PhiName::LinearFree => energy.broadcast_mul(var(0))?.broadcast_add(var(1))?,
            PhiName::LinearTwo => energy
                .broadcast_mul(&difference(var(0))?)?
                .broadcast_add(&difference(var(1))?)?,
            PhiName::TwoLayer => {
                // [n, 1] * [1, hidden] + [hidden]
                let hidden = energy
                    .unsqueeze(1)?
                    .broadcast_mul(&var(0).unsqueeze(0)?)?
                    .broadcast_add(var(1))?
                    .relu()?;
                let both = hidden.matmul(&var(2).t()?)?.broadcast_add(var(3))?;
                (both.narrow(1, 1, 1)? - both.narrow(1, 0, 1)?)?.squeeze(1)?
            }
        })
    }

    /// Returns the binary cross-entropy of energies `[n]`, of which the first `ids` are of images and the
    /// rest of outliers, with gradients (Eq. 7).
    pub fn uncertainty(&self, energy: &Tensor, ids: usize) -> Result<Tensor, StageError> {
        let n = energy.dim(0)?;
        let is_id: Vec<f32> = (0..n).map(|i| if i < ids { 1.0 } else { 0.0 }).collect();
        let is_id = Tensor::from_vec(is_id, n, energy.device())?;
        let log_odds = self.log_odds(energy)?;
        Ok(nn::binary_cross_entropy_with_logits(&log_odds, &is_id)?)
    }

    /// Returns phi as scores use it.
    pub fn frozen(&self) -> Result<ood::Phi, StageError> {
        let values = |i: usize| self.vars[i].1.as_tensor().flatten_all()?.to_vec1::<f32>();
        let slope = |tensor: &Tensor| tensor.to_vec1::<f32>().map(|v| v.iter().sum());
        let bias = |i: usize| values(i).map(|v: Vec<f32>| v.iter().sum());
        Ok(match self.name {
            PhiName::Linear => ood::Phi::Linear {
                slope: slope(&softplus(self.vars[0].1.as_tensor())?)?,
                intercept: bias(1)?,
            },
            PhiName::LinearFree => ood::Phi::Linear {
                slope: slope(self.vars[0].1.as_tensor())?,
                intercept: bias(1)?,
            },
            PhiName::LinearTwo => {
                let of = |i: usize| slope(&difference(self.vars[i].1.as_tensor())?);
                ood::Phi::Linear {
                    slope: of(0)?,
                    intercept: of(1)?,
                }
            }
            PhiName::TwoLayer => {
                let last = values(3)?;
                ood::Phi::TwoLayer {
                    weight1: values(0)?,
                    bias1: values(1)?,
                    weight2: values(2)?,
                    bias2: [last[0], last[1]],
                }
            }
        })
    }
}

/// The second number less the first.
fn difference(both: &Tensor) -> Result<Tensor, candle_core::Error> {
    both.narrow(0, 1, 1)? - both.narrow(0, 0, 1)?
}

/// ln(1 + e^x).
fn softplus(x: &Tensor) -> Result<Tensor, candle_core::Error> {
    (x.exp()? + 1.0)?.log()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trained_and_frozen_phi_agree_and_every_parameter_has_a_gradient() {
        let energies = [-2.0_f32, 0.0, 1.5, 9.0];
        let tensor = Tensor::new(&energies, &Device::Cpu).unwrap();
        for name in [
            PhiName::Linear,
            PhiName::LinearFree,
            PhiName::LinearTwo,
            PhiName::TwoLayer,
        ] {
            let phi = TrainedPhi::new(&name, 5, &Device::Cpu).unwrap();
            let trained = phi.log_odds(&tensor).unwrap();
            let grads = trained.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            for (parameter, var) in phi.vars() {
                let gradient = grads
                    .get(&var)
                    .unwrap()
                    .abs()
                    .unwrap()
                    .sum_all()
                    .unwrap()
                    .to_scalar::<f32>()
                    .unwrap();
                assert!(gradient > 0.0, "{parameter}");
            }
            let frozen = ood::phi(&energies, &phi.frozen().unwrap()).unwrap();
            for (a, b) in trained.to_vec1::<f32>().unwrap().iter().zip(frozen) {
                assert!((a - b).abs() < 1e-4, "{name:?}: {a} {b}");
            }
        }
    }

    /// From one slope and intercept, a step on one batch changes the one line of two outputs twice as far.
    #[test]
    fn two_outputs_move_twice_as_fast() {
        let energies = Tensor::new(&[-2.0_f32, 0.0, 1.5, 9.0], &Device::Cpu).unwrap();
        let start = |name: PhiName, weight: &[f32], bias: &[f32]| {
            let phi = TrainedPhi::new(&name, 5, &Device::Cpu).unwrap();
            for ((_, var), values) in phi.vars.iter().zip([weight, bias]) {
                var.set(&Tensor::new(values, &Device::Cpu).unwrap()).unwrap();
            }
            phi
        };
        let moved = |phi: TrainedPhi| {
            let loss = phi.uncertainty(&energies, 2).unwrap();
            let grads = loss.backward().unwrap();
            for (_, var) in &phi.vars {
                let step = (grads.get(var).unwrap() * 0.01).unwrap();
                var.set(&(var.as_tensor() - step).unwrap()).unwrap();
            }
            match phi.frozen().unwrap() {
                ood::Phi::Linear { slope, intercept } => [slope - 0.5, intercept - 0.25],
                other => panic!("{other:?}"),
            }
        };
        let free = moved(start(PhiName::LinearFree, &[0.5], &[0.25]));
        let two = moved(start(PhiName::LinearTwo, &[-0.25, 0.25], &[0.5, 0.75]));
        for (free, two) in free.into_iter().zip(two) {
            assert!(
                free.abs() > 1e-4 && (two - 2.0 * free).abs() < 1e-6,
                "{free} {two}"
            );
        }
    }
}
