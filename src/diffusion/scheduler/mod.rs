//! Noise schedules and the three ways down them, each as diffusers does it: PLMS (`PNDMScheduler` without
//! Runge-Kutta steps), DDIM, and DPM-Solver++ 2M (`DPMSolverMultistepScheduler`). All read the model's own
//! `scheduler_config.json`, whichever scheduler it was written for; keys that the file leaves out have the
//! defaults of the scheduler in use, as after diffusers' `from_config`, and keys that the scheduler in use
//! does not know are ignored, as there. PLMS without Runge-Kutta steps is taken where `skip_prk_steps` is
//! left out, too: it is what Stable Diffusion means by it.
//!
//! Coefficients are computed in f64 from diffusers' f32 tables.

mod config;
mod ddim;
mod dpm;
mod plms;

use candle_core::Tensor;

pub(crate) use self::config::SchedulerConfig;
use self::config::{Prediction, Spacing};
use super::error::{DiffusionError, Result};

/// The way from noise to a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Scheduler {
    /// Pseudo linear multistep (Liu et al., "Pseudo numerical methods for diffusion models on manifolds",
    /// 2022); one model evaluation more than steps.
    Plms,
    /// Denoising diffusion implicit models (Song et al. 2021). `eta` 0 adds no noise, 1 as much as DDPM.
    Ddim {
        /// Share of the noise of DDPM that each step adds.
        eta: f64,
    },
    /// DPM-Solver++ of second order, multistep, midpoint (Lu et al. 2022).
    DpmSolver2M,
}

/// The schedule of a model: the cumulative product of alphas, checked settings.
pub(crate) struct Schedule {
    config: SchedulerConfig,
    prediction: Prediction,
    spacing: Option<Spacing>,
    /// `alphas_cumprod`
    alphas: Vec<f32>,
}

fn setting(setting: &'static str, found: impl ToString, expected: impl Into<String>) -> DiffusionError {
    DiffusionError::Setting {
        setting,
        found: found.to_string(),
        expected: expected.into(),
    }
}

impl Schedule {
    /// Refuses a setting that the scheduler `name` would go by in diffusers and that is not done here.
    fn refuse(&self, name: &str, settings: &[(&str, Option<bool>)]) -> Result<()> {
        match settings.iter().find(|(_, value)| *value == Some(true)) {
            Some((key, _)) => Err(setting(
                "scheduler",
                name,
                format!(
                    "another one: the model's scheduler_config.json has {key} = true, which {name} does \
                     not do here"
                ),
            )),
            None => Ok(()),
        }
    }

    /// Starts a way of `steps` steps.
    pub(crate) fn start(&self, scheduler: Scheduler, steps: usize) -> Result<Box<dyn Stepper + '_>> {
        let most = self.alphas.len();
        if steps == 0 || steps > most {
            return Err(setting(
                "steps",
                steps,
                format!("1 to {most}, the timesteps that the model was trained on"),
            ));
        }
        let stepper: Box<dyn Stepper> = match scheduler {
            Scheduler::Plms => Box::new(plms::Plms::new(self, steps)?),
            Scheduler::Ddim { eta } => Box::new(ddim::Ddim::new(self, steps, eta)?),
            Scheduler::DpmSolver2M => Box::new(dpm::Dpm::new(self, steps)?),
        };
        match stepper.timesteps().iter().find(|t| **t >= most) {
            Some(t) => {
                let why = format!("the first timestep would be {t} of {most}; take fewer");
                Err(setting("steps", steps, why))
            }
            None => Ok(stepper),
        }
    }

    /// Returns how often the model is evaluated for a picture.
    pub(crate) fn evaluations(&self, scheduler: Scheduler, steps: usize) -> Result<usize> {
        Ok(self.start(scheduler, steps)?.timesteps().len())
    }

    /// Ascending timesteps of PLMS and DDIM.
    fn timesteps(&self, steps: usize) -> Vec<usize> {
        let n = self.alphas.len();
        match self.spacing.unwrap_or(Spacing::Leading) {
            Spacing::Leading => (0..steps)
                .map(|i| i * (n / steps) + self.config.steps_offset)
                .collect(),
            Spacing::Linspace => {
                let step = (n - 1) as f64 / steps.max(2).saturating_sub(1) as f64;
                (0..steps)
                    .map(|i| (i as f64 * step).round_ties_even() as usize)
                    .collect()
            }
            Spacing::Trailing => {
                // numpy's `arange` multiplies the difference of its first two numbers, which is not quite the
                // ratio.
                let n = n as f64;
                let step = (n - n / steps as f64) - n;
                let at = |i: usize| (n + i as f64 * step).round_ties_even() as usize;
                (0..steps).rev().map(|i| at(i).saturating_sub(1)).collect()
            }
        }
    }

    /// `alphas_cumprod` at a timestep; before the first one what the configuration says.
    fn alpha(&self, timestep: isize, set_alpha_to_one: bool) -> f64 {
        let first = if set_alpha_to_one {
            1.0
        } else {
            self.alphas.first().copied().unwrap_or(1.0)
        };
        let at = usize::try_from(timestep)
            .ok()
            .and_then(|t| self.alphas.get(t).copied());
        f64::from(at.unwrap_or(first))
    }

    /// The clean sample and the noise that `output` stands for.
    fn clean_and_noise(&self, output: &Tensor, sample: &Tensor, alpha: f64) -> Result<(Tensor, Tensor)> {
        let (a, b) = (alpha.sqrt(), (1.0 - alpha).sqrt());
        Ok(match self.prediction {
            Prediction::Noise => (combine(&[(1.0 / a, sample), (-b / a, output)])?, output.clone()),
            Prediction::Sample => (output.clone(), combine(&[(1.0 / b, sample), (-a / b, output)])?),
            Prediction::Velocity => (
                combine(&[(a, sample), (-b, output)])?,
                combine(&[(a, output), (b, sample)])?,
            ),
        })
    }
}

/// A way down: call [`Self::step`] once for each of [`Self::timesteps`].
pub(crate) trait Stepper {
    /// The timesteps at which the model is to be evaluated, in order.
    fn timesteps(&self) -> &[usize];

    /// Whether steps need noise.
    fn stochastic(&self) -> bool {
        false
    }

    /// Goes from `sample` at the `i`th timestep to the next, given the model's `output` there.
    fn step(&mut self, i: usize, output: &Tensor, sample: &Tensor, noise: Option<&Tensor>) -> Result<Tensor>;
}

/// The sum of tensors, each times its number.
fn combine(terms: &[(f64, &Tensor)]) -> Result<Tensor> {
    let mut sum: Option<Tensor> = None;
    for (factor, tensor) in terms {
        let term = (*tensor * *factor)?;
        sum = Some(match sum {
            Some(sum) => (sum + term)?,
            None => term,
        });
    }
    sum.ok_or_else(|| candle_core::Error::Msg("an empty sum has no shape".into()).into())
}

#[cfg(test)]
mod tests;
