//! Calls of the database that may panic. redb trusts the pages of a file that was closed as it should be:
//! where one of them was changed since by something else, following it may end in a panic of redb's. Here
//! that becomes an error, and the other tables can still be read. So it does where Arrow reads a block.

use std::path::Path;

use super::{Result, StoreError};
use crate::caught::caught;

/// Calls the database; a panic inside it becomes an error.
pub(super) fn guard<T>(path: &Path, call: impl FnOnce() -> Result<T>) -> Result<T> {
    caught(call).unwrap_or_else(|| {
        Err(StoreError::Damaged {
            path: path.to_owned(),
            reason: "a page does not hold what those that name it say".to_owned(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error() {
        let path = Path::new("a.redb");
        let result = guard(path, || -> Result<()> {
            panic!("as redb does");
        });
        assert!(matches!(result, Err(StoreError::Damaged { .. })), "{result:?}");
        assert_eq!(guard(path, || Ok(1)).ok(), Some(1));
    }
}
