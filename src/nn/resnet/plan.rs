//! The layers of a network: names, shapes, and places in the flat variables.

use super::super::conv::Geometry;
use super::super::params::{Init, Params, Spec};
use super::super::{Error, Result};
use super::{ResNetConfig, Stem};

/// Added to variances (PyTorch's default).
pub(super) const EPSILON: f64 = 1e-5;
/// Weight of a batch in the running statistics (PyTorch's default).
pub(super) const MOMENTUM: f64 = 0.1;

/// A convolution without bias and the batch norm after it.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub conv: String,
    pub norm: String,
    pub channels_in: usize,
    pub channels_out: usize,
    pub kernel: usize,
    pub stride: usize,
    /// Starts in the flat variable, and in that of the buffers.
    pub weight: usize,
    pub gamma: usize,
    pub beta: usize,
    pub mean: usize,
    pub var: usize,
}

impl Unit {
    pub(super) fn new(
        conv: String,
        norm: String,
        channels: [usize; 2],
        kernel: usize,
        stride: usize,
    ) -> Self {
        let [channels_in, channels_out] = channels;
        Self {
            conv,
            norm,
            channels_in,
            channels_out,
            kernel,
            stride,
            weight: 0,
            gamma: 0,
            beta: 0,
            mean: 0,
            var: 0,
        }
    }

    pub(super) fn geometry(&self, [h, w]: [usize; 2]) -> Geometry {
        Geometry {
            channels_in: self.channels_in,
            h,
            w,
            channels_out: self.channels_out,
            kernel: [self.kernel; 2],
            stride: self.stride,
            padding: self.kernel / 2,
            groups: 1,
        }
    }

    pub(super) fn weight_len(&self) -> usize {
        self.channels_out * self.channels_in * self.kernel * self.kernel
    }

    fn locate(&mut self, params: &Params) -> Result<()> {
        self.weight = params.start(&format!("{}.weight", self.conv))?;
        self.gamma = params.start(&format!("{}.weight", self.norm))?;
        self.beta = params.start(&format!("{}.bias", self.norm))?;
        self.mean = params.start(&format!("{}.running_mean", self.norm))?;
        self.var = params.start(&format!("{}.running_var", self.norm))?;
        Ok(())
    }

    fn specs(&self) -> Vec<Spec> {
        let (c, k) = (self.channels_out, self.kernel);
        let spec = |name: String, shape: Vec<usize>, init, trainable| Spec {
            name,
            shape,
            init,
            trainable,
        };
        let norm = |part: &str, value, trainable| {
            spec(
                format!("{}.{part}", self.norm),
                vec![c],
                Init::Constant(value),
                trainable,
            )
        };
        let weight = vec![c, self.channels_in, k, k];
        vec![
            spec(format!("{}.weight", self.conv), weight, Init::KaimingFanOut, true),
            norm("weight", 1.0, true),
            norm("bias", 0.0, true),
            norm("running_mean", 0.0, false),
            norm("running_var", 1.0, false),
        ]
    }
}

/// A residual block: `relu(units(x) + shortcut(x))`, with a ReLU between units.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub units: Vec<Unit>,
    /// The shortcut's projection; the identity if there is none.
    pub projection: Option<Unit>,
}

/// The network.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub stem: Unit,
    pub pool: bool,
    pub blocks: Vec<Block>,
    pub features: usize,
    pub outputs: usize,
    /// Starts of the last layer's weight and bias in the flat variable.
    pub fc_weight: usize,
    pub fc_bias: usize,
}

/// Rows or columns that a convolution or pooling with padding kernel / 2 leaves.
pub(super) fn side(size: usize, kernel: usize, stride: usize) -> usize {
    (size + 2 * (kernel / 2) - kernel) / stride + 1
}

impl Plan {
    /// The plan with its places in `params`, which were made from [`specs`] of the same configuration.
    pub(super) fn new(config: &ResNetConfig, params: &Params) -> Result<Self> {
        let mut plan = unplaced(config)?;
        for unit in plan.units_mut() {
            unit.locate(params)?;
        }
        plan.fc_weight = params.start("fc.weight")?;
        plan.fc_bias = params.start("fc.bias")?;
        Ok(plan)
    }

    fn units_mut(&mut self) -> impl Iterator<Item = &mut Unit> {
        let blocks = self
            .blocks
            .iter_mut()
            .flat_map(|b| b.units.iter_mut().chain(b.projection.as_mut()));
        std::iter::once(&mut self.stem).chain(blocks)
    }

    /// All convolutions, in the order of the forward pass.
    pub(super) fn units(&self) -> impl Iterator<Item = &Unit> {
        let blocks = self
            .blocks
            .iter()
            .flat_map(|b| b.units.iter().chain(b.projection.as_ref()));
        std::iter::once(&self.stem).chain(blocks)
    }

    /// Pixels of the last stage for a picture of this size.
    pub(super) fn last_area(&self, h: usize, w: usize) -> usize {
        let mut size = [h, w].map(|s| side(s, self.stem.kernel, self.stem.stride));
        if self.pool {
            size = size.map(|s| side(s, 3, 2));
        }
        for unit in self.blocks.iter().flat_map(|b| &b.units) {
            size = size.map(|s| side(s, unit.kernel, unit.stride));
        }
        size[0] * size[1]
    }
}

/// The tensors of a network of this shape.
pub(super) fn specs(config: &ResNetConfig) -> Result<Vec<Spec>> {
    let plan = unplaced(config)?;
    let mut specs: Vec<Spec> = plan.units().flat_map(Unit::specs).collect();
    let init = Init::UniformFanIn(plan.features);
    for (name, shape) in [
        ("fc.weight", vec![plan.outputs, plan.features]),
        ("fc.bias", vec![plan.outputs]),
    ] {
        specs.push(Spec {
            name: name.into(),
            shape,
            init,
            trainable: true,
        });
    }
    Ok(specs)
}

fn unplaced(config: &ResNetConfig) -> Result<Plan> {
    let (counts, bottleneck) = match config.depth {
        10 => ([1, 1, 1, 1], false),
        18 => ([2, 2, 2, 2], false),
        34 => ([3, 4, 6, 3], false),
        50 => ([3, 4, 6, 3], true),
        depth => {
            let expected = "10, 18, 34 or 50";
            return Err(Error::Config {
                field: "depth",
                value: depth.to_string(),
                expected,
            });
        }
    };
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
    let (kernel, stride) = if config.stem == Stem::Cifar {
        (3, 1)
    } else {
        (7, 2)
    };
    let stem = Unit::new(
        "conv1".into(),
        "bn1".into(),
        [config.in_channels, config.width],
        kernel,
        stride,
    );
    let mut blocks = Vec::new();
    let mut channels = config.width;
    for (stage, count) in counts.into_iter().enumerate() {
        let inner = config.width << stage;
        let outer = if bottleneck { 4 * inner } else { inner };
        for index in 0..count {
            let stride = if stage > 0 && index == 0 { 2 } else { 1 };
            let prefix = format!("layer{}.{index}", stage + 1);
            let unit = |i: usize, channels, kernel, stride| {
                Unit::new(
                    format!("{prefix}.conv{i}"),
                    format!("{prefix}.bn{i}"),
                    channels,
                    kernel,
                    stride,
                )
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
                let name = |part| format!("{prefix}.downsample.{part}");
                Unit::new(name(0), name(1), [channels, outer], 1, stride)
            });
            blocks.push(Block { units, projection });
            channels = outer;
        }
    }
    Ok(Plan {
        stem,
        pool: config.stem == Stem::ImageNet,
        blocks,
        features: channels,
        outputs: config.num_outputs,
        fc_weight: 0,
        fc_bias: 0,
    })
}
