//! Against diffusers and transformers, on fixtures made by `tests/fixtures/diffusion/make.py`.

mod broken;
mod determinism;
mod errors;
mod forms;
mod names;
mod parity;
mod several;
mod variants;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use serde_json::Value;

use super::{Pipeline, PipelineOptions, Result};
use crate::engine::Engine;

pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/diffusion")
}

/// The tiny model.
fn tiny() -> Pipeline {
    Pipeline::open(&fixtures().join("tiny"), &PipelineOptions::default()).unwrap()
}

/// The tiny model on candle's own operations, as it runs on other devices.
fn tiny_plain() -> Pipeline {
    let options = PipelineOptions {
        engine: Engine::composed(&Device::Cpu),
        tokenizer: None,
    };
    Pipeline::open(&fixtures().join("tiny"), &options).unwrap()
}

/// The model at `path` with its tokenizer elsewhere.
fn open_with_tokenizer(path: &Path, tokenizer: &Path) -> Result<Pipeline> {
    let options = PipelineOptions {
        tokenizer: Some(tokenizer),
        ..PipelineOptions::default()
    };
    Pipeline::open(path, &options)
}

/// Noise for one picture to start from.
fn start(pipeline: &Pipeline, seed: u64, class: u32, index: u64) -> Tensor {
    let [c, h, w] = pipeline.outline().geometry().latent_shape();
    let numbers = crate::rng::Stream::new(seed, "test/start", class, index).normals(c * h * w);
    Tensor::from_vec(numbers, (1, c, h, w), &Device::Cpu).unwrap()
}

/// What Python computed.
struct Expected {
    tensors: HashMap<String, Tensor>,
    facts: Value,
}

impl Expected {
    fn read() -> Self {
        let tensors =
            candle_core::safetensors::load(fixtures().join("expected.safetensors"), &Device::Cpu).unwrap();
        Self {
            tensors,
            facts: facts(),
        }
    }

    fn tensor(&self, name: &str) -> Tensor {
        self.tensors[name].clone()
    }

    fn prompt(&self) -> &str {
        self.facts["prompt"].as_str().unwrap()
    }

    fn token(&self) -> u32 {
        self.facts["token"].as_u64().unwrap() as u32
    }

    /// The two vectors that stand in for the token.
    fn vectors(&self) -> Vec<Vec<f32>> {
        self.tensor("vectors").to_vec2().unwrap()
    }
}

pub(crate) fn facts() -> Value {
    serde_json::from_slice(&std::fs::read(fixtures().join("expected.json")).unwrap()).unwrap()
}

fn numbers(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

fn bits(x: &Tensor) -> Vec<u32> {
    numbers(x).into_iter().map(f32::to_bits).collect()
}

/// Largest difference of two tensors of one shape.
fn difference(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    numbers(a)
        .iter()
        .zip(numbers(b))
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

/// Peak signal-to-noise ratio in decibels; the peak is the largest absolute value of `expected`.
fn psnr(found: &Tensor, expected: &Tensor) -> f64 {
    let peak = numbers(expected).iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    let squares: Vec<f64> = numbers(found)
        .iter()
        .zip(numbers(expected))
        .map(|(a, b)| f64::from(a - b).powi(2))
        .collect();
    let mean = squares.iter().sum::<f64>() / squares.len() as f64;
    10.0 * (f64::from(peak).powi(2) / mean.max(1e-30)).log10()
}
