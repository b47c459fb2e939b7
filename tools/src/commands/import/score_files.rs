//! The files of an import: one, but of a folder of scores all that lie in it, a set each, as OpenOOD's
//! evaluator saves them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use dream_ood::store::check_alias;

use super::Import;
use crate::session::Usage;

/// A file that becomes a run.
#[derive(Debug)]
pub(super) struct Taken {
    pub path: PathBuf,
    /// The data set that it is of, where that is said.
    pub dataset: Option<String>,
    /// The name of the run, where it has one.
    pub alias: Option<String>,
}

impl Import {
    /// Returns what is to be taken in.
    pub(super) fn files(&self) -> Result<Vec<Taken>> {
        let file = self.first_file()?;
        if self.table() == "scores" && file.is_dir() {
            return self.sets_in(file);
        }
        Ok(vec![Taken {
            path: file.to_owned(),
            dataset: self.dataset.clone(),
            alias: self.alias.clone(),
        }])
    }

    /// Returns the sets in a folder by name. Hidden files are none.
    fn sets_in(&self, folder: &Path) -> Result<Vec<Taken>> {
        let wrong = |what: String| Usage(format!("{}: {what}", folder.display()));
        if self.dataset.is_some() {
            let what =
                "the files of a folder are called by their sets; leave --dataset out, or name one file";
            bail!(wrong(what.to_owned()));
        }
        let mut sets = BTreeMap::new();
        let in_words = || folder.display().to_string();
        for entry in std::fs::read_dir(folder).with_context(in_words)? {
            let path = entry.with_context(in_words)?.path();
            let (Some(name), Some(set)) = (path.file_name(), path.file_stem().and_then(|stem| stem.to_str()))
            else {
                bail!(wrong(format!("{} has a name that is no text", path.display())));
            };
            let name = name.to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            if path.is_dir() {
                bail!(wrong(format!(
                    "{name} is a folder: name a folder that has files of scores alone"
                )));
            }
            let alias = self.alias.as_ref().map(|alias| format!("{alias}-{set}"));
            if let Some(alias) = &alias {
                check_alias(alias).map_err(|error| wrong(format!("--alias: {error}")))?;
            }
            let set = set.to_owned();
            let dataset = Some(set.clone());
            let taken = Taken { path, dataset, alias };
            if let Some(other) = sets.insert(set, taken) {
                bail!(wrong(format!(
                    "{name} and {} are of one set",
                    other.path.display()
                )));
            }
        }
        if sets.is_empty() {
            bail!(wrong("there is no file in it".to_owned()));
        }
        Ok(sets.into_values().collect())
    }
}
