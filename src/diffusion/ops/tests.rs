//! The CPU's own operations against candle's, over odd shapes.

use candle_core::{DType, Device, Result, Tensor};

use super::*;
use crate::diffusion::compvis::Names;
use crate::diffusion::weights::{TensorFile, Weights};
use crate::rng::Stream;

fn random(name: u64, dims: &[usize]) -> Tensor {
    let normals = Stream::new(1, "test/ops", 0, name).normals(dims.iter().product());
    Tensor::from_vec(normals, dims, &Device::Cpu).unwrap()
}

/// Loads a layer of random weights both ways.
fn both<T>(tensors: &[(&str, Vec<usize>)], load: impl Fn(&crate::diffusion::weights::Scope) -> T) -> [T; 2] {
    let tensors: Vec<(String, Tensor)> = tensors
        .iter()
        .enumerate()
        .map(|(i, (name, dims))| ((*name).to_owned(), random(100 + i as u64, dims)))
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("layer.safetensors");
    std::fs::write(&path, safetensors::serialize(tensors, None).unwrap()).unwrap();
    let files = [TensorFile::open(&path).unwrap()];
    [true, false].map(|fused| {
        let backend = Backend {
            device: Device::Cpu,
            fused,
            half: false,
        };
        let weights = Weights::new(&path, &files, &backend, Names::Same);
        load(&weights.root())
    })
}

fn close(a: Result<Tensor>, b: Result<Tensor>, bound: f32, what: &str) {
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!(a.dims(), b.dims(), "{what}");
    let error = (a - b)
        .unwrap()
        .abs()
        .unwrap()
        .flatten_all()
        .unwrap()
        .max(0)
        .unwrap();
    let error = error.to_dtype(DType::F32).unwrap().to_scalar::<f32>().unwrap();
    assert!(error < bound, "{what}: {error}");
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
    ] {
        let shapes = [("weight", vec![outputs, inputs]), ("bias", vec![outputs])];
        let [fused, plain] = both(&shapes, |s| Linear::load(s, inputs, outputs, true).unwrap());
        let x = random(1, &[1, rows, inputs]);
        let what = format!("{rows} {inputs} {outputs}");
        let residual = random(2, &[1, rows, outputs]);
        let channels = random(3, &[outputs]);
        for plus in [
            Plus::Nothing,
            Plus::Channels(&channels),
            Plus::Residual(&residual),
        ] {
            close(fused.forward(&x, plus), plain.forward(&x, plus), 4e-4, &what);
        }
        assert!(
            fused
                .forward(&random(1, &[1, rows, inputs + 1]), Plus::Nothing)
                .is_err()
        );
    }
}

#[test]
fn convolutions_agree() {
    for stride in [Stride::Same, Stride::Half, Stride::HalfAfter, Stride::Double] {
        for (inputs, outputs, rows, columns) in
            [(3, 5, 2, 4), (16, 16, 8, 6), (130, 20, 6, 10), (700, 4, 4, 2)]
        {
            let shapes = [("weight", vec![outputs, inputs, 3, 3]), ("bias", vec![outputs])];
            let [fused, plain] = both(&shapes, |s| Conv::load(s, inputs, outputs, 3, stride).unwrap());
            let x = random(4, &[3, rows, columns, inputs]);
            let what = format!("{stride:?} {inputs} {outputs}");
            let y = plain.forward(&x, Plus::Nothing).unwrap();
            let residual = random(5, y.dims());
            let channels = random(6, &[outputs]);
            for plus in [
                Plus::Nothing,
                Plus::Channels(&channels),
                Plus::Residual(&residual),
            ] {
                close(fused.forward(&x, plus), plain.forward(&x, plus), 1e-3, &what);
            }
        }
    }
    // Odd sizes: whole tiles of 2x2 do not fit.
    let shapes = [("weight", vec![40, 24, 3, 3]), ("bias", vec![40])];
    let [fused, plain] = both(&shapes, |s| Conv::load(s, 24, 40, 3, Stride::Same).unwrap());
    let (x, residual) = (random(7, &[2, 5, 7, 24]), random(8, &[2, 5, 7, 40]));
    for plus in [Plus::Nothing, Plus::Residual(&residual)] {
        close(
            fused.forward(&x, plus),
            plain.forward(&x, plus),
            1e-3,
            "odd tiles",
        );
    }
    // Odd sizes, halved as PyTorch does.
    let shapes = [("weight", vec![4, 4, 3, 3]), ("bias", vec![4])];
    let [fused, plain] = both(&shapes, |s| Conv::load(s, 4, 4, 3, Stride::Half).unwrap());
    let x = random(7, &[2, 5, 7, 4]);
    close(
        fused.forward(&x, Plus::Nothing),
        plain.forward(&x, Plus::Nothing),
        1e-4,
        "odd",
    );
}

#[test]
fn normalisations_agree() {
    for (channels, groups, pixels) in [(4, 2, 3), (24, 8, 64), (40, 5, 700), (16, 1, 2000)] {
        let shapes = [("weight", vec![channels]), ("bias", vec![channels])];
        // A mean far from zero: a variance from the mean of squares would be lost.
        let x = (random(8, &[3, pixels, channels]) + 100.0).unwrap();
        for silu in [false, true] {
            let [fused, plain] = both(&shapes, |s| {
                GroupNorm::load(s, channels, groups, 1e-5, silu).unwrap()
            });
            close(
                fused.forward(&x),
                plain.forward(&x),
                1e-3,
                &format!("group {channels}"),
            );
        }
        let [fused, plain] = both(&shapes, |s| LayerNorm::load(s, channels, 1e-5).unwrap());
        let x = random(9, &[3, pixels, channels]);
        close(
            fused.forward(&x),
            plain.forward(&x),
            1e-4,
            &format!("layer {channels}"),
        );
    }
}

#[test]
fn attentions_agree() {
    for (batch, tokens, others, heads, width) in [
        (1, 1, 1, 1, 1),
        (2, 7, 5, 3, 6),
        (3, 64, 20, 4, 16),
        (1, 130, 700, 2, 40),
    ] {
        let channels = heads * width;
        let own = random(10, &[batch, tokens, 3 * channels]);
        for causal in [false, true] {
            let run = |fused| attention(&Attention::Own(&own), heads, causal, fused);
            close(run(true), run(false), 1e-5, "own");
        }
        let (q, kv) = (
            random(11, &[batch, tokens, channels]),
            random(12, &[batch, others, 2 * channels]),
        );
        let run = |fused| attention(&Attention::Cross(&q, &kv), heads, false, fused);
        close(run(true), run(false), 1e-5, "cross");
        let (k, v) = (
            random(13, &[batch, others, channels]),
            random(14, &[batch, others, channels]),
        );
        let run = |fused| attention(&Attention::Apart(&q, &k, &v), heads, false, fused);
        close(run(true), run(false), 1e-5, "apart");
    }
    let large = (random(15, &[1, 40, 96]) * 8.0).unwrap();
    let run = |fused| attention(&Attention::Own(&large), 2, true, fused);
    close(run(true), run(false), 1e-2, "large scores");
}

#[test]
fn activations_agree() {
    let x = (random(16, &[50, 64]) * 4.0).unwrap();
    close(silu(&x), x.silu(), 1e-5, "silu");
    close(gelu(&x), x.gelu_erf(), 1e-5, "gelu");
    close(
        quick_gelu(&x),
        &x * candle_nn::ops::sigmoid(&(&x * 1.702).unwrap()).unwrap(),
        1e-5,
        "quick",
    );
    let half = |i: usize| x.narrow(1, 32 * i, 32).unwrap();
    close(
        geglu(&x),
        half(0) * half(1).contiguous().unwrap().gelu_erf().unwrap(),
        1e-4,
        "geglu",
    );
}
