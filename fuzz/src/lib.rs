//! What all fuzz targets share: a reader is handed the bytes as a file, and may answer anything but a panic.

#[path = "../../tests/outside/pictures.rs"]
mod pictures;
#[path = "../../tests/outside/seeds.rs"]
mod seeds;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind, set_hook};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use dream_ood::outside::Reader;
pub use libfuzzer_sys::fuzz_target;

thread_local! {
    static FOLDER: tempfile::TempDir = tempfile::tempdir().expect("a temporary folder");
}

/// What the last panic said.
static LAST: Mutex<String> = Mutex::new(String::new());

/// The fuzz target of the reader of that name.
#[macro_export]
macro_rules! target {
    ($name:literal) => {
        $crate::fuzz_target!(init: $crate::begin($name), |bytes: &[u8]| $crate::read($name, bytes));
    };
}

/// Where `DREAM_SEEDS` names a folder, fills it with the small valid files that `tests/outside/` changes, and
/// ends the program. Else sees to it that a panic is one only if it gets out of a reader: libfuzzer-sys
/// aborts at the first, and those of redb, Arrow and Parquet are caught where they are called.
///
/// # Panics
/// If the seeds cannot be written.
pub fn begin(name: &str) {
    set_hook(Box::new(|panic| {
        *LAST.lock().unwrap_or_else(PoisonError::into_inner) = panic.to_string();
    }));
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
        let read = || drop(reader.read_bytes(folder.path(), bytes));
        catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
            eprintln!("{}", LAST.lock().unwrap_or_else(PoisonError::into_inner));
            resume_unwind(panic)
        });
    });
}
