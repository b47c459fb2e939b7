//! Which libraries are missing.

use std::ffi::{CStr, c_char, c_int};

use crate::engine::MissingLibrary;

/// Those that every use of a GPU needs: driver, cuBLASLt, cuBLAS and cuRAND, by their numbers in `shim.c`.
const NEEDED: [c_int; 4] = [0, 1, 2, 3];

unsafe extern "C" {
    /// Loads a library and sets `file` to its name. Returns why it cannot be loaded, or null.
    fn dream_cuda_library(library: c_int, file: *mut *const c_char) -> *const c_char;
}

/// Loads them. Returns what cannot be loaded.
pub(in crate::engine) fn missing() -> Vec<MissingLibrary> {
    // SAFETY: `text` is a string that C wrote; it is copied before the next call.
    let copy = |text: *const c_char| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
    let load = |library: &c_int| {
        let mut file = std::ptr::null();
        // SAFETY: the number of a library; `file` is set to a string that lives as long as the program.
        let reason = unsafe { dream_cuda_library(*library, &raw mut file) };
        (!reason.is_null()).then(|| MissingLibrary {
            file: copy(file),
            reason: copy(reason),
            driver: *library == 0,
        })
    };
    NEEDED.iter().filter_map(load).collect()
}
