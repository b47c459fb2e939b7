//! What bytes are, by how they begin: for files whose names do not say it, and for messages.

use std::io::Read;
use std::path::Path;

use crate::lfs;

/// How many bytes of a file are looked at.
const HEAD: usize = 1024;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Png,
    Jpeg,
    Parquet,
    Zip,
    Gzip,
    Tar,
    /// MATLAB's format of version 5 to 7.
    Mat,
    /// IDX, of images or labels.
    Idx,
    /// Something else that has a name.
    Foreign(&'static str),
    /// A pointer of git-lfs.
    Pointer,
    Empty,
    Unknown,
}

/// Formats that are not read here: how they begin (from that byte on), and their names.
const FOREIGN: [(usize, &[u8], &str); 18] = [
    (0, b"GIF8", "a GIF picture"),
    (8, b"WEBP", "a WebP picture"),
    (0, b"BM", "a BMP picture"),
    (0, b"II*\0", "a TIFF picture"),
    (0, b"MM\0*", "a TIFF picture"),
    (4, b"ftypavif", "an AVIF picture"),
    (4, b"ftyphei", "a HEIC picture"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (0, b"P5", "a PGM picture"),
    (0, b"P6", "a PPM picture"),
    (0, b"\x89HDF", "an HDF5 file (MATLAB 7.3 writes them too)"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"BZh", "a bzip2 stream"),
    (0, b"\xfd7zXZ", "an xz stream"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd stream"),
    (0, b"7z\xbc\xaf", "a 7z archive"),
    (0, b"Rar!", "a RAR archive"),
    (0, b"ARROW1", "an Arrow file"),
];

/// Returns what bytes are, a whole file or its first kilobyte.
pub(super) fn sort(bytes: &[u8]) -> Sort {
    let begins = |at: usize, magic: &[u8]| bytes.get(at..).is_some_and(|rest| rest.starts_with(magic));
    let text = |word: &[u8]| {
        let start = bytes
            .iter()
            .position(|b| !b.is_ascii_whitespace())
            .unwrap_or_default();
        bytes[start..]
            .get(..word.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(word))
    };
    match bytes {
        [] => Sort::Empty,
        _ if begins(0, b"\x89PNG\r\n\x1a\n") => Sort::Png,
        _ if begins(0, &[0xff, 0xd8, 0xff]) => Sort::Jpeg,
        _ if begins(0, b"PAR1") => Sort::Parquet,
        _ if begins(0, b"PK\x03\x04") || begins(0, b"PK\x05\x06") => Sort::Zip,
        _ if begins(0, &[0x1f, 0x8b]) => Sort::Gzip,
        _ if begins(257, b"ustar") => Sort::Tar,
        _ if begins(0, b"MATLAB 5.0 MAT-file") => Sort::Mat,
        _ if begins(0, &[0, 0, 8, 3]) || begins(0, &[0, 0, 8, 1]) => Sort::Idx,
        _ if lfs::is_pointer(bytes) => Sort::Pointer,
        _ if text(b"<!doctype html") || text(b"<html") => Sort::Foreign("an HTML page: a failed download"),
        _ => {
            let named = FOREIGN.iter().find(|(at, magic, _)| begins(*at, magic));
            named.map_or(Sort::Unknown, |(_, _, name)| Sort::Foreign(name))
        }
    }
}

/// Returns what the file at `path` is.
pub(super) fn sort_of_file(path: &Path) -> std::io::Result<Sort> {
    let mut head = Vec::with_capacity(HEAD);
    std::fs::File::open(path)?
        .take(HEAD as u64)
        .read_to_end(&mut head)?;
    Ok(sort(&head))
}

/// Returns what is in a gzip stream at `path`.
pub(super) fn sort_in_gzip(path: &Path) -> std::io::Result<Sort> {
    let mut head = Vec::with_capacity(HEAD);
    let file = std::fs::File::open(path)?;
    let mut unpacked = flate2::read::GzDecoder::new(file).take(HEAD as u64);
    // A stream that ends early is for its reader to report.
    let _ = unpacked.read_to_end(&mut head);
    Ok(sort(&head))
}

impl Sort {
    /// What it is, in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Png => "a PNG picture",
            Self::Jpeg => "a JPEG picture",
            Self::Parquet => "a Parquet file",
            Self::Zip => "a zip archive",
            Self::Gzip => "a gzip stream",
            Self::Tar => "a tar archive",
            Self::Mat => "a MATLAB file",
            Self::Idx => "an IDX file",
            Self::Foreign(name) => name,
            Self::Pointer => "a git-lfs pointer",
            Self::Empty => "empty",
            Self::Unknown => "of no format that is known here",
        }
    }
}
