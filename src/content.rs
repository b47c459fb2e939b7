//! What a file is by its first bytes, whatever its name says: for readers that choose by it, and for messages
//! that say what was taken for what.
//!
//! What stands in the place of a large file in a repository cloned without it is told, too: the pointers of
//! Git LFS (<https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>) and of git-annex.

use std::fmt;
use std::io::{self, Read};
use std::path::Path;

use crate::input;

/// Bytes that tell what a file is: a pointer of Git LFS is shorter, and tar's magic is at byte 257.
pub const HEAD: usize = 1024;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// No byte.
    Empty,
    /// A Git LFS pointer to a file of so many bytes.
    LfsPointer(u64),
    /// A git-annex pointer.
    AnnexPointer,
    /// A page of HTML.
    Page,
    /// JSON.
    Json,
    /// Other text.
    Text,
    /// A zip archive: files of `torch.save`, `.npz`.
    Zip,
    /// Compressed by gzip.
    Gzip,
    /// Compressed by bzip2.
    Bzip2,
    /// Compressed by xz.
    Xz,
    /// Compressed by zstd.
    Zstd,
    /// A 7z archive.
    SevenZip,
    /// A RAR archive.
    Rar,
    /// A tar archive.
    Tar,
    /// An array of NumPy's.
    Npy,
    /// A safetensors file.
    Safetensors,
    /// A Parquet file.
    Parquet,
    /// An Arrow file.
    Arrow,
    /// HDF5: Keras, MATLAB from 7.3 on.
    Hdf5,
    /// MATLAB before 7.3.
    Matlab,
    /// A Python pickle of protocol 2 or later.
    Pickle,
    /// PNG.
    Png,
    /// JPEG.
    Jpeg,
    /// WebP.
    Webp,
    /// BMP.
    Bmp,
    /// PBM, PGM, PPM or PAM.
    Pnm,
    /// A picture of a format that nothing here reads, with its article.
    Picture(&'static str),
    /// An IDX file, of images or labels.
    Idx,
    /// A database of redb, such as a store.
    Redb,
    /// A database of SQLite.
    Sqlite,
    /// Nothing known.
    Unknown,
}

/// What is said of a file that is a pointer of Git LFS, where its size is of no interest.
pub const POINTER: &str = "it is a git-lfs pointer: the bytes of the file itself were not fetched";

/// How files begin.
const MAGIC: [(&[u8], Content); 22] = [
    (b"PK\x03\x04", Content::Zip),
    (b"PK\x05\x06", Content::Zip), // without an entry
    (b"\x1f\x8b", Content::Gzip),
    (b"BZh", Content::Bzip2),
    (b"\xfd7zXZ\x00", Content::Xz),
    (b"\x28\xb5\x2f\xfd", Content::Zstd),
    (b"7z\xbc\xaf\x27\x1c", Content::SevenZip),
    (b"Rar!\x1a\x07", Content::Rar),
    (b"\x93NUMPY", Content::Npy),
    (b"PAR1", Content::Parquet),
    (b"ARROW1", Content::Arrow),
    (b"\x89HDF\r\n\x1a\n", Content::Hdf5),
    (b"MATLAB 5.0 MAT-file", Content::Matlab),
    (b"\x89PNG\r\n\x1a\n", Content::Png),
    (b"\xff\xd8\xff", Content::Jpeg),
    (b"redb\x1a\n", Content::Redb),
    (b"SQLite format 3\0", Content::Sqlite),
    (b"/annex/objects/", Content::AnnexPointer),
    (b"GIF8", Content::Picture("a GIF picture")),
    (b"II*\0", Content::Picture("a TIFF picture")),
    (b"MM\0*", Content::Picture("a TIFF picture")),
    (b"\0\0\0\x0cjP  ", Content::Picture("a JPEG 2000 picture")),
];

/// How pictures are marked behind their first bytes.
const INNER: [(usize, &[u8], &str); 2] = [
    (4, b"ftypavif", "an AVIF picture"),
    (4, b"ftyphei", "a HEIC picture"),
];

impl Content {
    /// Returns what a file is that begins so; of [`HEAD`] bytes all is known that is told apart here, and no
    /// others are looked at.
    pub fn of(head: &[u8]) -> Self {
        let head = &head[..head.len().min(HEAD)];
        if head.is_empty() {
            return Self::Empty;
        }
        if let Some((_, content)) = MAGIC.iter().find(|(magic, _)| head.starts_with(magic)) {
            return *content;
        }
        if let Some(size) = lfs_pointer(head) {
            return Self::LfsPointer(size);
        }
        match head {
            // A stream: the mark of a message, and the length of its head, a multiple of eight.
            [0xff, 0xff, 0xff, 0xff, length, _, 0, 0, ..] if length % 8 == 0 => Self::Arrow,
            _ if head.get(257..262) == Some(b"ustar") => Self::Tar,
            // The length of a header that is JSON: no text begins with the zeros of a short length.
            [_, _, _, _, 0, 0, 0, 0, b'{', ..] => Self::Safetensors,
            [0x80, 2..=5, ..] => Self::Pickle,
            [0, 0, 8, 1 | 3, ..] => Self::Idx,
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Self::Webp,
            _ if is_pnm(head) => Self::Pnm,
            _ => match text(head) {
                // A text may begin so, too.
                Self::Unknown if head.starts_with(b"BM") => Self::Bmp,
                Self::Unknown => picture(head).map_or(Self::Unknown, Self::Picture),
                content => content,
            },
        }
    }

    /// Returns what the file at `path` is.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn at(path: &Path) -> io::Result<Self> {
        let mut head = Vec::with_capacity(HEAD);
        input::open(path)?.take(HEAD as u64).read_to_end(&mut head)?;
        Ok(Self::of(&head))
    }

    /// Returns what is in the gzip stream at `path`.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn in_gzip(path: &Path) -> io::Result<Self> {
        let mut head = Vec::with_capacity(HEAD);
        let mut unpacked = flate2::read::GzDecoder::new(input::open(path)?).take(HEAD as u64);
        // A stream that ends early is for its reader to report.
        let _ = unpacked.read_to_end(&mut head);
        Ok(Self::of(&head))
    }

    /// Says whether these bytes, a whole file or its head, are a pointer of Git LFS.
    pub fn is_lfs_pointer(bytes: &[u8]) -> bool {
        matches!(Self::of(bytes), Self::LfsPointer(_))
    }

    /// Says whether it is a picture of a format that image sets are read in.
    pub fn is_picture(self) -> bool {
        matches!(self, Self::Png | Self::Jpeg | Self::Webp | Self::Bmp | Self::Pnm)
    }

    /// Says whether it stands in the place of a file that was never fetched, or is what came instead of it:
    /// no reader can do anything with it.
    pub fn stands_in(self) -> bool {
        match self {
            Self::Empty | Self::LfsPointer(_) | Self::AnnexPointer | Self::Page => true,
            Self::Json
            | Self::Text
            | Self::Zip
            | Self::Gzip
            | Self::Bzip2
            | Self::Xz
            | Self::Zstd
            | Self::SevenZip
            | Self::Rar
            | Self::Tar
            | Self::Npy
            | Self::Safetensors
            | Self::Parquet
            | Self::Arrow
            | Self::Hdf5
            | Self::Matlab
            | Self::Pickle
            | Self::Png
            | Self::Jpeg
            | Self::Webp
            | Self::Bmp
            | Self::Pnm
            | Self::Picture(_)
            | Self::Idx
            | Self::Redb
            | Self::Sqlite
            | Self::Unknown => false,
        }
    }
}

/// What is no file of a known kind: a page, JSON, other text, or nothing that is known.
fn text(head: &[u8]) -> Content {
    let whole = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The last character may be cut.
        Err(error) if error.error_len().is_none() && head.len() >= HEAD => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return Content::Unknown,
    };
    let text = whole.trim_start_matches('\u{feff}').trim_start();
    let starts = |word: &str| {
        text.get(..word.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(word))
    };
    let is_text = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    match text.chars().next() {
        _ if starts("<!doctype html") || starts("<html") => Content::Page,
        Some('{' | '[') => Content::Json,
        _ if whole.chars().all(is_text) => Content::Text,
        _ => Content::Unknown,
    }
}

/// Says whether a file begins as those of Netpbm: their mark, and the width and height as numbers, which
/// comments may come before. (Of a PAM, its mark and a line of its header.)
fn is_pnm(head: &[u8]) -> bool {
    let [b'P', form @ b'1'..=b'7', b' ' | b'\t' | b'\r' | b'\n' | b'#', ..] = head else {
        return false;
    };
    let lines = head.get(2..).unwrap_or_default().split(|byte| *byte == b'\n');
    let lines = lines.map(|line| line.split(|byte| *byte == b'#').next().unwrap_or_default());
    let mut words = lines
        .flat_map(|line| line.split(u8::is_ascii_whitespace))
        .filter(|word| !word.is_empty());
    let is_number = |word: Option<&[u8]>| word.is_some_and(|word| word.iter().all(u8::is_ascii_digit));
    match form {
        b'7' => words
            .next()
            .is_some_and(|word| word.iter().all(u8::is_ascii_uppercase)),
        _ => is_number(words.next()) && is_number(words.next()),
    }
}

/// Returns the picture that bytes are which are no text.
fn picture(head: &[u8]) -> Option<&'static str> {
    let starts = |at: usize, magic: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(magic));
    let inner = INNER.iter().find(|(at, magic, _)| starts(*at, magic));
    inner.map(|(_, _, name)| *name)
}

/// Returns the size of the file that a Git LFS pointer stands for; none if `head` is no such pointer.
fn lfs_pointer(head: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(head).ok()?;
    let mut lines = text.lines().map(|line| line.split_once(' '));
    let version = match lines.next()?? {
        ("version", version) => version,
        _ => return None,
    };
    // Before its first release Git LFS was called Hawser.
    let known = version.contains("git-lfs") || version.contains("hawser") || version.contains("git-media");
    let rest: Vec<(&str, &str)> = lines.flatten().collect();
    let value = |key: &str| {
        rest.iter()
            .find(|(found, _)| *found == key)
            .map(|(_, value)| *value)
    };
    value("oid").filter(|_| known)?;
    value("size")?.trim().parse().ok()
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "an empty file",
            Self::LfsPointer(size) => {
                return write!(
                    f,
                    "a Git LFS pointer, which stands for a file of {size} bytes that is not there (`git lfs \
                     pull` in its repository fetches it)"
                );
            }
            Self::AnnexPointer => {
                "a git-annex pointer, which stands for a file that is not there (`git annex get` fetches it)"
            }
            Self::Page => "a web page (HTML), as a download that was refused leaves behind",
            Self::Json => "JSON",
            Self::Text => "text",
            Self::Zip => "a zip archive",
            Self::Gzip => "a gzip stream",
            Self::Bzip2 => "a bzip2 stream",
            Self::Xz => "an xz stream",
            Self::Zstd => "a zstd stream",
            Self::SevenZip => "a 7z archive",
            Self::Rar => "a RAR archive",
            Self::Tar => "a tar archive",
            Self::Npy => "an array of NumPy's (.npy)",
            Self::Safetensors => "a safetensors file",
            Self::Parquet => "a Parquet file",
            Self::Arrow => "an Arrow file",
            Self::Hdf5 => "an HDF5 file",
            Self::Matlab => "a MATLAB file",
            Self::Pickle => "a Python pickle",
            Self::Png => "a PNG image",
            Self::Jpeg => "a JPEG image",
            Self::Webp => "a WebP picture",
            Self::Bmp => "a BMP picture",
            Self::Pnm => "a PNM picture",
            Self::Picture(name) => name,
            Self::Idx => "an IDX file",
            Self::Redb => "a redb database, such as a store",
            Self::Sqlite => "a database of SQLite",
            Self::Unknown => "of an unknown format",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_first_bytes() {
        let tar = [&[b'a'; 257][..], b"ustar\x0000", &[0; 100]].concat();
        for (head, content) in [
            (&b""[..], Content::Empty),
            (b"PK\x03\x04rest", Content::Zip),
            (b"\x93NUMPY\x01\x00", Content::Npy),
            (b"\x40\x00\x00\x00\x00\x00\x00\x00{\"a\"", Content::Safetensors),
            (b"\x80\x02}q\x00", Content::Pickle),
            (b"PAR1\x15", Content::Parquet),
            (b"\xff\xff\xff\xff\x30\x02\0\0", Content::Arrow),
            (b"\xff\xd8\xff\xe0", Content::Jpeg),
            (b"\xef\xbb\xbf<!DOCTYPE HTML><html>", Content::Page),
            (b"\n<html lang=en>", Content::Page),
            (b"{\"error\": 404}", Content::Json),
            (b"name\ttoken_word\nhen\then\n", Content::Text),
            (b"\x00\x01\x02\x03", Content::Unknown),
            (b"\xff\xfe\xfd", Content::Unknown),
            (b"\x00\x00\x08\x03\x00\x00", Content::Idx),
            (b"RIFF\xff\x00\x00\x00WEBPVP8 ", Content::Webp),
            (b"BM\x36\x00\x00\x00", Content::Bmp),
            (b"P6\n# made by GIMP\n12 7\n255\n", Content::Pnm),
            (b"P1 2 2 1 0 0 1", Content::Pnm),
            (b"P7\nWIDTH 2\n", Content::Pnm),
            (b"P5 is no picture", Content::Text),
            (b"P10 4 4\n", Content::Text),
            (b"BMI,age\n21,40\n", Content::Text),
            (b"version https://git-lfs.github.com/spec/v1", Content::Text),
            (&tar, Content::Tar),
            (b"/annex/objects/MD5E-s1--00.npy\n", Content::AnnexPointer),
        ] {
            assert_eq!(Content::of(head), content, "{head:?}");
        }
        let mut cut = vec![b'a'; HEAD - 1];
        cut.push(0xc3);
        assert_eq!(Content::of(&cut), Content::Text);
    }

    #[test]
    fn pointers_are_called_by_their_name() {
        let oid = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393";
        let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 12345\n");
        assert_eq!(Content::of(pointer.as_bytes()), Content::LfsPointer(12345));
        assert!(Content::is_lfs_pointer(pointer.as_bytes()) && !Content::is_lfs_pointer(b""));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        std::fs::write(&path, &pointer).unwrap();
        assert_eq!(Content::at(&path).unwrap(), Content::LfsPointer(12345));
        assert!(Content::at(&folder.path().join("absent")).is_err());
        let windows = pointer.replace('\n', "\r\n");
        assert_eq!(Content::of(windows.as_bytes()), Content::LfsPointer(12345));
        let said = Content::LfsPointer(12345).to_string();
        assert!(
            said.contains("Git LFS pointer") && said.contains("12345"),
            "{said}"
        );
        let old = pointer.replace("git-lfs.github.com", "hawser.github.com");
        assert_eq!(lfs_pointer(old.as_bytes()), Some(12345));
        for other in [
            "version 1\noid a\nsize 3\n",
            "version https://git-lfs.github.com/spec/v1\nsize 3\n",
        ] {
            assert_eq!(Content::of(other.as_bytes()), Content::Text, "{other}");
        }
    }
}
