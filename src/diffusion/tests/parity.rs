//! The same numbers as diffusers and transformers, on the CPU's own operations and on candle's.

use std::ops::ControlFlow;

use super::*;
use crate::diffusion::{Hooks, Sampling, Scheduler};

#[test]
fn token_ids_are_those_of_transformers() {
    let (pipeline, facts) = (tiny(), facts());
    for row in facts["tokens"].as_array().unwrap() {
        let text = row["text"].as_str().unwrap();
        let expected: Vec<u32> = row["ids"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_u64().unwrap() as u32)
            .collect();
        assert_eq!(
            pipeline.outline().tokenizer().ids(text).unwrap(),
            expected,
            "{text:?}"
        );
    }
}

#[test]
fn text_is_encoded_as_in_transformers() {
    let expected = Expected::read();
    for pipeline in [tiny(), tiny_plain()] {
        let token = pipeline.outline().tokenizer().single_token("shoe").unwrap();
        assert_eq!(token, expected.token());
        assert_eq!(
            pipeline.token_embedding(token).unwrap(),
            numbers(&expected.tensor("row"))
        );
        let vectors = expected.vectors();
        let vectors: Vec<&[f32]> = vectors.iter().map(Vec::as_slice).collect();
        let replaced = pipeline.encode_batch(expected.prompt(), token, &vectors).unwrap();
        assert!(difference(&replaced, &expected.tensor("replaced")) < 1e-5);
        let first = pipeline
            .encode(expected.prompt(), Some((token, vectors[0])))
            .unwrap();
        assert_eq!(bits(&first), bits(&replaced.narrow(0, 0, 1).unwrap()));
        let plain = pipeline.encode(expected.prompt(), None).unwrap();
        assert!(difference(&plain, &expected.tensor("plain")) < 1e-5);
        assert!(difference(&pipeline.encode("", None).unwrap(), &expected.tensor("empty")) < 1e-5);
        // The token's own embedding changes nothing.
        let own = pipeline.token_embedding(token).unwrap();
        let same = pipeline.encode(expected.prompt(), Some((token, &own))).unwrap();
        assert_eq!(bits(&same), bits(&plain));
    }
}

#[test]
fn the_unet_predicts_as_in_diffusers() {
    let expected = Expected::read();
    let states = expected.tensor("replaced");
    for pipeline in [tiny(), tiny_plain()] {
        for t in [1, 500, 981] {
            let found = pipeline.predict(&expected.tensor("noise"), t, &states).unwrap();
            assert!(
                difference(&found, &expected.tensor(&format!("unet_{t}"))) < 2e-5,
                "timestep {t}"
            );
        }
        let found = pipeline
            .predict(&expected.tensor("wide"), 261, &expected.tensor("plain"))
            .unwrap();
        assert!(difference(&found, &expected.tensor("wide_unet")) < 2e-5);
    }
}

#[test]
fn the_autoencoder_agrees_with_diffusers() {
    let expected = Expected::read();
    for pipeline in [tiny(), tiny_plain()] {
        let decoded = pipeline
            .vae
            .decode(&expected.tensor("noise"))
            .unwrap()
            .permute((0, 3, 1, 2))
            .unwrap();
        assert!(difference(&decoded, &expected.tensor("decoded")) < 2e-5);
        let encoded = pipeline.vae_encode(&expected.tensor("pictures")).unwrap();
        assert!(difference(&encoded, &expected.tensor("encoded")) < 2e-5);
    }
}

#[test]
fn whole_pipelines_end_where_those_of_diffusers_do() {
    let expected = Expected::read();
    for pipeline in [tiny(), tiny_plain()] {
        let (cond, uncond) = (expected.tensor("replaced"), expected.tensor("empty"));
        for (name, scheduler, steps, guidance_scale) in [
            ("plms", Scheduler::Plms, 10, 7.5),
            ("ddim", Scheduler::Ddim { eta: 0.0 }, 10, 7.5),
            ("dpm", Scheduler::DpmSolver2M, 8, 7.5),
            ("unguided", Scheduler::Plms, 6, 1.0),
        ] {
            let sampling = Sampling {
                scheduler,
                steps,
                guidance_scale,
            };
            let mut heard = Vec::new();
            let mut listen = |i| {
                heard.push(i);
                ControlFlow::Continue(())
            };
            let hooks = Hooks {
                on_step: Some(&mut listen),
                ..Hooks::default()
            };
            let latents = pipeline
                .sample(sampling, &cond, &uncond, expected.tensor("noise"), hooks)
                .unwrap();
            assert_eq!(
                heard,
                (0..pipeline.outline().evaluations(sampling).unwrap()).collect::<Vec<_>>()
            );
            let ratio = psnr(&latents, &expected.tensor(&format!("{name}_latents")));
            assert!(ratio > 80.0, "{name}: {ratio} dB");
            let pictures = pipeline.decode(&latents).unwrap();
            let rgb: Vec<u8> = pictures.iter().flat_map(|p| p.rgb.clone()).collect();
            let theirs = expected.tensor(&format!("{name}_images"));
            assert_eq!(
                theirs.dims(),
                [pictures.len(), pictures[0].height, pictures[0].width, 3]
            );
            let theirs = theirs.flatten_all().unwrap().to_vec1::<u8>().unwrap();
            assert!(
                rgb.iter().zip(&theirs).all(|(a, b)| a.abs_diff(*b) <= 1),
                "{name}"
            );
        }
    }
}

#[test]
fn linear_and_convolutional_projections_are_one() {
    let pipeline = tiny();
    let dir = super::errors::Copy::new();
    dir.edit_tensors("unet/diffusion_pytorch_model.safetensors", |name, shape, _| {
        if name.contains("proj_in.weight") || name.contains("proj_out.weight") {
            shape.truncate(2);
        }
    });
    dir.edit_json("unet/config.json", |config| {
        config["use_linear_projection"] = true.into()
    });
    let linear = Pipeline::open(dir.path(), &PipelineOptions::default()).unwrap();
    let expected = Expected::read();
    let run = |p: &Pipeline| {
        bits(
            &p.predict(&expected.tensor("noise"), 500, &expected.tensor("replaced"))
                .unwrap(),
        )
    };
    assert_eq!(run(&pipeline), run(&linear));
    assert_ne!(pipeline.digest(), linear.digest());
}

#[test]
fn stochastic_steps_take_their_noise_from_the_caller() {
    let (pipeline, expected) = (tiny(), Expected::read());
    let (cond, uncond) = (expected.tensor("replaced"), expected.tensor("empty"));
    let sampling = Sampling {
        scheduler: Scheduler::Ddim { eta: 1.0 },
        steps: 3,
        guidance_scale: 2.0,
    };
    let run = |factor: f64| {
        let mut noise = |_| Ok((expected.tensor("noise") * factor)?);
        let start = expected.tensor("noise");
        let hooks = Hooks {
            step_noise: Some(&mut noise),
            ..Hooks::default()
        };
        pipeline.sample(sampling, &cond, &uncond, start, hooks).unwrap()
    };
    assert_eq!(bits(&run(0.5)), bits(&run(0.5)));
    assert!(difference(&run(0.5), &run(-0.5)) > 0.01);
    let refused = pipeline.sample(
        sampling,
        &cond,
        &uncond,
        expected.tensor("noise"),
        Hooks::default(),
    );
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("eta 0, or a source of noise")
    );
}
