//! Which files of a folder of tables are of which split, and of which configuration: the layouts of data set
//! repositories of Hugging Face, and of its cache.
//!
//! - `train.parquet`, `train-00000-of-00002.parquet`, `train-00000-of-00001-a09b74b3ef9c3b56.parquet`, in the
//!   folder, in `data`, or in the folder of a configuration;
//! - `CONFIG/train/0000.parquet`, as Hugging Face converts sets itself;
//! - `train/part-0.parquet`, `split=train/part-0.parquet`, as other writers shard;
//! - `CONFIG/VERSION/HASH/NAME-train.arrow` or `NAME-train-00000-of-00002.arrow`, as the cache has them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::super::error::DatasetError;
use super::super::files;
use super::super::folder::ALL;
use super::super::names::is_split;

/// How deep files are looked for.
pub(in super::super) const DEEPEST: usize = 4;

/// How the files of a set end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Ending {
    Parquet,
    Arrow,
}

impl Ending {
    fn name(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
        }
    }

    /// The name of such a file without its ending, unless it is no part of a set: a Parquet file that
    /// describes the pictures beside it, what `map` of Hugging Face's datasets left in its cache.
    fn stem(self, name: &str) -> Option<&str> {
        let (stem, end) = name.rsplit_once('.')?;
        let is_other = match self {
            Self::Parquet => stem == "metadata",
            Self::Arrow => stem.starts_with("cache-") || stem == "indices",
        };
        (end.eq_ignore_ascii_case(self.name()) && !is_other).then_some(stem)
    }

    /// How many levels of folders are looked at to tell what a folder is.
    fn levels(self) -> usize {
        match self {
            Self::Parquet => 2,
            Self::Arrow => 3,
        }
    }
}

/// Where a file stands in a folder.
struct Found {
    /// Names of the folders above it.
    above: Vec<String>,
    stem: String,
    path: PathBuf,
}

/// Returns what the name of a folder says: of a partition by splits (`split=train`), the split.
fn partition(dir: &Path, name: String) -> Result<String, DatasetError> {
    match name.split_once('=') {
        None => Ok(name),
        Some(("split", split)) => Ok(split.to_owned()),
        Some((column, _)) => Err(DatasetError::Layout {
            path: dir.to_owned(),
            reason: format!(
                "its folders are partitions ({name}), and the column `{column}` is in no file; written as \
                 one table (`pyarrow.dataset.dataset(FOLDER, partitioning=\"hive\")` reads it) it is read"
            ),
        }),
    }
}

fn find(dir: &Path, ending: Ending, above: &[String], found: &mut Vec<Found>) -> Result<(), DatasetError> {
    for entry in files::list(dir)? {
        if entry.is_dir {
            if above.len() < DEEPEST {
                let above = [above, &[partition(dir, entry.name)?]].concat();
                find(&entry.path, ending, &above, found)?;
            }
        } else if let Some(stem) = ending.stem(&entry.name) {
            found.push(Found {
                above: above.to_vec(),
                stem: stem.to_owned(),
                path: entry.path,
            });
        }
    }
    Ok(())
}

/// A folder of a thousand classes is none of a repository's.
const MOST_FOLDERS: usize = 64;

/// Whether a folder holds such files, as far as a look at its first levels tells.
pub(in super::super) fn any(dir: &Path, ending: Ending) -> bool {
    let mut level = vec![dir.to_owned()];
    for _ in 0..=ending.levels() {
        let mut next = Vec::new();
        for dir in &level {
            let entries = files::list(dir).unwrap_or_default();
            if entries
                .iter()
                .any(|e| !e.is_dir && ending.stem(&e.name).is_some())
            {
                return true;
            }
            let folders = entries.into_iter().filter(|e| e.is_dir).map(|e| e.path);
            let folders: Vec<PathBuf> = folders.collect();
            if folders.len() <= MOST_FOLDERS {
                next.extend(folders);
            }
        }
        level = next;
    }
    false
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// What the name of a shard says, as `train-00000-of-00002` with or without a fingerprint behind it.
#[derive(Clone, Copy)]
struct Shard<'a> {
    split: &'a str,
    index: &'a str,
    total: &'a str,
}

impl<'a> Shard<'a> {
    fn of(stem: &'a str) -> Option<Self> {
        let (head, tail) = stem.rsplit_once("-of-")?;
        let (total, fingerprint) = tail.split_once('-').unwrap_or((tail, ""));
        let (split, index) = head.rsplit_once('-')?;
        let is_shard =
            is_number(total) && is_number(index) && fingerprint.bytes().all(|b| b.is_ascii_hexdigit());
        is_shard.then_some(Self { split, index, total })
    }
}

/// The split of a file name: that of a shard, or the whole stem; none if there is nothing but a number. In
/// the cache the name of the set stands before it.
fn split_of(stem: &str, ending: Ending) -> Option<&str> {
    let name = match Shard::of(stem) {
        _ if is_number(stem) => return None,
        Some(shard) => shard.split,
        None => stem,
    };
    match (ending, name.rsplit_once('-')) {
        (Ending::Arrow, Some((_, split))) if is_split(split) => Some(split),
        _ => Some(name),
    }
}

/// Refuses shards of which one is missing, by what their names count, or of which there are two versions.
fn check_whole(path: &Path, ending: Ending, stems: &[String]) -> Result<(), DatasetError> {
    let mut splits: BTreeMap<&str, Vec<Shard<'_>>> = BTreeMap::new();
    for shard in stems.iter().filter_map(|stem| Shard::of(stem)) {
        splits.entry(shard.split).or_default().push(shard);
    }
    for (split, shards) in splits {
        let Some(Shard { total, index, .. }) = shards.first().copied() else {
            continue;
        };
        let there: BTreeSet<u64> = shards
            .iter()
            .filter_map(|shard| shard.index.parse().ok())
            .collect();
        let is_twice = there.len() < shards.len() || shards.iter().any(|shard| shard.total != total);
        if is_twice || stems.iter().any(|stem| stem == split) {
            return Err(DatasetError::Layout {
                path: path.to_owned(),
                reason: format!(
                    "its split `{split}` is there twice, once in {total} shards: remove the files of one \
                     version"
                ),
            });
        }
        // One that is missing is found before there are more than there are files.
        let mut all = 0..total.parse().unwrap_or(0);
        if let Some(missing) = all.find(|index| !there.contains(index)) {
            let width = index.len();
            return Err(DatasetError::Missing {
                path: path.to_owned(),
                expected: format!(
                    "shard {split}-{missing:0width$}-of-{total}.{}, by the names of the others",
                    ending.name()
                ),
            });
        }
    }
    Ok(())
}

/// The files of each split of the set at `path`, a file or a folder.
pub(in super::super) fn shards(
    path: &Path,
    ending: Ending,
) -> Result<BTreeMap<String, Vec<PathBuf>>, DatasetError> {
    if !path.is_dir() {
        return Ok(BTreeMap::from([(of_file(path, ending), vec![path.to_owned()])]));
    }
    let mut found = Vec::new();
    find(path, ending, &[], &mut found)?;
    // Files right in the folder, or in its `data`, are the set.
    let here: Vec<Found> = found.extract_if(.., |f| f.above.is_empty()).collect();
    let mut found = if here.is_empty() { found } else { here };
    for file in &mut found {
        file.above.retain(|folder| folder != "data");
    }
    if found.iter().any(|f| f.above.is_empty()) {
        found.retain(|f| f.above.is_empty());
    }
    let mut splits: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    let stems: Vec<String> = found.iter().map(|file| file.stem.clone()).collect();
    let mut configs = BTreeSet::new();
    for mut file in found {
        let last = file.above.last().filter(|folder| is_split(folder)).cloned();
        let own = split_of(&file.stem, ending);
        let split = match (last, own) {
            (Some(folder), own) if own.is_none_or(|own| !is_split(own)) => {
                file.above.pop();
                folder
            }
            (_, Some(own)) => own.to_owned(),
            (_, None) => file.above.pop().unwrap_or_else(|| ALL.to_owned()),
        };
        configs.insert(file.above.join("/"));
        splits.entry(split).or_default().push(file.path);
    }
    if splits.is_empty() {
        return Err(DatasetError::Layout {
            path: path.to_owned(),
            reason: format!("no .{} files in it", ending.name()),
        });
    }
    if configs.len() > 1 {
        return Err(DatasetError::Configs {
            path: path.to_owned(),
            configs: configs.into_iter().collect(),
        });
    }
    check_whole(path, ending, &stems)?;
    Ok(splits)
}

/// The split that one file is of.
fn of_file(path: &Path, ending: Ending) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let folder = path
        .parent()
        .and_then(Path::file_name)
        .unwrap_or_default()
        .to_string_lossy();
    match split_of(&stem, ending) {
        Some(known @ ("train" | "test" | "validation" | "val")) => known.to_owned(),
        None if is_split(&folder) => folder.into_owned(),
        // As `save_to_disk` calls them.
        Some("data") if ending == Ending::Arrow && is_split(&folder) => folder.into_owned(),
        _ => ALL.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_shards() {
        for (stem, split) in [
            ("train", Some("train")),
            ("train-00000-of-00002", Some("train")),
            ("train-00000-of-00001-a09b74b3ef9c3b56", Some("train")),
            ("my-test-0-of-1", Some("my-test")),
            ("0000", None),
            ("cifar-of-two", Some("cifar-of-two")),
            ("train-00000-of-00001-notes", Some("train-00000-of-00001-notes")),
        ] {
            assert_eq!(split_of(stem, Ending::Parquet), split, "{stem}");
        }
        for (stem, split) in [
            ("cifar10-train", Some("train")),
            ("my-set-test-00000-of-00002", Some("test")),
            ("data-00000-of-00001", Some("data")),
            ("corrupted-snow", Some("corrupted-snow")),
        ] {
            assert_eq!(split_of(stem, Ending::Arrow), split, "{stem}");
        }
    }

    #[test]
    fn repositories() {
        let splits = |files: &[&str]| {
            let dir = tempfile::tempdir().unwrap();
            for file in files {
                let path = dir.path().join(file);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, "").unwrap();
            }
            shards(dir.path(), Ending::Parquet).map(|splits| {
                let count = |(split, files): (String, Vec<PathBuf>)| format!("{split} {}", files.len());
                splits.into_iter().map(count).collect::<Vec<_>>().join(", ")
            })
        };
        let good = |files: &[&str]| splits(files).unwrap();
        assert_eq!(
            good(&[
                "plain_text/train-00000-of-00001.parquet",
                "plain_text/test-00000-of-00001.parquet"
            ]),
            "test 1, train 1"
        );
        assert_eq!(
            good(&["split=train/part-0.parquet", "split=test/part-0.parquet"]),
            "test 1, train 1"
        );
        let partitions = ["label=0/part-0.parquet", "label=1/part-0.parquet"];
        let said = splits(&partitions).unwrap_err().to_string();
        assert!(
            said.contains("partitions (label=") && said.contains("`label`"),
            "{said}"
        );
        assert_eq!(
            good(&[
                "default/train/0000.parquet",
                "default/train/0001.parquet",
                "default/test/0000.parquet"
            ]),
            "test 1, train 2"
        );
        assert_eq!(
            good(&[
                "data/train-00000-of-00002-0ff1.parquet",
                "data/train-00001-of-00002-a1.parquet"
            ]),
            "train 2"
        );
        assert_eq!(good(&["data/default/train-00000-of-00001.parquet"]), "train 1");
        assert_eq!(good(&["train/part-0.parquet", "train/part-1.parquet"]), "train 2");
        assert_eq!(good(&["train.parquet", "other/train.parquet"]), "train 1");
        let cut = splits(&[
            "data/train-00000-of-00003.parquet",
            "data/train-00002-of-00003.parquet",
        ]);
        let said = cut.unwrap_err().to_string();
        assert!(said.contains("train-00001-of-00003.parquet"), "{said}");
        for twice in [
            [
                "data/train-00000-of-00001.parquet",
                "data/train-00000-of-00001-a09b74b3ef9c3b56.parquet",
            ],
            ["train-00000-of-00001.parquet", "train.parquet"],
            ["train-00000-of-00002.parquet", "train-00000-of-00001.parquet"],
        ] {
            let said = splits(&twice).unwrap_err().to_string();
            assert!(said.contains("`train` is there twice"), "{twice:?}: {said}");
        }
        match splits(&[
            "full/train-00000-of-00001.parquet",
            "cropped/train-00000-of-00001.parquet",
        ]) {
            Err(DatasetError::Configs { configs, .. }) => assert_eq!(configs, ["cropped", "full"]),
            other => panic!("{other:?}"),
        }
    }
}
