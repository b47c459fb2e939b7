//! PLMS: Adams-Bashforth of up to fourth order on the predicted noise; its first step is taken twice.

use candle_core::Tensor;

use super::{Prediction, Schedule, Stepper, combine, setting};
use crate::diffusion::error::Result;

pub(super) struct Plms<'a> {
    schedule: &'a Schedule,
    timesteps: Vec<usize>,
    ratio: usize,
    /// The last outputs, newest last; at most four.
    outputs: Vec<Tensor>,
    first_sample: Option<Tensor>,
}

impl<'a> Plms<'a> {
    pub(super) fn new(schedule: &'a Schedule, steps: usize) -> Result<Self> {
        if schedule.config.skip_prk_steps == Some(false) {
            return Err(setting(
                "scheduler",
                "plms",
                "the model's skip_prk_steps is false: use ddim",
            ));
        }
        if schedule.prediction == Prediction::Sample {
            return Err(setting(
                "scheduler",
                "plms",
                "the model predicts samples, not noise: use ddim",
            ));
        }
        let mut timesteps = schedule.timesteps(steps);
        if steps > 1 {
            timesteps.insert(steps - 1, timesteps[steps - 2]); // `steps` timesteps, at least two
        }
        timesteps.reverse();
        let ratio = schedule.alphas.len() / steps;
        Ok(Self {
            schedule,
            timesteps,
            ratio,
            outputs: Vec::new(),
            first_sample: None,
        })
    }

    /// Equation (9) of the paper.
    fn previous(&self, sample: &Tensor, from: isize, to: isize, output: &Tensor) -> Result<Tensor> {
        let one = self.schedule.config.set_alpha_to_one.unwrap_or(false);
        let (a, a_to) = (self.schedule.alpha(from, one), self.schedule.alpha(to, one));
        let (b, b_to) = (1.0 - a, 1.0 - a_to);
        let output = match self.schedule.prediction {
            Prediction::Velocity => combine(&[(a.sqrt(), output), (b.sqrt(), sample)])?,
            _ => output.clone(),
        };
        let denominator = a * b_to.sqrt() + (a * b * a_to).sqrt();
        combine(&[((a_to / a).sqrt(), sample), (-(a_to - a) / denominator, &output)])
    }
}

impl Stepper for Plms<'_> {
    fn timesteps(&self) -> &[usize] {
        &self.timesteps
    }

    fn step(&mut self, i: usize, output: &Tensor, sample: &Tensor, _: Option<&Tensor>) -> Result<Tensor> {
        let timestep = self.timesteps.get(i).copied().unwrap_or(0) as isize;
        let ratio = self.ratio as isize;
        if i == 1 {
            // The first step again, from where it began, with the mean of the outputs at its two ends.
            let start = self.first_sample.take().unwrap_or_else(|| sample.clone());
            let mean = match self.outputs.last() {
                Some(first) => combine(&[(0.5, output), (0.5, first)])?,
                None => output.clone(),
            };
            return self.previous(&start, timestep + ratio, timestep, &mean);
        }
        if i == 0 {
            self.first_sample = Some(sample.clone());
        }
        if self.outputs.len() == 4 {
            self.outputs.remove(0);
        }
        self.outputs.push(output.clone());
        let blend = match &self.outputs[..] {
            [a] => a.clone(),
            [b, a] => combine(&[(1.5, a), (-0.5, b)])?,
            [c, b, a] => combine(&[(23.0 / 12.0, a), (-16.0 / 12.0, b), (5.0 / 12.0, c)])?,
            [d, c, b, a] => combine(&[
                (55.0 / 24.0, a),
                (-59.0 / 24.0, b),
                (37.0 / 24.0, c),
                (-9.0 / 24.0, d),
            ])?,
            _ => output.clone(), // never: one was pushed and there are at most four
        };
        self.previous(sample, timestep, timestep - ratio, &blend)
    }
}
