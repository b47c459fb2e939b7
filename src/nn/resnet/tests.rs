use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};

use super::super::{
    Error, Sgd, SgdOptions, StateFile, cross_entropy, from_safetensors, read_state, schedule, to_safetensors,
};
use super::*;
use crate::engine::composed_residual;

fn config(depth: usize, stem: Stem, width: usize) -> ResNetConfig {
    ResNetConfig {
        depth,
        stem,
        width,
        in_channels: 3,
        num_outputs: 5,
        form: Form::default(),
    }
}

fn pictures(n: usize, side: usize) -> Tensor {
    let values = crate::rng::Stream::new(9, "test/resnet", 0, 0).normals(n * 3 * side * side);
    Tensor::from_vec(values, (n, 3, side, side), &Device::Cpu).unwrap()
}

fn sgd(net: &ResNet, lr: f64) -> Sgd {
    let options = SgdOptions {
        lr,
        momentum: 0.9,
        nesterov: true,
        weight_decay: 5e-4,
    };
    let vars = [("net".to_owned(), net.tensors().var().clone())];
    Sgd::new(&Engine::default(), vars, options).unwrap()
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    (a - b)
        .unwrap()
        .abs()
        .unwrap()
        .max_all()
        .unwrap()
        .to_scalar::<f32>()
        .unwrap()
}

fn size(t: &Tensor) -> f32 {
    t.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap()
}

/// Norms that do something, so that a mistake in one shows.
fn shake(net: &ResNet) {
    let mut state = net.tensors().state_dict().unwrap();
    for (i, (name, tensor)) in state.iter_mut().enumerate() {
        if tensor.dims().len() == 1 {
            let values = crate::rng::Stream::new(3, "test/shake", 0, i as u64).normals(tensor.elem_count());
            let noise = Tensor::from_vec(values, tensor.shape(), &Device::Cpu).unwrap();
            let noise = (noise * 0.2).unwrap();
            let base = if name.contains("var") {
                noise.abs().unwrap()
            } else {
                noise
            };
            *tensor = (&*tensor + base).unwrap();
        }
    }
    net.tensors().load_state_dict(&state).unwrap();
}

#[test]
fn the_engine_agrees_with_the_composed_network() {
    for (depth, stem, width, side) in [
        (10, Stem::Cifar, 4, 16),
        (10, Stem::Cifar, 6, 33),
        (18, Stem::ImageNet, 4, 39),
        (34, Stem::Cifar, 4, 8),
        (50, Stem::ImageNet, 4, 32),
        (50, Stem::Cifar, 3, 9),
    ] {
        let new = |engine| ResNet::new(config(depth, stem, width), 1, &engine).unwrap();
        let mut same = new(Engine::default());
        let Layers::Residual(plan) = &same.layers else {
            panic!("{:?}", same.layers);
        };
        same.network = composed_residual(plan);
        agree(new(Engine::default()), same, side, 1.0);
        // Candle's convolution sums in another order, of which deep networks of few pixels make much.
        if depth == 10 {
            let composed = new(Engine::composed(&Device::Cpu));
            agree(new(Engine::default()), composed, side, 10.0);
        }
    }
}

/// Holds two engines' networks of one shape against each other.
fn agree(fast: ResNet, slow: ResNet, side: usize, factor: f32) {
    let (depth, stem) = (fast.config().depth, fast.config().stem);
    shake(&fast);
    shake(&slow);
    for head in [Head::Logits, Head::Features] {
        let x = [0, 1].map(|_| Var::from_tensor(&pictures(6, side)).unwrap());
        let a = fast.run(&x[0], true, head).unwrap();
        let b = slow.run(&x[1], true, head).unwrap();
        let name = format!("depth {depth} {stem:?} side {side} {head:?}");
        assert!(
            largest_difference(&a, &b) < factor * 2e-4 * size(&b),
            "{name}: {}",
            largest_difference(&a, &b)
        );
        let loss = |y: &Tensor| y.sqr().unwrap().mean_all().unwrap();
        let (ga, gb) = (loss(&a).backward().unwrap(), loss(&b).backward().unwrap());
        let dx = [ga.get(&x[0]).unwrap(), gb.get(&x[1]).unwrap()];
        assert!(
            largest_difference(dx[0], dx[1]) < factor * 5e-3 * size(dx[1]),
            "{name}: input"
        );
        for tensor in fast.tensors.trainable() {
            if head == Head::Features && tensor.starts_with("fc.") {
                continue;
            }
            let a = fast.tensors.gradient(&ga, tensor).unwrap();
            let b = slow.tensors.gradient(&gb, tensor).unwrap();
            let difference = largest_difference(&a, &b);
            assert!(
                difference < factor * 5e-3 * size(&b).max(1e-3),
                "{name} {tensor}: {difference} of {}",
                size(&b)
            );
        }
    }
    let (a, b) = (
        fast.tensors.state_dict().unwrap(),
        slow.tensors.state_dict().unwrap(),
    );
    for (name, a) in &a {
        assert!(
            largest_difference(a, &b[name]) < factor * 1e-3 * size(a).max(1.0),
            "{depth} {name}"
        );
    }
    let x = pictures(4, side);
    let a = fast.forward(&x, false).unwrap();
    let b = slow.forward(&x, false).unwrap();
    assert!(
        largest_difference(&a, &b) < factor * 1e-3 * size(&b),
        "depth {depth}: evaluation"
    );
}

#[test]
fn follows_pytorch_over_a_hundred_steps() {
    let bytes = include_bytes!("../../../tests/fixtures/nn/training.safetensors");
    let fixture = from_safetensors(bytes, &Device::Cpu).unwrap();
    let part = |prefix: &str| -> BTreeMap<String, Tensor> {
        let strip = |(k, v): (&String, &Tensor)| Some((k.strip_prefix(prefix)?.to_owned(), v.clone()));
        fixture.iter().filter_map(strip).collect()
    };
    let shape = ResNetConfig {
        num_outputs: 4,
        ..config(10, Stem::Cifar, 4)
    };
    let net = ResNet::new(shape, 1, &Engine::default()).unwrap();
    net.tensors().load_state_dict(&part("state.")).unwrap();
    let mut sgd = sgd(&net, 0.05);
    let labels: Vec<u32> = fixture["labels"]
        .to_vec1::<f32>()
        .unwrap()
        .into_iter()
        .map(|l| l as u32)
        .collect();
    let losses = fixture["losses"].to_vec1::<f32>().unwrap();
    for (k, expected) in losses.iter().enumerate() {
        sgd.lr = schedule::cosine(k, losses.len(), 0.05, 1e-6);
        let start = k * 12 % 36;
        let x = fixture["x"].narrow(0, start, 12).unwrap();
        let loss = cross_entropy(&net.forward(&x, true).unwrap(), &labels[start..start + 12]).unwrap();
        sgd.step(&loss.backward().unwrap()).unwrap();
        let loss = loss.to_scalar::<f32>().unwrap();
        assert!(
            (loss - expected).abs() < 1e-3,
            "step {k}: {loss}, PyTorch {expected}"
        );
    }
    let logits = net.forward(&fixture["x"], false).unwrap();
    assert!(largest_difference(&logits, &fixture["logits"]) < 1e-2);
    let state = net.tensors().state_dict().unwrap();
    for (name, expected) in part("final.") {
        let difference = largest_difference(&state[&name], &expected);
        assert!(difference < 2e-3, "{name}: {difference}");
    }
}

#[test]
fn every_trainable_tensor_gets_a_gradient_that_is_not_zero() {
    for (depth, stem) in [(10, Stem::Cifar), (50, Stem::ImageNet)] {
        let net = ResNet::new(config(depth, stem, 4), 1, &Engine::default()).unwrap();
        let y = net.forward(&pictures(5, 32), true).unwrap();
        let grads = cross_entropy(&y, &[0, 1, 2, 3, 4]).unwrap().backward().unwrap();
        for name in net.tensors().trainable() {
            let gradient = size(&net.tensors().gradient(&grads, name).unwrap());
            assert!(gradient.is_finite() && gradient > 0.0, "{name}: {gradient}");
        }
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    let step = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let net = ResNet::new(config(18, Stem::Cifar, 4), 1, &Engine::default()).unwrap();
            let mut sgd = sgd(&net, 0.1);
            for _ in 0..2 {
                let y = net.forward(&pictures(10, 16), true).unwrap();
                let labels: Vec<u32> = (0..10).map(|i| i % 5).collect();
                sgd.step(&cross_entropy(&y, &labels).unwrap().backward().unwrap())
                    .unwrap();
            }
            net.tensors().to_safetensors().unwrap()
        })
    };
    let one = step(1);
    assert!(one == step(2));
    assert!(one == step(7));
}

#[test]
fn an_evaluated_picture_does_not_depend_on_its_batch() {
    let net = ResNet::new(config(10, Stem::Cifar, 8), 1, &Engine::default()).unwrap();
    let x = pictures(9, 16);
    let all = net.forward(&x, false).unwrap().to_vec2::<f32>().unwrap();
    let one = net
        .forward(&x.narrow(0, 4, 1).unwrap(), false)
        .unwrap()
        .to_vec2::<f32>()
        .unwrap();
    assert_eq!(all[4], one[0]);
    let loss = net.forward(&x, false).unwrap().sum_all().unwrap();
    let error = loss.backward().unwrap_err().to_string();
    assert!(error.contains("train = true"), "{error}");
}

#[test]
fn a_state_goes_out_and_in_and_lies_are_named() {
    let [one, other] =
        [1, 2].map(|seed| ResNet::new(config(18, Stem::Cifar, 4), seed, &Engine::default()).unwrap());
    let names: Vec<String> = one.tensors().state_dict().unwrap().into_keys().collect();
    for name in [
        "conv1.weight",
        "bn1.running_mean",
        "layer1.0.conv1.weight",
        "layer2.0.downsample.0.weight",
        "fc.bias",
    ] {
        assert!(names.iter().any(|n| n == name), "{name}");
    }
    let bytes = one.tensors().to_safetensors().unwrap();
    assert_ne!(bytes, other.tensors().to_safetensors().unwrap());
    other.tensors().load_safetensors(&bytes).unwrap();
    assert_eq!(bytes, other.tensors().to_safetensors().unwrap());

    let mut state = one.tensors().state_dict().unwrap();
    state.insert(
        "bn1.num_batches_tracked".into(),
        Tensor::new(3_f32, &Device::Cpu).unwrap(),
    );
    other.tensors().load_state_dict(&state).unwrap();
    let weight = state.remove("conv1.weight").unwrap();
    assert!(matches!(
        other.tensors().load_state_dict(&state),
        Err(Error::MissingTensor { name, expected }) if name == "conv1.weight" && expected == [4, 3, 3, 3]
    ));
    state.insert("conv1.weight".into(), weight.narrow(0, 0, 2).unwrap());
    assert!(matches!(
        other.tensors().load_state_dict(&state),
        Err(Error::TensorShape { actual, .. }) if actual == [2, 3, 3, 3]
    ));
    state.insert("conv1.weight".into(), weight.clone());
    state.insert("conv9.weight".into(), weight);
    assert!(matches!(
        other.tensors().load_state_dict(&state),
        Err(Error::ExtraTensor { name, .. }) if name == "conv9.weight"
    ));
    assert!(matches!(
        other.tensors().load_safetensors(&bytes[..100]),
        Err(Error::Safetensors(_))
    ));
    assert_eq!(bytes, other.tensors().to_safetensors().unwrap());
}

#[test]
fn wrong_pictures_and_settings_are_refused() {
    assert!(matches!(
        ResNet::new(config(12, Stem::Cifar, 4), 1, &Engine::default()),
        Err(Error::Config { field: "depth", .. })
    ));
    let net = ResNet::new(config(10, Stem::Cifar, 4), 1, &Engine::default()).unwrap();
    let gray = Tensor::zeros((2, 1, 16, 16), candle_core::DType::F32, &Device::Cpu).unwrap();
    assert!(matches!(net.forward(&gray, false), Err(Error::Shape { .. })));
    // One number a channel has no variance.
    assert!(matches!(
        net.forward(&pictures(1, 8), true),
        Err(Error::Shape { .. })
    ));
}

fn nn_fixture(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/nn")
        .join(name)
}

#[test]
fn a_pytorch_state_dict_gives_pytorchs_features() {
    let state = read_state(&nn_fixture("resnet.pth"), &Device::Cpu).unwrap();
    let shape = ResNetConfig {
        num_outputs: 3,
        ..config(50, Stem::ImageNet, 2)
    };
    let net = ResNet::new(shape, 1, &Engine::default()).unwrap();
    net.tensors().load_state_dict(&state).unwrap();
    let expected = read_state(&nn_fixture("resnet.safetensors"), &Device::Cpu).unwrap();
    let features = net.features(&expected["x"], false).unwrap();
    assert!(largest_difference(&features, &expected["features"]) < 1e-4);
    let logits = net.forward(&expected["x"], false).unwrap();
    assert!(largest_difference(&logits, &expected["logits"]) < 1e-4);
}

/// He et al.'s network for CIFAR, whose shortcuts pad, as its training programs write it.
#[test]
fn a_network_of_three_stages_gives_pytorchs_features() {
    let shape = ResNetConfig {
        num_outputs: 3,
        ..config(20, Stem::Cifar, 2)
    };
    let file = StateFile::open(&nn_fixture("padded.pth")).unwrap();
    let state = file.read(&shape, false).unwrap();
    let net = ResNet::new(shape, 1, &Engine::default()).unwrap();
    net.tensors().load_state_dict(&state).unwrap();
    assert_eq!(net.feature_len(), 8);
    let expected = read_state(&nn_fixture("padded.safetensors"), &Device::Cpu).unwrap();
    let features = net.features(&expected["x"], false).unwrap();
    assert!(largest_difference(&features, &expected["features"]) < 1e-5);
    let logits = net.forward(&expected["x"], false).unwrap();
    assert!(largest_difference(&logits, &expected["logits"]) < 1e-5);
}

#[test]
fn tensors_of_every_layout_are_read_as_they_were() {
    let [found, expected] = ["layouts.pth", "layouts.safetensors"]
        .map(|name| read_state(&nn_fixture(name), &Device::Cpu).unwrap());
    assert_eq!(found.len(), 8);
    assert!(found.keys().eq(expected.keys()), "{:?}", found.keys());
    for (name, tensor) in &found {
        assert_eq!(tensor.dims(), expected[name].dims(), "{name}");
        let numbers = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(numbers(tensor), numbers(&expected[name]), "{name}");
    }
}

#[test]
fn numbers_that_no_training_gives_are_named_by_their_tensor() {
    let shape = config(18, Stem::Cifar, 2);
    let state = ResNet::new(shape.clone(), 1, &Engine::default()).unwrap();
    let state = state.tensors().state_dict().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let read = |name: &str, number: f32| {
        let mut state = state.clone();
        let mut numbers = state[name].to_vec1::<f32>().unwrap();
        numbers[1] = number;
        let tensor = Tensor::from_vec(numbers, state[name].shape(), &Device::Cpu).unwrap();
        state.insert(name.to_owned(), tensor);
        std::fs::write(&path, to_safetensors(&state).unwrap()).unwrap();
        let read = StateFile::open(&path).unwrap().read(&shape, false);
        read.map(drop).map_err(|error| error.to_string())
    };
    for (name, number, words) in [
        (
            "bn1.running_var",
            -0.5,
            "number 1 is -0.5, and a variance is at least 0",
        ),
        ("bn1.running_mean", f32::NAN, "number 1 is NaN"),
    ] {
        let said = read(name, number).unwrap_err();
        assert!(said.contains(&format!("tensor `{name}`: {words}")), "{said}");
    }
    assert_eq!(read("bn1.running_mean", -0.5), Ok(()));
    assert_eq!(read("bn1.running_var", 0.0), Ok(()));
}

#[test]
fn state_files_of_every_make_are_read_or_named() {
    let nested = read_state(&nn_fixture("nested.pth"), &Device::Cpu).unwrap();
    let expected = [
        "bn1.bias",
        "bn1.running_mean",
        "bn1.running_var",
        "bn1.weight",
        "conv1.weight",
    ];
    let whole = read_state(&nn_fixture("resnet.pth"), &Device::Cpu).unwrap();
    let legacy = read_state(&nn_fixture("legacy.pth"), &Device::Cpu).unwrap();
    for (what, state) in [("nested", nested), ("before PyTorch 1.6", legacy)] {
        let names: Vec<&str> = state.keys().map(String::as_str).collect();
        assert_eq!(names, expected, "{what}");
        for (name, tensor) in &state {
            assert_eq!(largest_difference(tensor, &whole[name]), 0.0, "{what}: {name}");
        }
    }

    let folder = tempfile::tempdir().unwrap();
    let cut = folder.path().join("cut.pth");
    let bytes = std::fs::read(nn_fixture("resnet.pth")).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let text = folder.path().join("text.safetensors");
    std::fs::write(&text, "hello, this is no state").unwrap();
    for (path, words) in [
        (nn_fixture("empty.pth"), "no tensor"),
        (cut, "not a readable PyTorch file"),
        (text, "safetensors"),
        (folder.path().join("nowhere.pth"), "No such file"),
    ] {
        let error = read_state(&path, &Device::Cpu).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert!(error.contains(path.to_str().unwrap()), "{error}");
    }
}
