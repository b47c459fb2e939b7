//! Operations on the CPU's numbers, as candle's custom operations: the only place that touches its storage.

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, InplaceOp2, Layout, Result, Shape, Storage};
use candle_core::{Device, Tensor, bail};

/// A contiguous f32 tensor's numbers and shape.
pub(crate) struct View<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) dims: &'a [usize],
}

/// What an operation gives: numbers and their shape.
pub(super) type Output = Result<(Vec<f32>, Shape)>;

fn view<'a>(storage: &'a CpuStorage, layout: &'a Layout) -> Result<View<'a>> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!(
            "an operation on the CPU needs a contiguous tensor, found strides {:?}",
            layout.stride()
        );
    };
    Ok(View {
        data: &storage.as_slice::<f32>()?[start..end], // a layout never reaches outside its storage
        dims: layout.dims(),
    })
}

fn stored((data, shape): (Vec<f32>, Shape)) -> (CpuStorage, Shape) {
    (CpuStorage::F32(data), shape)
}

/// Calls `f` with the numbers of an f32 tensor on the CPU.
fn with_view<T>(tensor: &Tensor, f: impl FnOnce(View) -> Result<T>) -> Result<T> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => f(view(storage, layout)?),
        Storage::Cuda(_) | Storage::Metal(_) => {
            bail!(
                "a tensor on the CPU was promised, found one on {:?}",
                tensor.device()
            )
        }
    }
}

struct Op<F>(&'static str, F);

impl<F: Fn(View) -> Output> CustomOp1 for Op<F> {
    fn name(&self) -> &'static str {
        self.0
    }
    fn cpu_fwd(&self, s: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        (self.1)(view(s, l)?).map(stored)
    }
}

struct Op2<F>(&'static str, F);

impl<F: Fn(View, View) -> Output> CustomOp2 for Op2<F> {
    fn name(&self) -> &'static str {
        self.0
    }
    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        (self.1)(view(s1, l1)?, view(s2, l2)?).map(stored)
    }
}

struct Op3<F>(&'static str, F);

impl<F: Fn(View, View, View) -> Output> CustomOp3 for Op3<F> {
    fn name(&self) -> &'static str {
        self.0
    }
    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        (self.1)(view(s1, l1)?, view(s2, l2)?, view(s3, l3)?).map(stored)
    }
}

/// Runs `f` on the numbers of a tensor.
pub(super) fn on_cpu(x: &Tensor, name: &'static str, f: impl Fn(View) -> Output) -> Result<Tensor> {
    x.contiguous()?.apply_op1_no_bwd(&Op(name, f))
}

/// Runs `f` on the numbers of two tensors.
pub(super) fn on_cpu2(
    x: &Tensor,
    y: &Tensor,
    name: &'static str,
    f: impl Fn(View, View) -> Output,
) -> Result<Tensor> {
    x.contiguous()?.apply_op2_no_bwd(&y.contiguous()?, &Op2(name, f))
}

/// Runs `f` on the numbers of three tensors.
pub(super) fn on_cpu3(
    x: &Tensor,
    y: &Tensor,
    z: &Tensor,
    name: &'static str,
    f: impl Fn(View, View, View) -> Output,
) -> Result<Tensor> {
    x.contiguous()?
        .apply_op3_no_bwd(&y.contiguous()?, &z.contiguous()?, &Op3(name, f))
}

/// The gradients of two operands.
pub(super) type Gradients = (Option<Vec<f32>>, Option<Vec<f32>>);

/// An operation of two operands that gradients go back through.
pub(super) trait Differentiable: Send + Sync {
    const NAME: &'static str;

    fn forward(&self, x: View, y: View) -> Output;

    /// The gradients of both operands from that of the result; none of one that nobody asks for.
    fn backward(&self, x: View, y: View, grad: &[f32]) -> Result<Gradients>;
}

struct WithGradient<T>(T);

impl<T: Differentiable> CustomOp2 for WithGradient<T> {
    fn name(&self) -> &'static str {
        T::NAME
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.0.forward(view(s1, l1)?, view(s2, l2)?).map(stored)
    }

    fn bwd(
        &self,
        x: &Tensor,
        y: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (dx, dy) = with_view(x, |x| {
            with_view(y, |y| with_view(grad, |grad| self.0.backward(x, y, grad.data)))
        })?;
        let tensor = |numbers: Vec<f32>, like: &Tensor| Tensor::from_vec(numbers, like.shape(), &Device::Cpu);
        let dx = dx.map(|dx| tensor(dx, x)).transpose()?;
        Ok((dx, dy.map(|dy| tensor(dy, y)).transpose()?))
    }
}

/// Applies `op` to two tensors, as one operation of candle's graph.
pub(super) fn differentiable<T: Differentiable + 'static>(x: &Tensor, y: &Tensor, op: T) -> Result<Tensor> {
    x.contiguous()?.apply_op2(&y.contiguous()?, WithGradient(op))
}

struct InPlace<F>(&'static str, Mutex<F>);

impl<F: FnMut(&mut [f32], &[f32])> InplaceOp2 for InPlace<F> {
    fn name(&self) -> &'static str {
        self.0
    }

    fn cpu_fwd(&self, s1: &mut CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<()> {
        let (CpuStorage::F32(x), Some((start, end))) = (s1, l1.contiguous_offsets()) else {
            bail!("{}: a contiguous f32 variable was promised", self.0);
        };
        let mut f = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        f(&mut x[start..end], view(s2, l2)?.data);
        Ok(())
    }
}

/// Lets `f` change the numbers of `x` in place, by those of `y`.
pub(super) fn in_place(
    x: &Tensor,
    y: &Tensor,
    name: &'static str,
    f: impl FnMut(&mut [f32], &[f32]),
) -> Result<()> {
    x.inplace_op2(&y.contiguous()?, &InPlace(name, Mutex::new(f)))
}
