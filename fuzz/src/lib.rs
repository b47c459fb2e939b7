//! What all fuzz targets share: a reader is handed the bytes as a file, and may answer anything but a panic.

use dream_ood::outside::Reader;

thread_local! {
    static FOLDER: tempfile::TempDir = tempfile::tempdir().expect("a temporary folder");
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
