//! The stages of decoding: reading the model, a prompt, one step of the UNet (guided: two images a picture),
//! the VAE, and whole pictures of 20 PLMS steps. The model is `data/tiny-sd`, or the folder that
//! `DREAM_MODEL` names (then without whole pictures). The peer is diffusers: `tools/bench/diffusion.py`.

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Duration;

use candle_core::{Device, Tensor};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dream_ood::diffusion::{Hooks, Pipeline, PipelineOptions, Sampling, Scheduler};
use dream_ood::stage::imagine::initial_noise;

const PROMPT: &str = "A high-quality image of the shirt";
/// Pictures of the bundled model that are made together.
const TOGETHER: u64 = 40;

fn diffusion(c: &mut Criterion) {
    let named = std::env::var_os("DREAM_MODEL");
    let small = named.is_none();
    let bundled = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/data/tiny-sd"));
    let model = named.map_or_else(bundled, PathBuf::from);
    let load = || Pipeline::open(&model, &PipelineOptions::default()).expect("the model");
    let pipeline = load();
    let mut group = c.benchmark_group(if small { "tiny-sd" } else { "model" });
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(if small { 500 } else { 1 }))
        .measurement_time(Duration::from_secs(if small { 4 } else { 1 }));
    let [channels, h, w] = pipeline.outline().geometry().latent_shape();
    let noise = |count: u64| {
        let numbers: Vec<f32> = (0..count)
            .flat_map(|i| initial_noise(0, 0, i, channels * h * w))
            .collect();
        Tensor::from_vec(numbers, (count as usize, channels, h, w), &Device::Cpu).expect("as many numbers")
    };
    let cond = pipeline.encode(PROMPT, None).expect("the prompt");
    let uncond = pipeline.encode("", None).expect("the empty prompt");

    group.bench_function("load", |b| b.iter(load));
    group.bench_function("prompt", |b| b.iter(|| pipeline.encode(black_box(PROMPT), None)));
    let two = noise(2);
    let states = Tensor::cat(&[&uncond, &cond], 0).expect("one shape");
    group.bench_function("unet, 2 images", |b| {
        b.iter(|| pipeline.predict(black_box(&two), 500, &states))
    });
    let one = noise(1);
    group.bench_function("vae, 1 image", |b| b.iter(|| pipeline.decode(black_box(&one))));
    if small {
        let many = noise(TOGETHER);
        let sampling = Sampling {
            scheduler: Scheduler::Plms,
            steps: 20,
            guidance_scale: 3.0,
        };
        group.throughput(Throughput::Elements(TOGETHER));
        group.bench_function("pictures of 20 steps", |b| {
            b.iter(|| {
                let latents = pipeline
                    .sample(sampling, &cond, &uncond, many.clone(), Hooks::default())
                    .expect("latents");
                pipeline.decode(&latents).expect("pictures")
            })
        });
    }
    group.finish();
}

criterion_group!(benches, diffusion);
criterion_main!(benches);
