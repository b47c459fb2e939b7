//! The files of an import: one, but of a folder of scores all that lie in it, a set each, as OpenOOD's
//! evaluator saves them; and the sets of a pickle that has all of an evaluation.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use dream_ood::stage::evaluate::Group;
use dream_ood::stage::import::{SavedSet, saved_sets};
use dream_ood::store::check_alias;
use dream_schema::RunId;

use super::Import;
use crate::session::{Session, Usage};

/// A file, or a set in one, that becomes a run.
#[derive(Debug)]
pub(super) struct Taken {
    pub path: PathBuf,
    /// The data set that it is of, where that is said.
    pub dataset: Option<String>,
    /// The score that it has, where that is said.
    pub score: Option<String>,
    /// The name of the run, where it has one.
    pub alias: Option<String>,
    /// The set in the file, where it has several.
    pub saved: Option<SavedSet>,
}

/// What is to be taken in.
#[derive(Debug)]
pub(super) struct Files {
    pub taken: Vec<Taken>,
    /// What is to be told of sets that are not.
    pub told: Vec<String>,
}

impl Import {
    /// Returns what is to be taken in.
    pub(super) fn files(&self) -> Result<Files> {
        let file = self.first_file()?;
        let is_scores = self.table() == "scores";
        let taken = match is_scores && file.is_dir() {
            true => self.sets_in(file)?,
            false => {
                if is_scores && let Some(saved) = saved_sets(file)? {
                    let taken = self.saved(file, saved.sets)?;
                    let told = saved.told;
                    return Ok(Files { taken, told });
                }
                vec![Taken {
                    path: file.to_owned(),
                    dataset: self.dataset.clone(),
                    score: self.score.clone(),
                    alias: self.alias.clone(),
                    saved: None,
                }]
            }
        };
        let told = Vec::new();
        Ok(Files { taken, told })
    }

    /// Returns the sets of a file that has several.
    fn saved(&self, file: &Path, sets: Vec<SavedSet>) -> Result<Vec<Taken>> {
        let wrong = |what: String| Usage(format!("{}: {what}", file.display()));
        let Some(id) = &self.dataset else {
            bail!(wrong(
                "it has the scores of several sets, but not the name of the in-distribution set: \
                 --dataset NAME is needed"
                    .to_owned()
            ));
        };
        let stem = file.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
        let score = self.score.clone().or(stem);
        let taken = |saved: SavedSet| {
            if saved.name.as_ref() == Some(id) {
                let what = "is a set beside the in-distribution set: name that by --dataset";
                bail!(wrong(format!("{id} {what}")));
            }
            let dataset = saved.name.as_ref().unwrap_or(id).clone();
            Ok(Taken {
                path: file.to_owned(),
                score: score.clone(),
                alias: self.alias_of(file, &dataset)?,
                dataset: Some(dataset),
                saved: Some(saved),
            })
        };
        sets.into_iter().map(taken).collect()
    }

    /// Returns the name of the run of a set.
    fn alias_of(&self, file: &Path, set: &str) -> Result<Option<String>> {
        let alias = self.alias.as_ref().map(|alias| format!("{alias}-{set}"));
        if let Some(alias) = &alias {
            check_alias(alias).map_err(|error| Usage(format!("{}: --alias: {error}", file.display())))?;
        }
        Ok(alias)
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
            if saved_sets(&path)?.is_some() {
                bail!(wrong(format!(
                    "{name} has the scores of several sets: name it in place of the folder"
                )));
            }
            let taken = Taken {
                alias: self.alias_of(folder, set)?,
                dataset: Some(set.to_owned()),
                score: self.score.clone(),
                saved: None,
                path: path.clone(),
            };
            if let Some(other) = sets.insert(set.to_owned(), taken) {
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

/// Says which run has a set.
pub(super) fn tell(session: &Session<'_>, taken: &Taken, run: RunId) {
    let Some(set) = &taken.dataset else { return };
    let group = match &taken.saved {
        Some(SavedSet { name: None, .. }) => " (in-distribution)".to_owned(),
        Some(SavedSet { group, .. }) => {
            group.map_or_else(String::new, |group| format!(" ({})", group.name()))
        }
        None => String::new(),
    };
    session.bars.say(&format!("`{set}`{group} is in run {run}"));
}

/// Says how the sets of a file are measured, where there are any beside the in-distribution set.
pub(super) fn tell_how(session: &Session<'_>, runs: &[(&Taken, RunId)]) {
    let name = |(taken, run): &(&Taken, RunId)| taken.alias.clone().unwrap_or_else(|| run.to_string());
    let (mut id, mut beside, mut has_shifted) = (None, String::new(), false);
    for set in runs {
        match set.0.saved.as_ref().map(|saved| saved.group) {
            None => {}
            Some(None) => id = Some(name(set)),
            Some(Some(group)) => {
                beside += &format!(" {}={}", group.name(), name(set));
                has_shifted |= group == Group::Shifted;
            }
        }
    }
    let Some(id) = id.filter(|_| !beside.is_empty()) else {
        return;
    };
    let command = format!("dream evaluate --id-scores {id} --ood-scores{beside} --convention openood");
    let full = match has_shifted {
        true => "; with --full-spectrum, shifted sets count as in-distribution",
        false => "",
    };
    session.bars.say(&format!("measured by: {command}{full}"));
}
