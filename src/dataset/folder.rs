//! Folders of PNG and JPEG files: `split/class/*`, `class/*` (one split, "all"), or plain `*` (one split, no
//! labels).
//!
//! Classes are the sorted names of the class directories over all splits; images are sorted by class and then
//! file name. Where a list of classes is given (ImageNet-100: a hundred of ImageNet's thousand directories),
//! only these directories are read, and the list gives their order and names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::error::DatasetError;
use super::files::{self, Entry};
use super::item::{Container, Item, Stored};

/// The split of a folder without splits.
pub(super) const ALL: &str = "all";

/// A class whose directory is not named as the class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassFolder {
    /// Name of the directory: a WordNet id, as n01498041.
    pub folder: String,
    /// Name of the class.
    pub name: String,
}

/// A folder of images.
pub(super) struct Folder {
    classes: Vec<String>,
    /// By split: (class if labelled, name within the split, file).
    images: BTreeMap<String, Vec<(Option<u32>, String, PathBuf)>>,
}

fn extension(name: &str) -> String {
    let path = Path::new(name);
    path.extension()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase()
}

fn is_image(entry: &Entry) -> bool {
    !entry.is_dir && matches!(extension(&entry.name).as_str(), "png" | "jpg" | "jpeg")
}

/// Lists a directory; image formats that we cannot decode are refused rather than passed over.
fn list(dir: &Path) -> Result<Vec<Entry>, DatasetError> {
    let entries = files::list(dir)?;
    let foreign = [
        "bmp", "gif", "webp", "tif", "tiff", "ppm", "pgm", "avif", "heic", "jp2",
    ];
    let unsupported = entries
        .iter()
        .find(|e| !e.is_dir && foreign.contains(&extension(&e.name).as_str()));
    match unsupported {
        Some(entry) => Err(DatasetError::Layout {
            path: entry.path.clone(),
            reason: "only PNG and JPEG are read; convert it".to_owned(),
        }),
        None => Ok(entries),
    }
}

/// The class directories of a split.
struct Split {
    name: String,
    path: PathBuf,
    classes: Vec<Entry>,
}

impl Folder {
    /// Opens a folder; without `classes`, every directory is a class.
    pub fn open(path: &Path, classes: &[ClassFolder]) -> Result<Self, DatasetError> {
        if !classes.is_empty() {
            return Self::of_list(path, classes);
        }
        let layout = |reason: &str| DatasetError::Layout {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        let entries = list(path)?;
        let images: Vec<&Entry> = entries.iter().filter(|e| is_image(e)).collect();
        if !images.is_empty() {
            if entries.iter().any(|e| e.is_dir) {
                return Err(layout("images and directories side by side"));
            }
            let images = images
                .iter()
                .map(|e| (None, e.name.clone(), e.path.clone()))
                .collect();
            return Ok(Self {
                classes: Vec::new(),
                images: BTreeMap::from([(ALL.to_owned(), images)]),
            });
        }
        let directories: Vec<Entry> = entries.into_iter().filter(|e| e.is_dir).collect();
        if directories.is_empty() {
            return Err(layout("neither images nor directories in it"));
        }
        // A directory that holds directories is a split; one class directory without images must not turn the
        // rest into splits.
        let mut nested = Vec::new();
        for directory in &directories {
            nested.push(list(&directory.path)?.iter().any(|e| e.is_dir));
        }
        let splits = match (nested.iter().all(|n| *n), nested.iter().any(|n| *n)) {
            (true, _) => {
                let mut splits = Vec::new();
                for directory in directories {
                    let entries = list(&directory.path)?;
                    if entries.iter().any(is_image) {
                        return Err(layout("a split with images beside its class directories"));
                    }
                    splits.push(Split {
                        classes: entries.into_iter().filter(|e| e.is_dir).collect(),
                        name: directory.name,
                        path: directory.path,
                    });
                }
                splits
            }
            (_, false) => vec![Split {
                name: ALL.to_owned(),
                path: path.to_owned(),
                classes: directories,
            }],
            (false, true) => return Err(layout("some directories are classes and others splits")),
        };
        Self::of_all(splits)
    }

    /// The directories of a list of classes, in the folder or in its splits; whatever else is there is passed
    /// over.
    fn of_list(path: &Path, list: &[ClassFolder]) -> Result<Self, DatasetError> {
        let place: BTreeMap<&str, usize> = list
            .iter()
            .enumerate()
            .map(|(i, c)| (c.folder.as_str(), i))
            .collect();
        if place.len() < list.len() {
            return Err(DatasetError::Layout {
                path: path.to_owned(),
                reason: "the list of classes names a directory twice".to_owned(),
            });
        }
        let listed = |dir: &Path| -> Result<Vec<Entry>, DatasetError> {
            let mut found = files::list(dir)?;
            found.retain(|e| e.is_dir && place.contains_key(e.name.as_str()));
            // In the order of the list, and so of the labels.
            found.sort_by_key(|e| place.get(e.name.as_str()).copied());
            Ok(found)
        };
        let mut splits = vec![Split {
            name: ALL.to_owned(),
            path: path.to_owned(),
            classes: listed(path)?,
        }];
        if splits.iter().all(|s| s.classes.is_empty()) {
            splits.clear();
            for entry in files::list(path)?.into_iter().filter(|e| e.is_dir) {
                splits.push(Split {
                    classes: listed(&entry.path)?,
                    name: entry.name,
                    path: entry.path,
                });
            }
            splits.retain(|s| !s.classes.is_empty());
        }
        let has = |class: &&ClassFolder| {
            splits
                .iter()
                .any(|s| s.classes.iter().any(|e| e.name == class.folder))
        };
        if let Some(absent) = list.iter().find(|class| !has(class)) {
            return Err(DatasetError::Missing {
                path: path.to_owned(),
                expected: format!("directory {} of the class {}", absent.folder, absent.name),
            });
        }
        // Only directories of the list were taken.
        let label = |folder: &str| place.get(folder).copied().unwrap_or_default();
        Self::of(
            splits,
            list.iter().map(|class| class.name.clone()).collect(),
            label,
        )
    }

    fn of_all(splits: Vec<Split>) -> Result<Self, DatasetError> {
        let names: BTreeSet<&String> = splits
            .iter()
            .flat_map(|s| s.classes.iter().map(|c| &c.name))
            .collect();
        let classes: Vec<String> = names.into_iter().cloned().collect();
        let sorted = classes.clone();
        // Every name is in the sorted list that was made of them.
        Self::of(splits, classes, |folder| {
            sorted.partition_point(|name| name.as_str() < folder)
        })
    }

    fn of(
        splits: Vec<Split>,
        classes: Vec<String>,
        label: impl Fn(&str) -> usize,
    ) -> Result<Self, DatasetError> {
        let mut images: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for split in &splits {
            let rows = images.entry(split.name.clone()).or_default();
            for class in &split.classes {
                let label = label(&class.name) as u32;
                let before = rows.len();
                for entry in list(&class.path)?.into_iter().filter(is_image) {
                    let name = format!("{}/{}", class.name, entry.name);
                    rows.push((Some(label), name, entry.path));
                }
                if rows.len() == before {
                    return Err(DatasetError::EmptyClass {
                        path: split.path.clone(),
                        class: class.name.clone(),
                    });
                }
            }
        }
        Ok(Self { classes, images })
    }
}

impl Container for Folder {
    fn splits(&self) -> Vec<String> {
        self.images.keys().cloned().collect()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn items(&self, split: &str) -> Result<Vec<Item>, DatasetError> {
        let rows = self.images.get(split).into_iter().flatten();
        Ok(rows
            .map(|(label, name, path)| Item {
                name: name.clone(),
                label: *label,
                stored: Stored::File(path.clone()),
            })
            .collect())
    }
}
