//! The sampling loop: classifier-free guidance around the UNet, from noise to latents.

use std::ops::ControlFlow;

use candle_core::Tensor;

use super::error::{DiffusionError, Result};
use super::scheduler::{Schedule, Scheduler};
use super::unet::Unet;

/// How to sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// The way from noise to a picture.
    pub scheduler: Scheduler,
    /// Steps; 50 in DREAM-OOD.
    pub steps: usize,
    /// Classifier-free guidance (Ho and Salimans 2022): `uncond + guidance_scale * (cond - uncond)`. Up to 1 there is no
    /// guidance, and the model is evaluated on the prompt alone, as in diffusers.
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

/// Gives the noise that a stochastic scheduler adds after the evaluation of that number, of the latents' shape.
pub type StepNoise<'a> = dyn FnMut(usize) -> Result<Tensor> + 'a;

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
    pub(crate) fn run(
        &self,
        noise: Tensor,
        mut step_noise: Option<&mut StepNoise>,
        on_step: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Tensor> {
        let config = self.unet.config();
        let multiple = 1 << (config.block_out_channels.len() - 1); // not empty
        let batch = match noise.dims() {
            [b, c, h, w]
                if *b > 0
                    && *c == config.in_channels
                    && *h > 0
                    && *w > 0
                    && h % multiple == 0
                    && w % multiple == 0 =>
            {
                *b
            }
            _ => {
                let expected = format!(
                    "[batch, {}, height, width], both multiples of {multiple}",
                    config.in_channels
                );
                return Err(shape("noise", &noise, expected));
            }
        };
        let Sampling {
            scheduler,
            steps,
            guidance_scale,
        } = self.sampling;
        if !guidance_scale.is_finite() {
            return Err(DiffusionError::Setting {
                setting: "guidance_scale",
                found: guidance_scale.to_string(),
                expected: "a finite number; 7.5 is usual".into(),
            });
        }
        let mut stepper = self.schedule.start(scheduler, steps)?;
        if stepper.stochastic() && step_noise.is_none() {
            return Err(DiffusionError::Setting {
                setting: "scheduler",
                found: format!("{scheduler:?}"),
                expected: "eta 0, or a source of noise for the steps".into(),
            });
        }
        let guided = guidance_scale > 1.0;
        let cond = self.states("cond", self.cond, batch)?;
        let states = if guided {
            Tensor::cat(&[&self.states("uncond", self.uncond, batch)?, &cond], 0)?
        } else {
            cond
        };
        let prompts = self.unet.prompt(&states)?;
        let timesteps = stepper.timesteps().to_vec();
        let mut sample = noise.contiguous()?;
        for (i, timestep) in timesteps.iter().enumerate() {
            let output = if guided {
                let both = self
                    .unet
                    .forward(&Tensor::cat(&[&sample, &sample], 0)?, *timestep, &prompts)?;
                let [uncond, cond] = [both.narrow(0, 0, batch)?, both.narrow(0, batch, batch)?];
                (&uncond + ((cond - &uncond)? * guidance_scale)?)?
            } else {
                self.unet.forward(&sample, *timestep, &prompts)?
            };
            let added = match &mut step_noise {
                Some(source) if stepper.stochastic() => Some(source(i)?),
                _ => None,
            };
            if let Some(noise) = &added
                && noise.dims() != sample.dims()
            {
                return Err(shape("step noise", noise, format!("{:?}", sample.dims())));
            }
            sample = stepper.step(i, &output, &sample, added.as_ref())?;
            if on_step(i).is_break() {
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
}
