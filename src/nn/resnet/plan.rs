//! From a configuration to the layers of a network and the tensors they need.

use super::{ResNetConfig, Stem};
use crate::engine::{Block, Plan, Unit};
use crate::nn::tensors::{Init, Spec, Tensors};
use crate::nn::{Error, Result};

/// The plan with its places in `tensors`, which were made from [`specs`] of the same configuration.
pub(super) fn placed(config: &ResNetConfig, tensors: &Tensors) -> Result<Plan> {
    let mut plan = unplaced(config)?;
    for unit in plan.units_mut() {
        locate(unit, tensors)?;
    }
    plan.fc_weight = tensors.start("fc.weight")?;
    plan.fc_bias = tensors.start("fc.bias")?;
    Ok(plan)
}

fn locate(unit: &mut Unit, tensors: &Tensors) -> Result<()> {
    unit.weight = tensors.start(&format!("{}.weight", unit.conv))?;
    unit.gamma = tensors.start(&format!("{}.weight", unit.norm))?;
    unit.beta = tensors.start(&format!("{}.bias", unit.norm))?;
    unit.mean = tensors.start(&format!("{}.running_mean", unit.norm))?;
    unit.var = tensors.start(&format!("{}.running_var", unit.norm))?;
    Ok(())
}

fn unit_specs(unit: &Unit) -> Vec<Spec> {
    let (c, k) = (unit.channels_out, unit.kernel);
    let spec = |name: String, shape: Vec<usize>, init, trainable| Spec {
        name,
        shape,
        init,
        trainable,
    };
    let norm = |part: &str, value, trainable| {
        let name = format!("{}.{part}", unit.norm);
        spec(name, vec![c], Init::Constant(value), trainable)
    };
    let weight = vec![c, unit.channels_in, k, k];
    vec![
        spec(format!("{}.weight", unit.conv), weight, Init::KaimingFanOut, true),
        norm("weight", 1.0, true),
        norm("bias", 0.0, true),
        norm("running_mean", 0.0, false),
        norm("running_var", 1.0, false),
    ]
}

/// The tensors of a network of this shape.
pub(super) fn specs(config: &ResNetConfig) -> Result<Vec<Spec>> {
    let plan = unplaced(config)?;
    let mut specs: Vec<Spec> = plan.units().flat_map(unit_specs).collect();
    specs.extend(last_layer(plan.features, plan.outputs));
    Ok(specs)
}

/// The tensors of the last layer.
pub(super) fn last_layer(features: usize, outputs: usize) -> [Spec; 2] {
    [("fc.weight", vec![outputs, features]), ("fc.bias", vec![outputs])].map(|(name, shape)| Spec {
        name: name.into(),
        shape,
        init: Init::UniformFanIn(features),
        trainable: true,
    })
}

/// Numbers that all convolutions together give of one square picture.
pub(super) fn activations(config: &ResNetConfig, side: usize) -> Result<f64> {
    let plan = unplaced(config)?;
    let given = |unit: &Unit, side: usize| unit.channels_out as f64 * (side as f64).powi(2);
    let mut side = side.div_ceil(plan.stem.stride);
    let mut all = given(&plan.stem, side);
    if plan.pool {
        side = side.div_ceil(2);
    }
    for block in &plan.blocks {
        for unit in &block.units {
            side = side.div_ceil(unit.stride);
            all += given(unit, side);
        }
    }
    Ok(all)
}

/// Blocks of each stage, and whether they are bottlenecks.
fn stages(config: &ResNetConfig) -> Result<(Vec<usize>, bool)> {
    match config.depth {
        10 => Ok((vec![1; 4], false)),
        18 => Ok((vec![2; 4], false)),
        34 => Ok((vec![3, 4, 6, 3], false)),
        50 => Ok((vec![3, 4, 6, 3], true)),
        101 => Ok((vec![3, 4, 23, 3], true)),
        depth @ (20 | 32 | 44 | 56 | 110) => Ok((vec![(depth - 2) / 6; 3], false)),
        depth => Err(Error::Config {
            field: "depth",
            value: depth.to_string(),
            expected: "10, 18, 34, 50 or 101; 20, 32, 44, 56 or 110 of three stages",
        }),
    }
}

/// The block `prefix`, from `channels` through `inner` to `outer`.
fn block(prefix: &str, [channels, inner, outer]: [usize; 3], stride: usize, bottleneck: bool) -> Block {
    let unit = |i: usize, channels, kernel, stride| {
        let names = [format!("{prefix}.conv{i}"), format!("{prefix}.bn{i}")];
        Unit::new(names, channels, kernel, stride)
    };
    let units = if bottleneck {
        vec![
            unit(1, [channels, inner], 1, 1),
            unit(2, [inner, inner], 3, stride),
            unit(3, [inner, outer], 1, 1),
        ]
    } else {
        vec![
            unit(1, [channels, inner], 3, stride),
            unit(2, [inner, outer], 3, 1),
        ]
    };
    let projection = (stride != 1 || channels != outer).then(|| {
        let names = [0, 1].map(|part| format!("{prefix}.downsample.{part}"));
        Unit::new(names, [channels, outer], 1, stride)
    });
    Block { units, projection }
}

/// Refuses sizes of zero.
pub(super) fn check_sizes(config: &ResNetConfig) -> Result<()> {
    for (field, value) in [
        ("width", config.width),
        ("in_channels", config.in_channels),
        ("num_outputs", config.num_outputs),
    ] {
        if value == 0 {
            return Err(Error::Config {
                field,
                value: "0".into(),
                expected: "at least 1",
            });
        }
    }
    Ok(())
}

pub(super) fn unplaced(config: &ResNetConfig) -> Result<Plan> {
    let (counts, bottleneck) = stages(config)?;
    check_sizes(config)?;
    let (kernel, stride) = match config.stem {
        Stem::Cifar => (3, 1),
        Stem::ImageNet => (7, 2),
    };
    let names = ["conv1", "bn1"].map(str::to_owned);
    let stem = Unit::new(names, [config.in_channels, config.width], kernel, stride);
    let mut blocks = Vec::new();
    let mut channels = config.width;
    for (stage, count) in counts.iter().enumerate() {
        let inner = config.width << stage;
        let outer = if bottleneck { 4 * inner } else { inner };
        for index in 0..*count {
            let stride = if stage > 0 && index == 0 { 2 } else { 1 };
            let prefix = format!("layer{}.{index}", stage + 1);
            blocks.push(block(&prefix, [channels, inner, outer], stride, bottleneck));
            channels = outer;
        }
    }
    Ok(Plan {
        stem,
        pool: config.stem == Stem::ImageNet,
        blocks,
        stages: counts,
        features: channels,
        outputs: config.num_outputs,
        fc_weight: 0,
        fc_bias: 0,
    })
}
