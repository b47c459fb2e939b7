//! DDIM: to the predicted clean sample and back to the next noise level (equations 12 and 16 of the paper).

use candle_core::Tensor;

use super::{Schedule, Stepper, combine, setting};
use crate::diffusion::error::Result;

pub(super) struct Ddim<'a> {
    schedule: &'a Schedule,
    timesteps: Vec<usize>,
    ratio: usize,
    eta: f64,
}

impl<'a> Ddim<'a> {
    pub(super) fn new(schedule: &'a Schedule, steps: usize, eta: f64) -> Result<Self> {
        if !(0.0..=1.0).contains(&eta) {
            return Err(setting("eta", eta, "0 (no noise) to 1 (as much as DDPM)"));
        }
        schedule.refuse("ddim", &[("thresholding", schedule.config.thresholding)])?;
        let mut timesteps = schedule.timesteps(steps);
        timesteps.reverse();
        Ok(Self {
            schedule,
            timesteps,
            ratio: schedule.alphas.len() / steps,
            eta,
        })
    }
}

impl Stepper for Ddim<'_> {
    fn timesteps(&self) -> &[usize] {
        &self.timesteps
    }

    fn stochastic(&self) -> bool {
        self.eta > 0.0
    }

    fn step(&mut self, i: usize, output: &Tensor, sample: &Tensor, noise: Option<&Tensor>) -> Result<Tensor> {
        let timestep = self.timesteps.get(i).copied().unwrap_or(0) as isize;
        let config = &self.schedule.config;
        let one = config.set_alpha_to_one.unwrap_or(true);
        let a = self.schedule.alpha(timestep, one);
        let a_to = self.schedule.alpha(timestep - self.ratio as isize, one);
        let (mut clean, direction) = self.schedule.clean_and_noise(output, sample, a)?;
        if config.clip_sample.unwrap_or(true) {
            let range = config.clip_sample_range.unwrap_or(1.0);
            clean = clean.clamp(-range, range)?;
        }
        let deviation = self.eta * ((1.0 - a_to) / (1.0 - a) * (1.0 - a / a_to)).sqrt();
        let along = (1.0 - a_to - deviation * deviation).max(0.0).sqrt();
        match noise {
            Some(noise) if deviation > 0.0 => {
                combine(&[(a_to.sqrt(), &clean), (along, &direction), (deviation, noise)])
            }
            _ => combine(&[(a_to.sqrt(), &clean), (along, &direction)]),
        }
    }
}
