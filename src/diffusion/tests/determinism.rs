//! The same bits whatever the batch size and the number of threads.

use super::*;
use crate::diffusion::{Hooks, Sampling, Scheduler};

/// Latents and pictures of images `0..count`, made together.
fn imagine(pipeline: &Pipeline, range: std::ops::Range<u64>) -> (Vec<Vec<u32>>, Vec<Vec<u8>>) {
    let token = pipeline.outline().tokenizer().single_token("shoe").unwrap();
    let base = pipeline.token_embedding(token).unwrap();
    let vectors: Vec<Vec<f32>> = range
        .clone()
        .map(|i| base.iter().map(|v| v * (1.0 + i as f32 * 0.1)).collect())
        .collect();
    let vectors: Vec<&[f32]> = vectors.iter().map(Vec::as_slice).collect();
    let cond = pipeline
        .encode_batch("a photo of the shoe", token, &vectors)
        .unwrap();
    let uncond = pipeline.encode("", None).unwrap();
    let noise: Vec<Tensor> = range.map(|i| start(pipeline, 5, 1, i)).collect();
    let sampling = Sampling {
        scheduler: Scheduler::Plms,
        steps: 4,
        guidance_scale: 4.0,
    };
    let noise = Tensor::cat(&noise, 0).unwrap();
    let latents = pipeline
        .sample(sampling, &cond, &uncond, noise, Hooks::default())
        .unwrap();
    let pictures = pipeline
        .decode(&latents)
        .unwrap()
        .into_iter()
        .map(|p| p.rgb)
        .collect();
    let each = (0..latents.dim(0).unwrap())
        .map(|i| bits(&latents.narrow(0, i, 1).unwrap()))
        .collect();
    (each, pictures)
}

#[test]
fn neither_batch_nor_threads_change_a_bit() {
    let pipeline = tiny();
    let pool = |threads| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap()
    };
    let all = pool(1).install(|| imagine(&pipeline, 0..37));
    for threads in [2, 3, 8] {
        assert_eq!(
            all,
            pool(threads).install(|| imagine(&pipeline, 0..37)),
            "{threads} threads"
        );
    }
    for i in [0_usize, 1, 17, 36] {
        let (latents, pictures) = imagine(&pipeline, i as u64..i as u64 + 1);
        assert_eq!((&latents[0], &pictures[0]), (&all.0[i], &all.1[i]), "image {i}");
    }
    let part = imagine(&pipeline, 10..17);
    assert_eq!((&part.0[..], &part.1[..]), (&all.0[10..17], &all.1[10..17]));
}

#[test]
fn the_digest_is_of_the_contents() {
    let dir = super::errors::Copy::new();
    assert_eq!(
        tiny().digest(),
        Pipeline::open(dir.path(), &PipelineOptions::default())
            .unwrap()
            .digest()
    );
    std::fs::write(dir.path().join("README.md"), "not read").unwrap();
    assert_eq!(
        tiny().digest(),
        Pipeline::open(dir.path(), &PipelineOptions::default())
            .unwrap()
            .digest()
    );
    dir.edit_json("scheduler/scheduler_config.json", |config| {
        config["beta_end"] = 0.013.into()
    });
    assert_ne!(
        tiny().digest(),
        Pipeline::open(dir.path(), &PipelineOptions::default())
            .unwrap()
            .digest()
    );
}
