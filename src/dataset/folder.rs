//! Folders of pictures' files, and archives (tar, tar.gz, zip) of such folders: `split/class/*`, `class/*`
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
use super::beside::{self, Label, Labelled};
use super::error::DatasetError;
use super::files;
use super::item::{Container, Item, Stored};
use super::layout::{arrange, unwrapped};
use super::listed;
use super::picture;
use super::set::Reading;
use super::shards;
use super::tiny::Tiny;
use super::tree::{self, Folder, Walk};
use crate::content::Content as FileContent;

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
        FileContent::Tar | FileContent::Gzip => Archive::tar(path)?,
        // Tars of before 1988 have no mark that says what they are.
        _ if has_tar_name(path) => Archive::tar(path)?,
        other => {
            return Err(DatasetError::Foreign {
                path: path.to_owned(),
                what: other.to_string(),
                reason: "what is read as images in folders is a folder, a tar or a zip".to_owned(),
            });
        }
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
            return listed::read(&walk, &root, reading);
        }
        let mut node = walk.node("", &root)?;
        if node.count == 0 {
            return match shards::of_folder(path, reading)? {
                Some(set) => Ok(set),
                None => Err(nothing(path, &node)),
            };
        }
        let tables = node.tables_below();
        node = unwrapped(node);
        let mut splits = arrange(path, node)?;
        // Shards of WebDataset have the name of their split.
        if let (Folder::Packed(..), [only]) = (&root, splits.as_mut_slice())
            && matches!(only.content, Content::Labelled(_))
            && only.name == ALL
        {
            only.name = super::list::split_of(path);
        }
        // Those that say the labels are read, but for some of their columns.
        let labelled = splits.iter().filter_map(|split| match &split.content {
            Content::Labelled(labelled) => Some(&labelled.unread),
            Content::Classes(_) | Content::Unlabelled(_) => None,
        });
        let labelled: Vec<&Vec<String>> = labelled.collect();
        let columns: BTreeSet<String> = labelled.iter().copied().flatten().cloned().collect();
        let is_read =
            |path: &str| !labelled.is_empty() && path.rsplit('/').next().is_some_and(beside::is_table);
        let files = tables.into_iter().filter(|path| !is_read(path));
        let files = files.map(|path| format!("the file {path}"));
        Ok(Self {
            unread: files.chain(columns).collect(),
            ..Self::of_all(path, splits)?
        })
    }

    fn of_all(path: &Path, splits: Vec<Split>) -> Result<Self, DatasetError> {
        let is_number = |image: &(String, Stored, Label)| matches!(image.2, Label::Number(_));
        let numbered = splits.iter().any(|split| match &split.content {
            Content::Labelled(labelled) => labelled.pictures.iter().any(is_number),
            Content::Classes(_) | Content::Unlabelled(_) => false,
        });
        // By name, with the number where one is said.
        let mut names: BTreeMap<String, Option<u32>> = BTreeMap::new();
        let layout = |reason: String| DatasetError::Layout {
            path: path.to_owned(),
            reason,
        };
        for split in &splits {
            match &split.content {
                Content::Classes(classes) => {
                    names.extend(classes.iter().map(|(name, _)| (name.clone(), None)))
                }
                Content::Labelled(labelled) => {
                    for (_, _, label) in &labelled.pictures {
                        let Label::Class { name, number } = label else {
                            continue;
                        };
                        match names.get(name) {
                            None => drop(names.insert(name.clone(), *number)),
                            Some(known) if known == number => {}
                            Some(_) => return Err(layout(format!("the class `{name}` has several numbers"))),
                        }
                    }
                }
                Content::Unlabelled(_) => {}
            }
        }
        if numbered && !names.is_empty() {
            let reason = "the classes of some of its images are numbers, and of others names";
            return Err(layout(reason.to_owned()));
        }
        let mut classes: Vec<(Option<u32>, String)> =
            names.into_iter().map(|(name, number)| (number, name)).collect();
        classes.sort();
        let twice = classes
            .windows(2)
            .find(|pair| pair[0].0.is_some() && pair[0].0 == pair[1].0);
        if let Some([(number, a), (_, b)]) = twice {
            let number = number.unwrap_or_default();
            return Err(layout(format!(
                "the classes `{a}` and `{b}` have the number {number}"
            )));
        }
        let classes: Vec<String> = classes.into_iter().map(|(_, name)| name).collect();
        let labels: BTreeMap<String, usize> = classes.iter().cloned().zip(0..).collect();
        // Every name is in the list that was made of them.
        Self::of(splits, classes, |name| labels.get(name).copied().unwrap_or(0))
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
                Content::Labelled(labelled) => {
                    rows.extend(labelled.pictures.into_iter().map(|(name, stored, said)| Item {
                        name,
                        label: match said {
                            Label::None => None,
                            Label::Number(number) => Some(number),
                            Label::Class { name, .. } => Some(label(&name) as u32),
                        },
                        stored,
                    }));
                }
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
    let reason = if let Some(end) = archive {
        format!(
            "it was taken for a folder of images, but holds archives ({end}) and no picture; name one, or \
                 unpack them"
        )
    } else if ends(".npy") || ends(".npz") {
        format!(
            "it was taken for a folder of images, but holds NumPy arrays and no picture: name the folder, or \
             the file, in which they are{packed}"
        )
    } else if ends("data.mdb") {
        "it was taken for a folder of images, but holds an LMDB database, as LSUN's; write its pictures as \
         PNG or JPEG files"
            .to_owned()
    } else if others.is_empty() {
        "it was taken for a folder of images, but there are neither images nor directories with any in it"
            .to_owned()
    } else {
        let named = others.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
        format!(
            "it was taken for a folder of images, but no picture that is read ({}) is in it; there are \
             {named}{packed}",
            picture::READ
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
