//! Our VAE against that of candle-transformers, an implementation that no one here wrote: the decoder of the
//! bundled model.

use candle_core::{DType, Device, Tensor};
use candle_transformers::models::stable_diffusion::vae::{AutoEncoderKL, AutoEncoderKLConfig};
use dream_ood::diffusion::{Pipeline, PipelineOptions};
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

    let ours = Pipeline::open(&model, &PipelineOptions::default()).unwrap();
    let [c, h, w] = ours.outline().geometry().latent_shape();
    let latents = Tensor::from_vec(
        Stream::new(1, "test/latents", 0, 0).normals(4 * c * h * w),
        (4, c, h, w),
        &device,
    )
    .unwrap();
    let scaled = (&latents / config["scaling_factor"].as_f64().unwrap()).unwrap();
    let pictures = ours.decode(&latents).unwrap();
    assert_eq!(pictures.len(), 4);
    let grey = |x: &f32| ((x / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0).round() as u8;
    for (i, picture) in pictures.iter().enumerate() {
        // One at a time: candle 0.11.1 decodes the second and later latents of a batch otherwise than alone.
        let one = theirs
            .decode(&scaled.narrow(0, i, 1).unwrap().contiguous().unwrap())
            .unwrap();
        // [1, 3, height, width] to [height, width, 3]
        let expected = one
            .permute((0, 2, 3, 1))
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1::<f32>()
            .unwrap();
        assert_eq!(expected.len(), picture.rgb.len());
        let worst = picture
            .rgb
            .iter()
            .zip(&expected)
            .map(|(a, b)| a.abs_diff(grey(b)))
            .max();
        assert!(worst <= Some(1), "picture {i}: {worst:?} grey levels");
    }
}
