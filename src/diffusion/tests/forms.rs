//! Every form in which a model may come is the same model. Most forms are made here from the tiny one; those
//! that Python writes come from `tests/fixtures/diffusion/forms.py`.

use std::collections::BTreeMap;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::errors::Copy;
use super::*;
use crate::diffusion::weight_files;

pub(super) fn expected() -> HashMap<String, Tensor> {
    candle_core::safetensors::load(fixtures().join("forms.safetensors"), &Device::Cpu).unwrap()
}

pub(super) fn facts() -> Value {
    serde_json::from_slice(&std::fs::read(fixtures().join("forms.json")).unwrap()).unwrap()
}

/// Name, type, shape and bytes of a tensor.
pub(super) type Stored = (String, Dtype, Vec<usize>, Vec<u8>);

pub(super) fn read_tensors(path: &Path) -> Vec<Stored> {
    let bytes = std::fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
    let stored = |(name, view): (String, TensorView)| {
        (name, view.dtype(), view.shape().to_vec(), view.data().to_vec())
    };
    tensors.into_iter().map(stored).collect()
}

pub(super) fn write_tensors(path: &Path, tensors: &[Stored]) {
    let view = |(name, dtype, shape, data): &'_ Stored| {
        (
            name.clone(),
            TensorView::new(*dtype, shape.clone(), data)
                .unwrap()
                .data()
                .to_vec(),
            *dtype,
            shape.clone(),
        )
    };
    let owned: Vec<_> = tensors.iter().map(view).collect();
    let views = owned
        .iter()
        .map(|(name, data, dtype, shape)| (name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

pub(super) const TEXT: &str = "text_encoder/model.safetensors";
pub(super) const UNET: &str = "unet/diffusion_pytorch_model.safetensors";
pub(super) const VAE: &str = "vae/diffusion_pytorch_model.safetensors";

/// What a model computes: text, noise, picture and latent.
fn answers(pipeline: &Pipeline) -> Vec<Vec<u32>> {
    let expected = Expected::read();
    let states = pipeline.encode("a photo of the shoe", None).unwrap();
    let noise = expected.tensor("noise");
    let decoded = pipeline.vae.decode(&noise).unwrap();
    let encoded = pipeline.vae_encode(&expected.tensor("pictures")).unwrap();
    [
        states.clone(),
        pipeline.predict(&noise, 500, &states).unwrap(),
        decoded,
        encoded,
    ]
    .iter()
    .map(bits)
    .collect()
}

fn load(dir: &Copy) -> Pipeline {
    Pipeline::open(dir.path(), &PipelineOptions::default()).unwrap()
}

fn to_f32(tensors: Vec<Stored>) -> Vec<Stored> {
    let widen = |(name, dtype, shape, data): Stored| {
        let pairs = data.as_chunks::<2>().0.iter();
        let wide: Vec<f32> = match dtype {
            Dtype::F16 => pairs.map(|b| half::f16::from_le_bytes(*b).to_f32()).collect(),
            Dtype::BF16 => pairs.map(|b| half::bf16::from_le_bytes(*b).to_f32()).collect(),
            _ => return (name, dtype, shape, data),
        };
        (
            name,
            Dtype::F32,
            shape,
            wide.iter().flat_map(|v| v.to_le_bytes()).collect(),
        )
    };
    tensors.into_iter().map(widen).collect()
}

#[test]
fn weights_in_f32_are_those_in_f16_and_bf16() {
    let dir = Copy::new();
    for name in [TEXT, UNET, VAE] {
        let path = dir.path().join(name);
        write_tensors(&path, &to_f32(read_tensors(&path)));
    }
    assert_eq!(answers(&load(&dir)), answers(&tiny()));
}

#[test]
fn weights_may_be_in_several_files() {
    let dir = Copy::new();
    for name in [TEXT, UNET, VAE] {
        let path = dir.path().join(name);
        let stem = name
            .split('/')
            .next_back()
            .unwrap()
            .strip_suffix(".safetensors")
            .unwrap();
        let mut map = BTreeMap::new();
        let tensors = read_tensors(&path);
        for (i, part) in tensors.chunks(tensors.len().div_ceil(3)).enumerate() {
            let shard = format!("{stem}-{:05}-of-00003.safetensors", i + 1);
            write_tensors(&path.with_file_name(&shard), part);
            map.extend(part.iter().map(|(name, ..)| (name.clone(), shard.clone())));
        }
        let index = serde_json::json!({"metadata": {"total_size": 1}, "weight_map": map});
        std::fs::write(
            path.with_file_name(format!("{stem}.safetensors.index.json")),
            index.to_string(),
        )
        .unwrap();
        std::fs::remove_file(path).unwrap();
    }
    assert_eq!(answers(&load(&dir)), answers(&tiny()));
    let files = weight_files(dir.path());
    assert!(
        files
            .iter()
            .all(|f| f.to_string_lossy().ends_with(".safetensors.index.json")),
        "{files:?}"
    );
    // Each shard is counted in the digest.
    let before = load(&dir).digest();
    let shard = dir
        .path()
        .join("vae/diffusion_pytorch_model-00002-of-00003.safetensors");
    let mut tensors = read_tensors(&shard);
    tensors[0].3[0] ^= 1;
    write_tensors(&shard, &tensors);
    assert_ne!(load(&dir).digest(), before);
}

#[test]
fn the_plain_file_is_taken_before_its_variants() {
    let known = answers(&tiny());
    for variant in ["fp16", "bf16", "non_ema"] {
        let dir = Copy::new();
        for name in [TEXT, UNET, VAE] {
            let path = dir.path().join(name);
            std::fs::rename(&path, path.with_extension(format!("{variant}.safetensors"))).unwrap();
        }
        assert_eq!(answers(&load(&dir)), known, "{variant}");
        let files = weight_files(dir.path());
        assert!(
            files
                .iter()
                .all(|f| f.to_string_lossy().ends_with(&format!(".{variant}.safetensors")))
        );
    }
    // Beside the plain one, a variant is not even opened.
    let dir = Copy::new();
    std::fs::write(
        dir.path().join("unet/diffusion_pytorch_model.fp16.safetensors"),
        "broken",
    )
    .unwrap();
    assert_eq!(load(&dir).digest(), tiny().digest());
    assert_eq!(weight_files(dir.path())[1], dir.path().join(UNET));
}

#[test]
fn pytorch_files_are_read() {
    let dir = Copy::new();
    std::fs::remove_file(dir.path().join(TEXT)).unwrap();
    let bin = dir.path().join("text_encoder/pytorch_model.bin");
    std::fs::copy(fixtures().join("pytorch_model.bin"), &bin).unwrap();
    assert_eq!(answers(&load(&dir)), answers(&tiny()));
    assert_eq!(weight_files(dir.path())[0], bin);
    // A shard may be such a file too.
    std::fs::rename(&bin, bin.with_file_name("pytorch_model-00001-of-00001.bin")).unwrap();
    let names = read_tensors(&fixtures().join("tiny").join(TEXT)).into_iter();
    let map: BTreeMap<String, &str> = names
        .map(|(n, ..)| (n, "pytorch_model-00001-of-00001.bin"))
        .collect();
    let index = serde_json::json!({ "weight_map": map });
    std::fs::write(
        dir.path().join("text_encoder/pytorch_model.bin.index.json"),
        index.to_string(),
    )
    .unwrap();
    assert_eq!(answers(&load(&dir)), answers(&tiny()));
}

/// The names of 2022 in the autoencoder's attention.
#[test]
fn old_names_of_the_autoencoder_are_known() {
    let dir = Copy::new();
    let path = dir.path().join(VAE);
    let mut tensors = read_tensors(&path);
    let mut renamed = 0;
    for (name, ..) in &mut tensors {
        for (new, old) in [
            ("to_q", "query"),
            ("to_k", "key"),
            ("to_v", "value"),
            ("to_out.0", "proj_attn"),
        ] {
            if name.contains(&format!("attentions.0.{new}.")) {
                *name = name.replace(new, old);
                renamed += 1;
            }
        }
    }
    assert_eq!(renamed, 16);
    write_tensors(&path, &tensors);
    assert_eq!(answers(&load(&dir)), answers(&tiny()));
}

#[test]
fn buffers_of_the_text_encoder_are_left_aside() {
    let dir = Copy::new();
    let path = dir.path().join(TEXT);
    let mut tensors = read_tensors(&path);
    let ids: Vec<u8> = (0..20_i64).flat_map(i64::to_le_bytes).collect();
    tensors.push((
        "text_model.embeddings.position_ids".into(),
        Dtype::I64,
        vec![1, 20],
        ids,
    ));
    tensors.push((
        "text_projection.weight".into(),
        Dtype::F32,
        vec![1, 1],
        vec![0; 4],
    ));
    write_tensors(&path, &tensors);
    assert_eq!(answers(&load(&dir)), answers(&tiny()));
}

/// A checkpoint that a training program left, from Python, against diffusers with weights from its own
/// converter.
#[test]
fn a_checkpoint_in_the_original_layout_is_that_of_diffusers() {
    let expected = expected();
    let dir = tempfile::tempdir().unwrap();
    super::errors::copy(&fixtures().join("mini"), dir.path());
    super::errors::copy(&fixtures().join("tiny/tokenizer"), &dir.path().join("tokenizer"));
    let model = dir.path().join("model.ckpt");
    for engine in [Engine::default(), Engine::composed(&Device::Cpu)] {
        let options = PipelineOptions {
            engine,
            tokenizer: None,
        };
        let pipeline = Pipeline::open(&model, &options).unwrap();
        let states = pipeline.encode("a photo of the shoe", None).unwrap();
        let noise = &expected["mini_noise"];
        let decoded = pipeline.vae.decode(noise).unwrap().permute((0, 3, 1, 2)).unwrap();
        for (name, found) in [
            ("states", states.clone()),
            ("unet", pipeline.predict(noise, 500, &states).unwrap()),
            ("decoded", decoded),
            (
                "encoded",
                pipeline.vae_encode(&expected["mini_pictures"]).unwrap(),
            ),
        ] {
            let off = difference(&found, &expected[&format!("mini_{name}")]);
            assert!(off < 2e-5, "{name}: {off}");
        }
    }
    assert_eq!(weight_files(&model), std::slice::from_ref(&model));
    // The digest is of the contents, wherever the files lie.
    let digest = |path: &Path| {
        Pipeline::open(path, &PipelineOptions::default())
            .unwrap()
            .digest()
    };
    let known = digest(&model);
    std::fs::rename(&model, dir.path().join("other.ckpt")).unwrap();
    let model = dir.path().join("other.ckpt");
    assert_eq!(digest(&model), known);
    std::fs::rename(dir.path().join("tokenizer"), dir.path().join("elsewhere")).unwrap();
    let error = Pipeline::open(&model, &PipelineOptions::default())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("name their folder") && error.contains("tokenizer.json"),
        "{error}"
    );
    let elsewhere = dir.path().join("elsewhere");
    let pipeline = open_with_tokenizer(&model, &elsewhere).unwrap();
    assert_eq!(pipeline.digest(), known);
    // A model's folder will do as the tokenizer's.
    let pipeline = open_with_tokenizer(&model, &fixtures().join("tiny")).unwrap();
    assert_eq!(pipeline.digest(), known);
}

/// The tiny model's tensors under the original names, from the same lists that the reader uses; that those
/// are right is the matter of the tests beside this one.
pub(super) fn single_file() -> Vec<Stored> {
    use crate::diffusion::compvis::Names;
    let mut all = Vec::new();
    for (part, names) in [
        (TEXT, Names::CompvisText),
        (UNET, Names::CompvisUnet { layers: 1 }),
        (VAE, Names::CompvisVae { levels: 2 }),
    ] {
        for (name, dtype, mut shape, data) in read_tensors(&fixtures().join("tiny").join(part)) {
            let bare = name.strip_prefix("text_model.").unwrap_or(&name);
            // Upsampling comes first in the list of candidates as it is behind attention, which the coarser
            // level lacks.
            let coarse = part == UNET && bare.starts_with("up_blocks.0.upsamplers");
            let name = names.candidates(bare).swap_remove(usize::from(coarse));
            if name.contains("attn_1") && shape.len() == 2 {
                shape.extend([1, 1]);
            }
            all.push((name, dtype, shape, data));
        }
    }
    all
}

/// A folder with the tiny model as one file, `model.safetensors`, and its configuration and tokenizer beside
/// it.
pub(super) fn single() -> Copy {
    let dir = Copy::new();
    for name in [TEXT, UNET, VAE, "model_index.json"] {
        std::fs::remove_file(dir.path().join(name)).unwrap();
    }
    write_tensors(&dir.path().join("model.safetensors"), &single_file());
    dir
}

#[test]
fn one_safetensors_file_is_the_same_model() {
    let dir = single();
    let path = dir.path().join("model.safetensors");
    let pipeline = Pipeline::open(&path, &PipelineOptions::default()).unwrap();
    assert_eq!(answers(&pipeline), answers(&tiny()));
    // With the leftovers of training.
    let mut tensors = single_file();
    for name in [
        "model_ema.decay",
        "betas",
        "first_stage_model.loss.logvar",
        "cond_stage_model.logit_scale",
    ] {
        tensors.push((name.into(), Dtype::F32, vec![1], vec![0; 4]));
    }
    write_tensors(&path, &tensors);
    let pipeline = Pipeline::open(&path, &PipelineOptions::default()).unwrap();
    assert_eq!(answers(&pipeline), answers(&tiny()));
    // Without the configurations beside it, what shapes do not tell is that of Stable Diffusion 1, which this
    // is not.
    std::fs::remove_file(dir.path().join("unet/config.json")).unwrap();
    let error = Pipeline::open(&path, &PipelineOptions::default())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("norm_num_groups = 32") && error.contains("model.safetensors"),
        "{error}"
    );
}
