//! The sampling loop: classifier-free guidance around the UNet, from noise to latents.

use std::ops::ControlFlow;

use candle_core::Tensor;

use super::error::{DiffusionError, Result};
use super::scheduler::{Schedule, Scheduler};
use super::unet::{Prompts, Unet};

/// How to sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// The way from noise to a picture.
    pub scheduler: Scheduler,
    /// Steps; 50 in DREAM-OOD.
    pub steps: usize,
    /// Classifier-free guidance (Ho and Salimans 2022): `uncond + guidance_scale * (cond - uncond)`. Up to 1
    /// there is no guidance, and the model is evaluated on the prompt alone, as in diffusers.
    pub guidance_scale: f64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            scheduler: Scheduler::Plms,
            steps: 50,
            guidance_scale: 7.5,
        }
    }
}

/// Gives the noise that a stochastic scheduler adds after the evaluation of that number, of the latents'
/// shape.
pub type StepNoise<'a> = dyn FnMut(usize) -> Result<Tensor> + 'a;

/// Hears of each evaluation of the model (from 0), and may stop the work.
pub type OnStep<'a> = dyn FnMut(usize) -> ControlFlow<()> + 'a;

/// Who takes part in the steps of a sampling.
#[derive(Default)]
pub struct Hooks<'a> {
    /// The source of the noise of a stochastic scheduler, which cannot do without.
    pub step_noise: Option<&'a mut StepNoise<'a>>,
    /// Who hears of the evaluations.
    pub on_step: Option<&'a mut OnStep<'a>>,
}

impl std::fmt::Debug for Hooks<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hooks")
            .field("step_noise", &self.step_noise.is_some())
            .field("on_step", &self.on_step.is_some())
            .finish()
    }
}

pub(crate) struct Job<'a> {
    pub(crate) unet: &'a Unet,
    pub(crate) schedule: &'a Schedule,
    pub(crate) sampling: Sampling,
    /// `[b or 1, tokens, m]`
    pub(crate) cond: &'a Tensor,
    /// `[b or 1, tokens, m]`
    pub(crate) uncond: &'a Tensor,
}

fn shape(what: &'static str, tensor: &Tensor, expected: String) -> DiffusionError {
    DiffusionError::Shape {
        what,
        expected,
        found: tensor.dims().to_vec(),
    }
}

impl Job<'_> {
    /// Encoded prompts for a batch: one for all, or one each.
    fn states(&self, what: &'static str, states: &Tensor, batch: usize) -> Result<Tensor> {
        let width = self.unet.config().cross_attention_dim;
        match states.dims() {
            [b, _, m] if (*b == batch || *b == 1) && *m == width => {
                let (_, tokens, _) = states.dims3()?;
                Ok(states.expand((batch, tokens, width))?.contiguous()?)
            }
            _ => Err(shape(what, states, format!("[1 or {batch}, tokens, {width}]"))),
        }
    }

    /// From `noise` `[b, c, h, w]` to the final latents of the same shape.
    pub(crate) fn run(&self, noise: Tensor, mut hooks: Hooks) -> Result<Tensor> {
        let batch = self.batch(&noise)?;
        let mut stepper = self
            .schedule
            .start(self.sampling.scheduler, self.sampling.steps)?;
        if stepper.stochastic() && hooks.step_noise.is_none() {
            return Err(DiffusionError::Setting {
                setting: "scheduler",
                found: format!("{:?}", self.sampling.scheduler),
                expected: "eta 0, or a source of noise for the steps".into(),
            });
        }
        let prompts = self.prompts(batch)?;
        let timesteps = stepper.timesteps().to_vec();
        let mut sample = noise.contiguous()?;
        for (i, timestep) in timesteps.iter().enumerate() {
            let output = self.predict(&sample, *timestep, &prompts)?;
            let added = match &mut hooks.step_noise {
                Some(source) if stepper.stochastic() => Some(source(i)?),
                Some(_) | None => None,
            };
            if let Some(noise) = &added
                && noise.dims() != sample.dims()
            {
                return Err(shape("step noise", noise, format!("{:?}", sample.dims())));
            }
            sample = stepper.step(i, &output, &sample, added.as_ref())?;
            if hooks.on_step.as_mut().is_some_and(|hear| hear(i).is_break()) {
                return Err(DiffusionError::Stopped {
                    step: i + 1,
                    steps: timesteps.len(),
                });
            }
        }
        let total = sample.abs()?.sum_all()?.to_scalar::<f32>()?;
        if total.is_finite() {
            Ok(sample)
        } else {
            Err(DiffusionError::NonFiniteResult { what: "the latents" })
        }
    }

    fn guided(&self) -> bool {
        self.sampling.guidance_scale > 1.0
    }

    /// The number of pictures in `noise`, if the model can take it and the guidance is a number.
    fn batch(&self, noise: &Tensor) -> Result<usize> {
        let config = self.unet.config();
        let multiple = 1 << (config.block_out_channels.len() - 1); // not empty
        let good = |side: usize| side > 0 && side.is_multiple_of(multiple);
        let batch = match noise.dims() {
            [b, c, h, w] if *b > 0 && *c == config.in_channels && good(*h) && good(*w) => *b,
            _ => {
                let expected = format!(
                    "[batch, {}, height, width], both multiples of {multiple}",
                    config.in_channels
                );
                return Err(shape("noise", noise, expected));
            }
        };
        let scale = self.sampling.guidance_scale;
        if !scale.is_finite() {
            return Err(DiffusionError::Setting {
                setting: "guidance_scale",
                found: scale.to_string(),
                expected: "a finite number; 7.5 is usual".into(),
            });
        }
        Ok(batch)
    }

    /// The prompts of all evaluated latents: guidance evaluates each twice, without its prompt first.
    fn prompts(&self, batch: usize) -> Result<Prompts> {
        let cond = self.states("cond", self.cond, batch)?;
        let states = if self.guided() {
            Tensor::cat(&[&self.states("uncond", self.uncond, batch)?, &cond], 0)?
        } else {
            cond
        };
        self.unet.prompt(&states)
    }

    /// The model's answer at `timestep`, guided if asked.
    fn predict(&self, sample: &Tensor, timestep: usize, prompts: &Prompts) -> Result<Tensor> {
        if !self.guided() {
            return self.unet.forward(sample, timestep, prompts);
        }
        let batch = sample.dim(0)?;
        let both = Tensor::cat(&[sample, sample], 0)?;
        let both = self.unet.forward(&both, timestep, prompts)?;
        let [uncond, cond] = [both.narrow(0, 0, batch)?, both.narrow(0, batch, batch)?];
        Ok((&uncond + ((cond - &uncond)? * self.sampling.guidance_scale)?)?)
    }
}
