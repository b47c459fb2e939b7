//! Files that somebody hands over: opened only where they are files, and read whole only up to a length.
//!
//! A pipe that nobody writes to and a device without end would hold the program in a call that no wish to
//! stop reaches, and a large file in the place of a small one would fill the memory. A pipe that the process
//! already has (`/dev/stdin`, a shell's `<(...)`) has a writer: `text` takes it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// Bytes of a preset at most.
pub(crate) const PRESET: u64 = 4 << 20;
/// Bytes of a class table at most: that of ImageNet-21k has one million.
pub(crate) const TABLE: u64 = 16 << 20;
/// Bytes of one picture at most, as a file.
pub const PICTURE: u64 = 256 << 20;
/// Bytes at most of a file that says something of each of many pictures: one line of a hundred for ten
/// million.
pub(crate) const LABELS: u64 = 1 << 30;
/// What is held in memory anyway: only memory is its bound.
pub(crate) const ANY: u64 = u64::MAX;

/// Opens a file, or what a link to one leads to.
///
/// # Errors
/// If it cannot be opened, or is a pipe, a device or a socket.
pub fn open(path: &Path) -> io::Result<File> {
    match oddity(&fs::metadata(path)?) {
        None => File::open(path),
        Some(what) => Err(refused(format!(
            "it is {what}; a file is read here, and nothing else"
        ))),
    }
}

/// Reads a file whole, which has `most` bytes.
///
/// # Errors
/// As [`open`], and if it has more.
pub fn whole(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read(open(path)?, most)
}

/// Reads a small file of text whole; also from a pipe that the process already has.
///
/// # Errors
/// As [`open`], if it has more than `most` bytes, or is no UTF-8.
pub(crate) fn text(path: &Path, most: u64) -> io::Result<String> {
    let bytes = given(path, most)?;
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

/// Reads a small file whole; also from a pipe that the process already has.
pub(crate) fn given(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    match is_own(path) {
        true => read(File::open(path)?, most),
        false => whole(path, most),
    }
}

/// Refuses an open file that is longer than `most` bytes.
pub(crate) fn check_length(file: &File, most: u64) -> io::Result<()> {
    match file.metadata()?.len() {
        length if length > most => Err(too_long(Some(length), most)),
        _ => Ok(()),
    }
}

fn read(file: File, most: u64) -> io::Result<Vec<u8>> {
    check_length(&file, most)?;
    let (length, mut bytes) = (file.metadata()?.len(), Vec::new());
    bytes.try_reserve_exact(usize::try_from(length).unwrap_or(usize::MAX))?;
    // A pipe does not say its length, and a file may grow.
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => Err(too_long(None, most)),
        false => Ok(bytes),
    }
}

/// What a thing in the file system is that is neither a file nor a folder.
fn oddity(metadata: &fs::Metadata) -> Option<&'static str> {
    let kind = metadata.file_type();
    if kind.is_file() || kind.is_dir() {
        return None;
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt as _;
        if kind.is_fifo() {
            return Some("a pipe");
        } else if kind.is_socket() {
            return Some("a socket");
        }
    }
    Some("a device")
}

/// Whether it is by name one of the files and pipes that the process has open.
fn is_own(path: &Path) -> bool {
    let folders = ["/dev/fd", "/proc/self/fd"];
    path == Path::new("/dev/stdin")
        || folders
            .iter()
            .any(|folder| path.parent() == Some(Path::new(folder)))
}

fn too_long(length: Option<u64>, most: u64) -> io::Error {
    let length = length.map_or(String::new(), |length| format!(" ({})", in_words(length)));
    let most = in_words(most);
    refused(format!(
        "it is too long{length} to be what is expected here, which has {most} at most"
    ))
}

fn in_words(bytes: u64) -> String {
    match bytes >> 30 {
        0 => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
        _ => format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
    }
}

/// An error whose kind is [`Refused`](crate::Kind::Refused).
fn refused(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use crate::error::HasKind;

    fn said(error: &io::Error) -> String {
        assert_eq!(HasKind::kind(error), Kind::Refused, "{error}");
        error.to_string()
    }

    #[test]
    fn a_file_that_is_too_long_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "abc").unwrap();
        assert_eq!(whole(&path, 3).unwrap(), b"abc");
        assert_eq!(text(&path, 3).unwrap(), "abc");
        assert!(said(&whole(&path, 2).unwrap_err()).contains("too long"));
        // A hole of a terabyte: nothing is reserved for it.
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(1 << 40).unwrap();
        assert!(said(&text(&path, TABLE).unwrap_err()).contains("(1024.0 GiB)"));
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_refused_before_it_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&pipe, &link).unwrap();
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for (path, what) in [
            (&pipe, "a pipe"),
            (&link, "a pipe"),
            (&socket, "a socket"),
            (&"/dev/zero".into(), "a device"),
        ] {
            assert!(said(&open(path).unwrap_err()).contains(what));
            assert!(said(&text(path, TABLE).unwrap_err()).contains(what));
        }
        assert!(open(folder.path()).is_ok());
    }
}
