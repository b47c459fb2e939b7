//! DPM-Solver++ 2M: exponential integrator of second order on the predicted clean sample.

use candle_core::Tensor;

use super::{Schedule, Spacing, Stepper, combine, setting};
use crate::diffusion::error::Result;

pub(super) struct Dpm<'a> {
    schedule: &'a Schedule,
    timesteps: Vec<usize>,
    /// Noise over signal, one more than timesteps.
    sigmas: Vec<f64>,
    /// The clean sample predicted a step ago.
    before: Option<Tensor>,
}

/// alpha, sigma and lambda of a noise-to-signal ratio.
struct Level {
    alpha: f64,
    sigma: f64,
    lambda: f64,
}

impl Level {
    fn new(ratio: f64) -> Self {
        let alpha = 1.0 / (1.0 + ratio * ratio).sqrt();
        let sigma = ratio * alpha;
        Self {
            alpha,
            sigma,
            lambda: alpha.ln() - sigma.ln(),
        }
    }
}

/// Refuses what the model's configuration asks of the solver and is not done here.
fn check(schedule: &Schedule) -> Result<()> {
    let order = schedule.config.solver_order.unwrap_or(2);
    if order != 2 {
        return Err(setting("solver_order", order, "2"));
    }
    let config = &schedule.config;
    schedule.refuse(
        "dpm-solver",
        &[
            ("thresholding", config.thresholding),
            ("use_karras_sigmas", config.use_karras_sigmas),
            ("use_exponential_sigmas", config.use_exponential_sigmas),
            ("use_beta_sigmas", config.use_beta_sigmas),
            ("use_lu_lambdas", config.use_lu_lambdas),
            ("use_flow_sigmas", config.use_flow_sigmas),
        ],
    )?;
    for (key, value, supported) in [
        ("algorithm_type", &config.algorithm_type, &["dpmsolver++"][..]),
        // The names of other solvers' types, which diffusers takes for the midpoint too.
        (
            "solver_type",
            &config.solver_type,
            &["midpoint", "bh1", "bh2", "logrho"],
        ),
        (
            "final_sigmas_type",
            &config.final_sigmas_type,
            &["zero", "sigma_min"],
        ),
    ] {
        if let Some(value) = value
            && !supported.contains(&value.as_str())
        {
            let expected = format!(
                "plms or ddim: the model's scheduler_config.json has {key} = {value:?}, and dpm-solver \
                 does {} here",
                supported.join(", ")
            );
            return Err(setting("scheduler", "dpm-solver", expected));
        }
    }
    // diffusers writes minus infinity as a string; a number would cut the first steps off.
    if let Some(least) = config.lambda_min_clipped.as_ref().filter(|v| v.is_number()) {
        let expected =
            format!("plms or ddim: the model's scheduler_config.json has lambda_min_clipped = {least}");
        return Err(setting("scheduler", "dpm-solver", expected));
    }
    Ok(())
}

/// The timesteps in ascending order.
fn timesteps(schedule: &Schedule, steps: usize) -> Vec<usize> {
    let n = schedule.alphas.len();
    match schedule.spacing.unwrap_or(Spacing::Linspace) {
        Spacing::Linspace => {
            let step = (n - 1) as f64 / steps as f64;
            (1..=steps)
                .map(|i| (i as f64 * step).round_ties_even() as usize)
                .collect()
        }
        Spacing::Leading => (1..=steps)
            .map(|i| i * (n / (steps + 1)) + schedule.config.steps_offset)
            .collect(),
        Spacing::Trailing => schedule.timesteps(steps),
    }
}

impl<'a> Dpm<'a> {
    pub(super) fn new(schedule: &'a Schedule, steps: usize) -> Result<Self> {
        check(schedule)?;
        let mut timesteps = timesteps(schedule, steps);
        timesteps.reverse();
        let ratio = |a: f32| f64::from(((1.0 - a) / a).sqrt());
        let mut sigmas: Vec<f64> = timesteps
            .iter()
            .map(|t| schedule.alphas.get(*t).copied().map_or(0.0, ratio))
            .collect();
        sigmas.push(match schedule.config.final_sigmas_type.as_deref() {
            Some("sigma_min") => schedule.alphas.first().copied().map_or(0.0, ratio),
            _ => 0.0,
        });
        Ok(Self {
            schedule,
            timesteps,
            sigmas,
            before: None,
        })
    }
}

impl Stepper for Dpm<'_> {
    fn timesteps(&self) -> &[usize] {
        &self.timesteps
    }

    fn step(&mut self, i: usize, output: &Tensor, sample: &Tensor, _: Option<&Tensor>) -> Result<Tensor> {
        let level = |i: usize| Level::new(self.sigmas.get(i).copied().unwrap_or(0.0));
        let (here, next) = (level(i), level(i + 1));
        let (clean, _) = self
            .schedule
            .clean_and_noise(output, sample, here.alpha * here.alpha)?;
        let config = &self.schedule.config;
        let steps = self.timesteps.len();
        let last_is_first_order = i + 1 == steps
            && (config.euler_at_final.unwrap_or(false)
                || (config.lower_order_final.unwrap_or(true) && steps < 15)
                || config.final_sigmas_type.as_deref() != Some("sigma_min"));
        let h = next.lambda - here.lambda;
        let keep = next.sigma / here.sigma;
        let gain = -next.alpha * ((-h).exp() - 1.0);
        let moved = match &self.before {
            Some(before) if !last_is_first_order => {
                let r = (here.lambda - level(i - 1).lambda) / h; // a step was taken before, so i > 0
                let tilt = 0.5 * gain / r;
                combine(&[(keep, sample), (gain + tilt, &clean), (-tilt, before)])?
            }
            _ => combine(&[(keep, sample), (gain, &clean)])?,
        };
        self.before = Some(clean);
        Ok(moved)
    }
}
