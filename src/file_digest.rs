//! The digest by which a run names a file that it read, and a model one of its own: BLAKE3 over its bytes.

use std::io::{self, Read};
use std::path::Path;

use crate::{input, stop};

/// Bytes that are read at once: enough for several threads to hash, and little beside what follows.
const PIECE: u64 = 8 << 20;

/// Returns the BLAKE3 of the bytes of a file, unless somebody has asked to stop meanwhile.
pub(crate) fn file_digest(path: &Path, stopped: &dyn Fn() -> bool) -> io::Result<blake3::Hash> {
    let mut file = input::open(path)?;
    let (mut hasher, mut piece) = (blake3::Hasher::new(), Vec::new());
    while file.by_ref().take(PIECE).read_to_end(&mut piece)? > 0 {
        stop::check(stopped)?;
        hasher.update_rayon(&piece);
        piece.clear();
    }
    Ok(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_that_of_all_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        for length in [0, 1, (PIECE as usize) * 2 + 3] {
            let bytes: Vec<u8> = (0..length).map(|byte| (byte % 251) as u8).collect();
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(file_digest(&path, &|| false).unwrap(), blake3::hash(&bytes));
        }
        let stopped = file_digest(&path, &|| true).unwrap_err();
        assert_eq!(stopped.kind(), io::ErrorKind::Interrupted);
    }
}
