//! One clear error for each way in which a model or a request can be wrong.

use std::ops::ControlFlow;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::*;
use crate::diffusion::{DiffusionError, Hooks, Sampling, Scheduler};

/// A copy of the tiny model that a test may damage.
pub(super) struct Copy(tempfile::TempDir);

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

impl Copy {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        copy(&fixtures().join("tiny"), dir.path());
        Self(dir)
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn edit_json(&self, name: &str, edit: impl FnOnce(&mut Value)) {
        let path = self.path().join(name);
        let mut value: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        edit(&mut value);
        std::fs::write(path, value.to_string()).unwrap();
    }

    /// Gives every tensor's name, shape and bytes to `edit`, then writes them back. An emptied shape drops
    /// the tensor.
    pub(super) fn edit_tensors(&self, name: &str, edit: impl Fn(&str, &mut Vec<usize>, &mut Vec<u8>)) {
        let path = self.path().join(name);
        let bytes = std::fs::read(&path).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let edited: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = tensors
            .tensors()
            .into_iter()
            .map(|(name, view)| {
                let (mut shape, mut data) = (view.shape().to_vec(), view.data().to_vec());
                edit(&name, &mut shape, &mut data);
                (name, view.dtype(), shape, data)
            })
            .filter(|(_, _, shape, _)| !shape.is_empty())
            .collect();
        let views = edited
            .iter()
            .map(|(n, t, s, d)| (n.as_str(), TensorView::new(*t, s.clone(), d).unwrap()));
        std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
    }

    fn error(&self) -> DiffusionError {
        Pipeline::open(self.path(), &PipelineOptions::default()).unwrap_err()
    }
}

pub(super) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::write(target, std::fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

#[test]
fn every_missing_file_is_named() {
    for name in [
        "model_index.json",
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
        "tokenizer/tokenizer_config.json",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "unet/config.json",
        UNET,
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
        "scheduler/scheduler_config.json",
    ] {
        let dir = Copy::new();
        std::fs::remove_file(dir.path().join(name)).unwrap();
        match dir.error() {
            DiffusionError::Read { path, .. } => assert_eq!(path, dir.path().join(name)),
            other => panic!("{name}: {other}"),
        }
    }
}

#[test]
fn a_file_cut_off_anywhere_is_refused() {
    let whole = std::fs::read(fixtures().join("tiny").join(UNET)).unwrap();
    for length in [0, 7, 8, 100, whole.len() / 2, whole.len() - 1] {
        let dir = Copy::new();
        std::fs::write(dir.path().join(UNET), &whole[..length]).unwrap();
        assert!(
            matches!(dir.error(), DiffusionError::Safetensors { .. }),
            "{length} bytes"
        );
    }
}

#[test]
fn a_missing_tensor_is_named() {
    let dir = Copy::new();
    dir.edit_tensors(UNET, |name, shape, _| {
        if name == "mid_block.resnets.1.conv2.weight" {
            shape.clear();
        }
    });
    match dir.error() {
        DiffusionError::MissingTensor { name, expected, .. } => {
            assert_eq!(
                (name.as_str(), expected),
                ("mid_block.resnets.1.conv2.weight", vec![24, 24, 3, 3])
            );
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_tensor_of_another_shape_is_named() {
    let dir = Copy::new();
    dir.edit_json("unet/config.json", |config| {
        config["cross_attention_dim"] = 48.into()
    });
    assert!(dir.error().to_string().contains("hidden_size is 24"));
    let dir = Copy::new();
    dir.edit_tensors(UNET, |name, shape, _| {
        if name == "conv_in.weight" {
            shape.swap(0, 1);
        }
    });
    match dir.error() {
        DiffusionError::TensorShape {
            name,
            expected,
            found,
            ..
        } => {
            assert_eq!(name, "conv_in.weight");
            assert_eq!((expected, found), (vec![16, 4, 3, 3], vec![4, 16, 3, 3]));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_weight_that_is_not_a_number_is_found() {
    let dir = Copy::new();
    dir.edit_tensors(UNET, |name, _, data| {
        if name == "conv_out.bias" {
            data[2..4].copy_from_slice(&half::f16::NAN.to_le_bytes());
        }
    });
    match dir.error() {
        DiffusionError::NonFiniteWeight {
            name,
            position,
            value,
            ..
        } => {
            assert_eq!((name.as_str(), position), ("conv_out.bias", 1));
            assert!(value.is_nan());
        }
        other => panic!("{other}"),
    }
}

#[test]
fn the_prefix_of_the_text_model_may_be_there_or_not() {
    let dir = Copy::new();
    let path = dir.path().join("text_encoder/model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let renamed: Vec<_> = tensors
        .tensors()
        .into_iter()
        .map(|(name, view)| match name.strip_prefix("text_model.") {
            Some(short) => (short.to_owned(), view),
            None => (format!("text_model.{name}"), view),
        })
        .collect();
    std::fs::write(&path, safetensors::serialize(renamed, None).unwrap()).unwrap();
    let run = |p: Pipeline| bits(&p.encode("a shoe", None).unwrap());
    assert_eq!(
        run(tiny()),
        run(Pipeline::open(dir.path(), &PipelineOptions::default()).unwrap())
    );
}

#[test]
fn what_is_not_supported_is_named() {
    let set = |name: &str, key: &str, value: Value| {
        let dir = Copy::new();
        dir.edit_json(name, |config| config[key] = value);
        dir.error()
    };
    for (name, key, value) in [
        (
            "unet/config.json",
            "down_block_types",
            serde_json::json!(["AttnDownBlock2D", "DownBlock2D"]),
        ),
        (
            "unet/config.json",
            "up_block_types",
            serde_json::json!(["UpBlock2D", "SkipUpBlock2D"]),
        ),
        ("unet/config.json", "class_embed_type", "timestep".into()),
        ("unet/config.json", "transformer_layers_per_block", 2.into()),
        (
            "unet/config.json",
            "resnet_time_scale_shift",
            "scale_shift".into(),
        ),
        (
            "vae/config.json",
            "up_block_types",
            serde_json::json!(["AttnUpDecoderBlock2D", "UpDecoderBlock2D"]),
        ),
        ("vae/config.json", "shift_factor", 0.1.into()),
        ("text_encoder/config.json", "hidden_act", "relu".into()),
        (
            "scheduler/scheduler_config.json",
            "beta_schedule",
            "sigmoid".into(),
        ),
        (
            "scheduler/scheduler_config.json",
            "prediction_type",
            "flow".into(),
        ),
        (
            "model_index.json",
            "unet",
            serde_json::json!(["diffusers", "UNet2DModel"]),
        ),
    ] {
        match set(name, key, value) {
            DiffusionError::Unsupported { path, key: found, .. } => {
                assert!(path.ends_with(name));
                assert_eq!(found, key);
            }
            other => panic!("{name} {key}: {other}"),
        }
    }
    for (name, key, value) in [
        ("unet/config.json", "norm_num_groups", 7.into()),
        ("unet/config.json", "norm_num_groups", 0.into()),
        ("unet/config.json", "block_out_channels", serde_json::json!([])),
        ("unet/config.json", "layers_per_block", 0.into()),
        ("unet/config.json", "attention_head_dim", 5.into()),
        ("unet/config.json", "in_channels", "four".into()),
        ("text_encoder/config.json", "num_attention_heads", 0.into()),
        ("vae/config.json", "latent_channels", 3.into()),
        ("scheduler/scheduler_config.json", "num_train_timesteps", 1.into()),
        (
            "scheduler/scheduler_config.json",
            "trained_betas",
            serde_json::json!([0.1, 0.2]),
        ),
        ("tokenizer/special_tokens_map.json", "eos_token", "</s>".into()),
        ("tokenizer/tokenizer_config.json", "model_max_length", 2.into()),
    ] {
        let error = set(name, key, value);
        assert!(
            matches!(error, DiffusionError::Config { .. }),
            "{name} {key}: {error}"
        );
    }
}

#[test]
fn broken_merges_are_refused() {
    let dir = Copy::new();
    std::fs::write(dir.path().join("tokenizer/merges.txt"), "#version: 0.2\nab\n").unwrap();
    assert!(dir.error().to_string().contains("line 2 is not a pair"));
    std::fs::write(dir.path().join("tokenizer/merges.txt"), "#version: 0.2\nqq zz\n").unwrap();
    assert!(matches!(dir.error(), DiffusionError::Config { .. }));
}

#[test]
fn a_word_of_several_tokens_is_listed() {
    match tiny().outline().tokenizer().single_token("sandal").unwrap_err() {
        DiffusionError::NotOneToken { tokens, .. } => {
            assert!(tokens.len() > 1 && tokens.concat() == "sandal</w>")
        }
        other => panic!("{other}"),
    }
    for word in ["", " ", "<|endoftext|>", "red dog"] {
        assert!(
            tiny().outline().tokenizer().single_token(word).is_err(),
            "{word:?}"
        );
    }
}

#[test]
fn replacements_are_checked() {
    let pipeline = tiny();
    let token = pipeline.outline().tokenizer().single_token("shoe").unwrap();
    let m = pipeline.embedding_dim();
    let good = vec![0.1; m];
    let error =
        |prompt: &str, token, vector: &[f32]| pipeline.encode(prompt, Some((token, vector))).unwrap_err();
    assert!(matches!(
        error("a dog", token, &good),
        DiffusionError::TokenNotInPrompt { .. }
    ));
    // Cut off: the token lies behind the end.
    let long = format!("{}shoe", "the ".repeat(30));
    assert!(matches!(
        error(&long, token, &good),
        DiffusionError::TokenNotInPrompt { .. }
    ));
    // The end mark is in every prompt, but is no word of it.
    let end = *pipeline.outline().tokenizer().ids("").unwrap().last().unwrap();
    assert!(matches!(
        error("a shoe", end, &good),
        DiffusionError::TokenNotInPrompt { .. }
    ));
    assert!(matches!(
        error("a shoe", token, &good[1..]),
        DiffusionError::VectorWidth { index: 0, expected, found } if expected == m && found == m - 1
    ));
    let mut bad = good.clone();
    bad[3] = f32::INFINITY;
    assert!(matches!(
        error("a shoe", token, &bad),
        DiffusionError::NonFiniteVector { component: 3, .. }
    ));
    assert!(matches!(
        pipeline.encode_batch("a shoe", token, &[]),
        Err(DiffusionError::Setting { .. })
    ));
    assert!(matches!(
        pipeline.token_embedding(1 << 20),
        Err(DiffusionError::TokenRange { .. })
    ));
}

#[test]
fn sampling_settings_are_checked() {
    let pipeline = tiny();
    let states = pipeline.encode("a shoe", None).unwrap();
    let noise = start(&pipeline, 0, 0, 0);
    let fine = Sampling {
        scheduler: Scheduler::Plms,
        steps: 2,
        guidance_scale: 7.5,
    };
    let run = |sampling, cond: &Tensor, noise: &Tensor, stop: bool| {
        let flow = if stop {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        };
        let mut hear = |_| flow;
        let hooks = Hooks {
            on_step: Some(&mut hear),
            ..Hooks::default()
        };
        pipeline.sample(sampling, cond, &states, noise.clone(), hooks)
    };
    assert!(run(fine, &states, &noise, false).is_ok());
    for wrong in [
        Sampling { steps: 0, ..fine },
        Sampling { steps: 1001, ..fine },
        // With steps_offset 1 the first timestep would be the 1000th of 0..1000.
        Sampling { steps: 1000, ..fine },
        Sampling {
            guidance_scale: f64::NAN,
            ..fine
        },
        Sampling {
            scheduler: Scheduler::Ddim { eta: 2.0 },
            ..fine
        },
        Sampling {
            scheduler: Scheduler::Ddim { eta: -0.1 },
            ..fine
        },
    ] {
        let result = run(wrong, &states, &noise, false);
        assert!(matches!(result, Err(DiffusionError::Setting { .. })), "{wrong:?}");
    }
    let odd = noise.narrow(3, 0, 7).unwrap();
    assert!(matches!(
        run(fine, &states, &odd, false),
        Err(DiffusionError::Shape { what: "noise", .. })
    ));
    let three = Tensor::cat(&[&states, &states, &states], 0).unwrap();
    assert!(matches!(
        run(fine, &three, &noise, false),
        Err(DiffusionError::Shape { what: "cond", .. })
    ));
    assert!(matches!(
        run(fine, &states, &noise, true),
        Err(DiffusionError::Stopped { step: 1, steps: 3 })
    ));
    let huge = (&noise * 1e38).unwrap();
    let result = run(
        Sampling {
            guidance_scale: 1e30,
            ..fine
        },
        &states,
        &huge,
        false,
    );
    assert!(matches!(result, Err(DiffusionError::NonFiniteResult { .. })));
    assert!(matches!(
        pipeline.decode(&states),
        Err(DiffusionError::Shape { what: "latents", .. })
    ));
}
