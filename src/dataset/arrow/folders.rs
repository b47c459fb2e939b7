//! Which Arrow files of a folder are of which split.
//!
//! - What `save_to_disk` wrote: `dataset_dict.json` names the splits, each a folder, and `state.json` the
//!   files of one, in order.
//! - The cache of Hugging Face's datasets, `NAME/CONFIG/VERSION/HASH/NAME-train.arrow`, or in shards
//!   `NAME-train-00000-of-00002.arrow`, with `dataset_info.json`; what `map` left there, `cache-*.arrow`,
//!   is no part of the set.
//! - Files that are called as Parquet's are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::super::error::DatasetError;
use super::super::files;
use super::super::folder::ALL;
use super::super::names::is_split;
use super::super::table::columns::damaged;
use super::super::table::shards::{self, DEEPEST, Ending};
use crate::input;

const DICT: &str = "dataset_dict.json";
const STATE: &str = "state.json";
const INFO: &str = "dataset_info.json";

/// Whether a folder holds Arrow files, as far as a look at its first levels tells.
pub(super) fn any(dir: &Path) -> bool {
    dir.join(DICT).is_file() || shards::any(dir, Ending::Arrow)
}

/// The files of each split of the set at `path`, a file or a folder.
pub(super) fn files(path: &Path) -> Result<BTreeMap<String, Vec<PathBuf>>, DatasetError> {
    if !path.is_dir() {
        return shards::shards(path, Ending::Arrow);
    }
    let saved = saved_in(path)?;
    let dict = saved.join(DICT);
    if dict.is_file() {
        let dict = json(&dict)?;
        let splits = dict["splits"].as_array().into_iter().flatten();
        let mut found = BTreeMap::new();
        for split in splits.filter_map(Value::as_str) {
            // A name, which leads nowhere else.
            if split.contains(['/', '\\']) || split == ".." {
                return Err(damaged(
                    &saved.join(DICT),
                    format!("it names the split {split:?}"),
                ));
            }
            let folder = saved.join(split);
            if !folder.join(STATE).is_file() {
                let (path, expected) = (saved, format!("{split}/{STATE}, a split that its {DICT} names"));
                return Err(DatasetError::Missing { path, expected });
            }
            found.insert(split.to_owned(), of_state(&folder)?.1);
        }
        return Ok(found);
    }
    if saved.join(STATE).is_file() {
        let (split, paths) = of_state(&saved)?;
        let folder = saved.file_name().unwrap_or_default().to_string_lossy();
        let split = split.or_else(|| is_split(&folder).then(|| folder.into_owned()));
        return Ok(BTreeMap::from([(split.unwrap_or_else(|| ALL.to_owned()), paths)]));
    }
    let found = shards::shards(path, Ending::Arrow)?;
    found
        .into_iter()
        .map(|(split, paths)| Ok((of_cache(split, &paths)?, paths)))
        .collect()
}

/// The split of files in the cache, by the splits that the `dataset_info.json` beside them names:
/// `NAME-brightness` is of `brightness`.
fn of_cache(split: String, paths: &[PathBuf]) -> Result<String, DatasetError> {
    let info = paths.first().map(|path| path.with_file_name(INFO));
    let Some(info) = info.filter(|info| info.is_file()) else {
        return Ok(split);
    };
    let info = json(&info)?;
    let mut named = info["splits"]
        .as_object()
        .into_iter()
        .flat_map(|splits| splits.keys());
    let of = named.find(|name| {
        split
            .strip_suffix(name.as_str())
            .is_some_and(|rest| rest.ends_with('-'))
    });
    Ok(of.cloned().unwrap_or(split))
}

/// The folder itself, or the only one in it, and in that, as archives have one around a set.
fn saved_in(path: &Path) -> Result<PathBuf, DatasetError> {
    let mut folder = path.to_owned();
    for _ in 0..DEEPEST {
        let entries = files::list(&folder)?;
        let is_saved = entries
            .iter()
            .any(|entry| [DICT, STATE].contains(&entry.name.as_str()));
        match entries.as_slice() {
            [only] if only.is_dir && !is_saved => folder = only.path.clone(),
            _ => break,
        }
    }
    Ok(folder)
}

/// The split and the files that the `state.json` of a folder names.
fn of_state(folder: &Path) -> Result<(Option<String>, Vec<PathBuf>), DatasetError> {
    let path = folder.join(STATE);
    let state = json(&path)?;
    if state["_indices_data_files"]
        .as_array()
        .is_some_and(|files| !files.is_empty())
    {
        return Err(DatasetError::Foreign {
            path: folder.to_owned(),
            what: "a data set of Hugging Face's".to_owned(),
            reason: "its rows are picked by a file of indices, which is not read: \
                     `flatten_indices().save_to_disk(FOLDER)` writes it without"
                .to_owned(),
        });
    }
    let mut paths = Vec::new();
    for file in state["_data_files"].as_array().into_iter().flatten() {
        let name = file["filename"].as_str().unwrap_or_default();
        if name.is_empty() || name.contains(['/', '\\']) || name == ".." {
            return Err(damaged(&path, format!("it names the file {name:?}")));
        }
        let file = folder.join(name);
        if !file.is_file() {
            return Err(DatasetError::Missing {
                path: folder.to_owned(),
                expected: format!("{name}, which its {STATE} names"),
            });
        }
        paths.push(file);
    }
    match paths.is_empty() {
        true => Err(damaged(&path, "it names no file")),
        false => Ok((state["_split"].as_str().map(str::to_owned), paths)),
    }
}

/// The features of the `dataset_info.json` beside a file, by column; null where there are none.
pub(super) fn features(file: &Path) -> Result<Value, DatasetError> {
    let info = file.with_file_name(INFO);
    match info.is_file() {
        true => Ok(json(&info)?["features"].take()),
        false => Ok(Value::Null),
    }
}

fn json(path: &Path) -> Result<Value, DatasetError> {
    serde_json::from_slice(&files::read(path, input::TABLE)?).map_err(|error| damaged(path, error))
}
