//! The names of Stable Diffusion 1's tensors, as diffusers' own converter maps them
//! (`tests/fixtures/diffusion/forms.py`).

use std::collections::HashMap;

use super::*;
use crate::diffusion::compvis::{self, Names};

type Row = (String, String, Vec<usize>);

/// Of every tensor: diffusers' name, the original name, its shape there.
fn rows() -> HashMap<String, Vec<Row>> {
    serde_json::from_slice(&std::fs::read(fixtures().join("v1_names.json")).unwrap()).unwrap()
}

#[test]
fn every_tensor_has_the_name_that_diffusers_knows() {
    let rows = rows();
    for (part, names) in [
        ("unet", Names::CompvisUnet { layers: 2 }),
        ("vae", Names::CompvisVae { levels: 4 }),
    ] {
        let theirs: Vec<&str> = rows[part].iter().map(|r| r.1.as_str()).collect();
        assert!(theirs.len() > 200);
        for (name, original, _) in &rows[part] {
            let candidates = names.candidates(name);
            let mut there = candidates.iter().filter(|c| theirs.contains(&c.as_str()));
            assert_eq!(there.next(), Some(original), "{name}");
            assert_eq!(there.next(), None, "{name} is ambiguous");
            assert!(names.owns(original) && !names.is_harmless(original), "{original}");
        }
        for name in [
            "nothing",
            "up_blocks.x.resnets.0.conv1.weight",
            "encoder.mid_block.attentions.0.query.weight",
        ] {
            let none = names.candidates(name);
            assert!(none.iter().all(|n| !theirs.contains(&n.as_str())), "{none:?}");
        }
    }
}

/// The shapes of Stable Diffusion 1's whole checkpoint.
fn shapes() -> HashMap<String, Vec<usize>> {
    let mut shapes: HashMap<String, Vec<usize>> = rows()
        .into_values()
        .flatten()
        .map(|(_, name, shape)| (name, shape))
        .collect();
    let text = "cond_stage_model.transformer.text_model";
    let mut add = |name: &str, shape: &[usize]| shapes.insert(format!("{text}.{name}"), shape.to_vec());
    add("embeddings.token_embedding.weight", &[49408, 768]);
    add("embeddings.position_embedding.weight", &[77, 768]);
    for layer in 0..12 {
        add(&format!("encoder.layers.{layer}.mlp.fc1.weight"), &[3072, 768]);
    }
    shapes
}

#[test]
fn the_configuration_of_stable_diffusion_1_is_read_off_its_shapes() {
    let (path, shapes) = (Path::new("model.ckpt"), shapes());
    let shape = |name: &str| shapes.get(name).cloned();
    let unet = compvis::unet(path, &shape).unwrap();
    unet.check(path).unwrap();
    assert_eq!(unet.block_out_channels, [320, 640, 1280, 1280]);
    assert_eq!((unet.layers_per_block, unet.cross_attention_dim), (2, 768));
    assert_eq!((unet.in_channels, unet.out_channels), (4, 4));
    assert_eq!((unet.sample_size(), unet.norm_num_groups), (Some([64, 64]), 32));
    assert!((0..4).all(|level| unet.heads(level) == 8));
    let attend = |kinds: &[String]| {
        kinds
            .iter()
            .map(|k| k.starts_with("CrossAttn"))
            .collect::<Vec<_>>()
    };
    assert_eq!(attend(&unet.down_block_types), [true, true, true, false]);
    assert_eq!(attend(&unet.up_block_types), [false, true, true, true]);
    let vae = compvis::vae(path, &shape).unwrap();
    vae.check(path).unwrap();
    assert_eq!(vae.block_out_channels, [128, 256, 512, 512]);
    assert_eq!(
        (vae.layers_per_block, vae.latent_channels, vae.scale()),
        (2, 4, 8)
    );
    assert_eq!((vae.scaling_factor, vae.mid_block_add_attention), (0.18215, true));
    let text = compvis::text(path, &shape).unwrap();
    text.check(path).unwrap();
    assert_eq!(
        (text.vocab_size, text.hidden_size, text.intermediate_size),
        (49408, 768, 3072)
    );
    assert_eq!((text.num_hidden_layers, text.num_attention_heads), (12, 12));
    assert_eq!(
        (text.max_position_embeddings, text.hidden_act.as_str()),
        (77, "quick_gelu")
    );
    compvis::scheduler(path).unwrap().schedule(path).unwrap();
}

#[test]
fn what_is_no_stable_diffusion_1_is_told() {
    let path = Path::new("model.safetensors");
    let only = |names: &'static [&'static str]| move |name: &str| names.contains(&name).then(|| vec![8, 8]);
    for name in [
        "cond_stage_model.model.token_embedding.weight",
        "conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight",
    ] {
        let error = compvis::text(path, &|n| (n == name).then(|| vec![8, 8])).unwrap_err();
        assert!(error.to_string().contains("Stable Diffusion 2 or XL"), "{error}");
    }
    let error = compvis::text(path, &only(&["lora_te_text_model.weight"])).unwrap_err();
    assert!(error.to_string().contains("no whole checkpoint"), "{error}");
    let error = compvis::unet(path, &only(&[])).unwrap_err();
    assert!(
        error.to_string().contains("not those of Stable Diffusion 1"),
        "{error}"
    );
    let error = compvis::vae(path, &only(&[])).unwrap_err();
    assert!(error.to_string().contains("no whole checkpoint"), "{error}");
}
