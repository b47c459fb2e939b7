//! Folders of PNG and JPEG files, and archives (tar, tar.gz, zip) of such folders: `split/class/*`, `class/*`
//! (one split, "all"), plain `*`, or one folder `*/*` (one split, without labels unless files beside the
//! pictures say them).
//!
//! Classes are the sorted names of the class directories over all splits; images are sorted by class and then
//! file name. Where a list of classes is given (ImageNet-100: a hundred of ImageNet's thousand directories),
//! only these directories are read, and the list gives their order and names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::archive::Archive;
use super::beside::{Label, Labelled};
use super::error::DatasetError;
use super::files;
use super::item::{Container, Item, Stored};
use super::layout::{Arrangement, arrange, unwrapped};
use super::names::{is_split, normal};
use super::set::Reading;
use super::shards;
use super::tiny::Tiny;
use super::tree;
use super::tree::{Entry, Folder, Place, Walk};
use crate::content::Content as FileContent;

/// The split of a folder without splits.
pub(super) const ALL: &str = "all";

/// How deep the directories of a list of classes are looked for.
const LIST_DEPTH: usize = 6;

/// A class whose directory is not named as the class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassFolder {
    /// Name of the directory: a WordNet id, as n01498041.
    pub folder: String,
    /// Name of the class.
    pub name: String,
}

/// A folder of images.
pub(super) struct FolderSet {
    /// Class names by label.
    pub(super) classes: Vec<String>,
    /// The images of each split.
    pub(super) images: BTreeMap<String, Vec<Item>>,
    /// What lies beside the images and is not read.
    pub(super) unread: Vec<String>,
}

/// The class directories of a split, each with its images by path below it; without classes, it has no
/// labels.
pub(super) struct Split {
    pub name: String,
    pub content: Content,
}

/// What a split holds.
pub(super) enum Content {
    Classes(Vec<(String, Vec<(String, Stored)>)>),
    /// Pictures whose labels stand in files beside them.
    Labelled(Labelled),
    Unlabelled(Vec<(String, Stored)>),
}

/// Whether the file at `path` is an archive that is read as a folder.
pub(super) fn is_archive(path: &Path) -> bool {
    match FileContent::at(path) {
        Ok(FileContent::Tar | FileContent::Zip) => true,
        Ok(FileContent::Gzip) => {
            has_tar_name(path) || matches!(FileContent::in_gzip(path), Ok(FileContent::Tar))
        }
        _ => has_tar_name(path),
    }
}

pub(super) fn has_tar_name(path: &Path) -> bool {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    [".tar", ".tar.gz", ".tgz"].iter().any(|end| name.ends_with(end))
}

/// The folder at `path`, or in the archive at `path`.
pub(super) fn root(path: &Path) -> Result<Folder, DatasetError> {
    if path.is_dir() {
        return Ok(Folder::Disk(path.to_owned()));
    }
    let archive = match FileContent::at(path).map_err(files::io(path))? {
        FileContent::Zip => Archive::zip(path)?,
        _ => Archive::tar(path)?,
    };
    Ok(Folder::Packed(Arc::new(archive), String::new()))
}

impl FolderSet {
    /// Opens a folder; without a list of classes, every directory is a class.
    pub fn open(path: &Path, reading: &Reading) -> Result<Self, DatasetError> {
        let root = root(path)?;
        let walk = Walk {
            path,
            skip_bad: reading.skip_bad,
        };
        if let Some(tiny) = Tiny::find(&root)? {
            return tiny.read(&walk, &reading.classes);
        }
        if !reading.classes.is_empty() {
            return Self::of_list(&walk, &root, &reading.classes);
        }
        let mut node = walk.node("", &root)?;
        if node.count == 0 {
            return match shards::of_folder(path, reading)? {
                Some(set) => Ok(set),
                None => Err(nothing(path, &node)),
            };
        }
        let tables = node.tables_below();
        if matches!(root, Folder::Packed(..)) {
            node = unwrapped(node);
        }
        let Arrangement { mut splits } = arrange(path, node)?;
        // Shards of WebDataset have the name of their split.
        if let (Folder::Packed(..), [only]) = (&root, splits.as_mut_slice())
            && matches!(only.content, Content::Labelled(_))
            && only.name == ALL
        {
            only.name = super::list::split_of(path);
        }
        let is_unlabelled = |split: &Split| matches!(split.content, Content::Unlabelled(_));
        let unread = match splits.iter().all(is_unlabelled) {
            true => tables,
            false => Vec::new(),
        };
        Ok(Self {
            unread,
            ..Self::of_all(path, splits)?
        })
    }

    /// The directories of a list of classes, in the folder or in its splits; whatever else is there is passed
    /// over.
    fn of_list(walk: &Walk<'_>, root: &Folder, list: &[ClassFolder]) -> Result<Self, DatasetError> {
        // A Mac's folders have another normal form than most tables.
        let place: BTreeMap<String, usize> = list
            .iter()
            .enumerate()
            .map(|(i, c)| (normal(&c.folder), i))
            .collect();
        if place.len() < list.len() {
            return Err(DatasetError::Layout {
                path: walk.path.to_owned(),
                reason: "the list of classes names a directory twice".to_owned(),
            });
        }
        // The class directories of each folder that has some, by the names of the folders above.
        let mut found = Vec::new();
        let mut level = vec![(Vec::new(), root.clone())];
        for _ in 0..LIST_DEPTH {
            let mut below = Vec::new();
            for (above, folder) in level {
                let inner = folder.list()?.into_iter().filter_map(directory);
                let (mut classes, others): (Vec<_>, Vec<_>) =
                    inner.partition(|(name, _)| place.contains_key(&normal(name)));
                // In the order of the list, and so of the labels.
                classes.sort_by_key(|(name, _)| place.get(&normal(name)).copied());
                if let Some((other, class)) = likened(&others, &classes, list) {
                    return Err(DatasetError::Layout {
                        path: walk.path.to_owned(),
                        reason: format!(
                            "the list of classes names the directory {class}, and in {} it is called {other}",
                            if above.is_empty() {
                                "it".to_owned()
                            } else {
                                above.join("/")
                            }
                        ),
                    });
                }
                if classes.is_empty() {
                    let others = others.into_iter();
                    below.extend(others.map(|(name, folder)| ([&above[..], &[name]].concat(), folder)));
                } else {
                    let nodes = classes
                        .into_iter()
                        .map(|(name, folder)| walk.node(&name, &folder));
                    found.push((above, nodes.collect::<Result<Vec<_>, _>>()?));
                }
            }
            level = below;
        }
        // Annotations lie in directories of the classes, too.
        let has_images = |(_, classes): &(_, Vec<tree::Node>)| classes.iter().any(|class| class.count > 0);
        if found.iter().any(has_images) {
            found.retain(has_images);
        }
        let has = |class: &&ClassFolder| {
            let mut classes = found.iter().flat_map(|(_, classes)| classes);
            classes.any(|found| normal(&found.name) == normal(&class.folder))
        };
        if let Some(absent) = list.iter().find(|class| !has(class)) {
            return Err(DatasetError::Missing {
                path: walk.path.to_owned(),
                expected: format!("directory {} of the class {}", absent.folder, absent.name),
            });
        }
        let mut splits: BTreeMap<String, (String, Split)> = BTreeMap::new();
        for (above, classes) in found {
            let own = above.iter().rev().find(|name| is_split(name)).or(above.last());
            let split = own.map_or(ALL, String::as_str).to_owned();
            let within = above.join("/");
            let mut content = Vec::new();
            for class in classes {
                if class.count == 0 {
                    return Err(DatasetError::EmptyClass {
                        path: walk.path.join(&within),
                        class: class.name,
                    });
                }
                content.push((class.name.clone(), class.into_images()));
            }
            let made = Split {
                name: split.clone(),
                content: Content::Classes(content),
            };
            if let Some((other, _)) = splits.insert(split.clone(), (within.clone(), made)) {
                return Err(DatasetError::Layout {
                    path: walk.path.to_owned(),
                    reason: format!(
                        "{other} and {within} would both be the split `{split}`: name the folder of one of \
                         them"
                    ),
                });
            }
        }
        let splits = splits.into_values().map(|(_, split)| split).collect();
        // Only directories of the list were taken.
        let label = |folder: &str| place.get(&normal(folder)).copied().unwrap_or_default();
        Self::of(
            splits,
            list.iter().map(|class| class.name.clone()).collect(),
            label,
        )
    }

    fn of_all(path: &Path, splits: Vec<Split>) -> Result<Self, DatasetError> {
        let is_number = |image: &(String, Stored, Label)| matches!(image.2, Label::Number(_));
        let numbered = splits.iter().any(|split| match &split.content {
            Content::Labelled(images) => images.iter().any(is_number),
            Content::Classes(_) | Content::Unlabelled(_) => false,
        });
        let mut names = BTreeSet::new();
        for split in &splits {
            match &split.content {
                Content::Classes(classes) => names.extend(classes.iter().map(|(name, _)| name.clone())),
                Content::Labelled(images) => names.extend(images.iter().filter_map(|image| match &image.2 {
                    Label::Class(name) => Some(name.clone()),
                    Label::Number(_) | Label::None => None,
                })),
                Content::Unlabelled(_) => {}
            }
        }
        if numbered && !names.is_empty() {
            return Err(DatasetError::Layout {
                path: path.to_owned(),
                reason: "the classes of some of its images are numbers, and of others names".to_owned(),
            });
        }
        let classes: Vec<String> = names.into_iter().collect();
        let sorted = classes.clone();
        // Every name is in the sorted list that was made of them.
        Self::of(splits, classes, |folder| {
            sorted.partition_point(|name| name.as_str() < folder)
        })
    }

    /// Puts splits together, with the label that `label` gives to a class directory.
    pub fn of(
        splits: Vec<Split>,
        classes: Vec<String>,
        label: impl Fn(&str) -> usize,
    ) -> Result<Self, DatasetError> {
        let mut images: BTreeMap<String, Vec<Item>> = BTreeMap::new();
        for split in splits {
            let rows = images.entry(split.name).or_default();
            match split.content {
                Content::Unlabelled(files) => rows.extend(files.into_iter().map(|(name, stored)| Item {
                    name,
                    label: None,
                    stored,
                })),
                Content::Labelled(files) => rows.extend(files.into_iter().map(|(name, stored, said)| Item {
                    name,
                    label: match said {
                        Label::None => None,
                        Label::Number(number) => Some(number),
                        Label::Class(class) => Some(label(&class) as u32),
                    },
                    stored,
                })),
                Content::Classes(directories) => {
                    for (class, files) in directories {
                        let label = label(&class) as u32;
                        rows.extend(files.into_iter().map(|(name, stored)| Item {
                            name: format!("{class}/{name}"),
                            label: Some(label),
                            stored,
                        }));
                    }
                }
            }
        }
        Ok(Self {
            classes,
            images,
            unread: Vec::new(),
        })
    }
}

/// A directory of a folder that is called as an absent class of the list but for the size of letters and
/// spaces around, and that class. It would be passed over.
fn likened<'l>(
    others: &[(String, Folder)],
    classes: &[(String, Folder)],
    list: &'l [ClassFolder],
) -> Option<(String, &'l str)> {
    let plain = |name: &str| normal(name.trim()).to_lowercase();
    let absent = list.iter().map(|class| class.folder.as_str());
    let absent = absent.filter(|class| classes.iter().all(|(name, _)| normal(name) != normal(class)));
    let mut absent: BTreeMap<String, &str> = absent.map(|class| (plain(class), class)).collect();
    others
        .iter()
        .find_map(|(name, _)| Some((name.clone(), absent.remove(&plain(name))?)))
}

/// A directory among the entries of a folder.
fn directory(entry: Entry) -> Option<(String, Folder)> {
    match entry.place {
        Place::Folder(folder) => Some((entry.name, folder)),
        Place::File(_) => None,
    }
}

/// What is said of Arrow files.
pub(super) const ARROW: &str =
    "Parquet is read: `datasets.load_from_disk(FOLDER).to_parquet(FILE)` writes it of each split";

/// What is said of a folder without a picture: what is there instead.
fn nothing(path: &Path, node: &tree::Node) -> DatasetError {
    let mut others = Vec::new();
    let mut nodes = vec![node];
    while let Some(node) = nodes.pop() {
        others.extend(node.others.iter().cloned());
        nodes.extend(&node.folders);
    }
    let packed = match path.is_file() {
        true => "; if the archive holds a set of another format, unpack it",
        false => "",
    };
    let ends = |end: &str| others.iter().any(|name| name.to_lowercase().ends_with(end));
    let archive = [".tar", ".tar.gz", ".tgz", ".zip"].iter().find(|end| ends(end));
    let reason = if others
        .iter()
        .any(|name| name == "dataset_dict.json" || name == "dataset_info.json")
        && ends(".arrow")
    {
        format!(
            "it was taken for a data set that `save_to_disk` of Hugging Face's datasets wrote, as Arrow files; \
             {ARROW}"
        )
    } else if let Some(end) = archive {
        format!(
            "it was taken for a folder of images, but holds archives ({end}) and no picture; name one, or \
                 unpack them"
        )
    } else if ends(".npy") || ends(".npz") {
        "it was taken for a folder of images, but holds NumPy arrays and no picture; PNG, JPEG and Parquet \
         are read"
            .to_owned()
    } else if others.is_empty() {
        "it was taken for a folder of images, but there are neither images nor directories with any in it"
            .to_owned()
    } else {
        let named = others.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
        format!(
            "it was taken for a folder of images, but no PNG or JPEG file is in it; there are {named}{packed}"
        )
    };
    DatasetError::Layout {
        path: path.to_owned(),
        reason,
    }
}

impl Container for FolderSet {
    fn splits(&self) -> Vec<String> {
        self.images.keys().cloned().collect()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn items(&self, split: &str) -> Result<Vec<Item>, DatasetError> {
        Ok(self.images.get(split).cloned().unwrap_or_default())
    }

    fn unread(&self) -> &[String] {
        &self.unread
    }
}
