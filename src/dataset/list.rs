//! Image lists, as OpenOOD's `benchmark_imglist` holds them: one text file per split, with `path label` on
//! each line. Paths start from the set's folder; label -1, or none, is no label. A first line that names the
//! two columns is passed over.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::beside::{LABEL_COLUMNS, OTHER_LABELS};
use super::error::DatasetError;
use super::files;
use super::folder::ClassFolder;
use super::item::{FileASplit, Item, Stored};

/// Images that lists name.
pub(super) struct Lists {
    path: PathBuf,
    classes: Vec<String>,
    splits: BTreeMap<String, PathBuf>,
}

/// A line: a path, and the label behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub path: String,
    pub label: Option<u32>,
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

/// Reads a line: `path label`, `path,label`, or with a tab between; the path may have spaces. Empty lines,
/// and those that begin with `#`, are none.
///
/// # Errors
/// Says what is wrong with it.
pub(super) fn line(text: &str) -> Result<Option<Line>, String> {
    let text = text.trim();
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    let split = text.rsplit_once(|c: char| c == ',' || c.is_whitespace());
    // As pandas writes whole numbers once one was missing.
    fn plain(word: &str) -> &str {
        let word = word.trim_matches('"');
        word.strip_suffix(".0").unwrap_or(word)
    }
    let number = |word: &str| {
        let digits = word.strip_prefix('-').unwrap_or(word);
        !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
    };
    let (path, label) = match split {
        Some((path, word)) if number(plain(word)) => {
            let word = plain(word);
            let label = match word.starts_with('-') {
                true => None,
                false => Some(
                    word.parse()
                        .map_err(|_| format!("the label {word} is too large"))?,
                ),
            };
            (
                path.trim_end_matches(|c: char| c == ',' || c.is_whitespace()),
                label,
            )
        }
        _ => (text, None),
    };
    let path = path.trim_matches('"');
    match path.is_empty() {
        true => Err("there is no path".to_owned()),
        false => Ok(Some(Line {
            path: path.to_owned(),
            label,
        })),
    }
}

/// Says whether a line names the columns of paths and labels.
fn is_head(text: &str) -> bool {
    let words = text.split(|c: char| c == ',' || c.is_whitespace());
    let words: Vec<String> = words
        .map(|word| word.trim_matches('"').to_lowercase())
        .filter(|word| !word.is_empty())
        .collect();
    let is_label = |word: &str| LABEL_COLUMNS.contains(&word) || OTHER_LABELS.contains(&word);
    matches!(words.as_slice(), [_, label] if is_label(label))
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
        for list in lists.values() {
            std::fs::metadata(list).map_err(files::io(list))?;
        }
        Ok(Self {
            path: path.to_owned(),
            classes: classes.iter().map(|class| class.name.clone()).collect(),
            splits: lists.clone(),
        })
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
        let bytes = files::read(list)?;
        let wrong = |number: usize, reason: String| DatasetError::Line {
            path: list.to_owned(),
            line: number + 1,
            reason,
        };
        let text = std::str::from_utf8(&bytes).map_err(|e| wrong(0, e.to_string()))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut items = Vec::new();
        for (number, text) in text.lines().enumerate() {
            let Some(line) = line(text).map_err(|reason| wrong(number, reason))? else {
                continue;
            };
            let file = self.path.join(line.path.trim_start_matches("./"));
            let is_there = || std::fs::symlink_metadata(&file).is_ok();
            if number == 0 && is_head(text) && !is_there() {
                continue;
            }
            if items.is_empty() && !is_there() {
                let reason = format!("there is no {} in {}", line.path, self.path.display());
                return Err(wrong(number, reason));
            }
            items.push(Item {
                name: line.path,
                label: line.label,
                stored: Stored::File(file),
            });
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_image_lists() {
        let read = |text: &str| line(text).map(|line| line.map(|line| (line.path, line.label)));
        let good = |path: &str, label| Ok(Some((path.to_owned(), label)));
        assert_eq!(
            read("cifar10/test/airplane/0001.png 0"),
            good("cifar10/test/airplane/0001.png", Some(0))
        );
        assert_eq!(read("texture/a b.jpg -1"), good("texture/a b.jpg", None));
        assert_eq!(read("a.png\t3\r"), good("a.png", Some(3)));
        assert_eq!(read("a.png,3"), good("a.png", Some(3)));
        assert_eq!(read("\"a b.png\",\"3\""), good("a b.png", Some(3)));
        assert_eq!(
            read("banded/banded_0002.jpg"),
            good("banded/banded_0002.jpg", None)
        );
        assert_eq!(read("  "), Ok(None));
        assert_eq!(read("a.png,3.0"), good("a.png", Some(3)));
        assert!(read("a.png 99999999999").is_err());
        for (text, expected) in [
            ("path,label", true),
            ("\"filename\",\"class\"", true),
            ("image_path Target", true),
            ("a.png,3", false),
            ("label", false),
            ("my label of it", false),
        ] {
            assert_eq!(is_head(text), expected, "{text}");
        }
        assert_eq!(split_of(Path::new("x/test_svhn.txt")), "test");
        assert_eq!(split_of(Path::new("x/val_tin.txt")), "val");
        assert_eq!(split_of(Path::new("x/imagenet.txt")), "all");
    }
}
