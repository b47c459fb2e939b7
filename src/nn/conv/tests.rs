use candle_core::{Device, Tensor, Var};

use super::super::{Error, Result, from_safetensors};
use super::{ConvOptions, Engine};

/// The convolution on the CPU.
fn conv2d(x: &Tensor, w: &Tensor, stride: usize, padding: usize, groups: usize) -> Result<Tensor> {
    let options = ConvOptions {
        stride,
        padding,
        groups,
    };
    super::conv2d(&Engine::default(), x, w, options)
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

fn bits(t: &Tensor) -> Vec<u32> {
    t.flatten_all()
        .unwrap()
        .to_vec1::<f32>()
        .unwrap()
        .into_iter()
        .map(f32::to_bits)
        .collect()
}

fn random(shape: &[usize], index: u64) -> Tensor {
    let n = shape.iter().product();
    let values = crate::rng::Stream::new(5, "test/conv", 0, index).normals(n);
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Output and gradients of x and w under the loss sum(y * dy).
fn run(x: &Tensor, w: &Tensor, dy: &Tensor, [stride, padding, groups]: [usize; 3]) -> [Tensor; 3] {
    let (x, w) = (Var::from_tensor(x).unwrap(), Var::from_tensor(w).unwrap());
    let y = conv2d(&x, &w, stride, padding, groups).unwrap();
    let grads = (&y * dy).unwrap().sum_all().unwrap().backward().unwrap();
    [
        y.detach(),
        grads.get(&x).unwrap().clone(),
        grads.get(&w).unwrap().clone(),
    ]
}

#[test]
fn agrees_with_pytorch() {
    let bytes = include_bytes!("../../../tests/fixtures/nn/conv.safetensors");
    let state = from_safetensors(bytes, &Device::Cpu).unwrap();
    let names: Vec<&str> = state.keys().filter_map(|k| k.strip_suffix(".shape")).collect();
    assert_eq!(names.len(), 13);
    for name in names {
        let get = |part: &str| &state[&format!("{name}.{part}")];
        let shape = get("shape").to_vec1::<f32>().unwrap();
        let found = run(
            get("x"),
            get("w"),
            get("dy"),
            [0, 1, 2].map(|i| shape[i] as usize),
        );
        for (found, part) in found.iter().zip(["y", "dx", "dw"]) {
            let difference = largest_difference(found, get(part));
            assert!(difference < 3e-5, "{name}.{part}: {difference}");
        }
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    let (x, w, dy) = (
        random(&[2, 4, 7, 9], 0),
        random(&[6, 2, 3, 3], 1),
        random(&[2, 6, 4, 5], 2),
    );
    let [_, dx, dw] = run(&x, &w, &dy, [2, 1, 2]);
    let loss = |x: &Tensor, w: &Tensor| {
        let y = conv2d(x, w, 2, 1, 2).unwrap();
        (y * &dy).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap()
    };
    // The product is linear in each operand, so a large step costs no accuracy.
    for (which, gradient) in [(0, &dx), (1, &dw)] {
        let gradient = gradient.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let operand = if which == 0 { &x } else { &w };
        for at in (0..gradient.len()).step_by(13) {
            let moved = |step: f32| {
                let mut values = operand.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                values[at] += step;
                let moved = Tensor::from_vec(values, operand.shape(), &Device::Cpu).unwrap();
                if which == 0 {
                    loss(&moved, &w)
                } else {
                    loss(&x, &moved)
                }
            };
            let slope = (moved(1.0) - moved(-1.0)) / 2.0;
            assert!(
                (slope - gradient[at]).abs() < 1e-3,
                "operand {which}, {at}: {slope} {}",
                gradient[at]
            );
        }
    }
}

#[test]
fn agrees_with_candle_on_large_shapes() {
    // More than one block of terms, of vectors and of samples; with and without whole vectors.
    for (x, w, s, p) in [
        ([9, 70, 16, 16], [24, 70, 3, 3], 1, 1),
        ([70, 8, 5, 5], [12, 8, 3, 3], 1, 1),
        ([5, 48, 30, 30], [10, 48, 3, 3], 2, 1),
        ([1, 130, 9, 33], [65, 130, 1, 1], 1, 0),
    ] {
        let (x, w) = (random(&x, 0), random(&w, 1));
        let theirs = x.conv2d(&w, p, s, 1, 1).unwrap();
        let dy = random(theirs.dims(), 2);
        let [y, dx, dw] = run(&x, &w, &dy, [s, p, 1]);
        assert!(largest_difference(&y, &theirs) < 2e-4);
        let (xv, wv) = (Var::from_tensor(&x).unwrap(), Var::from_tensor(&w).unwrap());
        let y = xv.conv2d(&wv, p, s, 1, 1).unwrap();
        let grads = (y * &dy).unwrap().sum_all().unwrap().backward().unwrap();
        assert!(largest_difference(&dx, grads.get(&xv).unwrap()) < 2e-4);
        assert!(largest_difference(&dw, grads.get(&wv).unwrap()) < 2e-3);
    }
}

#[test]
fn bits_do_not_depend_on_threads_or_batch() {
    for (shape, weight, stride) in [
        ([33, 20, 12, 12], [9, 20, 3, 3], 1),
        ([33, 20, 8, 8], [9, 20, 3, 3], 2),
        ([33, 20, 4, 4], [9, 20, 1, 1], 1),
    ] {
        let (x, w) = (random(&shape, 0), random(&weight, 1));
        let padding = weight[2] / 2;
        let dy = random(conv2d(&x, &w, stride, padding, 1).unwrap().dims(), 2);
        let in_pool = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| run(&x, &w, &dy, [stride, padding, 1]).map(|t| bits(&t)))
        };
        let one = in_pool(1);
        assert_eq!(one, in_pool(3));
        assert_eq!(one, in_pool(40));
        let alone = run(
            &x.narrow(0, 17, 1).unwrap(),
            &w,
            &dy.narrow(0, 17, 1).unwrap(),
            [stride, padding, 1],
        );
        let len = one[0].len() / 33;
        assert_eq!(bits(&alone[0]), one[0][17 * len..18 * len]);
        let len = one[1].len() / 33;
        assert_eq!(bits(&alone[1]), one[1][17 * len..18 * len]);
    }
}

#[test]
fn takes_any_strides_and_skips_the_gradient_of_a_constant() {
    let (x, w) = (
        random(&[2, 8, 9, 3], 0).permute((0, 3, 1, 2)).unwrap(),
        random(&[3, 3, 4, 5], 1),
    );
    let w = Var::from_tensor(&w).unwrap();
    let w = w.transpose(2, 3).unwrap().narrow(3, 0, 3).unwrap();
    let y = conv2d(&x, &w, 1, 1, 1).unwrap();
    let theirs = x
        .contiguous()
        .unwrap()
        .conv2d(&w.contiguous().unwrap(), 1, 1, 1, 1)
        .unwrap();
    assert!(largest_difference(&y, &theirs) < 1e-4);
    let grads = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
    assert!(grads.get(&x).is_none());
}

#[test]
fn refuses_shapes_that_do_not_fit() {
    let x = random(&[1, 4, 5, 5], 0);
    for (weight, stride, groups) in [
        ([2, 3, 3, 3], 1, 1),
        ([3, 2, 3, 3], 1, 2),
        ([2, 4, 7, 7], 1, 1),
        ([2, 4, 3, 3], 0, 1),
    ] {
        let result = conv2d(&x, &random(&weight, 1), stride, 0, groups);
        assert!(matches!(result, Err(Error::Convolution { .. })), "{weight:?}");
    }
    assert!(conv2d(&x.squeeze(0).unwrap(), &random(&[2, 4, 3, 3], 1), 1, 1, 1).is_err());
}
