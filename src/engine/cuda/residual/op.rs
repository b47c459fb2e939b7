//! A network as one operation of candle's graph.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::cuda::cudarc::driver::{CudaSlice, CudaStream, DevicePtr};
use candle_core::cuda_backend::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, Layout, Storage, Tensor};

use super::frame::Frame;
use super::gpu::{Engine, Held};
use super::pass::Pass;
use crate::engine::options::Precision;
use crate::engine::plan::{Plan, Variables};
use crate::engine::raw::{Head, Run};

/// What a forward pass leaves. Its memory goes back to the engine.
struct Tape {
    engine: Arc<Engine>,
    arena: Option<CudaSlice<u8>>,
    frame: Frame,
    head: Head,
}

impl Drop for Tape {
    fn drop(&mut self) {
        if let Some(arena) = self.arena.take() {
            let mut state = self.engine.state();
            state.arenas.push(arena);
            // Two are enough for a forward pass beside one that still waits for its backward pass.
            if state.arenas.len() > 2 {
                state.arenas.sort_by_key(CudaSlice::len);
                state.arenas.remove(0);
            }
        }
    }
}

/// One run of a network.
struct Operation {
    engine: Arc<Engine>,
    plan: Plan,
    precision: Precision,
    buffers: Tensor,
    run: Run,
    tape: Mutex<Option<Tape>>,
}

/// Runs a network on `x`, whose gradient nobody asks for.
pub(super) fn apply(
    engine: &Arc<Engine>,
    (plan, precision): (&Plan, Precision),
    variables: &Variables,
    x: &Tensor,
    run: Run,
) -> candle_core::Result<Tensor> {
    let op = Operation {
        engine: engine.clone(),
        plan: plan.clone(),
        precision,
        buffers: variables.buffers.as_tensor().clone(),
        run,
        tape: Mutex::new(None),
    };
    x.contiguous()?.apply_op2(&variables.flat, op)
}

/// Address of a contiguous f32 tensor's first number.
fn address(storage: &CudaStorage, layout: &Layout, stream: &CudaStream) -> candle_core::Result<u64> {
    let Some((start, _)) = layout.contiguous_offsets() else {
        candle_core::bail!("dream-resnet: a contiguous tensor was promised");
    };
    Ok(storage.as_cuda_slice::<f32>()?.device_ptr(stream).0 + 4 * start as u64)
}

fn tensor_address(tensor: &Tensor, stream: &CudaStream) -> candle_core::Result<u64> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cuda(storage) => address(storage, layout, stream),
        _ => candle_core::bail!("dream-resnet: a CUDA tensor was promised"),
    }
}

impl CustomOp2 for Operation {
    fn name(&self) -> &'static str {
        "dream-resnet-cuda"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> candle_core::Result<(CpuStorage, candle_core::Shape)> {
        candle_core::bail!("dream-resnet-cuda: a CUDA tensor was promised")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        flat: &CudaStorage,
        flat_layout: &Layout,
    ) -> candle_core::Result<(CudaStorage, candle_core::Shape)> {
        let engine = &self.engine;
        let (x, flat) = (
            address(x, x_layout, &engine.stream)?,
            address(flat, flat_layout, &engine.stream)?,
        );
        let (n, _, h, w) = x_layout.shape().dims4()?;
        let frame = Frame::new(&self.plan, n, [h, w], self.precision);
        let arena = {
            let mut state = engine.state();
            let fits = state
                .arenas
                .iter()
                .position(|a| a.len() >= frame.total && a.len() <= 2 * frame.total.max(1 << 28));
            match fits {
                Some(i) => state.arenas.swap_remove(i),
                None => engine.bytes(frame.total)?,
            }
        };
        let width = match self.run.head {
            Head::Features => self.plan.features,
            Head::Logits => self.plan.outputs,
        };
        let out = unsafe { engine.device.alloc::<f32>(n * width)? };
        let (at, buffers) = (engine.at(&arena), tensor_address(&self.buffers, &engine.stream)?);
        let tape = Tape {
            engine: engine.clone(),
            arena: Some(arena),
            frame,
            head: self.run.head,
        };
        Pass::new(&mut Held::new(engine), &tape.frame, [at, flat, buffers]).run_forward(
            &self.plan,
            x,
            self.run.train,
            self.run.head,
            engine.at(&out),
        )?;
        if self.run.train {
            *self.tape.lock().unwrap_or_else(PoisonError::into_inner) = Some(tape);
        }
        Ok((
            CudaStorage::wrap_cuda_slice(out, engine.device.clone()),
            candle_core::Shape::from((n, width)),
        ))
    }

    fn bwd(
        &self,
        _: &Tensor,
        flat: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let tape = self.tape.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(tape) = tape.as_ref() else {
            candle_core::bail!(
                "backward through a network in evaluation mode: call forward with train = true, or detach \
                 its output"
            );
        };
        let engine = &self.engine;
        let grad = grad.contiguous()?;
        let dflat = engine.device.alloc_zeros::<f32>(flat.elem_count())?;
        let arena = tape.arena.as_ref().map_or(0, |a| engine.at(a));
        let flat_at = tensor_address(flat, &engine.stream)?;
        Pass::new(&mut Held::new(engine), &tape.frame, [arena, flat_at, 0]).run_backward(
            &self.plan,
            tape.head,
            tensor_address(&grad, &engine.stream)?,
            engine.at(&dflat),
        )?;
        let storage = Storage::Cuda(CudaStorage::wrap_cuda_slice(dflat, engine.device.clone()));
        let dflat = Tensor::from_storage(storage, flat.shape(), candle_core::op::BackpropOp::none(), false);
        Ok((None, Some(dflat)))
    }
}
