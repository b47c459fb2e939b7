//! The autoencoder between pictures and latents (diffusers' `AutoencoderKL`).

use candle_core::{DType, Result as CandleResult, Tensor};

use super::config::VaeConfig;
use super::error::Result;
use super::resnet::{Norm, Resnet};
use super::weights::Scope;
use crate::engine::{Attention, Conv, Engine, GroupNorm, Linear, Plus, Stride};

/// Single-head attention over all pixels.
struct PixelAttention {
    norm: GroupNorm,
    query: Linear,
    key: Linear,
    value: Linear,
    out: Linear,
    engine: Engine,
}

impl PixelAttention {
    fn load(scope: &Scope, channels: usize, norm: Norm) -> Result<Self> {
        // Checkpoints of 2022 have other names.
        let old = scope.has("query.weight");
        let names = if old {
            ["query", "key", "value", "proj_attn"]
        } else {
            ["to_q", "to_k", "to_v", "to_out.0"]
        };
        let [query, key, value, out] = names.map(|n| scope.child(n).linear(channels, channels, true));
        Ok(Self {
            norm: norm.read(&scope.child("group_norm"), channels, false)?,
            query: query?,
            key: key?,
            value: value?,
            out: out?,
            engine: scope.engine().clone(),
        })
    }

    fn forward(&self, image: &Tensor) -> CandleResult<Tensor> {
        let (batch, height, width, channels) = image.dims4()?;
        let x = self
            .norm
            .forward(image)?
            .reshape((batch, height * width, channels))?;
        let [q, k, v] = [&self.query, &self.key, &self.value].map(|linear| linear.forward(&x, Plus::Nothing));
        let mixed = self
            .engine
            .attention(&Attention::Apart(&q?, &k?, &v?), 1, false)?;
        self.out
            .forward(&mixed.reshape(image.shape())?, Plus::Residual(image))
    }
}

struct Middle {
    first: Resnet,
    attention: Option<PixelAttention>,
    second: Resnet,
}

impl Middle {
    fn load(scope: &Scope, channels: usize, attends: bool, norm: Norm) -> Result<Self> {
        let resnet =
            |i: usize| Resnet::load(&scope.child("resnets").child(i), channels, channels, None, norm);
        let attention = || PixelAttention::load(&scope.child("attentions.0"), channels, norm);
        Ok(Self {
            first: resnet(0)?,
            attention: attends.then(attention).transpose()?,
            second: resnet(1)?,
        })
    }

    fn forward(&self, x: Tensor) -> CandleResult<Tensor> {
        let mut x = self.first.forward(x, None)?;
        if let Some(attention) = &self.attention {
            x = attention.forward(&x)?;
        }
        self.second.forward(x, None)
    }
}

struct Level {
    resnets: Vec<Resnet>,
    resample: Option<Conv>,
}

impl Level {
    fn load(
        scope: &Scope,
        [inputs, outputs, count]: [usize; 3],
        resample: Option<(&str, Stride)>,
        norm: Norm,
    ) -> Result<Self> {
        let resnet = |i: usize| {
            let inputs = if i == 0 { inputs } else { outputs };
            Resnet::load(&scope.child("resnets").child(i), inputs, outputs, None, norm)
        };
        let conv = |(name, stride)| scope.child(name).child("0.conv").conv(outputs, outputs, stride);
        Ok(Self {
            resnets: (0..count).map(resnet).collect::<Result<_>>()?,
            resample: resample.map(conv).transpose()?,
        })
    }

    fn forward(&self, mut x: Tensor) -> CandleResult<Tensor> {
        for resnet in &self.resnets {
            x = resnet.forward(x, None)?;
        }
        match &self.resample {
            Some(conv) => conv.forward(&x, Plus::Nothing),
            None => Ok(x),
        }
    }
}

/// The autoencoder.
pub(crate) struct Vae {
    config: VaeConfig,
    engine: Engine,
    encoder: Encoder,
    post_quant: Linear,
    enter: Conv,
    middle: Middle,
    up: Vec<Level>,
    norm: GroupNorm,
    leave: Conv,
}

struct Encoder {
    enter: Conv,
    down: Vec<Level>,
    middle: Middle,
    norm: GroupNorm,
    leave: Conv,
    quant: Linear,
}

impl Vae {
    pub(crate) fn load(config: VaeConfig, scope: &Scope) -> Result<Self> {
        let channels = &config.block_out_channels;
        let levels = channels.len();
        let (first, last) = (channels[0], channels[levels - 1]); // `check` refuses an empty list
        let latent = config.latent_channels;
        let norm = Norm {
            groups: config.norm_num_groups,
            epsilon: 1e-6,
        };
        let attends = config.mid_block_add_attention;

        let encoder = scope.child("encoder");
        let mut down = Vec::new();
        for (level, outputs) in channels.iter().enumerate() {
            let scope = encoder.child("down_blocks").child(level);
            let inputs = channels[level.saturating_sub(1)];
            let resample = (level + 1 < levels).then_some(("downsamplers", Stride::HalfAfter));
            down.push(Level::load(
                &scope,
                [inputs, *outputs, config.layers_per_block],
                resample,
                norm,
            )?);
        }
        let encoder = Encoder {
            enter: encoder
                .child("conv_in")
                .conv(config.in_channels, first, Stride::Same)?,
            down,
            middle: Middle::load(&encoder.child("mid_block"), last, attends, norm)?,
            norm: norm.silu(&encoder.child("conv_norm_out"), last)?,
            leave: encoder.child("conv_out").conv(last, 2 * latent, Stride::Same)?,
            quant: scope.child("quant_conv").linear(2 * latent, 2 * latent, true)?,
        };

        let decoder = scope.child("decoder");
        let mut up = Vec::new();
        let mut inputs = last;
        for (i, outputs) in channels.iter().rev().enumerate() {
            let scope = decoder.child("up_blocks").child(i);
            let resample = (i + 1 < levels).then_some(("upsamplers", Stride::Double));
            up.push(Level::load(
                &scope,
                [inputs, *outputs, config.layers_per_block + 1],
                resample,
                norm,
            )?);
            inputs = *outputs;
        }
        Ok(Self {
            engine: scope.engine().clone(),
            encoder,
            post_quant: scope.child("post_quant_conv").linear(latent, latent, true)?,
            enter: decoder.child("conv_in").conv(latent, last, Stride::Same)?,
            middle: Middle::load(&decoder.child("mid_block"), last, attends, norm)?,
            up,
            norm: norm.silu(&decoder.child("conv_norm_out"), first)?,
            leave: decoder
                .child("conv_out")
                .conv(first, config.out_channels, Stride::Same)?,
            config,
        })
    }

    pub(crate) fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// The type of its activations.
    pub(crate) fn dtype(&self) -> DType {
        self.engine.dtype()
    }

    /// Runs `f` on each image of the batch, whose pictures are of `size` (height and width).
    fn each(
        &self,
        x: &Tensor,
        size: [usize; 2],
        f: impl Fn(Tensor) -> CandleResult<Tensor> + Sync,
    ) -> CandleResult<Tensor> {
        let bytes = self.config.active_bytes(size, self.engine.policy());
        let one = |i| f(x.narrow(0, i, 1)?);
        self.engine.policy().one_by_one(x.dim(0)?, bytes, one)
    }

    /// Decodes latents as the UNet knows them, `[batch, c, h, w]`, to `[batch, H, W, 3]` around -1 to 1.
    pub(crate) fn decode(&self, latents: &Tensor) -> Result<Tensor> {
        let x = (latents.permute((0, 2, 3, 1))?.contiguous()? / self.config.scaling_factor)?;
        let x = x.to_dtype(self.engine.dtype())?;
        let (_, height, width, _) = x.dims4()?;
        let size = [height, width].map(|n| n * self.config.scale());
        Ok(self.each(&x, size, |x| {
            let x = self
                .enter
                .forward(&self.post_quant.forward(&x, Plus::Nothing)?, Plus::Nothing)?;
            let x = self
                .up
                .iter()
                .try_fold(self.middle.forward(x)?, |x, level| level.forward(x))?;
            self.leave
                .forward(&self.norm.forward(&x)?, Plus::Nothing)?
                .to_dtype(DType::F32)
        })?)
    }

    /// Encodes pictures `[batch, 3, H, W]` in -1 to 1 to the mean of their latents, scaled: `[batch, c, h,
    /// w]`.
    pub(crate) fn encode(&self, images: &Tensor) -> Result<Tensor> {
        let x = images
            .permute((0, 2, 3, 1))?
            .contiguous()?
            .to_dtype(self.engine.dtype())?;
        let encoder = &self.encoder;
        let (_, height, width, _) = x.dims4()?;
        let moments = self.each(&x, [height, width], |x| {
            let x = encoder.enter.forward(&x, Plus::Nothing)?;
            let x = encoder.down.iter().try_fold(x, |x, level| level.forward(x))?;
            let x = encoder.middle.forward(x)?;
            let x = encoder.leave.forward(&encoder.norm.forward(&x)?, Plus::Nothing)?;
            encoder.quant.forward(&x, Plus::Nothing)
        })?;
        let mean = moments
            .to_dtype(DType::F32)?
            .narrow(3, 0, self.config.latent_channels)?
            .permute((0, 3, 1, 2))?
            .contiguous()?;
        Ok((mean * self.config.scaling_factor)?)
    }
}
