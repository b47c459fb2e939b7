//! Image lists, as OpenOOD's `benchmark_imglist` holds them: one text file per split, with `path label` on
//! each line. Paths start from the set's folder; label -1, or none, is no label. Labels may be names of
//! classes, which are then numbered in their order by bytes over all lists. A first line that names the two
//! columns is passed over.

pub(super) mod line;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use super::beside::Label;
use super::error::DatasetError;
use super::files;
use super::folder::ClassFolder;
use super::item::{FileASplit, Item, Stored};
use super::names::normal;
use crate::input;
use line::{Line, is_head, line};

/// Bytes of a line at most: a list may be longer than memory, a path is not.
const LONGEST: u64 = 64 << 10;

/// Images that lists name.
pub(super) struct Lists {
    path: PathBuf,
    classes: Vec<String>,
    /// The classes by what lines may call them, in [`normal`] form.
    numbers: BTreeMap<String, u32>,
    splits: BTreeMap<String, PathBuf>,
}

/// Returns the split that a list is of, by its name: `train_cifar10.txt` is of "train".
pub fn split_of(list: &Path) -> String {
    let stem = list
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    let head = stem.split(['_', '-', '.']).next().unwrap_or_default();
    match super::names::is_split(head) {
        true => head.to_owned(),
        false => super::folder::ALL.to_owned(),
    }
}

impl Lists {
    /// Opens a folder by lists; `classes` name the labels.
    pub fn open(
        path: &Path,
        lists: &BTreeMap<String, PathBuf>,
        classes: &[ClassFolder],
    ) -> Result<Self, DatasetError> {
        if lists.is_empty() {
            return Err(DatasetError::Layout {
                path: path.to_owned(),
                reason: "no list of its images is given".to_owned(),
            });
        }
        let mut set = Self {
            path: path.to_owned(),
            classes: classes.iter().map(|class| class.name.clone()).collect(),
            numbers: BTreeMap::new(),
            splits: lists.clone(),
        };
        let mut names = BTreeSet::new();
        for list in lists.values() {
            let lines = set.lines(list)?;
            check_twice(list, &lines)?;
            let is = |wanted: fn(&Label) -> bool| lines.iter().find(|(_, line)| wanted(&line.label));
            let named = is(|label| matches!(label, Label::Class { .. }));
            if let (Some(_), Some((at, line))) = (named, is(|label| matches!(label, Label::Number(_)))) {
                let reason = format!("{} has a number, and others the name of a class", line.path);
                return Err(wrong(list, *at, reason));
            }
            names.extend(lines.into_iter().filter_map(|(_, line)| match line.label {
                Label::Class { name, .. } => Some(name),
                Label::None | Label::Number(_) => None,
            }));
        }
        if classes.is_empty() {
            set.classes = names.into_iter().collect();
        }
        for (number, name) in (0..).zip(&set.classes) {
            set.numbers.insert(normal(name), number);
        }
        // A list may call a class by its folder, as ImageNet's do by WordNet's number.
        for (number, class) in (0..).zip(classes) {
            set.numbers.entry(normal(&class.folder)).or_insert(number);
        }
        Ok(set)
    }

    /// The lines of a list with their numbers from 0. The first picture is there.
    fn lines(&self, list: &Path) -> Result<Vec<(usize, Line)>, DatasetError> {
        let mut file = BufReader::new(input::open(list).map_err(files::io(list))?);
        let (mut lines, mut bytes) = (Vec::new(), Vec::new());
        for number in 0.. {
            bytes.clear();
            let mut start = file.by_ref().take(LONGEST + 1);
            let length = start.read_until(b'\n', &mut bytes).map_err(files::io(list))?;
            if length == 0 {
                break;
            } else if length as u64 > LONGEST {
                let reason = format!("it is longer than {LONGEST} bytes: this is no list of images");
                return Err(wrong(list, number, reason));
            }
            let text = std::str::from_utf8(&bytes).map_err(|e| wrong(list, number, e.to_string()))?;
            let bare = text.strip_prefix('\u{feff}').filter(|_| number == 0);
            let text = bare.unwrap_or(text).trim_end_matches(['\r', '\n']);
            let Some(line) = line(text).map_err(|reason| wrong(list, number, reason))? else {
                continue;
            };
            let is_there = || std::fs::symlink_metadata(self.file(&line)).is_ok();
            if number == 0 && is_head(text) && !is_there() {
                continue;
            }
            if lines.is_empty() && !is_there() {
                let reason = format!("there is no {} in {}", line.path, self.path.display());
                return Err(wrong(list, number, reason));
            }
            lines.push((number, line));
        }
        Ok(lines)
    }

    fn file(&self, line: &Line) -> PathBuf {
        self.path.join(line.path.trim_start_matches("./"))
    }
}

/// Refuses a list that names a picture twice.
fn check_twice(list: &Path, lines: &[(usize, Line)]) -> Result<(), DatasetError> {
    let mut seen = HashMap::with_capacity(lines.len());
    for (at, line) in lines {
        if let Some(first) = seen.insert(line.path.trim_start_matches("./"), at) {
            let reason = format!(
                "{} stands in line {}, too; leave one of them out",
                line.path,
                first + 1
            );
            return Err(wrong(list, *at, reason));
        }
    }
    Ok(())
}

fn wrong(list: &Path, number: usize, reason: String) -> DatasetError {
    DatasetError::Line {
        path: list.to_owned(),
        line: number + 1,
        reason,
    }
}

impl FileASplit for Lists {
    fn files(&self) -> &BTreeMap<String, PathBuf> {
        &self.splits
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn read(&self, _split: &str, list: &Path) -> Result<Vec<Item>, DatasetError> {
        let item = |(at, line): (usize, Line)| {
            let stored = Stored::File(self.file(&line));
            let label = match line.label {
                Label::None => None,
                Label::Number(number) => Some(number),
                Label::Class { name, .. } => match self.numbers.get(&normal(&name)) {
                    Some(number) => Some(*number),
                    None => return Err(wrong(list, at, format!("`{name}` is none of the classes"))),
                },
            };
            Ok(Item {
                name: line.path,
                label,
                stored,
            })
        };
        self.lines(list)?.into_iter().map(item).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_called_after_their_splits() {
        assert_eq!(split_of(Path::new("x/test_svhn.txt")), "test");
        assert_eq!(split_of(Path::new("x/val_tin.txt")), "val");
        assert_eq!(split_of(Path::new("x/imagenet.txt")), "all");
    }
}
