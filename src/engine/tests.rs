//! Every engine against the composed one, layer by layer over odd shapes. The kernels for GPUs run on the
//! CPU, where there is a C++ compiler; in their place a GPU runs them with the feature `cuda` and
//! `DREAM_TEST_CUDA=1`.

use candle_core::{DType, Device, Result, Tensor, Var};

use super::*;
use crate::nn::{ResNet, ResNetConfig, Stem};
use crate::outlier::{Knn, Sampling, SamplingParams, Side, sample_class};
use crate::rng::Stream;

/// An engine, and the factor by which it may be further off than f32 arithmetic in another order is.
fn engines() -> Vec<(Engine, f32)> {
    thread_local! {
        // A test is a thread, and a device of CUDA's is one thread's. What is made for one stays.
        static ENGINES: Vec<(Engine, f32)> = made();
    }
    ENGINES.with(Clone::clone)
}

fn made() -> Vec<(Engine, f32)> {
    let mut engines = vec![(Engine::default(), 1.0)];
    engines.extend(cuda::emulated());
    #[cfg(feature = "cuda")]
    if cuda::tested() {
        let device = Engine::gpu(0).unwrap().device().clone();
        let full = Options::default();
        let half = Options {
            precision: Precision::F16,
            graph: false,
            ..full
        };
        let mma = Options {
            hopper: false,
            ..half
        };
        engines.push((Engine::new(&device, full), 4.0));
        engines.push((Engine::new(&device, half).part(Part::Unet).unwrap(), 400.0));
        engines.push((Engine::new(&device, mma).part(Part::Unet).unwrap(), 400.0));
    }
    engines
}

/// The oracle.
fn composed() -> Engine {
    Engine::composed(&Device::Cpu)
}

fn numbers(name: u64, count: usize) -> Vec<f32> {
    Stream::new(1, "test/ops", 0, name).normals(count)
}

fn random(name: u64, dims: &[usize]) -> Tensor {
    Tensor::from_vec(numbers(name, dims.iter().product()), dims, &Device::Cpu).unwrap()
}

/// The tensor as the engine takes it.
fn on(engine: &Engine, x: &Tensor) -> Tensor {
    x.to_device(engine.device())
        .unwrap()
        .to_dtype(engine.dtype())
        .unwrap()
}

fn largest(x: &Tensor) -> f32 {
    let x = x.abs().unwrap().flatten_all().unwrap().max(0).unwrap();
    x.to_scalar::<f32>().unwrap()
}

fn close(found: Result<Tensor>, expected: &Tensor, bound: f32, what: &str) {
    let found = found.unwrap().to_device(&Device::Cpu).unwrap();
    let found = found.to_dtype(DType::F32).unwrap();
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let error = largest(&(found - expected).unwrap());
    assert!(error < bound, "{what}: {error}");
}

/// What is added, as a function of the result's shape.
fn pluses(dims: &[usize]) -> [Option<(bool, Tensor)>; 3] {
    let channels = dims.last().copied().unwrap();
    [
        None,
        Some((true, random(3, &[channels]))),
        Some((false, random(2, dims))),
    ]
}

fn plus(added: &Option<(bool, Tensor)>) -> Plus<'_> {
    match added {
        None => Plus::Nothing,
        Some((true, x)) => Plus::Channels(x),
        Some((false, x)) => Plus::Residual(x),
    }
}

#[test]
fn linear_layers_agree() {
    // Depths beyond the block, widths that are no multiple of a panel, counts that are no multiple of a tile.
    for (rows, inputs, outputs) in [
        (1, 1, 1),
        (5, 7, 3),
        (13, 640, 17),
        (100, 641, 33),
        (7, 1500, 48),
        (301, 16, 16),
        (154, 768, 320),
    ] {
        let (weight, bias) = (numbers(100, outputs * inputs), numbers(101, outputs));
        let load = |engine: &Engine| {
            let raw = RawLinear {
                inputs,
                outputs,
                weight: &weight,
                bias: Some(&bias),
            };
            engine.linear(raw).unwrap()
        };
        let x = random(1, &[1, rows, inputs]);
        let oracle = load(&composed());
        for (engine, factor) in engines() {
            let layer = load(&engine);
            let what = format!("{engine:?} {rows} {inputs} {outputs}");
            for added in pluses(&[1, rows, outputs]) {
                let here = added.as_ref().map(|(channels, x)| (*channels, on(&engine, x)));
                let expected = oracle.forward(&x, plus(&added)).unwrap();
                let found = layer.forward(&on(&engine, &x), plus(&here));
                close(found, &expected, 4e-4 * factor, &what);
            }
            let wide = on(&engine, &random(1, &[1, rows, inputs + 1]));
            assert!(layer.forward(&wide, Plus::Nothing).is_err());
            let long = on(&engine, &random(1, &[1, rows + 1, outputs]));
            let refused = layer.forward(&on(&engine, &x), Plus::Residual(&long));
            assert!(refused.is_err());
        }
    }
}

#[test]
fn convolutions_agree() {
    let every = [Stride::Same, Stride::Half, Stride::HalfAfter, Stride::Double];
    let same = [Stride::Same];
    let half = [Stride::Half];
    // (inputs, outputs), (rows, columns): the last two are odd, where whole tiles of 2x2 do not fit.
    for (strides, [inputs, outputs], [rows, columns]) in [
        (&every[..], [3, 5], [2, 4]),
        (&every, [16, 16], [8, 6]),
        (&every, [130, 20], [6, 10]),
        (&every, [700, 4], [4, 2]),
        (&same, [24, 40], [5, 7]),
        (&half, [4, 4], [5, 7]),
        (&same, [4, 320], [8, 8]),
    ] {
        let (weight, bias) = (numbers(100, outputs * inputs * 9), numbers(101, outputs));
        for stride in strides {
            let load = |engine: &Engine| {
                let raw = RawConv {
                    inputs,
                    outputs,
                    kernel: 3,
                    stride: *stride,
                    weight: &weight,
                    bias: &bias,
                };
                engine.conv(raw).unwrap()
            };
            let x = random(4, &[3, rows, columns, inputs]);
            let oracle = load(&composed());
            let plain = oracle.forward(&x, Plus::Nothing).unwrap();
            for (engine, factor) in engines() {
                let layer = load(&engine);
                let what = format!("{engine:?} {stride:?} {inputs} {outputs}");
                for added in pluses(plain.dims()) {
                    let here = added.as_ref().map(|(channels, x)| (*channels, on(&engine, x)));
                    let expected = oracle.forward(&x, plus(&added)).unwrap();
                    let found = layer.forward(&on(&engine, &x), plus(&here));
                    close(found, &expected, 1e-3 * factor, &what);
                }
            }
        }
    }
}

#[test]
fn normalisations_agree() {
    for (channels, groups, pixels) in [(4, 2, 3), (24, 8, 64), (40, 5, 700), (16, 1, 2000), (320, 32, 64)] {
        let (weight, bias) = (numbers(100, channels), numbers(101, channels));
        // A mean far from zero: a variance from the mean of squares would be lost.
        let far = (random(8, &[3, pixels, channels]) + 100.0).unwrap();
        let x = random(9, &[3, pixels, channels]);
        for (engine, factor) in engines() {
            let half = engine.dtype() == DType::F16;
            for silu in [false, true] {
                let raw = RawGroupNorm {
                    weight: &weight,
                    bias: &bias,
                    groups,
                    epsilon: 1e-5,
                    silu,
                };
                let x = if half { &x } else { &far }; // f16 cannot hold what is far
                let expected = composed().group_norm(raw).unwrap().forward(x).unwrap();
                let found = engine.group_norm(raw).unwrap().forward(&on(&engine, x));
                close(
                    found,
                    &expected,
                    1e-3 * factor,
                    &format!("{engine:?} group {channels}"),
                );
            }
            let raw = RawLayerNorm {
                weight: &weight,
                bias: &bias,
                epsilon: 1e-5,
            };
            let expected = composed().layer_norm(raw).unwrap().forward(&x).unwrap();
            let found = engine.layer_norm(raw).unwrap().forward(&on(&engine, &x));
            close(
                found,
                &expected,
                1e-4 * factor,
                &format!("{engine:?} layer {channels}"),
            );
        }
    }
}

/// An attention with tensors of its own.
fn attend(engine: &Engine, tensors: &[Tensor], heads: usize, causal: bool) -> Result<Tensor> {
    let tensors: Vec<Tensor> = tensors.iter().map(|x| on(engine, x)).collect();
    let of = match tensors.as_slice() {
        [own] => Attention::Own(own),
        [q, kv] => Attention::Cross(q, kv),
        [q, k, v] => Attention::Apart(q, k, v),
        _ => unreachable!("one to three tensors"),
    };
    engine.attention(&of, heads, causal)
}

#[test]
fn attentions_agree() {
    for (batch, tokens, others, heads, width) in [
        (1, 1, 1, 1, 1),
        (2, 7, 5, 3, 6),
        (3, 64, 20, 4, 16),
        (1, 130, 700, 2, 40),
        (2, 64, 77, 8, 80),
    ] {
        let channels = heads * width;
        let own = [random(10, &[batch, tokens, 3 * channels])];
        let q = random(11, &[batch, tokens, channels]);
        let cross = [q.clone(), random(12, &[batch, others, 2 * channels])];
        let other = |name| random(name, &[batch, others, channels]);
        let apart = [q, other(13), other(14)];
        for (tensors, causal) in [(&own[..], false), (&own, true), (&cross, false), (&apart, false)] {
            let expected = attend(&composed(), tensors, heads, causal).unwrap();
            for (engine, factor) in engines() {
                let what = format!("{engine:?}, {} tensors, {tokens} {width}", tensors.len());
                close(
                    attend(&engine, tensors, heads, causal),
                    &expected,
                    1e-5 * factor,
                    &what,
                );
            }
        }
    }
    let large = [(random(15, &[1, 40, 96]) * 8.0).unwrap()];
    let expected = attend(&composed(), &large, 2, true).unwrap();
    for (engine, factor) in engines() {
        close(
            attend(&engine, &large, 2, true),
            &expected,
            1e-2 * factor,
            "large scores",
        );
    }
    let (q, kv) = (random(11, &[1, 4, 6]), random(12, &[1, 5, 10]));
    assert!(
        composed()
            .attention(&Attention::Cross(&q, &kv), 2, false)
            .is_err()
    );
}

#[test]
fn activations_agree() {
    let x = (random(16, &[50, 64]) * 4.0).unwrap();
    for (activation, bound) in [
        (Activation::Silu, 1e-5),
        (Activation::Gelu, 1e-5),
        (Activation::QuickGelu, 1e-5),
        (Activation::Geglu, 1e-4),
    ] {
        let expected = composed().activation(activation, &x).unwrap();
        for (engine, factor) in engines() {
            let found = engine.activation(activation, &on(&engine, &x));
            // f16 holds what is large less exactly, and candle rounds after each step.
            let bound = match engine.dtype() {
                DType::F16 => 2e-3 * largest(&expected),
                _ => bound * factor,
            };
            close(found, &expected, bound, &format!("{engine:?} {activation:?}"));
        }
    }
}

#[test]
fn trained_convolutions_agree() {
    for (x, w, stride, padding) in [
        ([3, 8, 9, 7], [12, 8, 3, 3], 1, 1),
        ([2, 5, 8, 8], [6, 5, 1, 1], 2, 0),
        ([2, 3, 13, 13], [4, 3, 7, 7], 2, 3),
        ([2, 3, 8, 11], [4, 3, 3, 3], 2, 1),
        ([2, 3, 9, 14], [4, 3, 7, 7], 2, 3),
        ([2, 3, 10, 7], [4, 3, 1, 1], 2, 0),
    ] {
        let shape = ConvShape {
            channels_in: x[1],
            h: x[2],
            w: x[3],
            channels_out: w[0],
            kernel: [w[2], w[3]],
            stride,
            padding,
            groups: 1,
        };
        let (x, w) = (random(17, &x), random(18, &w));
        let run = |engine: &Engine| {
            let [x, w] = [&x, &w].map(|x| Var::from_tensor(&x.to_device(engine.device()).unwrap()).unwrap());
            let y = engine.conv2d(&x, &w, &shape).unwrap();
            let grads = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            [
                y.detach(),
                grads.get(&x).unwrap().clone(),
                grads.get(&w).unwrap().clone(),
            ]
        };
        let expected = run(&composed());
        for (engine, factor) in engines() {
            for (found, expected) in run(&engine).into_iter().zip(&expected) {
                let bound = 1e-5 * factor * largest(expected);
                close(Ok(found), expected, bound, &format!("{engine:?} {shape:?}"));
            }
        }
    }
}

#[test]
fn a_batch_is_cut_without_gaps() {
    let whole = Tensor::arange(0_u32, 37, &Device::Cpu).unwrap();
    for policy in [Policy::WHOLE, Policy::host(1), Policy::host(3), Policy::host(64)] {
        for bytes in [1, 1 << 14, 1 << 20] {
            let joined = policy
                .in_parts(37, bytes, |start, length| whole.narrow(0, start, length))
                .unwrap();
            let found = joined.to_vec1::<u32>().unwrap();
            assert_eq!(found, whole.to_vec1::<u32>().unwrap(), "{policy:?} {bytes}");
            let joined = policy.one_by_one(37, bytes as u64, |i| whole.narrow(0, i, 1));
            assert_eq!(joined.unwrap().to_vec1::<u32>().unwrap(), found);
        }
    }
}

/// The cosine of two gradients, which says more than their largest difference: a ReLU that flips changes one
/// number much.
fn cosine(a: &Tensor, b: &Tensor) -> f64 {
    let numbers = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let (a, b) = (numbers(a), numbers(b));
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
        products.sum()
    };
    dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
}

#[test]
fn residual_networks_agree() {
    for (depth, stem, side) in [(10, Stem::Cifar, 16), (18, Stem::ImageNet, 39)] {
        let config = ResNetConfig {
            depth,
            stem,
            width: 8,
            in_channels: 3,
            num_outputs: 5,
            form: Default::default(),
        };
        let run = |engine: &Engine| {
            let net = ResNet::new(config.clone(), 1, engine).unwrap();
            let x = random(20, &[6, 3, side, side])
                .to_device(engine.device())
                .unwrap();
            let y = net.forward(&x, true).unwrap();
            let grads = y.sqr().unwrap().mean_all().unwrap().backward().unwrap();
            let gradient = grads.get(net.tensors().var()).unwrap();
            let still = net.forward(&x, false).unwrap();
            [y.detach(), gradient.clone(), still].map(|x| x.to_device(&Device::Cpu).unwrap())
        };
        let [logits, gradient, still] = run(&composed());
        for (engine, factor) in engines() {
            if engine.dtype() != DType::F32 {
                continue;
            }
            // Bounds of the logits and of 1 - cosine of the gradients.
            let mut ways = vec![(engine.clone(), 1e-3 * factor, 1e-4)];
            if engine.processor() == Processor::Cuda {
                for (precision, bound, most) in [(Precision::Tf32, 2e-2, 1e-2), (Precision::Bf16, 8e-2, 0.25)]
                {
                    ways.push((engine.at(Work::Residual, precision).unwrap(), bound, most));
                }
            }
            for (engine, bound, most) in ways {
                let what = format!("{engine:?} {depth}");
                let found = run(&engine);
                close(Ok(found[0].clone()), &logits, bound * largest(&logits), &what);
                close(Ok(found[2].clone()), &still, bound * largest(&still), &what);
                let off = 1.0 - cosine(&found[1], &gradient);
                assert!(off < most, "{what}: {off}");
            }
        }
    }
}

#[test]
fn steps_of_sgd_agree() {
    let run = |engine: &Engine, nesterov: bool| {
        let rule = SgdRule {
            lr: 0.1,
            momentum: 0.9,
            nesterov,
            weight_decay: 5e-4,
        };
        let here = |name| random(name, &[70_001]).to_device(engine.device()).unwrap();
        let var = Var::from_tensor(&here(21)).unwrap();
        let mut momentum = engine.momentum(&var);
        for step in 0..3 {
            momentum.step(&var, &here(22 + step), &rule).unwrap();
        }
        let velocity = momentum.velocity(&var).unwrap().unwrap();
        [var.as_tensor().clone(), velocity].map(|x| x.to_device(&Device::Cpu).unwrap())
    };
    for nesterov in [true, false] {
        let expected = run(&composed(), nesterov);
        for (engine, _) in engines() {
            for (found, expected) in run(&engine, nesterov).into_iter().zip(&expected) {
                close(Ok(found), expected, 1e-5, &format!("{engine:?} {nesterov}"));
            }
        }
    }
}

/// The engines, and on a GPU one in half precision that records what is repeated.
fn repeating() -> Vec<(Engine, f32)> {
    let mut engines = engines();
    if let Some((engine, _)) = engines.iter().find(|(engine, _)| engine.device().is_cuda()) {
        let options = Options {
            precision: Precision::F16,
            ..Options::default()
        };
        let graph = Engine::new(engine.device(), options).part(Part::Unet).unwrap();
        engines.push((graph, 400.0));
    }
    engines
}

#[test]
fn repeated_work_gives_what_work_gives() {
    for (engine, _) in repeating() {
        let repeat = engine.repeat();
        let here = |name, dims: &[usize]| random(name, dims).to_device(engine.device()).unwrap();
        let work = |[x, y]: [&Tensor; 2]| x.broadcast_mul(y)?.sqr();
        for (name, rows) in [(30, 4), (31, 4), (32, 4), (33, 7), (34, 7), (35, 7)] {
            let (x, y) = (here(name, &[rows, 8]), here(name + 10, &[1, 8]));
            let expected = work([&x, &y]).unwrap().to_device(&Device::Cpu).unwrap();
            let found = repeat.run([&x, &y], &work);
            close(found, &expected, 1e-6, &format!("{engine:?} {name}"));
        }
    }
}

/// Layers as a UNet has them: a convolution in parts, norms, products, attention.
#[test]
fn repeated_layers_give_what_layers_give() {
    let channels = 64;
    let [square, taps, three] = [1, 9, 3].map(|n| numbers(100, n * channels * channels));
    let scaled = |weight: &[f32], by: f32| weight.iter().map(|w| w * by).collect::<Vec<f32>>();
    let [square, taps, three] = [(square, 0.1), (taps, 0.05), (three, 0.1)].map(|(w, by)| scaled(&w, by));
    let (bias, weight) = (numbers(101, 3 * channels), numbers(102, channels));
    let repeated = |engine: &Engine, changing: &[[Tensor; 2]]| {
        let conv = engine.conv(RawConv {
            inputs: channels,
            outputs: channels,
            kernel: 3,
            stride: Stride::Same,
            weight: &taps,
            bias: &bias[..channels],
        });
        let norm = engine.group_norm(RawGroupNorm {
            weight: &weight,
            bias: &bias[..channels],
            groups: 8,
            epsilon: 1e-5,
            silu: true,
        });
        let linear = |weight, outputs| {
            let raw = RawLinear {
                inputs: channels,
                outputs,
                weight,
                bias: Some(&bias[..outputs]),
            };
            engine.linear(raw)
        };
        let (conv, norm) = (conv.unwrap(), norm.unwrap());
        let [sides, last] = [(&three, 3 * channels), (&square, channels)].map(|(w, n)| linear(w, n).unwrap());
        let work = |[x, y]: [&Tensor; 2]| {
            let h = norm.forward(&conv.forward(x, Plus::Channels(y))?)?;
            let tokens = h.flatten(1, 2)?;
            let heads =
                engine.attention(&Attention::Own(&sides.forward(&tokens, Plus::Nothing)?), 1, false)?;
            let out = last.forward(&heads, Plus::Residual(&tokens))?;
            out.reshape(x.shape())
        };
        let repeat = engine.repeat();
        let run = |[x, y]: &[Tensor; 2]| repeat.run([&on(engine, x), &on(engine, y)], &work);
        changing.iter().map(run).collect::<Result<Vec<_>>>().unwrap()
    };
    let shapes = [(50, 1), (51, 1), (52, 1), (53, 2), (54, 2), (55, 2)];
    let changing = shapes.map(|(name, batch)| {
        let x = random(name, &[batch, 5, 6, channels]);
        [x, random(name + 10, &[channels])]
    });
    let expected = repeated(&composed(), &changing);
    for (engine, factor) in repeating() {
        for (found, expected) in repeated(&engine, &changing).into_iter().zip(&expected) {
            let bound = 2e-5 * factor * largest(expected);
            close(Ok(found), expected, bound, &format!("{engine:?}"));
        }
    }
}

#[test]
fn numbers_arrive_on_the_device() {
    for (engine, _) in engines() {
        let mut uploads = engine.uploads();
        for (name, rows) in (40..50).zip([3, 3, 5, 2, 2, 7, 7, 7, 1, 3]) {
            let expected = random(name, &[rows, 100]);
            let found = uploads.tensor(numbers(name, rows * 100), &[rows, 100]);
            close(found, &expected, f32::MIN_POSITIVE, &format!("{engine:?}"));
        }
    }
}

/// Features around two centres, the last of them a copy of the first.
fn class_of(n: usize, m: usize) -> Vec<f32> {
    let (centres, noise) = (numbers(90, 2 * m), numbers(91, n * m));
    let rows = noise.chunks(m).enumerate();
    let mut class: Vec<f32> = rows
        .flat_map(|(row, e)| {
            (0..m)
                .map(|at| centres[row % 2 * m + at] + 0.4 * e[at])
                .collect::<Vec<_>>()
        })
        .collect();
    class.copy_within(0..m, (n - 1) * m);
    class
}

/// Noise, products, scores and ties: everything that is kept is the CPU's, bit for bit.
#[test]
fn rounds_of_sampling_are_the_same_bits_everywhere() {
    if !simd::has_fma() && !cfg!(target_arch = "aarch64") {
        return; // the CPU rounds products by themselves
    }
    let usual = SamplingParams {
        kind: Side::Outlier,
        k: 12,
        select: 9,
        rounds: 3,
        noise_per_round: 70,
        anchors_per_round: 9,
        keep: 2,
        sigma: 0.1,
        knn: Knn::Paper,
        per_class: None,
    };
    let (inlier, upstream) = (Side::Inlier, Knn::Upstream);
    // Features, their width, parameters.
    let cases = [
        (130, 37, usual),
        (
            40,
            16,
            SamplingParams {
                kind: inlier,
                keep: 1,
                anchors_per_round: 4,
                ..usual
            },
        ),
        (
            20,
            8,
            SamplingParams {
                knn: upstream,
                keep: 3,
                ..usual
            },
        ),
        (
            20,
            9,
            SamplingParams {
                knn: upstream,
                kind: inlier,
                keep: 1,
                ..usual
            },
        ),
        (
            33,
            5,
            SamplingParams {
                k: 33,
                select: 33,
                anchors_per_round: 5,
                sigma: 2.0,
                ..usual
            },
        ),
        (
            12,
            3,
            SamplingParams {
                k: 1,
                noise_per_round: 7,
                keep: 7,
                per_class: Some(100),
                ..usual
            },
        ),
    ];
    for (n, m, params) in cases {
        let features = class_of(n, m);
        let sample = |engine: &Engine| {
            sample_class(&Sampling {
                features: &features,
                m,
                params: &params,
                seed: 5,
                class: 3,
                engine,
                progress: &|_| (),
                cancelled: &|| false,
            })
            .unwrap()
        };
        let expected = sample(&Engine::default());
        assert_eq!(expected.len(), params.count());
        for (engine, _) in engines().iter().skip(1) {
            let found = sample(engine);
            assert!(found == expected, "{engine:?}: {n} features of {m}, {params:?}");
        }
    }
}
