//! The few functions of cuDNN that training needs, loaded when the first network runs on CUDA: a program
//! built with CUDA starts on a machine without cuDNN, where only networks are an error.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::Arc;

use candle_core::cuda::cudarc::driver::CudaStream;

use super::shape::{Direction, Shape};
use crate::engine::options::Precision;

type Status = c_int;
type Handle = *mut c_void;
type Descriptor = *mut c_void;

unsafe extern "C" {
    fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// `cudnnConvolution*AlgoPerf_t`; the three have one layout.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Perf {
    algo: c_int,
    status: c_int,
    time: f32,
    memory: usize,
    determinism: c_int,
    math: c_int,
    reserved: [c_int; 3],
}

const FLOAT: c_int = 0;
const BFLOAT16: c_int = 9;
const NHWC: c_int = 1;
const CROSS_CORRELATION: c_int = 1;
const DETERMINISTIC: c_int = 1;
const DEFAULT_MATH: c_int = 0;
const TENSOR_OP_MATH: c_int = 1;
const FMA_MATH: c_int = 3;

macro_rules! functions {
    ($($field:ident = $symbol:literal: fn($($arg:ty),*);)*) => {
        struct Functions {
            $($field: unsafe extern "C" fn($($arg),*) -> Status,)*
            version: Version,
            say: Say,
        }
        impl Functions {
            fn load() -> Result<Self, String> {
                let mut library = std::ptr::null_mut();
                for name in [c"libcudnn.so.9", c"libcudnn.so"] {
                    // RTLD_NOW | RTLD_LOCAL
                    library = unsafe { dlopen(name.as_ptr(), 2) };
                    if !library.is_null() { break; }
                }
                if library.is_null() {
                    return Err("residual networks on a GPU need cuDNN 9: libcudnn.so.9 is not found \
                        on the library path".into());
                }
                let find = |name: &str| {
                    let c = CString::new(name).map_err(|e| e.to_string())?;
                    let found = unsafe { dlsym(library, c.as_ptr()) };
                    if found.is_null() { Err(format!("libcudnn has no {name}")) } else { Ok(found) }
                };
                Ok(Self {
                    $($field: {
                        type Function = unsafe extern "C" fn($($arg),*) -> Status;
                        // SAFETY: the library's symbol of that name has this type.
                        unsafe { std::mem::transmute::<*mut c_void, Function>(find($symbol)?) }
                    },)*
                    // SAFETY: as above.
                    version: unsafe { std::mem::transmute::<*mut c_void, Version>(find("cudnnGetVersion")?) },
                    // SAFETY: as above.
                    say: unsafe { std::mem::transmute::<*mut c_void, Say>(find("cudnnGetErrorString")?) },
                })
            }
        }
    };
}

type Version = unsafe extern "C" fn() -> usize;
type Say = unsafe extern "C" fn(Status) -> *const c_char;
type D = Descriptor;
type P = *const c_void;
type M = *mut c_void;

functions! {
    create = "cudnnCreate": fn(*mut Handle);
    destroy = "cudnnDestroy": fn(Handle);
    set_stream = "cudnnSetStream": fn(Handle, M);
    create_tensor = "cudnnCreateTensorDescriptor": fn(*mut D);
    set_tensor = "cudnnSetTensor4dDescriptor": fn(D, c_int, c_int, c_int, c_int, c_int, c_int);
    create_filter = "cudnnCreateFilterDescriptor": fn(*mut D);
    set_filter = "cudnnSetFilter4dDescriptor": fn(D, c_int, c_int, c_int, c_int, c_int, c_int);
    create_conv = "cudnnCreateConvolutionDescriptor": fn(*mut D);
    set_conv = "cudnnSetConvolution2dDescriptor":
        fn(D, c_int, c_int, c_int, c_int, c_int, c_int, c_int, c_int);
    set_math = "cudnnSetConvolutionMathType": fn(D, c_int);
    ask_forward = "cudnnGetConvolutionForwardAlgorithm_v7":
        fn(Handle, D, D, D, D, c_int, *mut c_int, *mut Perf);
    ask_data = "cudnnGetConvolutionBackwardDataAlgorithm_v7":
        fn(Handle, D, D, D, D, c_int, *mut c_int, *mut Perf);
    ask_filter = "cudnnGetConvolutionBackwardFilterAlgorithm_v7":
        fn(Handle, D, D, D, D, c_int, *mut c_int, *mut Perf);
    room_forward = "cudnnGetConvolutionForwardWorkspaceSize": fn(Handle, D, D, D, D, c_int, *mut usize);
    room_data = "cudnnGetConvolutionBackwardDataWorkspaceSize": fn(Handle, D, D, D, D, c_int, *mut usize);
    room_filter = "cudnnGetConvolutionBackwardFilterWorkspaceSize": fn(Handle, D, D, D, D, c_int, *mut usize);
    forward = "cudnnConvolutionForward": fn(Handle, P, D, P, D, P, D, c_int, M, usize, P, D, M);
    data = "cudnnConvolutionBackwardData": fn(Handle, P, D, P, D, P, D, c_int, M, usize, P, D, M);
    filter = "cudnnConvolutionBackwardFilter": fn(Handle, P, D, P, D, P, D, c_int, M, usize, P, D, M);
}

/// A handle on the library, of one stream.
pub(super) struct Cudnn {
    functions: Functions,
    handle: Handle,
    /// Keeps the GPU open for as long as there is the handle.
    stream: Arc<CudaStream>,
}

// A handle may be used by one thread at a time, which the engine's lock sees to.
unsafe impl Send for Cudnn {}
unsafe impl Sync for Cudnn {}

impl Drop for Cudnn {
    fn drop(&mut self) {
        if self.handle.is_null() {
            return;
        }
        let context = self.stream.context();
        context.record_err(context.bind_to_thread());
        // SAFETY: the handle is the library's, and nobody else has it. Its status is of no use any more.
        unsafe { (self.functions.destroy)(self.handle) };
    }
}

/// A way of computing one direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub algo: c_int,
    pub math: c_int,
    pub room: usize,
    pub deterministic: bool,
}

/// A convolution made ready. Descriptors live as long as the program: there are few.
#[derive(Debug)]
pub(super) struct Prepared {
    x: Descriptor,
    w: Descriptor,
    y: Descriptor,
    convs: [Descriptor; 3],
    pub ways: [Way; 3],
}

unsafe impl Send for Prepared {}
unsafe impl Sync for Prepared {}

impl Cudnn {
    /// Loads the library.
    ///
    /// # Errors
    /// If there is none, in words.
    pub(super) fn new(stream: Arc<CudaStream>) -> Result<Self, String> {
        let functions = Functions::load()?;
        let mut handle = std::ptr::null_mut();
        let status = unsafe { (functions.create)(&mut handle) };
        let new = Self {
            functions,
            handle,
            stream,
        };
        new.check("cudnnCreate", status)?;
        new.check("cudnnSetStream", unsafe {
            (new.functions.set_stream)(handle, new.stream.cu_stream().cast())
        })?;
        Ok(new)
    }

    pub(super) fn version(&self) -> usize {
        unsafe { (self.functions.version)() }
    }

    fn check(&self, what: &str, status: Status) -> Result<(), String> {
        if status == 0 {
            return Ok(());
        }
        let words = unsafe { CStr::from_ptr((self.functions.say)(status)) };
        Err(format!("{what}: {} ({status})", words.to_string_lossy()))
    }

    /// All ways of a direction that cuDNN's heuristic names for this shape, the one that it thinks fastest
    /// first. The heuristic looks at shapes and the kind of GPU, not at a clock, so its answer never varies.
    fn ask(&self, direction: Direction, x: D, w: D, y: D, conv: D) -> Result<Vec<Way>, String> {
        let (f, mut count, mut found) = (&self.functions, 0, [Perf::default(); 12]);
        let status = unsafe {
            match direction {
                Direction::Forward => {
                    (f.ask_forward)(self.handle, x, w, conv, y, 12, &mut count, found.as_mut_ptr())
                }
                Direction::Input => {
                    (f.ask_data)(self.handle, w, y, conv, x, 12, &mut count, found.as_mut_ptr())
                }
                Direction::Weight => {
                    (f.ask_filter)(self.handle, x, y, conv, w, 12, &mut count, found.as_mut_ptr())
                }
            }
        };
        self.check("cudnnGetConvolution*Algorithm_v7", status)?;
        let found = &found[..count as usize];
        Ok(found
            .iter()
            .filter(|p| p.status == 0)
            .map(|p| Way {
                algo: p.algo,
                math: p.math,
                room: p.memory,
                deterministic: p.determinism == DETERMINISTIC,
            })
            .collect())
    }

    fn room(&self, direction: Direction, x: D, w: D, y: D, conv: D, algo: c_int) -> Option<usize> {
        let (f, mut room) = (&self.functions, 0);
        let status = unsafe {
            match direction {
                Direction::Forward => (f.room_forward)(self.handle, x, w, conv, y, algo, &mut room),
                Direction::Input => (f.room_data)(self.handle, w, y, conv, x, algo, &mut room),
                Direction::Weight => (f.room_filter)(self.handle, x, y, conv, w, algo, &mut room),
            }
        };
        (status == 0).then_some(room)
    }

    /// Makes a convolution ready: descriptors, and for each direction the first deterministic way whose
    /// workspace is at most `limit` bytes.
    pub(super) fn prepare(
        &self,
        shape: Shape,
        precision: Precision,
        limit: usize,
    ) -> Result<Prepared, String> {
        let f = &self.functions;
        let kind = if precision == Precision::Bf16 {
            BFLOAT16
        } else {
            FLOAT
        };
        let math = match precision {
            // No residual network is made in f16 (`Work::precisions`).
            Precision::F32 | Precision::F16 => FMA_MATH,
            Precision::Tf32 => DEFAULT_MATH,
            Precision::Bf16 => TENSOR_OP_MATH,
        };
        let int = |x: usize| x as c_int;
        let [oh, ow] = shape.out();
        let make = |create: unsafe extern "C" fn(*mut D) -> Status| {
            let mut descriptor = std::ptr::null_mut();
            self.check("create", unsafe { create(&mut descriptor) })?;
            Ok::<_, String>(descriptor)
        };
        let (x, y, w) = (
            make(f.create_tensor)?,
            make(f.create_tensor)?,
            make(f.create_filter)?,
        );
        let mut convs = [std::ptr::null_mut(); 3];
        unsafe {
            let (n, c, h, width, k, r) = (
                int(shape.n),
                int(shape.c),
                int(shape.h),
                int(shape.w),
                int(shape.k),
                int(shape.kernel),
            );
            self.check("x", (f.set_tensor)(x, NHWC, kind, n, c, h, width))?;
            self.check("y", (f.set_tensor)(y, NHWC, kind, n, k, int(oh), int(ow)))?;
            self.check("w", (f.set_filter)(w, kind, NHWC, k, c, r, r))?;
            for conv in &mut convs {
                *conv = make(f.create_conv)?;
                let (pad, stride) = (int(shape.kernel / 2), int(shape.stride));
                self.check(
                    "conv",
                    (f.set_conv)(*conv, pad, pad, stride, stride, 1, 1, CROSS_CORRELATION, FLOAT),
                )?;
                self.check("math", (f.set_math)(*conv, math))?;
            }
        }
        let mut ways = Vec::new();
        for (i, direction) in [Direction::Forward, Direction::Input, Direction::Weight]
            .into_iter()
            .enumerate()
        {
            let mut all = Vec::new();
            for mut way in self.ask(direction, x, w, y, convs[i])? {
                // Strict f32 must stay so; elsewhere the heuristic's own kind of product is taken.
                if precision == Precision::F32 {
                    way.math = FMA_MATH;
                }
                self.check("math", unsafe { (f.set_math)(convs[i], way.math) })?;
                if let Some(room) = self.room(direction, x, w, y, convs[i], way.algo) {
                    way.room = room;
                    all.push(way);
                }
            }
            // The heuristic's first that fits; where none does, one that needs more is better than none.
            let sound = || all.iter().filter(|way| way.deterministic);
            let fitting = sound().find(|way| way.room <= limit);
            let Some(way) = fitting.or_else(|| sound().min_by_key(|way| way.room)).copied() else {
                return Err(format!(
                    "cuDNN has no deterministic way for {direction:?} of {shape:?}: {all:?}"
                ));
            };
            self.check("math", unsafe { (f.set_math)(convs[i], way.math) })?;
            ways.push(way);
        }
        let ways = [ways[0], ways[1], ways[2]];
        Ok(Prepared { x, w, y, convs, ways })
    }

    /// Computes one direction by `way`: `Forward` makes y of x and w, `Input` x of w and y, `Weight` w of x
    /// and y. Addresses are on the device; the workspace has `way.room` bytes.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn run(
        &self,
        p: &Prepared,
        direction: Direction,
        way: Way,
        x: u64,
        w: u64,
        y: u64,
        workspace: u64,
    ) -> Result<(), String> {
        let (f, one, zero) = (&self.functions, 1.0_f32, 0.0_f32);
        let (one, zero): (P, P) = ((&raw const one).cast(), (&raw const zero).cast());
        let (h, algo, room) = (self.handle, way.algo, way.room);
        let status = unsafe {
            match direction {
                Direction::Forward => (f.forward)(
                    h,
                    one,
                    p.x,
                    x as P,
                    p.w,
                    w as P,
                    p.convs[0],
                    algo,
                    workspace as M,
                    room,
                    zero,
                    p.y,
                    y as M,
                ),
                Direction::Input => (f.data)(
                    h,
                    one,
                    p.w,
                    w as P,
                    p.y,
                    y as P,
                    p.convs[1],
                    algo,
                    workspace as M,
                    room,
                    zero,
                    p.x,
                    x as M,
                ),
                Direction::Weight => (f.filter)(
                    h,
                    one,
                    p.x,
                    x as P,
                    p.y,
                    y as P,
                    p.convs[2],
                    algo,
                    workspace as M,
                    room,
                    zero,
                    p.w,
                    w as M,
                ),
            }
        };
        self.check("cudnnConvolution", status)
    }
}
