//! Every step of every scheduler against diffusers, on a made-up model.

use std::path::Path;

use candle_core::{Device, Tensor};
use serde_json::Value;

use super::*;
use crate::diffusion::tests::facts;

fn ramp(from: f32, to: f32) -> Tensor {
    let values: Vec<f32> = (0..8).map(|i| from + (to - from) * i as f32 / 7.0).collect();
    Tensor::from_vec(values, 8, &Device::Cpu).unwrap()
}

fn run(row: &Value) -> (Vec<usize>, Vec<Vec<f32>>) {
    let config: SchedulerConfig = serde_json::from_value(row["config"].clone()).unwrap();
    let schedule = config.schedule(Path::new("scheduler_config.json")).unwrap();
    let scheduler = match row["scheduler"].as_str().unwrap() {
        "plms" => Scheduler::Plms,
        "ddim" => Scheduler::Ddim {
            eta: row["eta"].as_f64().unwrap(),
        },
        _ => Scheduler::DpmSolver2M,
    };
    let mut stepper = schedule
        .start(scheduler, row["steps"].as_u64().unwrap() as usize)
        .unwrap();
    let timesteps = stepper.timesteps().to_vec();
    let (mut x, noise) = (ramp(-1.5, 2.0), ramp(0.7, -0.9));
    let mut path = Vec::new();
    for (i, t) in timesteps.iter().enumerate() {
        let output = ((&x * 0.3).unwrap() + (0.2 * (*t as f64).cos() + 0.1)).unwrap();
        let noise = stepper.stochastic().then_some(&noise);
        x = stepper.step(i, &output, &x, noise).unwrap();
        path.push(x.to_vec1().unwrap());
    }
    (timesteps, path)
}

#[test]
fn every_step_is_that_of_diffusers() {
    let facts = facts();
    let rows = facts["schedules"].as_array().unwrap();
    assert!(rows.len() > 80);
    for row in rows {
        let numbers = |key: &str| -> Vec<f64> {
            row[key]
                .as_array()
                .unwrap()
                .iter()
                .map(|v| v.as_f64().unwrap())
                .collect()
        };
        let what = format!(
            "{} eta {} steps {} {}",
            row["scheduler"], row["eta"], row["steps"], row["config"]
        );
        let (timesteps, path) = run(row);
        assert_eq!(
            timesteps.iter().map(|t| *t as f64).collect::<Vec<_>>(),
            numbers("timesteps"),
            "{what}"
        );
        let near = |found: f32, expected: f64| {
            let error = (f64::from(found) - expected).abs();
            assert!(
                error < 5e-5 * expected.abs().max(1.0),
                "{what}: {found} not {expected}"
            );
        };
        for (step, expected) in path.iter().zip(numbers("firsts")) {
            near(step[0], expected);
        }
        for (found, expected) in path.last().unwrap().iter().zip(numbers("last")) {
            near(*found, expected);
        }
    }
}

#[test]
fn a_model_with_runge_kutta_steps_is_refused_for_plms_only() {
    let config: SchedulerConfig =
        serde_json::from_value(serde_json::json!({"beta_schedule": "linear", "skip_prk_steps": false}))
            .unwrap();
    let schedule = config.schedule(Path::new("scheduler_config.json")).unwrap();
    assert!(matches!(
        schedule.start(Scheduler::Plms, 5),
        Err(DiffusionError::Setting { .. })
    ));
    assert!(schedule.start(Scheduler::Ddim { eta: 0.0 }, 5).is_ok());
}
