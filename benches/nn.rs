//! Forward + backward of convolutions and residual networks; `tools/bench/nn.py` runs the same shapes in
//! PyTorch.

use std::hint::black_box;
use std::time::Duration;

use candle_core::{Device, Tensor, Var};
use criterion::{Criterion, criterion_group, criterion_main};
use dream_ood::engine::Engine;
use dream_ood::nn::{ConvOptions, ResNet, ResNetConfig, Stem, conv2d, cross_entropy};
use dream_ood::rng::Stream;

fn random(shape: &[usize]) -> Tensor {
    let values = Stream::new(1, "bench", 0, 0).normals(shape.iter().product());
    Tensor::from_vec(values, shape, &Device::Cpu).expect("the shape has as many numbers")
}

fn convolutions(c: &mut Criterion) {
    let engine = Engine::default();
    let options = ConvOptions {
        padding: 1,
        ..ConvOptions::default()
    };
    for (batch, channels, side) in [(64, 64, 32), (64, 32, 28)] {
        let x =
            Var::from_tensor(&random(&[batch, channels, side, side])).expect("a tensor becomes a variable");
        let w = Var::from_tensor(&random(&[channels, channels, 3, 3])).expect("a tensor becomes a variable");
        c.bench_function(&format!("conv/{channels}x{side}x{side}/batch{batch}"), |b| {
            b.iter(|| {
                let y = conv2d(&engine, &x, &w, options).expect("shapes fit");
                black_box(
                    y.sum_all()
                        .and_then(|y| y.backward())
                        .expect("conv2d has a gradient"),
                )
            });
        });
    }
}

fn networks(c: &mut Criterion) {
    for (depth, width, batch) in [
        (10, 16, 64),
        (10, 16, 128),
        (10, 16, 256),
        (18, 16, 64),
        (18, 16, 128),
        (10, 64, 64),
        (18, 64, 64),
        (18, 64, 128),
    ] {
        let config = ResNetConfig {
            depth,
            stem: Stem::Cifar,
            width,
            in_channels: 3,
            num_outputs: 10,
            form: Default::default(),
        };
        let net = ResNet::new(config, 1, &Engine::default()).expect("a network of known depth");
        let (x, labels) = (
            random(&[batch, 3, 32, 32]),
            (0..batch as u32).map(|i| i % 10).collect::<Vec<_>>(),
        );
        c.bench_function(&format!("resnet{depth}/width{width}/batch{batch}"), |b| {
            b.iter(|| {
                let logits = net.forward(&x, true).expect("pictures fit");
                let loss = cross_entropy(&logits, &labels).expect("labels are classes");
                black_box(loss.backward().expect("the loss has a gradient"))
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(4));
    targets = convolutions, networks
}
criterion_main!(benches);
