//! What sets were found to hold, so that a process decodes each of them once. A set counts as the same as
//! long as all its files have the sizes and times that they had.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::dataset::{DatasetError, Description, Reading, describe_until};
use crate::stop::Stop;

/// The sets that this process has read.
static READ: Memo = Memo(Mutex::new(Vec::new()));

/// Reads a whole set, unless this process has read it and its files have not been touched since.
///
/// # Errors
/// As [`describe`].
pub(super) fn description(path: &Path, reading: &Reading) -> Result<Arc<Description>, DatasetError> {
    description_until(path, reading, &|| reading.stop.is_asked())
}

/// The same, given up once `stopped` says so.
pub(super) fn description_until(
    path: &Path,
    reading: &Reading,
    stopped: &dyn Fn() -> bool,
) -> Result<Arc<Description>, DatasetError> {
    let reading = Reading {
        kind: Some(reading.kind_at(path)?),
        // Whoever asks to stop is gone when the next one asks.
        stop: Stop::default(),
        ..reading.clone()
    };
    READ.get(path, &reading, || describe_until(path, &reading, stopped))
}

/// The sizes of classes by the digest of their set and the split.
static SIZES: Mutex<Vec<(String, String, Vec<usize>)>> = Mutex::new(Vec::new());

/// Returns how many images of each class a split of a set has, counted once.
pub(super) fn class_sizes(
    digest: &str,
    split: &str,
    count: impl FnOnce() -> Option<Vec<usize>>,
) -> Option<Vec<usize>> {
    let known = || SIZES.lock().unwrap_or_else(PoisonError::into_inner);
    let same = |(own, of, _): &&(String, String, Vec<usize>)| (own.as_str(), of.as_str()) == (digest, split);
    if let Some((.., sizes)) = known().iter().find(same) {
        return Some(sizes.clone());
    }
    let sizes = count()?;
    known().push((digest.to_owned(), split.to_owned(), sizes.clone()));
    Some(sizes)
}

struct Known {
    path: PathBuf,
    reading: Reading,
    fingerprint: blake3::Hash,
    description: Arc<Description>,
}

struct Memo(Mutex<Vec<Known>>);

impl Memo {
    fn get(
        &self,
        path: &Path,
        reading: &Reading,
        read: impl FnOnce() -> Result<Description, DatasetError>,
    ) -> Result<Arc<Description>, DatasetError> {
        // Taken before the set is read: what changes meanwhile is read again the next time.
        let Ok(fingerprint) = fingerprint(path, reading) else {
            return read().map(Arc::new);
        };
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |k: &Known| k.path == path && k.reading == *reading;
        if let Some(k) = known().iter().find(|k| same(k) && k.fingerprint == fingerprint) {
            return Ok(k.description.clone());
        }
        let description = Arc::new(read()?);
        let mut known = known();
        known.retain(|k| !same(k));
        known.push(Known {
            path: path.to_owned(),
            reading: reading.clone(),
            fingerprint,
            description: description.clone(),
        });
        Ok(description)
    }
}

/// A hash over the names, sizes and times of all files at `path`, and of the lists that name some of them.
fn fingerprint(path: &Path, reading: &Reading) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    visit(path, &mut BTreeSet::new(), &mut hasher)?;
    for list in reading.lists.values() {
        visit(list, &mut BTreeSet::new(), &mut hasher)?;
    }
    Ok(hasher.finalize())
}

fn visit(path: &Path, seen: &mut BTreeSet<PathBuf>, hasher: &mut blake3::Hasher) -> io::Result<()> {
    hasher.update(path.as_os_str().as_encoded_bytes());
    hasher.update(&[0]);
    // A link that leads nowhere is no reason to read everything again: its name stands for it.
    let Ok(metadata) = std::fs::metadata(path) else {
        return Ok(());
    };
    if !metadata.is_dir() {
        hasher.update(stamp(&metadata)?.as_bytes());
        return Ok(());
    }
    // Links may lead in circles.
    if !seen.insert(path.canonicalize()?) {
        return Ok(());
    }
    let entries = std::fs::read_dir(path)?.map(|entry| Ok(entry?.path()));
    let mut entries = entries.collect::<io::Result<Vec<PathBuf>>>()?;
    entries.sort_unstable();
    entries.iter().try_for_each(|entry| visit(entry, seen, hasher))
}

/// What changes with a file: its size and times, and where there is one, its number in the file system, which
/// is another once a new file has taken its place.
fn stamp(metadata: &Metadata) -> io::Result<String> {
    let (size, modified) = (metadata.len(), metadata.modified()?);
    #[cfg(unix)]
    let identity = {
        use std::os::unix::fs::MetadataExt;
        (
            metadata.dev(),
            metadata.ino(),
            metadata.ctime(),
            metadata.ctime_nsec(),
        )
    };
    #[cfg(not(unix))]
    let identity = ();
    Ok(format!("{size} {modified:?} {identity:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bitmap::Bitmap;
    use crate::dataset::{Kind, describe};
    use crate::exchange::encode_png;

    #[test]
    fn a_set_is_read_once_until_a_file_of_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("train/bag");
        std::fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, grey: u8| {
            let bitmap = Bitmap {
                width: 4,
                height: 4,
                rgb: vec![grey; 48],
            };
            let png = encode_png(&bitmap, &[]).unwrap();
            std::fs::write(folder.join(name), png).unwrap();
        };
        write("a.png", 7);
        let (memo, mut reads) = (Memo(Mutex::new(Vec::new())), 0);
        let mut digest = |skip_bad: bool| {
            let kind = Some(Kind::ImageFolder);
            let reading = Reading {
                kind,
                skip_bad,
                ..Reading::default()
            };
            let read = || {
                reads += 1;
                describe(dir.path(), &reading)
            };
            let digest = memo.get(dir.path(), &reading, read).unwrap().digest;
            (digest, reads)
        };
        let (first, reads) = digest(false);
        assert_eq!((digest(false), reads), ((first, 1), 1));
        // Another reading is another set.
        assert_eq!(digest(true), (first, 2));
        assert_eq!(digest(false), (first, 2));
        write("b.png", 9);
        let (second, reads) = digest(false);
        assert!(second != first && reads == 3);
        // Other bytes, as many: a new file in the place of the old one, with its time.
        let old = std::fs::metadata(folder.join("b.png")).unwrap();
        write("c.png", 8);
        let new = std::fs::File::options()
            .write(true)
            .open(folder.join("c.png"))
            .unwrap();
        new.set_modified(old.modified().unwrap()).unwrap();
        std::fs::rename(folder.join("c.png"), folder.join("b.png")).unwrap();
        let (third, reads) = digest(false);
        assert!(third != second && reads == 4);
        assert_eq!(digest(false), (third, 4));
    }
}
