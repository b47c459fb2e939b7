//! cuBLASLt's products of f16 matrices with sums in f32; its choice of a kernel is asked for once a shape.

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::cuda::cudarc::cublaslt::{result, sys};
use candle_core::cuda::cudarc::driver::{CudaSlice, CudaStream, DevicePtr};
use candle_core::{CudaDevice, Result};

use crate::engine::cuda::failed;

const WORKSPACE: usize = 32 << 20;

struct Plan {
    product: sys::cublasLtMatmulDesc_t,
    weight: sys::cublasLtMatrixLayout_t,
    x: sys::cublasLtMatrixLayout_t,
    y: sys::cublasLtMatrixLayout_t,
    algorithm: sys::cublasLtMatmulAlgo_t,
}

/// Rows, outputs, inputs; whether there are a bias and a residual.
type Key = ([usize; 3], bool, bool);

pub(super) struct Lt {
    handle: sys::cublasLtHandle_t,
    workspace: CudaSlice<u8>,
    stream: Arc<CudaStream>,
    plans: Mutex<HashMap<Key, Plan>>,
}
// SAFETY: handles of cuBLASLt may be used from any thread; descriptors are behind the lock.
unsafe impl Send for Lt {}
unsafe impl Sync for Lt {}

impl Lt {
    pub(super) fn new(device: &CudaDevice) -> Result<Self> {
        Ok(Self {
            handle: result::create_handle().map_err(failed)?,
            // SAFETY: the library writes it before it reads it.
            workspace: unsafe { device.alloc(WORKSPACE)? },
            stream: device.cuda_stream(),
            plans: Mutex::default(),
        })
    }

    fn plan(&self, [rows, outputs, inputs]: [usize; 3], bias: Option<u64>) -> Result<Plan> {
        let kind = sys::cudaDataType_t::CUDA_R_16F;
        let layout = |r: usize, c: usize| result::create_matrix_layout(kind, r as u64, c as u64, r as i64);
        // The library counts columns first: its matrices are ours transposed.
        let weight = layout(inputs, outputs).map_err(failed)?;
        let x = layout(inputs, rows).map_err(failed)?;
        let y = layout(outputs, rows).map_err(failed)?;
        let compute = sys::cublasComputeType_t::CUBLAS_COMPUTE_32F;
        let product = result::create_matmul_desc(compute, sys::cudaDataType_t::CUDA_R_32F).map_err(failed)?;
        let turned = 1_i32; // CUBLAS_OP_T
        // SAFETY: each attribute has the type that the library's manual says.
        unsafe {
            use sys::cublasLtMatmulDescAttributes_t as Attribute;
            set(product, Attribute::CUBLASLT_MATMUL_DESC_TRANSA, &turned)?;
            if let Some(bias) = bias {
                let epilogue = sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_BIAS;
                set(product, Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue)?;
                set(product, Attribute::CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias)?;
            }
            let wish = result::create_matmul_pref().map_err(failed)?;
            let size = WORKSPACE;
            result::set_matmul_pref_attribute(
                wish,
                sys::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                (&raw const size).cast(),
                size_of::<usize>(),
            )
            .map_err(failed)?;
            let found = result::get_matmul_algo_heuristic(self.handle, product, weight, x, y, y, wish);
            result::destroy_matmul_pref(wish).map_err(failed)?;
            Ok(Plan {
                product,
                weight,
                x,
                y,
                algorithm: found.map_err(failed)?.algo,
            })
        }
    }

    /// `y[r, o] = sum over i of x[r, i] w[o, i] + bias[o] + residual[r, o]`; `at`: addresses of x, w and y.
    pub(super) fn product(
        &self,
        sizes: [usize; 3],
        at: [u64; 3],
        bias: Option<u64>,
        residual: Option<u64>,
    ) -> Result<()> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = match plans.entry((sizes, bias.is_some(), residual.is_some())) {
            std::collections::hash_map::Entry::Occupied(plan) => plan.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) => place.insert(self.plan(sizes, bias)?),
        };
        let [x, w, y] = at.map(|at| at as *const c_void);
        let (one, other) = (1.0_f32, if residual.is_some() { 1.0_f32 } else { 0.0 });
        // SAFETY: the addresses are of tensors of these sizes.
        unsafe {
            if let Some(bias) = bias {
                let attribute = sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_BIAS_POINTER;
                set(plan.product, attribute, &bias)?;
            }
            result::matmul(
                self.handle,
                plan.product,
                (&raw const one).cast(),
                (&raw const other).cast(),
                w,
                plan.weight,
                x,
                plan.x,
                residual.map_or(y, |r| r as *const c_void),
                plan.y,
                y.cast_mut(),
                plan.y,
                &raw const plan.algorithm,
                self.workspace.device_ptr(&self.stream).0 as *mut c_void,
                WORKSPACE,
                self.stream.cu_stream() as *mut _,
            )
            .map_err(failed)
        }
    }
}

/// # Safety
/// `value` must be of the attribute's type.
unsafe fn set<T>(
    product: sys::cublasLtMatmulDesc_t,
    attribute: sys::cublasLtMatmulDescAttributes_t,
    value: &T,
) -> Result<()> {
    // SAFETY: as the caller says.
    unsafe {
        result::set_matmul_desc_attribute(
            product,
            attribute,
            std::ptr::from_ref(value).cast(),
            size_of::<T>(),
        )
    }
    .map_err(failed)
}
