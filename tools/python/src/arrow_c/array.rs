//! Values: `struct ArrowArray`.

use std::ffi::c_void;
use std::ptr;

use arrow::array::{Array as _, ArrayData, BooleanBufferBuilder, RecordBatch, StructArray, layout};
use arrow::buffer::{Buffer, NullBuffer};
use arrow::datatypes::DataType;

/// `struct ArrowArray`.
#[repr(C)]
#[derive(Debug)]
pub struct CArray {
    length: i64,
    null_count: i64,
    offset: i64,
    n_buffers: i64,
    n_children: i64,
    buffers: *mut *const c_void,
    children: *mut *mut CArray,
    dictionary: *mut CArray,
    release: Option<unsafe extern "C" fn(*mut CArray)>,
    private_data: *mut c_void,
}

/// What the pointers of a [`CArray`] point to. The buffers are shared with the arrays that they come from.
struct Held {
    _buffers: Vec<Option<Buffer>>,
    pointers: Vec<*const c_void>,
    children: Vec<*mut CArray>,
    dictionary: *mut CArray,
}

impl CArray {
    /// Returns a record batch as an array of structs.
    pub fn of(batch: RecordBatch) -> Self {
        Self::new(&StructArray::from(batch).into_data())
    }

    /// Returns one that is released: the end of a stream.
    pub fn none() -> Self {
        Self {
            length: 0,
            null_count: 0,
            offset: 0,
            n_buffers: 0,
            n_children: 0,
            buffers: ptr::null_mut(),
            children: ptr::null_mut(),
            dictionary: ptr::null_mut(),
            release: None,
            private_data: ptr::null_mut(),
        }
    }

    fn new(data: &ArrayData) -> Self {
        let layout = layout(data.data_type());
        let mut buffers: Vec<Option<Buffer>> = Vec::new();
        if layout.can_contain_null_mask {
            buffers.push(data.nulls().map(|nulls| validity(nulls, data.offset())));
        }
        buffers.extend(data.buffers().iter().cloned().map(Some));
        if layout.variadic {
            // The views come first; the lengths of all other buffers stand in one of their own, at the end.
            let lengths = data.buffers().iter().skip(1).map(|buffer| buffer.len() as i64);
            buffers.push(Some(Buffer::from_vec(lengths.collect::<Vec<i64>>())));
        }
        let child = |data: &ArrayData| Box::into_raw(Box::new(Self::new(data)));
        let (children, dictionary) = match (data.data_type(), data.child_data()) {
            (DataType::Dictionary(_, _), [values]) => (Vec::new(), child(values)),
            (_, all) => (all.iter().map(child).collect(), ptr::null_mut()),
        };
        let pointers = buffers.iter().map(|buffer| match buffer {
            Some(buffer) => buffer.as_ptr().cast(),
            None => ptr::null(),
        });
        let mut held = Box::new(Held {
            pointers: pointers.collect(),
            _buffers: buffers,
            children,
            dictionary,
        });
        Self {
            length: data.len() as i64,
            null_count: match data.data_type() {
                DataType::Null => data.len() as i64,
                _ => data.null_count() as i64,
            },
            offset: data.offset() as i64,
            n_buffers: held.pointers.len() as i64,
            n_children: held.children.len() as i64,
            buffers: held.pointers.as_mut_ptr(),
            children: held.children.as_mut_ptr(),
            dictionary,
            release: Some(release),
            private_data: Box::into_raw(held).cast(),
        }
    }
}

impl Drop for CArray {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: it was not released yet.
            unsafe { release(self) };
        }
    }
}

/// Returns the bits of validity so that the first is at `offset`: values and validity have one offset here.
fn validity(nulls: &NullBuffer, offset: usize) -> Buffer {
    if nulls.offset() == offset {
        return nulls.buffer().clone();
    }
    if offset == 0 {
        return nulls.inner().sliced();
    }
    let mut bits = BooleanBufferBuilder::new(offset + nulls.len());
    bits.append_n(offset, false);
    bits.append_buffer(nulls.inner());
    bits.finish().into_inner()
}

unsafe extern "C" fn release(array: *mut CArray) {
    // SAFETY: a consumer calls it once, with what `CArray::new` made, wherever it was moved to.
    unsafe {
        let held = Box::from_raw((*array).private_data.cast::<Held>());
        // Children that the consumer moved away are marked as released; of them the box alone is left.
        for child in held.children.iter().chain([&held.dictionary]) {
            if !child.is_null() {
                drop(Box::from_raw(*child));
            }
        }
        (*array).release = None;
        (*array).private_data = ptr::null_mut();
    }
}
