//! Whether a folder is an earlier export of pictures and nothing besides, so that it may be replaced.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use super::ExchangeError;
use super::images::METADATA;

/// Columns that every export of pictures has had; a table of labels by somebody else has not.
const OWN: [&str; 4] = ["file_name", "class_id", "class_name", "index"];

/// Refuses a folder that is no export of pictures, or has more in it than those that its table lists.
///
/// # Errors
/// [`ExchangeError::NotAnExport`], also if it cannot be read.
pub(super) fn check(folder: &Path) -> Result<(), ExchangeError> {
    let not = |reason: String| ExchangeError::NotAnExport {
        path: folder.to_owned(),
        reason,
    };
    let table = folder.join(METADATA);
    if !table.is_file() {
        return Err(not(format!("a directory without a {METADATA}")));
    }
    let other = || not(format!("a directory whose {METADATA} is not that of an export"));
    let mut rows = csv::Reader::from_path(&table).map_err(|_| other())?;
    let header = rows.headers().map_err(|_| other())?.clone();
    let place = |name: &str| header.iter().position(|column| column == name);
    let (Some(names), true) = (place(OWN[0]), OWN.iter().all(|name| place(name).is_some())) else {
        return Err(other());
    };
    let listed = rows.records().map(|row| Some(row.ok()?.get(names)?.to_owned()));
    let mut listed: HashSet<String> = listed.collect::<Option<_>>().ok_or_else(other)?;
    listed.insert(METADATA.to_owned());
    match stranger(folder, "", &listed).map_err(ExchangeError::io(folder))? {
        Some(name) => Err(not(format!(
            "a directory with `{name}`, which its {METADATA} does not list"
        ))),
        None => Ok(()),
    }
}

/// Returns the first file below a folder that is not listed, by its path within the whole.
fn stranger(folder: &Path, within: &str, listed: &HashSet<String>) -> std::io::Result<Option<String>> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{within}{}", entry.file_name().to_string_lossy());
        let found = match entry.file_type()?.is_dir() {
            true => stranger(&entry.path(), &format!("{name}/"), listed)?,
            false => (!listed.contains(&name)).then_some(name),
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}
