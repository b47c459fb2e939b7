//! Wide residual networks (Zagoruyko and Komodakis, "Wide Residual Networks", 2016) by the names of
//! xternalz/WideResNet-pytorch, which outlier exposure, the energy score, DREAM-OOD and OpenOOD use; without
//! dropout.

use super::ResNetConfig;
use crate::engine::wide::{Conv, Norm, WideBlock, WidePlan};
use crate::nn::tensors::{Init, Spec, Tensors};
use crate::nn::{Error, Result};

/// Channels of the first convolution.
const STEM: usize = 16;

/// Blocks of each of the three stages.
fn blocks(depth: usize) -> Result<usize> {
    match depth {
        10.. if depth % 6 == 4 => Ok((depth - 4) / 6),
        depth => Err(Error::Config {
            field: "depth",
            value: depth.to_string(),
            expected: "6 n + 4 for a wide network: 10, 16, 22, 28, 40",
        }),
    }
}

pub(super) fn unplaced(config: &ResNetConfig) -> Result<WidePlan> {
    let count = blocks(config.depth)?;
    super::plan::check_sizes(config)?;
    let stem = Conv::new("conv1".into(), [config.in_channels, STEM], 3, 1);
    let (mut channels, mut all) = (STEM, Vec::new());
    for stage in 0..3 {
        let outer = config.width << stage;
        for index in 0..count {
            let stride = if stage > 0 && index == 0 { 2 } else { 1 };
            let name = |part: &str| format!("block{}.layer.{index}.{part}", stage + 1);
            all.push(WideBlock {
                norms: [Norm::new(name("bn1"), channels), Norm::new(name("bn2"), outer)],
                convs: [
                    Conv::new(name("conv1"), [channels, outer], 3, stride),
                    Conv::new(name("conv2"), [outer, outer], 3, 1),
                ],
                projection: (channels != outer)
                    .then(|| Conv::new(name("convShortcut"), [channels, outer], 1, stride)),
            });
            channels = outer;
        }
    }
    Ok(WidePlan {
        stem,
        blocks: all,
        last: Norm::new("bn1".into(), channels),
        features: channels,
        outputs: config.num_outputs,
        fc_weight: 0,
        fc_bias: 0,
    })
}

/// The plan with its places in `tensors`, which were made from [`specs`] of the same configuration.
pub(super) fn placed(config: &ResNetConfig, tensors: &Tensors) -> Result<WidePlan> {
    let mut plan = unplaced(config)?;
    for conv in plan.convs_mut() {
        conv.weight = tensors.start(&format!("{}.weight", conv.name))?;
    }
    for norm in plan.norms_mut() {
        norm.gamma = tensors.start(&format!("{}.weight", norm.name))?;
        norm.beta = tensors.start(&format!("{}.bias", norm.name))?;
        norm.mean = tensors.start(&format!("{}.running_mean", norm.name))?;
        norm.var = tensors.start(&format!("{}.running_var", norm.name))?;
    }
    plan.fc_weight = tensors.start("fc.weight")?;
    plan.fc_bias = tensors.start("fc.bias")?;
    Ok(plan)
}

/// The tensors of a network of this shape.
pub(super) fn specs(config: &ResNetConfig) -> Result<Vec<Spec>> {
    let plan = unplaced(config)?;
    let convs = plan.convs().map(|conv| Spec {
        name: format!("{}.weight", conv.name),
        shape: vec![conv.channels_out, conv.channels_in, conv.kernel, conv.kernel],
        init: Init::KaimingFanOut,
        trainable: true,
    });
    let norms = plan.norms().flat_map(|norm| {
        let parts = [
            ("weight", 1.0, true),
            ("bias", 0.0, true),
            ("running_mean", 0.0, false),
            ("running_var", 1.0, false),
        ];
        parts.map(|(part, value, trainable)| Spec {
            name: format!("{}.{part}", norm.name),
            shape: vec![norm.channels],
            init: Init::Constant(value),
            trainable,
        })
    });
    let mut specs: Vec<Spec> = convs.chain(norms).collect();
    specs.extend(super::plan::last_layer(plan.features, plan.outputs));
    Ok(specs)
}

/// Sides of the maps that convolutions give of pictures of this size, with the channels.
fn maps(plan: &WidePlan, [h, w]: [usize; 2]) -> Vec<(usize, [usize; 2])> {
    let mut size = [h, w];
    let mut all = vec![(plan.stem.channels_out, size)];
    for block in &plan.blocks {
        let stride = block.convs[0].stride;
        size = size.map(|side| side.div_ceil(stride));
        all.extend(
            block
                .convs
                .iter()
                .chain(&block.projection)
                .map(|conv| (conv.channels_out, size)),
        );
    }
    all
}

/// Numbers that convolutions, norms and ReLUs give of one square picture: composed operations keep them all.
pub(super) fn activations(config: &ResNetConfig, side: usize) -> Result<f64> {
    let maps = maps(&unplaced(config)?, [side, side]);
    let given = |(channels, [h, w]): &(usize, [usize; 2])| (channels * h * w) as f64;
    Ok(4.0 * maps.iter().map(given).sum::<f64>())
}

/// Pixels of the last stage for a picture of this size.
pub(super) fn last_area(plan: &WidePlan, h: usize, w: usize) -> usize {
    maps(plan, [h, w]).last().map_or(0, |(_, [h, w])| h * w)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;
    use crate::engine::Engine;
    use crate::nn::{Form, ResNet, State, Stem, cross_entropy, read_state};

    fn fixture(name: &str) -> State {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/nn");
        read_state(&folder.join(name), &Device::Cpu).unwrap()
    }

    fn below(state: &State, prefix: &str) -> State {
        let named = state
            .iter()
            .filter_map(|(name, t)| Some((name.strip_prefix(prefix)?.to_owned(), t.clone())));
        named.collect()
    }

    fn far(a: &Tensor, b: &Tensor) -> f32 {
        assert_eq!(a.dims(), b.dims());
        let difference = (a - b).unwrap().abs().unwrap().max_all().unwrap();
        difference.to_scalar().unwrap()
    }

    fn network(form: Form, depth: usize, width: usize, stem: Stem, engine: &Engine) -> ResNet {
        let config = ResNetConfig {
            depth,
            stem,
            width,
            in_channels: 3,
            num_outputs: 3,
            form,
        };
        ResNet::new(config, 1, engine).unwrap()
    }

    /// tests/fixtures/nn/make_methods.py.
    #[test]
    fn a_wide_network_is_pytorchs_forward_and_back() {
        let fixture = fixture("wide.safetensors");
        for engine in [Engine::default(), Engine::composed(&Device::Cpu)] {
            let net = network(Form::Wide, 16, 4, Stem::Cifar, &engine);
            net.tensors().load_state_dict(&below(&fixture, "state.")).unwrap();
            let logits = net.forward(&fixture["x"], false).unwrap();
            assert!(far(&logits, &fixture["logits"]) < 1e-4, "{engine:?}");
            let features = net.features(&fixture["x"], false).unwrap();
            assert!(far(&net.last(&features).unwrap(), &logits) < 1e-6);
            assert_eq!(features.dims(), [4, net.feature_len()]);

            // Candle's own convolution has no gradient for pictures with sides of two lengths.
            if engine.name() == "composed" {
                continue;
            }
            let loss = cross_entropy(&net.forward(&fixture["x"], true).unwrap(), &[0, 2, 1, 1]).unwrap();
            let value = loss.to_scalar::<f32>().unwrap();
            assert!((value - fixture["loss"].to_vec1::<f32>().unwrap()[0]).abs() < 1e-5);
            let grads = loss.backward().unwrap();
            for (name, expected) in below(&fixture, "grad.") {
                let found = net.tensors().gradient(&grads, &name).unwrap();
                let difference = far(&found, &expected);
                assert!(difference < 1e-4, "{engine:?} {name}: {difference}");
            }
            let after = net.tensors().state_dict().unwrap();
            for (name, expected) in below(&fixture, "after.") {
                assert!(far(&after[&name], &expected) < 1e-5, "{name}");
            }
        }
    }

    #[test]
    fn resnet_101_is_torchvisions() {
        let fixture = fixture("resnet101.safetensors");
        let net = network(Form::Residual, 101, 1, Stem::ImageNet, &Engine::default());
        net.tensors().load_state_dict(&below(&fixture, "state.")).unwrap();
        let logits = net.forward(&fixture["x"], false).unwrap();
        let size = fixture["logits"]
            .abs()
            .unwrap()
            .max_all()
            .unwrap()
            .to_scalar::<f32>()
            .unwrap();
        assert!(far(&logits, &fixture["logits"]) < 1e-4 * (1.0 + size), "{size}");
    }

    #[test]
    fn depths_and_stems_that_there_are_not_are_refused() {
        let config = |depth, stem| ResNetConfig {
            depth,
            stem,
            width: 32,
            in_channels: 3,
            num_outputs: 10,
            form: Form::Wide,
        };
        let wide = config(40, Stem::Cifar);
        assert_eq!(
            ResNet::new(wide.clone(), 1, &Engine::default())
                .unwrap()
                .feature_len(),
            128
        );
        // 2.2 million parameters, as the paper's table has it for WRN-40-2.
        let count: usize = wide
            .shapes()
            .unwrap()
            .iter()
            .filter(|(name, _)| !name.contains("running"))
            .map(|(_, shape)| shape.iter().product::<usize>())
            .sum();
        assert_eq!(count, 2_243_546);
        for depth in [4, 18, 41] {
            assert!(
                config(depth, Stem::Cifar)
                    .check()
                    .unwrap_err()
                    .to_string()
                    .contains("6 n + 4")
            );
        }
        assert!(
            config(40, Stem::ImageNet)
                .check()
                .unwrap_err()
                .to_string()
                .contains("stem")
        );
    }
}
