//! A model's `scheduler_config.json`, and the noise schedule that it describes.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::Schedule;
use crate::diffusion::error::{DiffusionError, Result};

/// `scheduler/scheduler_config.json`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SchedulerConfig {
    #[serde(rename = "_class_name")]
    pub(super) class: Option<String>,
    #[serde(default = "thousand")]
    pub(super) num_train_timesteps: usize,
    #[serde(default = "beta_start")]
    pub(super) beta_start: f64,
    #[serde(default = "beta_end")]
    pub(super) beta_end: f64,
    pub(super) beta_schedule: Option<String>,
    pub(super) trained_betas: Option<Vec<f32>>,
    pub(super) prediction_type: Option<String>,
    pub(super) set_alpha_to_one: Option<bool>,
    #[serde(default)]
    pub(super) steps_offset: usize,
    pub(super) timestep_spacing: Option<String>,
    pub(super) skip_prk_steps: Option<bool>,
    pub(super) clip_sample: Option<bool>,
    pub(super) clip_sample_range: Option<f64>,
    pub(super) thresholding: Option<bool>,
    pub(super) rescale_betas_zero_snr: Option<bool>,
    pub(super) algorithm_type: Option<String>,
    pub(super) solver_type: Option<String>,
    pub(super) solver_order: Option<usize>,
    pub(super) final_sigmas_type: Option<String>,
    pub(super) lower_order_final: Option<bool>,
    pub(super) euler_at_final: Option<bool>,
    pub(super) use_karras_sigmas: Option<bool>,
    pub(super) use_exponential_sigmas: Option<bool>,
    pub(super) use_beta_sigmas: Option<bool>,
    pub(super) use_lu_lambdas: Option<bool>,
    pub(super) use_flow_sigmas: Option<bool>,
    pub(super) lambda_min_clipped: Option<Value>,
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
pub(super) enum Prediction {
    Noise,
    Velocity,
    Sample,
}

/// Where the timesteps lie (table 2 of Lin et al., "Common diffusion noise schedules and sample steps are
/// flawed").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spacing {
    Linspace,
    Leading,
    Trailing,
}

/// The schedulers of diffusers whose configurations describe the noise by betas over discrete timesteps. A
/// model with one of another kind (flow matching, consistency) was not trained for the ways down that there
/// are here.
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
    /// What diffusers' `StableDiffusionPipeline` makes of a configuration that it is given: a first timestep
    /// of 1, and no clipping of the predicted clean sample, which for latents would be wrong. Files of 2022
    /// leave these keys out or say otherwise.
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
                    message:
                        "there is neither _class_name nor beta_schedule nor trained_betas: it says nothing \
                              of the noise"
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
