//! Batches as they come: `struct ArrowArrayStream`.

use std::ffi::{CString, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use dream_ood::{Error, Kind};

use super::array::CArray;
use super::schema::CSchema;

/// Record batches of one schema.
pub trait Batches: Send {
    fn schema(&self) -> SchemaRef;

    /// Returns the next; none at the end.
    fn next(&mut self) -> Result<Option<RecordBatch>, Error>;
}

/// `struct ArrowArrayStream`.
#[repr(C)]
pub struct CStream {
    get_schema: Option<unsafe extern "C" fn(*mut CStream, *mut CSchema) -> c_int>,
    get_next: Option<unsafe extern "C" fn(*mut CStream, *mut CArray) -> c_int>,
    get_last_error: Option<unsafe extern "C" fn(*mut CStream) -> *const c_char>,
    release: Option<unsafe extern "C" fn(*mut CStream)>,
    private_data: *mut c_void,
}

// SAFETY: it owns all that it points to.
unsafe impl Send for CStream {}

struct Held {
    batches: Box<dyn Batches>,
    last_error: CString,
}

impl CStream {
    pub fn new(batches: Box<dyn Batches>) -> Self {
        let held = Box::new(Held {
            batches,
            last_error: CString::default(),
        });
        Self {
            get_schema: Some(get_schema),
            get_next: Some(get_next),
            get_last_error: Some(get_last_error),
            release: Some(release),
            private_data: Box::into_raw(held).cast(),
        }
    }
}

impl Drop for CStream {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: it was not released yet.
            unsafe { release(self) };
        }
    }
}

impl Held {
    /// Keeps the words of an error, and returns its number as the C library has it.
    fn fail(&mut self, error: &Error) -> c_int {
        let words = error.to_string().replace('\0', " ");
        self.last_error = CString::new(words).unwrap_or_default();
        // The numbers of Linux, macOS and Windows agree on these.
        const EIO: c_int = 5;
        const ENOMEM: c_int = 12;
        const EINVAL: c_int = 22;
        match error.kind() {
            Kind::Resource => ENOMEM,
            Kind::Refused | Kind::Missing | Kind::Unsupported => EINVAL,
            _ => EIO,
        }
    }
}

unsafe extern "C" fn get_schema(stream: *mut CStream, out: *mut CSchema) -> c_int {
    // SAFETY: consumers call it with a stream that is not released, and a place to write to.
    unsafe {
        let held = &*(*stream).private_data.cast::<Held>();
        CSchema::of(&held.batches.schema()).hand_over(out);
    }
    0
}

unsafe extern "C" fn get_next(stream: *mut CStream, out: *mut CArray) -> c_int {
    // SAFETY: consumers call it with a stream that is not released, and never twice at once.
    let held = unsafe { &mut *(*stream).private_data.cast::<Held>() };
    let next = catch_unwind(AssertUnwindSafe(|| held.batches.next()));
    let array = match next {
        Ok(Ok(batch)) => batch.map_or_else(CArray::none, CArray::of),
        Ok(Err(error)) => return held.fail(&error),
        Err(_) => return held.fail(&Error::from(dream_ood::query::QueryError::Engine)),
    };
    // SAFETY: there is a place to write to.
    unsafe { out.write(array) };
    0
}

unsafe extern "C" fn get_last_error(stream: *mut CStream) -> *const c_char {
    // SAFETY: consumers call it with a stream that is not released.
    let held = unsafe { &*(*stream).private_data.cast::<Held>() };
    match held.last_error.is_empty() {
        true => ptr::null(),
        false => held.last_error.as_ptr(),
    }
}

unsafe extern "C" fn release(stream: *mut CStream) {
    // SAFETY: a consumer calls it once.
    unsafe {
        drop(Box::from_raw((*stream).private_data.cast::<Held>()));
        (*stream).release = None;
        (*stream).private_data = ptr::null_mut();
    }
}
