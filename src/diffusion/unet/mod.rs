//! The denoising UNet (diffusers' `UNet2DConditionModel` with the blocks of Stable Diffusion 1.x).
//!
//! What depends on the prompt alone (keys and values of the cross-attention) is computed once a prompt:
//! [`Unet::prompt`]. Images do not see each other, so the engine may cut a batch into parts.

mod transformer;

use candle_core::{DType, Result as CandleResult, Tensor};

use self::transformer::Transformer;
use super::config::UnetConfig;
use super::error::Result;
use super::resnet::{Norm, Resnet};
use super::weights::Scope;
use crate::engine::{Activation, Conv, Engine, GroupNorm, Linear, Plus, Repeat, Stride};

struct Block {
    resnets: Vec<Resnet>,
    /// As many as resnets, or none.
    transformers: Vec<Transformer>,
    /// Down- or upsampling at the end.
    resample: Option<Conv>,
}

/// The UNet.
pub(crate) struct Unet {
    config: UnetConfig,
    engine: Engine,
    time1: Linear,
    time2: Linear,
    enter: Conv,
    down: Vec<Block>,
    middle: Option<(Resnet, Transformer, Resnet)>,
    up: Vec<Block>,
    norm: GroupNorm,
    leave: Conv,
}

/// Keys and values of prompts in every block that looks at them, each `[batch, tokens, 2c]`.
pub(crate) struct Prompts {
    states: Vec<Tensor>,
    /// The evaluations of these prompts, which differ by latents and time alone.
    evaluations: Box<dyn Repeat>,
}

struct Loader<'a> {
    config: &'a UnetConfig,
    time: usize,
    norm: Norm,
    slots: usize,
}

impl Loader<'_> {
    fn resnet(&self, scope: &Scope, inputs: usize, outputs: usize) -> Result<Resnet> {
        Resnet::load(scope, inputs, outputs, Some(self.time), self.norm)
    }

    fn transformer(&mut self, scope: &Scope, channels: usize, level: usize) -> Result<Transformer> {
        let slot = self.slots;
        self.slots += 1;
        let config = self.config;
        let heads = config.heads(level);
        Transformer::load(
            scope,
            channels,
            heads,
            config.cross_attention_dim,
            config.norm_num_groups,
            slot,
        )
    }

    /// A block whose resnets have the inputs `inputs`.
    fn block(
        &mut self,
        scope: &Scope,
        inputs: &[usize],
        outputs: usize,
        level: usize,
        attends: bool,
        resample: Option<(&str, Stride)>,
    ) -> Result<Block> {
        let mut block = Block {
            resnets: Vec::new(),
            transformers: Vec::new(),
            resample: None,
        };
        for (i, inputs) in inputs.iter().enumerate() {
            block
                .resnets
                .push(self.resnet(&scope.child("resnets").child(i), *inputs, outputs)?);
            if attends {
                let scope = scope.child("attentions").child(i);
                block.transformers.push(self.transformer(&scope, outputs, level)?);
            }
        }
        if let Some((name, stride)) = resample {
            let conv = scope.child(name).child("0.conv");
            block.resample = Some(conv.conv(outputs, outputs, stride)?);
        }
        Ok(block)
    }

    /// The way down, and the channels of every tensor that a skip connection carries, in the order in which
    /// they are made.
    fn down(&mut self, scope: &Scope) -> Result<(Vec<Block>, Vec<usize>)> {
        let config = self.config;
        let (channels, layers) = (&config.block_out_channels, config.layers_per_block);
        let mut down = Vec::new();
        let mut skips = vec![channels[0]]; // `check` refuses an empty list
        for (level, outputs) in channels.iter().enumerate() {
            let scope = scope.child("down_blocks").child(level);
            let mut inputs = vec![*outputs; layers];
            inputs[0] = channels[level.saturating_sub(1)]; // layers > 0 is checked
            // One type a level is checked.
            let attends = config.down_block_types[level].starts_with("CrossAttn");
            let resample = (level + 1 < channels.len()).then_some(("downsamplers", Stride::Half));
            down.push(self.block(&scope, &inputs, *outputs, level, attends, resample)?);
            let made = layers + usize::from(resample.is_some());
            skips.extend(std::iter::repeat_n(*outputs, made));
        }
        Ok((down, skips))
    }

    fn middle(&mut self, scope: &Scope) -> Result<Option<(Resnet, Transformer, Resnet)>> {
        if !self.config.has_middle() {
            return Ok(None);
        }
        let channels = &self.config.block_out_channels;
        let (scope, level) = (scope.child("mid_block"), channels.len() - 1);
        let last = channels[level];
        Ok(Some((
            self.resnet(&scope.child("resnets.0"), last, last)?,
            self.transformer(&scope.child("attentions.0"), last, level)?,
            self.resnet(&scope.child("resnets.1"), last, last)?,
        )))
    }

    /// The way up, which takes the skip connections from the last to the first.
    fn up(&mut self, scope: &Scope, mut skips: Vec<usize>) -> Result<Vec<Block>> {
        let config = self.config;
        let levels = config.block_out_channels.len();
        let mut previous = config.block_out_channels[levels - 1];
        let mut up = Vec::new();
        for (i, kind) in config.up_block_types.iter().enumerate() {
            let level = levels - 1 - i;
            let outputs = config.block_out_channels[level];
            let inputs: Vec<usize> = (0..=config.layers_per_block)
                .map(|_| {
                    let skip = skips.pop().unwrap_or(0); // as many as were pushed
                    std::mem::replace(&mut previous, outputs) + skip
                })
                .collect();
            let scope = scope.child("up_blocks").child(i);
            let resample = (level > 0).then_some(("upsamplers", Stride::Double));
            let attends = kind.starts_with("CrossAttn");
            up.push(self.block(&scope, &inputs, outputs, level, attends, resample)?);
        }
        Ok(up)
    }
}

impl Unet {
    pub(crate) fn load(config: UnetConfig, scope: &Scope) -> Result<Self> {
        let first = config.block_out_channels[0]; // `check` refuses an empty list
        let time = 4 * first;
        let norm = Norm {
            groups: config.norm_num_groups,
            epsilon: config.norm_eps,
        };
        let mut loader = Loader {
            config: &config,
            time,
            norm,
            slots: 0,
        };
        let (down, skips) = loader.down(scope)?;
        let middle = loader.middle(scope)?;
        let up = loader.up(scope, skips)?;
        let embedding = scope.child("time_embedding");
        Ok(Self {
            engine: scope.engine().clone(),
            time1: embedding.child("linear_1").linear(first, time, true)?,
            time2: embedding.child("linear_2").linear(time, time, true)?,
            enter: scope
                .child("conv_in")
                .conv(config.in_channels, first, Stride::Same)?,
            down,
            middle,
            up,
            norm: norm.silu(&scope.child("conv_norm_out"), first)?,
            leave: scope
                .child("conv_out")
                .conv(first, config.out_channels, Stride::Same)?,
            config,
        })
    }

    pub(crate) fn config(&self) -> &UnetConfig {
        &self.config
    }

    fn transformers(&self) -> impl Iterator<Item = &Transformer> {
        let down = self.down.iter().flat_map(|b| &b.transformers);
        let middle = self.middle.iter().map(|(_, transformer, _)| transformer);
        down.chain(middle)
            .chain(self.up.iter().flat_map(|b| &b.transformers))
    }

    /// Prepares encoded prompts `[batch, tokens, m]`.
    pub(crate) fn prompt(&self, states: &Tensor) -> Result<Prompts> {
        let states = states.to_dtype(self.engine.dtype())?.contiguous()?;
        let states = self.transformers().map(|t| t.prompt(&states));
        Ok(Prompts {
            states: states.collect::<CandleResult<_>>()?,
            evaluations: self.engine.repeat(),
        })
    }

    /// Predicts the noise (or whatever the model was trained for) of `latents` `[batch, c, h, w]` at
    /// `timestep`.
    pub(crate) fn forward(&self, latents: &Tensor, timestep: usize, prompts: &Prompts) -> Result<Tensor> {
        let latents = latents.to_dtype(DType::F32)?.contiguous()?;
        let sines = self.sines(timestep)?;
        let evaluate = |[latents, sines]: [&Tensor; 2]| self.evaluate(latents, sines, &prompts.states);
        Ok(prompts.evaluations.run([&latents, &sines], &evaluate)?)
    }

    /// From latents `[batch, c, h, w]` and the sines of the time to the predicted noise, all f32.
    fn evaluate(&self, latents: &Tensor, sines: &Tensor, prompts: &[Tensor]) -> CandleResult<Tensor> {
        let x = latents
            .to_dtype(self.engine.dtype())?
            .permute((0, 2, 3, 1))?
            .contiguous()?;
        let time = self.embed(sines)?;
        let (batch, height, width, _) = x.dims4()?;
        let image = height * width * self.config.block_out_channels[0] * size_of::<f32>();
        let y = self.engine.policy().in_parts(batch, image, |start, length| {
            let cut = |x: &Tensor| x.narrow(0, start, length);
            let prompts = prompts.iter().map(cut).collect::<CandleResult<Vec<_>>>()?;
            self.denoise(&cut(&x)?, &time, &prompts)
        })?;
        y.to_dtype(DType::F32)?.permute((0, 3, 1, 2))?.contiguous()
    }

    /// The time embedding after its last activation, `[1, width]`.
    fn embed(&self, sines: &Tensor) -> CandleResult<Tensor> {
        let silu = |x: &Tensor| self.engine.activation(Activation::Silu, x);
        let hidden = silu(&self.time1.forward(sines, Plus::Nothing)?)?;
        silu(&self.time2.forward(&hidden, Plus::Nothing)?)
    }

    fn sines(&self, timestep: usize) -> CandleResult<Tensor> {
        let width = self.config.block_out_channels[0]; // not empty
        let half = width / 2;
        let angle = |i: usize| {
            let exponent = -(10_000_f32.ln()) * i as f32 / (half as f32 - self.config.freq_shift as f32);
            timestep as f32 * exponent.exp()
        };
        let sines = (0..half).map(|i| angle(i).sin());
        let cosines = (0..half).map(|i| angle(i).cos());
        let mut values: Vec<f32> = if self.config.flip_sin_to_cos {
            cosines.chain(sines).collect()
        } else {
            sines.chain(cosines).collect()
        };
        values.resize(width, 0.0);
        Tensor::from_vec(values, (1, width), self.engine.device())?.to_dtype(self.engine.dtype())
    }

    fn denoise(&self, x: &Tensor, time: &Tensor, prompts: &[Tensor]) -> CandleResult<Tensor> {
        let mut x = self.enter.forward(x, Plus::Nothing)?;
        let mut skips = vec![x.clone()];
        for block in &self.down {
            for (i, resnet) in block.resnets.iter().enumerate() {
                x = resnet.forward(x, Some(time))?;
                if let Some(transformer) = block.transformers.get(i) {
                    x = transformer.forward(&x, prompts)?;
                }
                skips.push(x.clone());
            }
            if let Some(conv) = &block.resample {
                x = conv.forward(&x, Plus::Nothing)?;
                skips.push(x.clone());
            }
        }
        if let Some((first, transformer, second)) = &self.middle {
            x = first.forward(x, Some(time))?;
            x = transformer.forward(&x, prompts)?;
            x = second.forward(x, Some(time))?;
        }
        for block in &self.up {
            for (i, resnet) in block.resnets.iter().enumerate() {
                if let Some(skip) = skips.pop() {
                    x = Tensor::cat(&[&x, &skip], 3)?;
                }
                x = resnet.forward(x, Some(time))?;
                if let Some(transformer) = block.transformers.get(i) {
                    x = transformer.forward(&x, prompts)?;
                }
            }
            if let Some(conv) = &block.resample {
                x = conv.forward(&x, Plus::Nothing)?;
            }
        }
        self.leave.forward(&self.norm.forward(&x)?, Plus::Nothing)
    }
}
