//! Sets of tables, Parquet and Arrow files: a row is an image. One file, or a folder with one file (or
//! several shards) a split; see `shards` for the layouts.
//!
//! The column `image` (or `img`, or the one that the metadata says) is `struct<bytes: binary, path: string>`
//! or plain binary, each value the file of a picture; a column `label` (or `labels`, `fine_label`) is
//! optional. It holds the numbers of classes (whole ones as fractions, too: pandas writes integers so where
//! some are missing), of which -1 and null are no label, and then class names are those of the ClassLabel in
//! the file's `huggingface` metadata; or it holds the names of classes, which are numbered in the order of
//! these names, or without any in
//! the order of the alphabet, or of numbers where all names are such.

pub(super) mod columns;
pub(super) mod rows;
pub(super) mod shards;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::DatasetError;
use super::files;
use super::item::{Container, Encoded, Item, Stored};
use super::names::ordered;
use super::told::{missing, splits_of_card};
use rows::{Row, Said};

/// One file of a set.
pub(super) trait Table: Encoded {
    /// Columns beside those of the image and its label, in words.
    fn unread(&self) -> Vec<String>;
    /// Says whether it has a column of labels.
    fn is_labelled(&self) -> bool;
    /// Says whether its labels are names of classes.
    fn says_names(&self) -> bool;
    /// Names and labels of all rows.
    fn rows(&self) -> Result<Vec<Row>, DatasetError>;
}

/// A set of such files.
pub(super) struct TableSet {
    path: PathBuf,
    /// Shards by split.
    splits: BTreeMap<String, Vec<Arc<dyn Table>>>,
    classes: Vec<String>,
    unread: Vec<String>,
}

/// What the names of shards and the card say that is not read.
fn told(path: &Path, shards: &BTreeMap<String, Vec<PathBuf>>) -> Vec<String> {
    if !path.is_dir() {
        return Vec::new();
    }
    let mut notes = Vec::new();
    for (split, paths) in shards {
        let stems = paths.iter().filter_map(|path| path.file_stem()?.to_str());
        let gaps = missing(stems).into_iter();
        notes.extend(gaps.map(|stem| format!("the shard {stem} of {split}, which is not there")));
    }
    let card = splits_of_card(path);
    if !card.is_empty() && !card.iter().eq(shards.keys()) {
        let names = card.into_iter().collect::<Vec<_>>().join(", ");
        notes.push(format!("the splits that README.md makes of its files ({names})"));
    }
    notes
}

impl TableSet {
    /// Opens the files of each split; `open` also returns the class names in a file's metadata, if there are
    /// any.
    pub fn of<T: Table + 'static>(
        path: &Path,
        shards: BTreeMap<String, Vec<PathBuf>>,
        mut open: impl FnMut(&Path) -> Result<(T, Vec<String>), DatasetError>,
    ) -> Result<Self, DatasetError> {
        let told = told(path, &shards);
        let mut classes: Vec<String> = Vec::new();
        let mut splits = BTreeMap::new();
        for (split, paths) in shards {
            let mut files: Vec<Arc<dyn Table>> = Vec::new();
            for path in paths {
                let (file, names) = open(&path)?;
                if !classes.is_empty() && !names.is_empty() && names != classes {
                    return Err(DatasetError::Layout {
                        path,
                        reason: "its class names are not those of the other files".to_owned(),
                    });
                }
                if classes.is_empty() {
                    classes = names;
                }
                files.push(Arc::new(file));
            }
            splits.insert(split, files);
        }
        if classes.is_empty() && path.is_dir() {
            classes = files::class_names(path)?;
        }
        let all: Vec<&Arc<dyn Table>> = splits.values().flatten().collect();
        let unread: BTreeSet<String> = all.iter().flat_map(|file| file.unread()).collect();
        let named = all.iter().filter(|file| file.says_names()).count();
        let labelled = all.iter().filter(|file| file.is_labelled()).count();
        if named > 0 && named < labelled {
            return Err(DatasetError::Layout {
                path: path.to_owned(),
                reason: "labels are numbers in some of its files, and names in others".to_owned(),
            });
        }
        if named > 0 && classes.is_empty() {
            let mut names = BTreeSet::new();
            for file in all {
                names.extend(file.rows()?.into_iter().filter_map(|row| row.label?.name()));
            }
            classes = ordered(names);
        }
        Ok(Self {
            path: path.to_owned(),
            splits,
            classes,
            unread: unread.into_iter().chain(told).collect(),
        })
    }

    /// Returns the number of the class that a row is said to be of.
    fn number(&self, name: &str, said: Said) -> Result<u32, DatasetError> {
        match said {
            Said::Number(label) => u32::try_from(label).map_err(|_| DatasetError::Label {
                path: self.path.clone(),
                name: name.to_owned(),
                label,
                classes: self.classes.len(),
            }),
            Said::Name(class) => {
                let place = self.classes.iter().position(|known| *known == class);
                place
                    .map(|place| place as u32)
                    .ok_or_else(|| DatasetError::Layout {
                        path: self.path.clone(),
                        reason: format!("the label of {name} is `{class}`, and there is no such class"),
                    })
            }
        }
    }
}

impl Container for TableSet {
    fn splits(&self) -> Vec<String> {
        self.splits.keys().cloned().collect()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn unread(&self) -> &[String] {
        &self.unread
    }

    fn items(&self, split: &str) -> Result<Vec<Item>, DatasetError> {
        let mut items = Vec::new();
        for file in self.splits.get(split).into_iter().flatten() {
            for (number, row) in file.rows()?.into_iter().enumerate() {
                let name = row.name.unwrap_or_else(|| items.len().to_string());
                let label = row.label.map(|label| self.number(&name, label));
                items.push(Item {
                    label: label.transpose()?,
                    stored: Stored::Encoded(file.clone(), number),
                    name,
                });
            }
        }
        Ok(items)
    }
}
