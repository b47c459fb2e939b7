//! Weights that are not what they should be, in each form: one error that names the file and the tensor.

use super::errors::Copy;
use super::forms::{Stored, TEXT, UNET, VAE, read_tensors, single, write_tensors};
use super::*;
use crate::diffusion::DiffusionError;
use safetensors::Dtype;

fn error(path: &Path) -> DiffusionError {
    Pipeline::open(path, &PipelineOptions::default()).unwrap_err()
}

/// Changes the tensors of a file.
fn change(path: &Path, edit: impl FnOnce(&mut Vec<Stored>)) {
    let mut tensors = read_tensors(path);
    edit(&mut tensors);
    write_tensors(path, &tensors);
}

#[test]
fn tensors_that_have_no_place_are_named() {
    for (file, name) in [
        (TEXT, "text_model.encoder.layers.2.mlp.fc1.weight"),
        (UNET, "down_blocks.0.resnets.1.conv1.weight"),
        (UNET, "class_embedding.weight"),
        (VAE, "decoder.up_blocks.2.resnets.0.conv1.weight"),
    ] {
        let dir = Copy::new();
        change(&dir.path().join(file), |tensors| {
            tensors.push((name.into(), Dtype::F32, vec![1], vec![0; 4]));
        });
        match error(dir.path()) {
            DiffusionError::UnexpectedTensors { path, names } => {
                assert_eq!((path, names), (dir.path().join(file), vec![name.to_owned()]));
            }
            other => panic!("{name}: {other}"),
        }
    }
}

#[test]
fn a_configuration_of_fewer_layers_than_the_weights_is_told() {
    let dir = Copy::new();
    dir.edit_json("text_encoder/config.json", |config| {
        config["num_hidden_layers"] = 1.into()
    });
    let said = error(dir.path()).to_string();
    assert!(
        said.contains("16 tensors have no place") && said.contains("encoder.layers.1."),
        "{said}"
    );
}

/// Memory is asked for after the file has been asked, not as the configuration says.
#[test]
fn sizes_beyond_all_memory_are_told_like_any_other() {
    for (file, key, size) in [
        ("text_encoder/config.json", "intermediate_size", 1_u64.into()),
        (
            "text_encoder/config.json",
            "intermediate_size",
            (1_u64 << 50).into(),
        ),
        ("text_encoder/config.json", "vocab_size", (1_u64 << 50).into()),
        (
            "vae/config.json",
            "block_out_channels",
            serde_json::json!([1_u64 << 40, 1_u64 << 40]),
        ),
    ] {
        let dir = Copy::new();
        dir.edit_json(file, |config| config[key] = size);
        let found = error(dir.path());
        assert!(
            matches!(found, DiffusionError::TensorShape { .. }),
            "{key}: {found}"
        );
    }
}

#[test]
fn a_tensor_in_a_type_that_is_no_float_is_named() {
    for (dtype, size) in [(Dtype::F64, 8), (Dtype::I32, 4), (Dtype::U8, 1)] {
        let dir = Copy::new();
        change(&dir.path().join(UNET), |tensors| {
            let tensor = tensors.iter_mut().find(|t| t.0 == "conv_out.bias").unwrap();
            (tensor.1, tensor.3) = (dtype, vec![0; size * tensor.2[0]]);
        });
        match error(dir.path()) {
            DiffusionError::TensorType { name, found, .. } => {
                assert_eq!((name.as_str(), found), ("conv_out.bias", format!("{dtype:?}")));
            }
            other => panic!("{dtype:?}: {other}"),
        }
    }
}

#[test]
fn numbers_that_are_not_finite_are_found_in_every_type() {
    for (file, tensor) in [
        (TEXT, "text_model.final_layer_norm.bias"),
        (VAE, "post_quant_conv.bias"),
    ] {
        let dir = Copy::new();
        let mut short = tensor.to_owned();
        change(&dir.path().join(file), |tensors| {
            let tensor = tensors
                .iter_mut()
                .find(|t| tensor.ends_with(&t.0) || t.0.ends_with(tensor))
                .unwrap();
            short.clone_from(&tensor.0);
            match tensor.1 {
                Dtype::BF16 => tensor.3[2..4].copy_from_slice(&half::bf16::NEG_INFINITY.to_le_bytes()),
                _ => tensor.3[4..8].copy_from_slice(&f32::NEG_INFINITY.to_le_bytes()),
            }
        });
        match error(dir.path()) {
            DiffusionError::NonFiniteWeight {
                name,
                position,
                value,
                path,
            } => {
                assert_eq!((name, position, value), (short, 1, f32::NEG_INFINITY));
                assert_eq!(path, dir.path().join(file));
            }
            other => panic!("{file}: {other}"),
        }
    }
}

#[test]
fn an_index_that_lies_is_told() {
    let dir = Copy::new();
    let path = dir.path().join(UNET);
    let index = dir
        .path()
        .join("unet/diffusion_pytorch_model.safetensors.index.json");
    std::fs::rename(&path, path.with_file_name("a.safetensors")).unwrap();
    let said = |map: Value| {
        std::fs::write(&index, serde_json::json!({ "weight_map": map }).to_string()).unwrap();
        error(dir.path())
    };
    let wrong =
        said(serde_json::json!({"conv_in.weight": "a.safetensors", "more": "a.safetensors"})).to_string();
    assert!(wrong.contains("`more` should be in a.safetensors"), "{wrong}");
    let wrong = said(serde_json::json!({"conv_in.weight": "../a.safetensors"})).to_string();
    assert!(wrong.contains("no file beside it"), "{wrong}");
    match said(serde_json::json!({"conv_in.weight": "b.safetensors"})) {
        DiffusionError::Read { path, .. } => assert!(path.ends_with("unet/b.safetensors")),
        other => panic!("{other}"),
    }
    // A shard that the index does not know of is not read.
    match said(serde_json::json!({})) {
        DiffusionError::MissingTensor { path, .. } => assert_eq!(path, index),
        other => panic!("{other}"),
    }
}

#[test]
fn what_is_no_pytorch_file_is_told() {
    let whole = std::fs::read(fixtures().join("pytorch_model.bin")).unwrap();
    let half = whole[..whole.len() / 2].to_vec();
    for (what, bytes) in [
        ("empty", vec![]),
        ("text", b"version https://git-lfs.github.com/spec/v1".to_vec()),
        ("before PyTorch 1.6", b"\x80\x02\x8a\x0a".to_vec()),
        ("half", half),
    ] {
        let dir = Copy::new();
        std::fs::remove_file(dir.path().join(TEXT)).unwrap();
        let path = dir.path().join("text_encoder/pytorch_model.bin");
        std::fs::write(&path, bytes).unwrap();
        match error(dir.path()) {
            DiffusionError::Pickle { path: found, .. } => assert_eq!(found, path, "{what}"),
            other => panic!("{what}: {other}"),
        }
    }
}

#[test]
fn wrong_tensors_of_a_single_file_have_the_files_own_names() {
    let conv = "model.diffusion_model.out.2.weight";
    let dir = single();
    let path = dir.path().join("model.safetensors");
    let whole = read_tensors(&path);
    change(&path, |tensors| tensors.retain(|t| t.0 != conv));
    match error(&path) {
        DiffusionError::MissingTensor {
            name,
            expected,
            path: found,
        } => {
            assert_eq!(
                (name.as_str(), expected, found),
                (conv, vec![4, 16, 3, 3], path.clone())
            );
        }
        other => panic!("{other}"),
    }
    write_tensors(&path, &whole);
    change(&path, |tensors| {
        tensors.iter_mut().find(|t| t.0 == conv).unwrap().2.swap(0, 1)
    });
    match error(&path) {
        DiffusionError::TensorShape {
            name,
            expected,
            found,
            ..
        } => {
            assert_eq!(
                (name.as_str(), expected, found),
                (conv, vec![4, 16, 3, 3], vec![16, 4, 3, 3])
            );
        }
        other => panic!("{other}"),
    }
    for name in [
        "lora_unet_up.alpha",
        "model.diffusion_model.label_emb.0.0.weight",
        "control_model.x",
    ] {
        write_tensors(&path, &whole);
        change(&path, |tensors| {
            tensors.push((name.into(), Dtype::F32, vec![1], vec![0; 4]))
        });
        match error(&path) {
            DiffusionError::UnexpectedTensors { names, .. } => assert_eq!(names, [name]),
            other => panic!("{name}: {other}"),
        }
    }
}

#[test]
fn a_part_of_a_model_is_no_model() {
    let unet = fixtures().join("tiny").join(UNET);
    let error = open_with_tokenizer(&unet, &fixtures().join("tiny")).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("no whole checkpoint of Stable Diffusion 1.x"),
        "{error}"
    );
}

#[test]
fn the_tokenizer_of_a_larger_model_is_refused() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let bundled = root.join("data/tiny-sd");
    let error = open_with_tokenizer(&fixtures().join("tiny"), &bundled)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("tokenizer of another model") && error.contains("data/tiny-sd/tokenizer"),
        "{error}"
    );
}
