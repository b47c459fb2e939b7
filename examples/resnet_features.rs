//! Pooled features of a residual network with torchvision's stem, to compare with torchvision's own
//! (tools/make/check_resnet.py): `cargo run --release --example resnet_features -- DEPTH
//! STATE.{pth,safetensors} PICTURES.safetensors OUT.safetensors`.
//!
//! PICTURES holds a tensor `x` `[n, 3, h, w]`; OUT gets `features` `[n, m]` and `logits`.

use std::error::Error;
use std::path::Path;

use candle_core::Device;
use dream_ood::engine::Engine;
use dream_ood::nn::{ResNet, ResNetConfig, State, Stem, read_state, to_safetensors};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [depth, state, pictures, out] = arguments.as_slice() else {
        return Err("say DEPTH STATE PICTURES OUT".into());
    };
    let state = read_state(Path::new(state), &Device::Cpu)?;
    let bias = state.get("fc.bias").ok_or("the state has no fc.bias")?;
    let config = ResNetConfig {
        depth: depth.parse()?,
        stem: Stem::ImageNet,
        width: 64,
        in_channels: 3,
        num_outputs: bias.elem_count(),
        form: Default::default(),
    };
    let network = ResNet::new(config, 0, &Engine::default())?;
    network.tensors().load_state_dict(&state)?;
    let pictures = read_state(Path::new(pictures), &Device::Cpu)?;
    let x = pictures.get("x").ok_or("PICTURES has no tensor x")?;
    let found = State::from([
        ("features".to_owned(), network.features(x, false)?),
        ("logits".to_owned(), network.forward(x, false)?),
    ]);
    std::fs::write(out, to_safetensors(&found)?)?;
    Ok(())
}
