//! This machine.

/// Returns the machine's name.
pub fn name() -> String {
    gethostname::gethostname().to_string_lossy().into_owned()
}
