//! What an engine is told of a layer and of its work: numbers as they were read, not yet packed, and shapes.

use candle_core::{Result, Tensor, bail};

/// A linear layer `y = x W^T + b`.
pub(crate) struct RawLinear<'a> {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// `[outputs, inputs]`
    pub(crate) weight: &'a [f32],
    /// `[outputs]`
    pub(crate) bias: Option<&'a [f32]>,
}

/// A two-dimensional convolution over images with the channels last.
pub(crate) struct RawConv<'a> {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// Its side.
    pub(crate) kernel: usize,
    pub(crate) stride: Stride,
    /// `[outputs, inputs, kernel, kernel]`
    pub(crate) weight: &'a [f32],
    /// `[outputs]`
    pub(crate) bias: &'a [f32],
}

/// A normalisation over groups of channels and all pixels.
#[derive(Clone, Copy)]
pub(crate) struct RawGroupNorm<'a> {
    /// `[channels]`
    pub(crate) weight: &'a [f32],
    /// `[channels]`
    pub(crate) bias: &'a [f32],
    pub(crate) groups: usize,
    pub(crate) epsilon: f64,
    /// Whether SiLU follows at once.
    pub(crate) silu: bool,
}

/// A normalisation over the last dimension.
#[derive(Clone, Copy)]
pub(crate) struct RawLayerNorm<'a> {
    /// `[channels]`
    pub(crate) weight: &'a [f32],
    /// `[channels]`
    pub(crate) bias: &'a [f32],
    pub(crate) epsilon: f64,
}

/// How a convolution moves over its image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stride {
    /// Same size; the kernel's half of zeros around.
    Same,
    /// Half the size, one pixel of zeros around.
    Half,
    /// Half the size, zeros only right and below (the encoder of a VAE).
    HalfAfter,
    /// Twice the size: each pixel doubled both ways, then as [`Stride::Same`].
    Double,
}

impl Stride {
    /// Rows (or columns) of the output for `n` of the input.
    pub(crate) fn side(self, n: usize) -> usize {
        match self {
            Self::Same => n,
            Self::Half => n.div_ceil(2),
            Self::HalfAfter => n / 2,
            Self::Double => 2 * n,
        }
    }
}

/// What is added to a layer's result.
#[derive(Clone, Copy)]
pub(crate) enum Plus<'a> {
    /// Nothing.
    Nothing,
    /// One number per channel, `[channels]`.
    Channels(&'a Tensor),
    /// A tensor of the result's shape.
    Residual(&'a Tensor),
}

/// An elementwise function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    /// `x * sigmoid(x)`.
    Silu,
    /// The exact (erf) GELU.
    Gelu,
    /// `x * sigmoid(1.702 x)`, CLIP's activation.
    QuickGelu,
    /// `[.., 2n] -> [.., n]`: the first half times the exact GELU of the second (Shazeer, "GLU variants",
    /// 2020).
    Geglu,
}

/// Where queries, keys and values come from. Heads lie side by side in the last dimension.
pub(crate) enum Attention<'a> {
    /// Query, key and value side by side: `[batch, tokens, 3c]`.
    Own(&'a Tensor),
    /// Queries `[batch, tokens, c]`; keys and values side by side `[batch, others, 2c]`.
    Cross(&'a Tensor, &'a Tensor),
    /// Each by itself, `[batch, tokens, c]`.
    Apart(&'a Tensor, &'a Tensor, &'a Tensor),
}

/// The sizes of an attention.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttentionShape {
    pub(crate) batch: usize,
    /// Queries of an image.
    pub(crate) tokens: usize,
    /// Keys and values of an image.
    pub(crate) others: usize,
    /// Channels of all heads.
    pub(crate) channels: usize,
    pub(crate) heads: usize,
    /// Whether a token sees itself and those before it only.
    pub(crate) causal: bool,
}

impl Attention<'_> {
    /// The sizes, if those of the tensors fit each other.
    pub(crate) fn shape(&self, heads: usize, causal: bool) -> Result<AttentionShape> {
        let (first, last, own, parts) = match self {
            Self::Own(qkv) => (*qkv, *qkv, 3, 3),
            Self::Cross(q, kv) => (*q, *kv, 1, 2),
            Self::Apart(q, k, v) if k.dims() == v.dims() => (*q, *k, 1, 1),
            Self::Apart(_, k, v) => bail!("keys {:?} but values {:?}", k.dims(), v.dims()),
        };
        let (batch, tokens, wide) = first.dims3()?;
        let (other_batch, others, other_wide) = last.dims3()?;
        let channels = wide / own;
        if other_batch != batch || other_wide != parts * channels || heads == 0 || channels % heads != 0 {
            bail!(
                "attention of {heads} heads: {:?} against {:?}",
                first.dims(),
                last.dims()
            );
        }
        Ok(AttentionShape {
            batch,
            tokens,
            others,
            channels,
            heads,
            causal,
        })
    }
}

/// The shape of a two-dimensional convolution (cross-correlation, as everywhere in deep learning) with the
/// channels first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConvShape {
    pub(crate) channels_in: usize,
    /// Height and width of the picture.
    pub(crate) h: usize,
    pub(crate) w: usize,
    pub(crate) channels_out: usize,
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: usize,
    pub(crate) padding: usize,
    pub(crate) groups: usize,
}

impl ConvShape {
    /// A square kernel, padded so that it is centred on every pixel at stride 1; `[channels_in,
    /// channels_out]`, `[h, w]`.
    pub(crate) fn centred(
        [channels_in, channels_out]: [usize; 2],
        kernel: usize,
        stride: usize,
        [h, w]: [usize; 2],
    ) -> Self {
        Self {
            channels_in,
            h,
            w,
            channels_out,
            kernel: [kernel; 2],
            stride,
            padding: kernel / 2,
            groups: 1,
        }
    }

    /// Output height and width; the caller has checked that the kernel fits into the padded picture.
    pub(crate) fn out(&self) -> [usize; 2] {
        let side = |size: usize, kernel: usize| (size + 2 * self.padding - kernel) / self.stride + 1;
        [side(self.h, self.kernel[0]), side(self.w, self.kernel[1])]
    }

    pub(crate) fn in_len(&self) -> usize {
        self.channels_in * self.h * self.w
    }

    pub(crate) fn out_len(&self) -> usize {
        let [oh, ow] = self.out();
        self.channels_out * oh * ow
    }

    /// Terms of the sum behind one output number.
    pub(crate) fn taps(&self) -> usize {
        self.channels_in / self.groups * self.kernel[0] * self.kernel[1]
    }
}

/// What a residual network returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// `[n, outputs]`, of the last linear layer.
    Logits,
    /// `[n, features]`, before it.
    Features,
}

/// How a residual network is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// Whether batch norm goes by the batch's statistics and updates the running ones.
    pub(crate) train: bool,
    pub(crate) head: Head,
}

/// The numbers of a step of SGD.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SgdRule {
    pub(crate) lr: f64,
    pub(crate) momentum: f64,
    pub(crate) nesterov: bool,
    pub(crate) weight_decay: f64,
}
