//! Pointers of git-lfs: the few lines of text that stand in the place of a large file whose bytes were not
//! fetched. Every door that reads files of others asks here before it calls such a file damaged.
//!
//! <https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>

/// What a pointer begins with.
const VERSION: &[u8] = b"version https://git-lfs.github.com/spec/";
/// A pointer is smaller than this, by the specification.
const LONGEST: usize = 1024;

/// What is said of a file that is a pointer.
pub const POINTER: &str = "it is a git-lfs pointer: the bytes of the file itself were not fetched";

/// Says whether these bytes, a whole file or its first kilobyte, are a pointer.
pub fn is_pointer(bytes: &[u8]) -> bool {
    bytes.starts_with(VERSION)
        && std::str::from_utf8(&bytes[..bytes.len().min(LONGEST)]).is_ok_and(|text| text.contains("oid "))
}

/// Says whether the file at `path` is a pointer; a file that cannot be read is none.
pub fn is_pointer_file(path: &std::path::Path) -> bool {
    use std::io::Read;
    let head = || {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).ok()?;
        file.take(LONGEST as u64).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    };
    head().is_some_and(|bytes| is_pointer(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_known_by_their_first_line() {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
        assert!(is_pointer(pointer));
        assert!(!is_pointer(b"version https://git-lfs.github.com/spec/v1"));
        assert!(!is_pointer(b"\x89PNG\r\n\x1a\n"));
        assert!(!is_pointer(b""));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.safetensors");
        std::fs::write(&path, pointer).unwrap();
        assert!(is_pointer_file(&path) && !is_pointer_file(&dir.path().join("absent")));
    }
}
