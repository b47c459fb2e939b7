//! Our VAE against that of candle-transformers, an implementation that no one here wrote: the decoder of the bundled model.

use candle_core::{DType, Device, Tensor};
use candle_transformers::models::stable_diffusion::vae::{AutoEncoderKL, AutoEncoderKLConfig};
use dream_ood::diffusion::Pipeline;
use dream_ood::rng::Stream;

#[test]
fn the_bundled_decoder_agrees_with_candle() {
    let model = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("data/tiny-sd");
    let config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(model.join("vae/config.json")).unwrap()).unwrap();
    let number = |key: &str| config[key].as_u64().unwrap() as usize;
    let channels = config["block_out_channels"].as_array().unwrap();
    let theirs = AutoEncoderKLConfig {
        block_out_channels: channels.iter().map(|c| c.as_u64().unwrap() as usize).collect(),
        layers_per_block: number("layers_per_block"),
        latent_channels: number("latent_channels"),
        norm_num_groups: number("norm_num_groups"),
        use_quant_conv: true,
        use_post_quant_conv: true,
    };
    let device = Device::Cpu;
    let weights =
        candle_core::safetensors::load(model.join("vae/diffusion_pytorch_model.safetensors"), &device)
            .unwrap();
    let builder = candle_nn::VarBuilder::from_tensors(weights, DType::F32, &device);
    let theirs = AutoEncoderKL::new(builder, 3, 3, theirs).unwrap();

    let ours = Pipeline::load(&model, &device).unwrap();
    let [c, h, w] = ours.latent_shape();
    let latents = Tensor::from_vec(
        Stream::new(1, "test/latents", 0, 0).normals(4 * c * h * w),
        (4, c, h, w),
        &device,
    )
    .unwrap();
    let scaled = (&latents / config["scaling_factor"].as_f64().unwrap()).unwrap();
    // [4, 3, height, width] to [4, height, width, 3]
    let expected = theirs
        .decode(&scaled)
        .unwrap()
        .permute((0, 2, 3, 1))
        .unwrap()
        .flatten_all()
        .unwrap();
    let expected = expected.to_vec1::<f32>().unwrap();
    let pictures = ours.decode(&latents).unwrap();
    let bytes = pictures.iter().flat_map(|p| p.rgb.iter());
    let grey = |x: &f32| ((x / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0).round() as u8;
    assert_eq!(
        expected.len(),
        pictures.iter().map(|p| p.rgb.len()).sum::<usize>()
    );
    let worst = bytes.zip(&expected).map(|(a, b)| a.abs_diff(grey(b))).max();
    assert!(worst <= Some(1), "{worst:?} grey levels");
}
