//! A folder of tar archives that are one set together, as WebDataset writes its shards.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::error::DatasetError;
use super::files;
use super::folder::{FolderSet, has_tar_name};
use super::item::Item;
use super::names::is_split;
use super::set::Reading;
use super::told::missing;

/// Archives that are read at once: each is an open file.
const MOST: usize = 512;

/// Reads the archives of a folder, or of its folders of splits, each of which is a folder of images, in the
/// order of their names; none where there is no archive.
///
/// # Errors
/// Whatever is wrong with one of them, if they are not of the same classes, or if each might be a class.
pub(super) fn of_folder(path: &Path, reading: &Reading) -> Result<Option<FolderSet>, DatasetError> {
    let shards = find(path)?;
    let layout = |reason: String| DatasetError::Layout {
        path: path.to_owned(),
        reason,
    };
    if shards.len() > MOST {
        let count = shards.len();
        return Err(layout(format!(
            "it holds {count} archives, more than the {MOST} that are read at once: unpack them"
        )));
    }
    let stems: Vec<&str> = shards.iter().map(|shard| stem(&shard.name)).collect();
    let numbered = are_numbered(&stems);
    let gaps = missing(stems.iter().copied()).into_iter();
    let gaps: Vec<String> = gaps
        .map(|stem| format!("the shard {stem}, which is not there"))
        .collect();
    let mut known: Option<(String, FolderSet)> = None;
    for shard in shards {
        let set = FolderSet::open(&shard.path, reading)?;
        let says_labels = set.images.values().flatten().any(|item| item.label.is_some());
        if !numbered && !says_labels {
            let name = &shard.name;
            return Err(layout(format!(
                "its archives, such as {name}, say no labels, and are not numbered as parts of one set \
                 are: if each is a class, unpack it into a folder of its name"
            )));
        }
        let (first, whole) = known.get_or_insert_with(|| {
            let whole = FolderSet {
                classes: set.classes.clone(),
                images: BTreeMap::new(),
                unread: Vec::new(),
            };
            (shard.name.clone(), whole)
        });
        if whole.classes != set.classes {
            let name = &shard.name;
            return Err(layout(format!(
                "its archives {first} and {name} have directories of other classes: unpack them"
            )));
        }
        let alone = set.images.len() == 1;
        for (split, items) in set.images {
            let split = match shard.split.as_deref().or(split_of(&shard.name)).filter(|_| alone) {
                Some(named) => named.to_owned(),
                None => split,
            };
            let items = items.into_iter().map(|item| Item {
                name: format!("{}/{}", shard.name, item.name),
                ..item
            });
            whole.images.entry(split).or_default().extend(items);
        }
        if whole.unread.is_empty() {
            whole.unread = set.unread;
        }
    }
    let whole = known.map(|(_, mut whole)| {
        whole.unread.extend(gaps);
        whole
    });
    Ok(whole.filter(|whole| !whole.images.is_empty()))
}

/// An archive of a set.
struct Shard {
    /// Its name, below the folder.
    name: String,
    path: PathBuf,
    /// The split whose folder it is in.
    split: Option<String>,
}

/// Finds the archives in a folder, and those in its folders of splits.
fn find(path: &Path) -> Result<Vec<Shard>, DatasetError> {
    let mut shards = Vec::new();
    if !path.is_dir() {
        return Ok(shards);
    }
    for entry in files::list(path)? {
        if entry.is_dir && is_split(&entry.name) {
            let inner = files::list(&entry.path)?.into_iter();
            shards.extend(inner.filter(is_archive).map(|shard| Shard {
                name: format!("{}/{}", entry.name, shard.name),
                path: shard.path,
                split: Some(entry.name.clone()),
            }));
        } else if is_archive(&entry) {
            shards.push(Shard {
                name: entry.name,
                path: entry.path,
                split: None,
            });
        }
    }
    Ok(shards)
}

fn is_archive(entry: &files::Entry) -> bool {
    !entry.is_dir && has_tar_name(&entry.path)
}

/// The name of an archive without its ending.
fn stem(name: &str) -> &str {
    let end = name.to_lowercase().rfind(".tar").or(name.rfind('.'));
    end.map_or(name, |end| &name[..end])
}

/// Whether names are those of parts: the numbers at their ends follow each other where the rest is the same.
fn are_numbered(stems: &[&str]) -> bool {
    let mut parts: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    for stem in stems {
        let digits = stem.len() - stem.bytes().rev().take_while(u8::is_ascii_digit).count();
        let (word, number) = stem.split_at(digits);
        match number.parse() {
            Ok(number) => parts.entry(word).or_default().insert(number),
            // A part alone needs no number.
            Err(_) if stems.len() == 1 => return true,
            Err(_) => return false,
        };
    }
    let follow = |numbers: &BTreeSet<u64>| match (numbers.first(), numbers.last()) {
        (Some(first), Some(last)) => last - first < numbers.len() as u64,
        _ => true,
    };
    parts.values().all(follow)
}

/// The split that a shard's name says: `imagenet-train-000123.tar` is of "train".
fn split_of(name: &str) -> Option<&str> {
    name.split(['-', '_', '.']).find(|word| is_split(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_numbered_one_after_another() {
        for parts in [
            &["train-000000", "train-000001", "val-000000"][..],
            &["7", "8", "9"],
            &["imagenet"],
            &["wds_03"],
        ] {
            assert!(are_numbered(parts), "{parts:?}");
        }
        for classes in [&["n01440764", "n01443537"][..], &["cat", "dog"], &["a_1", "b"]] {
            assert!(!are_numbered(classes), "{classes:?}");
        }
        assert_eq!(["a.tar", "a.b.TAR.gz", "a.tgz"].map(stem), ["a", "a.b", "a"]);
    }

    #[test]
    fn shards_say_their_split() {
        for (name, expected) in [
            ("train-000000.tar", Some("train")),
            ("imagenet-val-000123.tar", Some("val")),
            ("cc12m_0001.tar.gz", None),
        ] {
            assert_eq!(split_of(name), expected, "{name}");
        }
    }
}
