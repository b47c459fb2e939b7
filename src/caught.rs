//! Calls whose panic becomes an error: of libraries that trust bytes which may be anything.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Has the program say nothing of a panic that becomes an error. Other panics are told as before.
pub fn keep_caught_panics_quiet() {
    let hook = take_hook();
    set_hook(Box::new(move |panic| {
        if DEPTH.get() == 0 {
            hook(panic);
        }
    }));
}

/// Calls what reads bytes that may be anything; none if it panics. What the call used is not used again then.
pub(crate) fn caught<T>(call: impl FnOnce() -> T) -> Option<T> {
    DEPTH.set(DEPTH.get() + 1);
    let result = catch_unwind(AssertUnwindSafe(call));
    DEPTH.set(DEPTH.get() - 1);
    result.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_none_and_its_end_is_seen() {
        let result: Option<()> = caught(|| {
            assert_eq!(DEPTH.get(), 1);
            assert_eq!(caught(|| DEPTH.get()), Some(2));
            panic!("as a library does");
        });
        assert_eq!((result, DEPTH.get()), (None, 0));
    }
}
