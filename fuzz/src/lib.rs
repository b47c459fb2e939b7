//! What all fuzz targets share: a reader is handed the bytes as a file, and may answer anything but a panic.

#[path = "../../tests/outside/pictures.rs"]
mod pictures;
#[path = "../../tests/outside/seeds.rs"]
mod seeds;

use std::path::PathBuf;

use dream_ood::outside::Reader;
pub use libfuzzer_sys::fuzz_target;

thread_local! {
    static FOLDER: tempfile::TempDir = tempfile::tempdir().expect("a temporary folder");
}

/// The fuzz target of the reader of that name.
#[macro_export]
macro_rules! target {
    ($name:literal) => {
        $crate::fuzz_target!(init: $crate::begin($name), |bytes: &[u8]| $crate::read($name, bytes));
    };
}

/// Where `DREAM_SEEDS` names a folder, fills it with the small valid files that `tests/outside/` changes, and
/// ends the program.
///
/// # Panics
/// If they cannot be written.
pub fn begin(name: &str) {
    let Some(folder) = std::env::var_os("DREAM_SEEDS").map(PathBuf::from) else {
        return;
    };
    std::fs::create_dir_all(&folder).expect("a folder for the seeds");
    for (number, bytes) in seeds::of(name).iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{number}")), bytes).expect("seeds are written");
    }
    std::process::exit(0);
}

/// Hands `bytes` to the reader of that name.
///
/// # Panics
/// If there is no such reader, or it panics.
pub fn read(name: &str, bytes: &[u8]) {
    let reader = Reader::named(name).expect("a reader of `dream_ood::outside`");
    FOLDER.with(|folder| {
        // Whether they can be read is no matter here.
        let _ = reader.read_bytes(folder.path(), bytes);
    });
}
