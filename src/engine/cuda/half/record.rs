//! Work that is recorded when it is asked for the second time, and then repeated with one call: the host's
//! part of it is gone.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::cuda::cudarc::driver::{CudaGraph, sys};
use candle_core::{Device, Result, Tensor};

use super::gpu::Gpu;
use crate::engine::cuda::failed;
use crate::engine::layers::Repeat;

pub(super) struct Recorder {
    device: Device,
    gpu: Arc<Gpu>,
    step: Mutex<Step>,
}

#[derive(Default)]
enum Step {
    #[default]
    New,
    /// Done once: what it uploads is found again then.
    Done,
    Recorded(Recorded),
    /// It cannot be recorded.
    Plain,
}

struct Recorded {
    changing: [Tensor; 2],
    result: Tensor,
    recording: Recording,
}

struct Recording(CudaGraph);
// SAFETY: used by one thread at a time, behind a lock.
unsafe impl Send for Recording {}

impl Recorder {
    pub(super) fn new(device: &Device, gpu: &Arc<Gpu>) -> Self {
        Self {
            device: device.clone(),
            gpu: gpu.clone(),
            step: Mutex::default(),
        }
    }

    /// Work is done anew from now on, which is told.
    fn plain(&self, error: &candle_core::Error) -> Step {
        self.gpu.keep_trouble(error);
        // What dropping a recording leaves behind is no error of the work's.
        let _ = self.gpu.stream().context().check_err();
        Step::Plain
    }

    /// Records what `work` does on the device, which must do it without waiting for it, and drop every tensor
    /// that it makes.
    fn record(&self, work: impl FnOnce() -> Result<()>) -> Result<Recording> {
        let stream = self.gpu.stream();
        let mode = sys::CUstreamCaptureMode_enum::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        stream.begin_capture(mode).map_err(failed)?;
        let done = work();
        // What a drop has left behind would keep the recording from being ended.
        let left = stream.context().check_err();
        let flags = sys::CUgraphInstantiate_flags_enum::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH;
        let graph = stream.end_capture(flags);
        done?;
        left.map_err(failed)?;
        match graph.map_err(failed)? {
            Some(graph) => Ok(Recording(graph)),
            None => candle_core::bail!("nothing was recorded"),
        }
    }
}

impl Repeat for Recorder {
    /// In tests a recording that fails is an error; elsewhere it costs time alone, and is told.
    fn run(&self, changing: [&Tensor; 2], work: &dyn Fn([&Tensor; 2]) -> Result<Tensor>) -> Result<Tensor> {
        let mut step = self.step.lock().unwrap_or_else(PoisonError::into_inner);
        if let Step::Recorded(known) = &*step
            && known.changing[0].dims() != changing[0].dims()
        {
            *step = Step::New;
        }
        // Keeps small uploads that candle repeats (sizes and strides), so that a recording can do without
        // them.
        let _uploads = match &self.device {
            Device::Cuda(device) => Some(device.enable_cuda_graph_htod_cache()),
            Device::Cpu | Device::Metal(_) => None,
        };
        if let Step::New = &*step {
            *step = Step::Done;
            return work(changing);
        }
        if let Step::Done = &*step {
            let [x, y] = [changing[0].copy()?, changing[1].copy()?];
            let result = changing[0].zeros_like()?;
            // The kernel that copies is loaded by its first use, and nothing can be loaded while recording.
            result.slice_set(&x, 0, 0)?;
            *step = match self.record(|| result.slice_set(&work([&x, &y])?, 0, 0)) {
                Ok(recording) => Step::Recorded(Recorded {
                    changing: [x, y],
                    result,
                    recording,
                }),
                Err(error) if cfg!(test) => return Err(error),
                Err(error) => self.plain(&error),
            };
        }
        let Step::Recorded(known) = &*step else {
            return work(changing);
        };
        for (known, new) in known.changing.iter().zip(changing) {
            known.slice_set(new, 0, 0)?;
        }
        // A recording has memory of its own, which there may be too little of.
        if let Err(error) = known.recording.0.launch().map_err(failed) {
            *step = self.plain(&error);
            return work(changing);
        }
        known.result.copy()
    }
}
