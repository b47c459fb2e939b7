//! Every kernel against candle's operations, over shapes that are no multiple of its tiles. The shapes of
//! `src/engine/tests.rs` come beside these.

use candle_core::{DType, Device, Result, Tensor};
use half::f16;

use super::{Emulated, emulated, in_half};
use crate::engine::Engine;
use crate::engine::options::Precision;
use crate::engine::raw::{
    Activation, Attention, Plus, RawConv, RawGroupNorm, RawLayerNorm, RawLinear, Stride,
};
use crate::nn::{ResNet, ResNetConfig, Stem};
use crate::rng::Stream;

/// Numbers that f16 can hold, so that only sums and results are rounded.
fn numbers(name: u64, count: usize) -> Vec<f32> {
    let normals = Stream::new(1, "test/ops", 0, name).normals(count);
    normals.into_iter().map(|x| f16::from_f32(x).to_f32()).collect()
}

fn random(name: u64, dims: &[usize]) -> Tensor {
    Tensor::from_vec(numbers(name, dims.iter().product()), dims, &Device::Cpu).unwrap()
}

fn narrow(x: &Tensor) -> Tensor {
    x.to_dtype(DType::F16).unwrap()
}

/// The engines in half precision: `mma.sync` and `wgmma`.
fn halves() -> Vec<Engine> {
    let engines = emulated().into_iter().map(|(engine, _)| engine);
    engines.filter(|engine| engine.dtype() == DType::F16).collect()
}

fn oracle() -> Engine {
    Engine::composed(&Device::Cpu)
}

/// Holds a result against the expected one: no number is further off than `bound` of the largest.
fn close(found: Result<Tensor>, expected: &Tensor, bound: f32, what: &str) {
    let list = |x: &Tensor| {
        let x = x.to_dtype(DType::F32).unwrap().flatten_all().unwrap();
        x.to_vec1::<f32>().unwrap()
    };
    let found = found.unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let (found, expected) = (list(&found), list(expected));
    let largest = expected.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    for (i, (x, y)) in found.iter().zip(&expected).enumerate() {
        let near = (x - y).abs() <= bound * largest;
        assert!(near, "{what}: number {i} is {x}, and should be {y}");
    }
}

/// Kernel, stride, batch, `[height, width]`, `[inputs, outputs]`.
type Convolution = (usize, Stride, usize, [usize; 2], [usize; 2]);

/// With a residual, or, in `every` way, without and with a number per channel, too.
fn convolve(engines: &[Engine], case: Convolution, every: bool) {
    let (kernel, stride, batch, [height, width], [inputs, outputs]) = case;
    let weight = numbers(100, outputs * inputs * kernel * kernel);
    let bias = numbers(101, outputs);
    let load = |engine: &Engine| {
        let raw = RawConv {
            inputs,
            outputs,
            kernel,
            stride,
            weight: &weight,
            bias: &bias,
        };
        engine.conv(raw).unwrap()
    };
    let x = random(4, &[batch, height, width, inputs]);
    let plain = load(&oracle()).forward(&x, Plus::Nothing).unwrap();
    let (channels, residual) = (random(3, &[outputs]), random(2, plain.dims()));
    for engine in engines {
        let layer = load(engine);
        let what = format!("{engine:?} {case:?}");
        let (c, r) = (narrow(&channels), narrow(&residual));
        let ways = [
            (Plus::Residual(&r), (&plain + &residual).unwrap()),
            (Plus::Channels(&c), plain.broadcast_add(&channels).unwrap()),
            (Plus::Nothing, plain.clone()),
        ];
        for (plus, expected) in ways.into_iter().take(if every { 3 } else { 1 }) {
            // Two roundings: of the sum, and of what is added to it.
            close(layer.forward(&narrow(&x), plus), &expected, 1.1e-3, &what);
        }
    }
}

#[test]
fn convolutions_of_every_tile() {
    for case in [
        // Fewer than 64 outputs: a last tile of 4, of 20 (no multiple of 8), of 5 (nor of 4: not split).
        (3, Stride::Same, 1, [9, 7], [64, 4]),
        (3, Stride::Same, 2, [5, 11], [200, 20]),
        (3, Stride::Half, 3, [7, 5], [65, 5]),
        // 160 a block: one, a part of one, and two and a part; sums in parts, of which the last is shorter.
        (3, Stride::Same, 1, [6, 5], [192, 160]),
        (3, Stride::HalfAfter, 2, [8, 6], [128, 72]),
        (3, Stride::Double, 1, [3, 5], [64, 328]),
        (1, Stride::Same, 3, [7, 9], [256, 321]),
        (3, Stride::Half, 2, [9, 9], [448, 68]),
        // A part of a block that is stored by vectors: sums in one part, widths that are multiples of 8.
        (1, Stride::Same, 2, [9, 8], [64, 72]),
        (1, Stride::Same, 1, [6, 5], [192, 328]),
        (1, Stride::Same, 1, [5, 5], [64, 24]),
        // 128 a block.
        (3, Stride::Double, 2, [4, 3], [70, 128]),
        (1, Stride::Same, 1, [13, 11], [300, 256]),
    ] {
        convolve(&halves(), case, true);
    }
}

#[test]
fn convolutions_of_many_pixels() {
    for case in [
        // The larger tile of any GPU's.
        (3, Stride::Same, 3, [15, 17], [64, 480]),
        // The larger tiles of Hopper's: more blocks of the smaller than there are multiprocessors.
        (1, Stride::Same, 2, [67, 65], [192, 320]),
        (1, Stride::Same, 1, [93, 93], [192, 256]),
    ] {
        convolve(&halves(), case, false);
    }
}

/// Batch, queries, keys, heads, width.
type Attended = (usize, usize, usize, usize, usize);

fn attend(engines: &[Engine], case: Attended) {
    let (batch, tokens, others, heads, width) = case;
    let channels = heads * width;
    let q = random(11, &[batch, tokens, channels]);
    let kv = random(12, &[batch, others, 2 * channels]);
    let own = random(10, &[batch, tokens, 3 * channels]);
    let [k, v] = [13, 14].map(|name| random(name, &[batch, others, channels]));
    let [q16, kv16, own16, k16, v16] = [&q, &kv, &own, &k, &v].map(narrow);
    for (of, narrowed) in [
        (Attention::Own(&own), Attention::Own(&own16)),
        (Attention::Cross(&q, &kv), Attention::Cross(&q16, &kv16)),
        (Attention::Apart(&q, &k, &v), Attention::Apart(&q16, &k16, &v16)),
    ] {
        let expected = oracle().attention(&of, heads, false).unwrap();
        for engine in engines {
            let found = engine.attention(&narrowed, heads, false);
            close(found, &expected, 2e-3, &format!("{engine:?} {case:?}"));
        }
    }
}

#[test]
fn attentions_of_every_width() {
    for case in [
        (2, 100, 77, 2, 40),
        (1, 129, 129, 3, 40),
        (1, 64, 300, 1, 40),
        (2, 77, 65, 2, 64),
        (1, 130, 130, 1, 64),
        (2, 37, 77, 2, 80),
        (1, 128, 192, 1, 80),
        (1, 200, 127, 2, 80),
        (1, 65, 77, 2, 160),
        (2, 1, 1, 1, 160),
        (1, 3, 150, 3, 160),
    ] {
        attend(&halves(), case);
    }
}

/// Compute capability 8.6, 8.9 and 12. The emulated device refuses a kernel that takes more than there is.
#[test]
fn kernels_where_a_block_has_little_memory() {
    let engines: Vec<Engine> = in_half(false, 101_376).into_iter().collect();
    // The larger tile elsewhere; as large as there; and heads of 160.
    convolve(&engines, (3, Stride::Same, 3, [15, 17], [64, 480]), true);
    convolve(&engines, (1, Stride::Same, 1, [13, 11], [64, 256]), false);
    for case in [
        (2, 1, 1, 1, 160),
        (1, 65, 77, 2, 160),
        (1, 3, 150, 3, 160),
        (2, 64, 96, 1, 160),
        (1, 30, 31, 1, 160),
    ] {
        attend(&engines, case);
    }
}

#[test]
fn norms_of_many_sizes() {
    // Batch, pixels, channels, groups.
    for case in [
        (1, 1, 8, 4),
        (2, 35, 32, 32),
        (3, 1000, 40, 4),
        (1, 4097, 64, 32),
        (2, 63, 320, 32),
        (70, 9, 96, 8),
        (1, 50, 1920, 32),
        (2, 17, 2560, 32),
        // Groups that do not fill a warp, and channels of which no whole number of rows fills one.
        (2, 100, 24, 3),
        (1, 77, 120, 6),
        (2, 19, 264, 33),
        (1, 30, 840, 40),
        // No kernel takes these.
        (2, 9, 12, 3),
    ] {
        let (batch, pixels, channels, groups) = case;
        let (weight, bias) = (numbers(100, channels), numbers(101, channels));
        // A mean of 3: the sums are about the first number of a group.
        let x = (random(9, &[batch, pixels, channels]) + 3.0).unwrap();
        let x = narrow(&x).to_dtype(DType::F32).unwrap();
        for (silu, epsilon) in [(false, 1e-5), (true, 1e-6)] {
            let raw = RawGroupNorm {
                weight: &weight,
                bias: &bias,
                groups,
                epsilon,
                silu,
            };
            let expected = oracle().group_norm(raw).unwrap().forward(&x).unwrap();
            for engine in halves() {
                let found = engine.group_norm(raw).unwrap().forward(&narrow(&x));
                close(found, &expected, 1e-3, &format!("{engine:?} {case:?}"));
            }
        }
    }
    for (rows, channels) in [
        (1, 8),
        (7, 320),
        (13, 768),
        (9, 1280),
        (17, 1272),
        (8, 248),
        (3, 1288),
        (2, 12),
    ] {
        let (weight, bias) = (numbers(100, channels), numbers(101, channels));
        let raw = RawLayerNorm {
            weight: &weight,
            bias: &bias,
            epsilon: 1e-5,
        };
        let x = random(9, &[rows, channels]);
        let expected = oracle().layer_norm(raw).unwrap().forward(&x).unwrap();
        for engine in halves() {
            let found = engine.layer_norm(raw).unwrap().forward(&narrow(&x));
            close(found, &expected, 1e-3, &format!("{engine:?} {rows} {channels}"));
        }
    }
}

#[test]
fn gates_and_products() {
    for (rows, n) in [(1, 8), (3, 72), (5, 1288), (301, 640), (3, 12)] {
        let x = random(16, &[rows, 2 * n]);
        let expected = oracle().activation(Activation::Geglu, &x).unwrap();
        for engine in halves() {
            let found = engine.activation(Activation::Geglu, &narrow(&x));
            close(found, &expected, 1e-3, &format!("{engine:?} {rows} {n}"));
        }
    }
    let (inputs, outputs) = (24, 40);
    let (weight, bias) = (numbers(100, outputs * inputs), numbers(101, outputs));
    let raw = || RawLinear {
        inputs,
        outputs,
        weight: &weight,
        bias: Some(&bias),
    };
    // A part of a larger tensor, which begins within it.
    let x = random(1, &[2, 5, inputs]).narrow(0, 1, 1).unwrap();
    let plain = oracle()
        .linear(raw())
        .unwrap()
        .forward(&x, Plus::Nothing)
        .unwrap();
    for engine in halves() {
        let found = engine.linear(raw()).unwrap().forward(&narrow(&x), Plus::Nothing);
        close(found, &plain, 1e-3, &format!("{engine:?}"));
    }
}

#[test]
fn networks_in_bf16() {
    let Some(emulated) = Emulated::start(Precision::Bf16) else {
        return;
    };
    let engine = Engine(std::sync::Arc::new(emulated));
    for (depth, stem, side, width) in [(10, Stem::Cifar, 9, 8), (10, Stem::ImageNet, 33, 24)] {
        let config = ResNetConfig {
            depth,
            stem,
            width,
            in_channels: 3,
            num_outputs: 5,
            form: Default::default(),
        };
        let x = random(20, &[4, 3, side, side]);
        let run = |engine: &Engine| {
            let net = ResNet::new(config.clone(), 1, engine).unwrap();
            let y = net.forward(&x, true).unwrap();
            let grads = y.sqr().unwrap().mean_all().unwrap().backward().unwrap();
            let gradient = grads.get(net.tensors().var()).unwrap().clone();
            let still = net.forward(&x, false).unwrap();
            [y.detach(), gradient, still]
        };
        let [logits, gradient, still] = run(&oracle());
        let found = run(&engine);
        // bf16 has 8 bits, and a ReLU that flips takes its gradient along.
        close(Ok(found[0].clone()), &logits, 0.1, "logits");
        close(Ok(found[2].clone()), &still, 0.1, "still");
        let sum = |x: Tensor| x.sum_all().unwrap().to_scalar::<f32>().unwrap();
        let norm = |x: &Tensor| sum(x.sqr().unwrap()).sqrt();
        let cosine = sum((&found[1] * &gradient).unwrap()) / (norm(&found[1]) * norm(&gradient));
        assert!(cosine > 0.9, "{cosine}");
    }
}
