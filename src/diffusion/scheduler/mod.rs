//! Noise schedules and the three ways down them, each as diffusers does it: PLMS (`PNDMScheduler` without Runge-Kutta
//! steps), DDIM, and DPM-Solver++ 2M (`DPMSolverMultistepScheduler`). All read the model's own `scheduler_config.json`, whichever
//! scheduler it was written for; keys that the file leaves out have the defaults of the scheduler in use, as after diffusers'
//! `from_config`, and keys that the scheduler in use does not know are ignored, as there. PLMS without Runge-Kutta steps is taken
//! where `skip_prk_steps` is left out, too: it is what Stable Diffusion means by it.
//!
//! Coefficients are computed in f64 from diffusers' f32 tables.

mod ddim;
mod dpm;
mod plms;

use std::path::Path;

use candle_core::Tensor;
use serde::Deserialize;
use serde_json::Value;

use super::error::{DiffusionError, Result};
use super::sampling::Sampling;

/// The way from noise to a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Scheduler {
    /// Pseudo linear multistep (Liu et al., "Pseudo numerical methods for diffusion models on manifolds", 2022); one model
    /// evaluation more than steps.
    Plms,
    /// Denoising diffusion implicit models (Song et al. 2021). `eta` 0 adds no noise, 1 as much as DDPM.
    Ddim {
        /// Share of the noise of DDPM that each step adds.
        eta: f64,
    },
    /// DPM-Solver++ of second order, multistep, midpoint (Lu et al. 2022).
    DpmSolver2M,
}

/// `scheduler/scheduler_config.json`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SchedulerConfig {
    #[serde(rename = "_class_name")]
    class: Option<String>,
    #[serde(default = "thousand")]
    num_train_timesteps: usize,
    #[serde(default = "beta_start")]
    beta_start: f64,
    #[serde(default = "beta_end")]
    beta_end: f64,
    beta_schedule: Option<String>,
    trained_betas: Option<Vec<f32>>,
    prediction_type: Option<String>,
    set_alpha_to_one: Option<bool>,
    #[serde(default)]
    steps_offset: usize,
    timestep_spacing: Option<String>,
    skip_prk_steps: Option<bool>,
    clip_sample: Option<bool>,
    clip_sample_range: Option<f64>,
    thresholding: Option<bool>,
    rescale_betas_zero_snr: Option<bool>,
    algorithm_type: Option<String>,
    solver_type: Option<String>,
    solver_order: Option<usize>,
    final_sigmas_type: Option<String>,
    lower_order_final: Option<bool>,
    euler_at_final: Option<bool>,
    use_karras_sigmas: Option<bool>,
    use_exponential_sigmas: Option<bool>,
    use_beta_sigmas: Option<bool>,
    use_lu_lambdas: Option<bool>,
    use_flow_sigmas: Option<bool>,
    lambda_min_clipped: Option<Value>,
}

fn thousand() -> usize {
    1000
}
fn beta_start() -> f64 {
    0.0001
}
fn beta_end() -> f64 {
    0.02
}

/// What the model predicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prediction {
    Noise,
    Velocity,
    Sample,
}

/// Where the timesteps lie (table 2 of Lin et al., "Common diffusion noise schedules and sample steps are flawed").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spacing {
    Linspace,
    Leading,
    Trailing,
}

/// The schedule of a model: the cumulative product of alphas, checked settings.
pub(crate) struct Schedule {
    config: SchedulerConfig,
    prediction: Prediction,
    spacing: Option<Spacing>,
    /// `alphas_cumprod`
    alphas: Vec<f32>,
}

/// The schedulers of diffusers whose configurations describe the noise by betas over discrete timesteps. A model with one of
/// another kind (flow matching, consistency) was not trained for the ways down that there are here.
const FAMILIES: [&str; 17] = [
    "PNDMScheduler",
    "DDIMScheduler",
    "DDIMParallelScheduler",
    "DDPMScheduler",
    "DDPMParallelScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "DPMSolverSDEScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "LMSDiscreteScheduler",
    "SASolverScheduler",
    "UniPCMultistepScheduler",
];

impl SchedulerConfig {
    /// What diffusers' `StableDiffusionPipeline` makes of a configuration that it is given: a first timestep of 1, and no clipping
    /// of the predicted clean sample, which for latents would be wrong. Files of 2022 leave these keys out or say otherwise.
    pub(crate) fn for_latents(mut self) -> Self {
        self.steps_offset = 1;
        self.clip_sample = Some(false);
        self
    }

    pub(crate) fn schedule(self, path: &Path) -> Result<Schedule> {
        let unsupported = |key: &str, found: &str, supported| DiffusionError::Unsupported {
            path: path.to_path_buf(),
            key: key.into(),
            found: found.into(),
            supported,
        };
        match &self.class {
            Some(class) if !FAMILIES.contains(&class.as_str()) => {
                let supported = "a scheduler of discrete betas: PNDMScheduler, DDIMScheduler, DPMSolverMultistepScheduler, \
                                 EulerDiscreteScheduler and their kin";
                return Err(unsupported("_class_name", class, supported));
            }
            None if self.beta_schedule.is_none() && self.trained_betas.is_none() => {
                return Err(DiffusionError::Config {
                    path: path.to_path_buf(),
                    message: "there is neither _class_name nor beta_schedule nor trained_betas: it says nothing of the noise"
                        .into(),
                });
            }
            _ => {}
        }
        // Changes the betas themselves, for every scheduler.
        if self.rescale_betas_zero_snr == Some(true) {
            return Err(unsupported("rescale_betas_zero_snr", "true", "false"));
        }
        let prediction = match self.prediction_type.as_deref() {
            None | Some("epsilon") => Prediction::Noise,
            Some("v_prediction") => Prediction::Velocity,
            Some("sample") => Prediction::Sample,
            Some(other) => {
                return Err(unsupported(
                    "prediction_type",
                    other,
                    "epsilon, v_prediction, sample",
                ));
            }
        };
        let spacing = match self.timestep_spacing.as_deref() {
            None => None,
            Some("linspace") => Some(Spacing::Linspace),
            Some("leading") => Some(Spacing::Leading),
            Some("trailing") => Some(Spacing::Trailing),
            Some(other) => {
                return Err(unsupported(
                    "timestep_spacing",
                    other,
                    "linspace, leading, trailing",
                ));
            }
        };
        let n = self.num_train_timesteps;
        let betas = match (
            &self.trained_betas,
            self.beta_schedule.as_deref().unwrap_or("linear"),
        ) {
            (Some(betas), _) => betas.clone(),
            (None, "linear") => linspace(self.beta_start, self.beta_end, n),
            (None, "scaled_linear") => linspace(self.beta_start.sqrt(), self.beta_end.sqrt(), n)
                .into_iter()
                .map(|b| b * b)
                .collect(),
            (None, "squaredcos_cap_v2") => cosine_betas(n),
            (None, other) => {
                return Err(unsupported(
                    "beta_schedule",
                    other,
                    "linear, scaled_linear, squaredcos_cap_v2",
                ));
            }
        };
        let alphas: Vec<f32> = betas
            .iter()
            .scan(1.0_f64, |product, beta| {
                *product *= f64::from(1.0 - beta);
                Some(*product as f32)
            })
            .collect();
        if alphas.len() != n || n < 2 || alphas.iter().any(|a| !(*a > 0.0 && *a < 1.0)) {
            let message = format!(
                "{} betas for {n} timesteps, or betas outside (0, 1)",
                alphas.len()
            );
            return Err(DiffusionError::Config {
                path: path.to_path_buf(),
                message,
            });
        }
        Ok(Schedule {
            config: self,
            prediction,
            spacing,
            alphas,
        })
    }
}

/// `torch.linspace` in f32, which counts from both ends.
fn linspace(start: f64, end: f64, n: usize) -> Vec<f32> {
    let (start, end) = (start as f32, end as f32);
    let step = (end - start) / (n.max(2) - 1) as f32;
    (0..n)
        .map(|i| {
            if i < n / 2 {
                start + step * i as f32
            } else {
                end - step * (n - i - 1) as f32
            }
        })
        .collect()
}

/// diffusers' `betas_for_alpha_bar`: Nichol and Dhariwal's cosine schedule.
fn cosine_betas(n: usize) -> Vec<f32> {
    let bar = |i: usize| {
        ((i as f64 / n as f64 + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2)
            .cos()
            .powi(2)
    };
    (0..n)
        .map(|i| (1.0 - bar(i + 1) / bar(i)).min(0.999) as f32)
        .collect()
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
                    "another one: the model's scheduler_config.json has {key} = true, which {name} does not do here"
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
    pub(crate) fn evaluations(&self, sampling: Sampling) -> Result<usize> {
        Ok(self.start(sampling.scheduler, sampling.steps)?.timesteps().len())
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
                // numpy's `arange` multiplies the difference of its first two numbers, which is not quite the ratio.
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
