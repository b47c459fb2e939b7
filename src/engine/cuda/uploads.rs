//! Pictures on their way to the device: through page-locked memory and on a stream of their own, so that the
//! batch after this one travels while this one is computed.

use std::sync::Arc;

use candle_core::cuda::cudarc::driver::{
    CudaEvent, CudaSlice, CudaStream, DevicePtr, PinnedHostSlice, result as driver,
};
use candle_core::cuda_backend::CudaStorage;
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, Result, Storage, Tensor};
use rayon::prelude::*;

use super::failed;
use crate::engine::layers::Uploads;

/// A place in page-locked memory and one on the device, and when each is free again.
struct Slot {
    pinned: PinnedHostSlice<f32>,
    staging: CudaSlice<f32>,
    uploaded: Option<CudaEvent>,
    taken: Option<CudaEvent>,
}

/// The way to a device: four places in turn, made when they are first needed.
pub(super) struct Pinned {
    device: CudaDevice,
    compute: Arc<CudaStream>,
    copies: Option<Arc<CudaStream>>,
    slots: [Option<Slot>; 4],
    next: usize,
}

impl Pinned {
    pub(super) fn new(device: &CudaDevice) -> Self {
        Self {
            device: device.clone(),
            compute: device.cuda_stream(),
            copies: None,
            slots: Default::default(),
            next: 0,
        }
    }

    /// The stream that the copies are on.
    fn copies(&mut self) -> Result<Arc<CudaStream>> {
        let copies = match self.copies.take() {
            Some(copies) => copies,
            None => self.compute.context().new_stream().map_err(failed)?,
        };
        Ok(self.copies.insert(copies).clone())
    }
}

impl Uploads for Pinned {
    fn tensor(&mut self, numbers: Vec<f32>, shape: &[usize]) -> Result<Tensor> {
        let copies = self.copies()?;
        let at = self.next;
        self.next = (at + 1) % self.slots.len();
        let mut slot = match self.slots[at].take() {
            Some(slot) if slot.staging.len() >= numbers.len() => slot,
            old => {
                let pinned =
                    unsafe { self.compute.context().alloc_pinned::<f32>(numbers.len()) }.map_err(failed)?;
                let staging = unsafe { self.device.alloc::<f32>(numbers.len())? };
                // The memory belongs to the other stream until everything before is done.
                copies.synchronize().map_err(failed)?;
                self.compute.synchronize().map_err(failed)?;
                drop(old);
                Slot {
                    pinned,
                    staging,
                    uploaded: None,
                    taken: None,
                }
            }
        };
        if let Some(event) = &slot.uploaded {
            event.synchronize().map_err(failed)?;
        }
        let host = &mut slot.pinned.as_mut_slice().map_err(failed)?[..numbers.len()];
        host.par_chunks_mut(1 << 16)
            .zip(numbers.par_chunks(1 << 16))
            .for_each(|(to, from)| to.copy_from_slice(from));
        if let Some(event) = &slot.taken {
            copies.wait(event).map_err(failed)?;
        }
        let staging = slot.staging.device_ptr(&self.compute).0;
        let out = unsafe { self.device.alloc::<f32>(numbers.len())? };
        let to = out.device_ptr(&self.compute).0;
        unsafe {
            driver::memcpy_htod_async(staging, &*host, copies.cu_stream()).map_err(failed)?;
            let uploaded = copies.record_event(None).map_err(failed)?;
            self.compute.wait(&uploaded).map_err(failed)?;
            slot.uploaded = Some(uploaded);
            driver::memcpy_dtod_async(to, staging, 4 * numbers.len(), self.compute.cu_stream())
                .map_err(failed)?;
            slot.taken = Some(self.compute.record_event(None).map_err(failed)?);
        }
        self.slots[at] = Some(slot);
        let storage = Storage::Cuda(CudaStorage::wrap_cuda_slice(out, self.device.clone()));
        Ok(Tensor::from_storage(storage, shape, BackpropOp::none(), false))
    }
}
