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
        let wrong = |message: String| DiffusionError::Config {
            path: path.to_path_buf(),
            message,
        };
        let unsupported = |(key, found, supported): Unsupported| DiffusionError::Unsupported {
            path: path.to_path_buf(),
            key: key.into(),
            found,
            supported,
        };
        if self.class.is_none() && self.beta_schedule.is_none() && self.trained_betas.is_none() {
            let said = "there is neither _class_name nor beta_schedule nor trained_betas: it says nothing \
                        of the noise";
            return Err(wrong(said.into()));
        }
        self.check_family().map_err(unsupported)?;
        let prediction = self.prediction().map_err(unsupported)?;
        let spacing = self.spacing().map_err(unsupported)?;
        let alphas = products(&self.betas().map_err(unsupported)?);
        let n = self.num_train_timesteps;
        if alphas.len() != n || n < 2 || alphas.iter().any(|a| !(*a > 0.0 && *a < 1.0)) {
            return Err(wrong(format!(
                "{} betas for {n} timesteps, or betas outside (0, 1)",
                alphas.len()
            )));
        }
        Ok(Schedule {
            config: self,
            prediction,
            spacing,
            alphas,
        })
    }

    /// Refuses schedulers of another kind, and what changes the betas themselves for every scheduler.
    fn check_family(&self) -> Parsed<()> {
        if let Some(class) = self.class.as_deref().filter(|class| !FAMILIES.contains(class)) {
            let supported = "a scheduler of discrete betas: PNDMScheduler, DDIMScheduler, \
                             DPMSolverMultistepScheduler, EulerDiscreteScheduler and their kin";
            return Err(("_class_name", class.into(), supported));
        }
        if self.rescale_betas_zero_snr == Some(true) {
            return Err(("rescale_betas_zero_snr", "true".into(), "false"));
        }
        Ok(())
    }

    fn prediction(&self) -> Parsed<Prediction> {
        match self.prediction_type.as_deref() {
            None | Some("epsilon") => Ok(Prediction::Noise),
            Some("v_prediction") => Ok(Prediction::Velocity),
            Some("sample") => Ok(Prediction::Sample),
            Some(other) => {
                let supported = "epsilon, v_prediction, sample";
                Err(("prediction_type", other.into(), supported))
            }
        }
    }

    fn spacing(&self) -> Parsed<Option<Spacing>> {
        match self.timestep_spacing.as_deref() {
            None => Ok(None),
            Some("linspace") => Ok(Some(Spacing::Linspace)),
            Some("leading") => Ok(Some(Spacing::Leading)),
            Some("trailing") => Ok(Some(Spacing::Trailing)),
            Some(other) => {
                let supported = "linspace, leading, trailing";
                Err(("timestep_spacing", other.into(), supported))
            }
        }
    }

    fn betas(&self) -> Parsed<Vec<f32>> {
        if let Some(betas) = &self.trained_betas {
            return Ok(betas.clone());
        }
        let n = self.num_train_timesteps;
        match self.beta_schedule.as_deref().unwrap_or("linear") {
            "linear" => Ok(linspace(self.beta_start, self.beta_end, n)),
            "scaled_linear" => {
                let roots = linspace(self.beta_start.sqrt(), self.beta_end.sqrt(), n);
                Ok(roots.into_iter().map(|b| b * b).collect())
            }
            "squaredcos_cap_v2" => Ok(cosine_betas(n)),
            other => {
                let supported = "linear, scaled_linear, squaredcos_cap_v2";
                Err(("beta_schedule", other.into(), supported))
            }
        }
    }
}

/// A key, the value found, and those that are done here.
type Unsupported = (&'static str, String, &'static str);
type Parsed<T> = std::result::Result<T, Unsupported>;

/// `alphas_cumprod`: the products of `1 - beta` so far.
fn products(betas: &[f32]) -> Vec<f32> {
    let product = |product: &mut f64, beta: &f32| {
        *product *= f64::from(1.0 - beta);
        Some(*product as f32)
    };
    betas.iter().scan(1.0_f64, product).collect()
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
