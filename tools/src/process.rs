//! This machine.

/// Returns the machine's name.
pub fn host() -> String {
    gethostname::gethostname().to_string_lossy().into_owned()
}
