//! The device that stands for a GPU in training, and a network on it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp2, Device, Layout, Result, Tensor, bail};
use half::bf16;

use super::program::Program;
use super::{Arg, Launch};
use crate::engine::composed;
use crate::engine::cuda::residual::{Direction, Frame, Machine, Matrix, Pass, Shape, bytes};
use crate::engine::layers::Residual;
use crate::engine::options::Precision;
use crate::engine::plan::{Plan, Variables};
use crate::engine::raw::{Head, Run};

/// What passes of a network have in common.
#[derive(Debug)]
struct Bench {
    program: Program,
    scratch: Option<(u64, usize)>,
    segments: HashMap<Precision, u64>,
}

impl Bench {
    /// Numbers of activations, in f32.
    fn activations(&self, precision: Precision, at: u64, count: usize) -> Vec<f32> {
        match bytes(precision) {
            2 => {
                let bits = self.program.numbers::<u16>(at, count);
                bits.into_iter()
                    .map(|bits| bf16::from_bits(bits).to_f32())
                    .collect()
            }
            _ => self.program.numbers(at, count),
        }
    }

    fn set_activations(&self, precision: Precision, at: u64, numbers: &[f32]) {
        match bytes(precision) {
            2 => {
                let bits: Vec<u16> = numbers.iter().map(|x| bf16::from_f32(*x).to_bits()).collect();
                self.program.write(at, bytemuck::cast_slice(&bits));
            }
            _ => self.program.write(at, bytemuck::cast_slice(numbers)),
        }
    }
}

impl Machine for Bench {
    fn launch(&self, launch: &Launch, args: &[Arg]) -> Result<()> {
        self.program.launch(launch, args);
        Ok(())
    }

    fn scratch(&mut self, len: usize) -> Result<u64> {
        if let Some((at, known)) = self.scratch
            && known >= len
        {
            return Ok(at);
        }
        if let Some((at, _)) = self.scratch.take() {
            self.program.free(at);
        }
        let at = self.program.allocate(len);
        self.scratch = Some((at, len));
        Ok(at)
    }

    fn segments(&mut self, precision: Precision, numbers: &dyn Fn() -> Vec<i64>) -> Result<u64> {
        let program = &self.program;
        let known = self.segments.entry(precision);
        Ok(*known.or_insert_with(|| program.with(&numbers())))
    }

    fn convolve(
        &mut self,
        shape: Shape,
        precision: Precision,
        direction: Direction,
        [x_at, w_at, y_at]: [u64; 3],
    ) -> Result<()> {
        let Shape {
            n,
            c,
            h,
            w,
            k,
            kernel,
            ..
        } = shape;
        let [oh, ow] = shape.out();
        let lens = [n * h * w * c, k * kernel * kernel * c, n * oh * ow * k];
        let read = |written: Direction, at, count| match direction == written {
            true => vec![0.0; count],
            false => self.activations(precision, at, count),
        };
        let mut x = read(Direction::Input, x_at, lens[0]);
        let mut weights = read(Direction::Weight, w_at, lens[1]);
        let mut y = read(Direction::Forward, y_at, lens[2]);
        products(&shape, |from, by, to| match direction {
            Direction::Forward => y[to] += x[from] * weights[by],
            Direction::Input => x[from] += y[to] * weights[by],
            Direction::Weight => weights[by] += x[from] * y[to],
        });
        let (at, numbers) = match direction {
            Direction::Forward => (y_at, y),
            Direction::Input => (x_at, x),
            Direction::Weight => (w_at, weights),
        };
        self.set_activations(precision, at, &numbers);
        Ok(())
    }

    fn multiply(&self, [m, n, k]: [usize; 3], [a, b]: [Matrix; 2], beta: f32, c: u64) -> Result<()> {
        let read = |x: &Matrix, columns: usize| self.program.numbers::<f32>(x.at, x.rows * columns);
        let (left, right) = (
            read(&a, if a.turned { m } else { k }),
            read(&b, if b.turned { k } else { n }),
        );
        let at = |x: &Matrix, row: usize, column: usize| match x.turned {
            true => row * x.rows + column,
            false => column * x.rows + row,
        };
        let mut out = match beta {
            0.0 => vec![0.0; m * n],
            _ => self.program.numbers(c, m * n),
        };
        for (i, out) in out.iter_mut().enumerate() {
            let products = (0..k).map(|j| left[at(&a, i % m, j)] * right[at(&b, j, i / m)]);
            *out = products.sum::<f32>() + beta * *out;
        }
        self.program.write(c, bytemuck::cast_slice(&out));
        Ok(())
    }
}

/// Calls `add` for every product of a convolution, with the places of input, weight and output.
fn products(shape: &Shape, mut add: impl FnMut(usize, usize, usize)) {
    let Shape {
        n,
        c,
        h,
        w,
        k,
        kernel,
        stride,
    } = *shape;
    let [oh, ow] = shape.out();
    let inside = |out: usize, tap: usize, size: usize| {
        (out * stride + tap)
            .checked_sub(kernel / 2)
            .filter(|at| *at < size)
    };
    for pixel in 0..n * oh * ow {
        let (image, oy, ox) = (pixel / (oh * ow), pixel / ow % oh, pixel % ow);
        for tap in 0..kernel * kernel {
            let (Some(iy), Some(ix)) = (inside(oy, tap / kernel, h), inside(ox, tap % kernel, w)) else {
                continue;
            };
            for (output, input) in (0..k).flat_map(|output| (0..c).map(move |input| (output, input))) {
                let from = ((image * h + iy) * w + ix) * c + input;
                let by = (output * kernel * kernel + tap) * c + input;
                add(from, by, pixel * k + output);
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct Network {
    plan: Plan,
    precision: Precision,
    bench: Arc<Mutex<Bench>>,
    composed: Box<dyn Residual>,
}

impl Network {
    pub(super) fn new(plan: &Plan, program: &Program, precision: Precision) -> Self {
        let bench = Bench {
            program: program.clone(),
            scratch: None,
            segments: HashMap::new(),
        };
        Self {
            plan: plan.clone(),
            precision,
            bench: Arc::new(Mutex::new(bench)),
            composed: composed::residual(plan, composed::conv2d),
        }
    }
}

impl Residual for Network {
    fn forward(&self, variables: &Variables, x: &Tensor, run: Run) -> Result<Tensor> {
        let buffers = Arc::new(Mutex::new(variables.buffers.to_vec1::<f32>()?));
        let operation = Operation {
            plan: self.plan.clone(),
            precision: self.precision,
            bench: self.bench.clone(),
            buffers: buffers.clone(),
            run,
            arena: Mutex::new(None),
        };
        let out = x.contiguous()?.apply_op2(&variables.flat, operation)?;
        if run.train {
            let buffers = buffers.lock().unwrap_or_else(PoisonError::into_inner);
            let shape = variables.buffers.shape();
            variables
                .buffers
                .set(&Tensor::from_slice(&buffers, shape, &Device::Cpu)?)?;
        }
        Ok(out)
    }

    fn last(&self, variables: &Variables, features: &Tensor) -> Result<Tensor> {
        self.composed.last(variables, features)
    }
}

/// One run of a network; `arena` is what it leaves for the way back.
struct Operation {
    plan: Plan,
    precision: Precision,
    bench: Arc<Mutex<Bench>>,
    buffers: Arc<Mutex<Vec<f32>>>,
    run: Run,
    arena: Mutex<Option<(u64, Frame)>>,
}

fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("a contiguous tensor was promised"),
    }
}

impl CustomOp2 for Operation {
    fn name(&self) -> &'static str {
        "dream-resnet-emulated"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        flat: &CpuStorage,
        flat_layout: &Layout,
    ) -> Result<(CpuStorage, candle_core::Shape)> {
        let (n, _, h, w) = x_layout.shape().dims4()?;
        let mut bench = self.bench.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        let program = bench.program.clone();
        let frame = Frame::new(&self.plan, n, [h, w], self.precision);
        let width = match self.run.head {
            Head::Features => self.plan.features,
            Head::Logits => self.plan.outputs,
        };
        let [x, flat] = [slice(x, x_layout)?, slice(flat, flat_layout)?].map(|x| program.with(x));
        let statistics = program.with(&buffers);
        let (arena, out) = (program.allocate(frame.total), program.allocate(4 * n * width));
        Pass::new(&mut *bench, &frame, [arena, flat, statistics]).run_forward(
            &self.plan,
            x,
            self.run.train,
            self.run.head,
            out,
        )?;
        *buffers = program.take(statistics, buffers.len());
        let out = program.take::<f32>(out, n * width);
        program.free(x);
        program.free(flat);
        *self.arena.lock().unwrap_or_else(PoisonError::into_inner) = Some((arena, frame));
        Ok((CpuStorage::F32(out), (n, width).into()))
    }

    fn bwd(
        &self,
        _: &Tensor,
        flat: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let arena = self.arena.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((arena, frame)) = &*arena else {
            bail!("backward before forward");
        };
        let mut bench = self.bench.lock().unwrap_or_else(PoisonError::into_inner);
        let program = bench.program.clone();
        let len = flat.elem_count();
        let numbers = |x: &Tensor| x.flatten_all()?.to_vec1::<f32>();
        let [flat_at, grad] = [program.with(&numbers(flat)?), program.with(&numbers(grad)?)];
        let dflat = program.with(&vec![0.0_f32; len]);
        Pass::new(&mut *bench, frame, [*arena, flat_at, 0]).run_backward(
            &self.plan,
            self.run.head,
            grad,
            dflat,
        )?;
        program.free(flat_at);
        program.free(grad);
        let dflat = Tensor::from_vec(program.take::<f32>(dflat, len), flat.shape(), &Device::Cpu)?;
        Ok((None, Some(dflat)))
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        let mut arena = self.arena.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, _)) = arena.take() {
            let bench = self.bench.lock().unwrap_or_else(PoisonError::into_inner);
            bench.program.free(at);
        }
    }
}
