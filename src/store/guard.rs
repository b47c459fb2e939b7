//! Calls of the database that may panic. redb trusts the pages of a file that was closed as it should be:
//! where one of them was changed since by something else, following it may end in a panic of redb's. Here
//! that becomes an error, and the other tables can still be read. So it does where Arrow reads a block.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::{Result, StoreError};

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Says whether this thread is in a call whose panic becomes a [`StoreError::Damaged`]: a panic hook has
/// nothing to say then.
pub fn panic_becomes_error() -> bool {
    DEPTH.get() > 0
}

/// Calls the database; a panic inside it becomes an error.
pub(super) fn guard<T>(path: &Path, call: impl FnOnce() -> Result<T>) -> Result<T> {
    caught(call).unwrap_or_else(|| {
        Err(StoreError::Damaged {
            path: path.to_owned(),
            reason: "a page does not hold what those that name it say".to_owned(),
        })
    })
}

/// Calls what reads bytes that may be anything; none if it panics.
pub(super) fn caught<T>(call: impl FnOnce() -> T) -> Option<T> {
    DEPTH.set(DEPTH.get() + 1);
    // What the call used is only read, and not used again after a panic.
    let result = catch_unwind(AssertUnwindSafe(call));
    DEPTH.set(DEPTH.get() - 1);
    result.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_and_its_end_is_seen() {
        let path = Path::new("a.redb");
        let result = guard(path, || -> Result<()> {
            assert!(panic_becomes_error());
            panic!("as redb does");
        });
        assert!(matches!(result, Err(StoreError::Damaged { .. })), "{result:?}");
        assert!(!panic_becomes_error());
        assert_eq!(guard(path, || Ok(1)).ok(), Some(1));
    }
}
