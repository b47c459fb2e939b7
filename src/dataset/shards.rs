//! A folder of tar archives that are one set together, as WebDataset writes its shards.

use std::collections::BTreeMap;
use std::path::Path;

use super::error::DatasetError;
use super::files;
use super::folder::{FolderSet, has_tar_name};
use super::item::Item;
use super::names::is_split;
use super::set::Reading;

/// Archives that are read at once: each is an open file.
const MOST: usize = 512;

/// Reads the archives of a folder, each of which is a folder of images, in the order of their names; none
/// where there is no archive in it.
///
/// # Errors
/// Whatever is wrong with one of them, or if they are not of the same classes.
pub(super) fn of_folder(path: &Path, reading: &Reading) -> Result<Option<FolderSet>, DatasetError> {
    if !path.is_dir() {
        return Ok(None);
    }
    let mut shards = files::list(path)?;
    shards.retain(|entry| !entry.is_dir && has_tar_name(&entry.path));
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
    let mut known: Option<(String, FolderSet)> = None;
    for shard in shards {
        let set = FolderSet::open(&shard.path, reading)?;
        let (first, whole) = known.get_or_insert_with(|| {
            let whole = FolderSet {
                classes: set.classes.clone(),
                images: BTreeMap::new(),
                unread: set.unread.clone(),
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
            let split = match split_of(&shard.name).filter(|_| alone) {
                Some(named) => named.to_owned(),
                None => split,
            };
            let items = items.into_iter().map(|item| Item {
                name: format!("{}/{}", shard.name, item.name),
                ..item
            });
            whole.images.entry(split).or_default().extend(items);
        }
    }
    Ok(known
        .map(|(_, whole)| whole)
        .filter(|whole| !whole.images.is_empty()))
}

/// The split that a shard's name says: `imagenet-train-000123.tar` is of "train".
fn split_of(name: &str) -> Option<&str> {
    name.split(['-', '_', '.']).find(|word| is_split(word))
}

#[cfg(test)]
mod tests {
    use super::*;

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
