//! Tiny ImageNet as it is unzipped: `wnids.txt` with the WordNet ids of the classes, `words.txt` with their
//! words, `train/WNID/images/*`, `val/images/*` with the classes in `val/val_annotations.txt`, and
//! `test/images/*` without labels.
//!
//! Labels follow the sorted ids, as torchvision's `ImageFolder` numbers them.

use std::collections::BTreeMap;

use super::error::DatasetError;
use super::files;
use super::folder::{ClassFolder, FolderSet};
use super::item::{Item, Stored};
use super::tree::{Folder, Place, Walk};

/// The name of the file with the classes of the validation images.
const ANNOTATIONS: &str = "val_annotations.txt";

/// A folder of that layout.
pub(super) struct Tiny {
    wnids: Vec<u8>,
    words: Option<Vec<u8>>,
    splits: BTreeMap<String, Folder>,
}

impl Tiny {
    /// Finds the set in a folder, or in its only folder.
    pub fn find(root: &Folder) -> Result<Option<Self>, DatasetError> {
        if let Some(found) = Self::of(root)? {
            return Ok(Some(found));
        }
        let entries = root.list()?;
        match entries.as_slice() {
            [only] => match &only.place {
                Place::Folder(inner) => Self::of(inner),
                Place::File(_) => Ok(None),
            },
            _ => Ok(None),
        }
    }

    fn of(folder: &Folder) -> Result<Option<Self>, DatasetError> {
        let (mut texts, mut splits) = (BTreeMap::new(), BTreeMap::new());
        for entry in folder.list()? {
            match entry.place {
                Place::Folder(inner) => drop(splits.insert(entry.name, inner)),
                Place::File(stored) if ["wnids.txt", "words.txt"].contains(&entry.name.as_str()) => {
                    texts.insert(entry.name, stored.file_bytes()?);
                }
                Place::File(_) => {}
            }
        }
        splits.retain(|name, _| ["train", "val", "test"].contains(&name.as_str()));
        let Some(wnids) = texts.remove("wnids.txt").filter(|_| splits.contains_key("train")) else {
            return Ok(None);
        };
        Ok(Some(Self {
            wnids,
            words: texts.remove("words.txt"),
            splits,
        }))
    }

    /// Reads the set, or those classes of it that a list names.
    pub fn read(self, walk: &Walk<'_>, list: &[ClassFolder]) -> Result<FolderSet, DatasetError> {
        let mut wnids = files::lines(&self.wnids);
        wnids.sort_unstable();
        let (ids, classes) = match list.is_empty() {
            true => (wnids.clone(), self.names(&wnids)),
            false => list.iter().map(|c| (c.folder.clone(), c.name.clone())).unzip(),
        };
        if let Some(absent) = ids.iter().find(|id| !wnids.contains(id)) {
            return Err(DatasetError::Missing {
                path: walk.path.to_owned(),
                expected: format!("class {absent}"),
            });
        }
        let labels: BTreeMap<&str, u32> = ids.iter().map(String::as_str).zip(0..).collect();
        let mut images = BTreeMap::new();
        for (split, folder) in &self.splits {
            let rows = match (split.as_str(), annotations(folder)?) {
                ("test", _) if list.is_empty() => plain(walk, folder)?,
                ("test", _) => continue,
                (_, Some(text)) => annotated(walk, folder, &text, &labels)?,
                (_, None) => by_class(walk, folder, &labels)?,
            };
            images.insert(split.clone(), rows);
        }
        Ok(FolderSet {
            classes,
            images,
            unread: Vec::new(),
        })
    }

    /// The classes' words: the first of each where that tells them apart, else all of them, else the ids.
    fn names(&self, wnids: &[String]) -> Vec<String> {
        let words = files::lines(self.words.as_deref().unwrap_or_default());
        let words: BTreeMap<&str, &str> = words.iter().filter_map(|line| line.split_once('\t')).collect();
        let named = |name: &dyn Fn(&str) -> String| {
            let all: Option<Vec<String>> = wnids
                .iter()
                .map(|id| Some(name(words.get(id.as_str())?)))
                .collect();
            all.filter(|all| super::names::alike(all).is_none())
        };
        let first = |words: &str| words.split(',').next().unwrap_or_default().trim().to_owned();
        named(&first)
            .or_else(|| named(&|words| words.trim().to_owned()))
            .unwrap_or_else(|| wnids.to_vec())
    }
}

/// The text with the classes of a split's images, if the split has one.
fn annotations(folder: &Folder) -> Result<Option<Vec<u8>>, DatasetError> {
    let found = folder.list()?.into_iter().find(|entry| entry.name == ANNOTATIONS);
    match found.map(|entry| entry.place) {
        Some(Place::File(stored)) => Ok(Some(stored.file_bytes()?)),
        Some(Place::Folder(_)) | None => Ok(None),
    }
}

/// All images of a folder, by name without the folder `images`.
fn files_of(walk: &Walk<'_>, folder: &Folder) -> Result<Vec<(String, Stored)>, DatasetError> {
    let all = walk.node("", folder)?.into_images().into_iter();
    let short = |(name, stored): (String, Stored)| (name.trim_start_matches("images/").to_owned(), stored);
    Ok(all.map(short).collect())
}

fn plain(walk: &Walk<'_>, folder: &Folder) -> Result<Vec<Item>, DatasetError> {
    let item = |(name, stored)| Item {
        name,
        label: None,
        stored,
    };
    Ok(files_of(walk, folder)?.into_iter().map(item).collect())
}

fn annotated(
    walk: &Walk<'_>,
    folder: &Folder,
    text: &[u8],
    labels: &BTreeMap<&str, u32>,
) -> Result<Vec<Item>, DatasetError> {
    let lines = files::lines(text);
    let of_file = lines.iter().filter_map(|line| {
        let mut cells = line.split('\t');
        Some((cells.next()?, cells.next()?.trim()))
    });
    let of_file: BTreeMap<&str, &str> = of_file.collect();
    let mut items = Vec::new();
    for (name, stored) in files_of(walk, folder)? {
        // Sorted into directories of their classes, they have kept their names.
        let own = name.rsplit('/').next().unwrap_or(&name);
        let class = of_file.get(own).ok_or_else(|| DatasetError::Layout {
            path: walk.path.to_owned(),
            reason: format!("its picture {name} is not in {ANNOTATIONS}"),
        })?;
        // Those of other classes are left out where a list of classes is given.
        if let Some(label) = labels.get(class) {
            items.push(Item {
                name,
                label: Some(*label),
                stored,
            });
        }
    }
    items.sort_by_key(|item| item.label);
    Ok(items)
}

fn by_class(
    walk: &Walk<'_>,
    folder: &Folder,
    labels: &BTreeMap<&str, u32>,
) -> Result<Vec<Item>, DatasetError> {
    let mut items = Vec::new();
    for entry in folder.list()? {
        let (Some(label), Place::Folder(inner)) = (labels.get(entry.name.as_str()), entry.place) else {
            continue;
        };
        for (name, stored) in files_of(walk, &inner)? {
            items.push(Item {
                name: format!("{}/{name}", entry.name),
                label: Some(*label),
                stored,
            });
        }
    }
    items.sort_by_key(|item| item.label);
    Ok(items)
}
