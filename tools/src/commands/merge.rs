//! `dream merge FILE...`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, bail};
use dream_ood::store::{MergeOptions, Merged, Readable, StoreError};
use serde_json::{Value, json};

use super::Verdict;
use crate::globals::Globals;
use crate::output;
use crate::session::{self, Usage};

/// Takes in the runs of other stores: shards of one run become one, runs that are there already are
/// compared.
///
/// Each store is taken in whole or not at all; after an interruption the same command can be given again.
#[derive(Debug, clap::Args)]
pub struct Merge {
    /// The other stores
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Takes in what the other store calls OLD, an alias or something registered, under the name NEW: where
    /// OLD means something else here
    #[arg(long, value_name = "OLD=NEW", value_parser = pair)]
    rename: Vec<(String, String)>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((old, new)) if !old.is_empty() && !new.is_empty() => Ok((old.to_owned(), new.to_owned())),
        _ => Err("expected OLD=NEW".to_owned()),
    }
}

impl Merge {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        let as_json = globals.as_json()?;
        let rename: BTreeMap<String, String> = self.rename.iter().cloned().collect();
        if rename.len() < self.rename.len() {
            bail!(Usage("--rename: a name is given twice".into()));
        }
        // All are opened before anything is taken in.
        let others = self
            .files
            .iter()
            .map(|file| session::other_store(file))
            .collect::<Result<Vec<_>>>()?;
        for name in rename.keys() {
            let mut known = others.iter().filter_map(|other| {
                let aliases = other.aliases().ok()?;
                let is_alias = aliases.iter().any(|(alias, _)| alias == name);
                Some(is_alias || other.dataset(name).is_ok())
            });
            if !known.any(|known| known) {
                bail!(Usage(format!(
                    "--rename {name}=...: none of the other stores has an alias or a data set of that name"
                )));
            }
        }
        let store = session::store_to_be(globals)?;
        let mut all = Vec::new();
        for (file, other) in self.files.iter().zip(&others) {
            let here = |name: &&String| {
                let aliases = other.aliases().unwrap_or_default();
                aliases.iter().any(|(alias, _)| alias == *name) || other.dataset(name).is_ok()
            };
            let own = rename.iter().filter(|(name, _)| here(name));
            let options = MergeOptions {
                rename: own.map(|(old, new)| (old.clone(), new.clone())).collect(),
            };
            let merged = match store.merge(other, &options) {
                Err(StoreError::DatasetChanged { name, stored, given }) => {
                    let theirs = options.rename.iter().find(|(_, new)| **new == name);
                    let old = theirs.map_or(&name, |(old, _)| old);
                    let file = file.display();
                    bail!(Usage(format!(
                        "{file}: `{name}` is registered here with the digest {stored}, theirs has {given}; \
                         `--rename {old}=NEW` takes theirs in under another name"
                    )))
                }
                merged => merged?,
            };
            match as_json {
                true => all.push(merged_json(file, &merged)),
                false => print(file, &merged)?,
            }
        }
        if as_json {
            output::document(&json!({ "merged": all }))?;
        }
        Ok(Verdict::Good)
    }
}

fn print(file: &std::path::Path, merged: &Merged) -> Result<()> {
    out!(
        "{}: {} new runs, {} grown, {} rows, {} blobs, {} data sets",
        file.display(),
        merged.new_runs.len(),
        merged.grown_runs.len(),
        merged.rows,
        merged.blobs,
        merged.datasets.len()
    )?;
    for alias in &merged.kept_aliases {
        out!(
            "the alias {alias} names another run here and was left as it is; `--rename {alias}=NEW` takes \
             theirs in under another name"
        )?;
    }
    if !merged.new_notes.is_empty() {
        out!("notes of {} runs that were here without", merged.new_notes.len())?;
    }
    for run in &merged.kept_notes {
        out!("run {run} has another note there; ours stays")?;
    }
    Ok(())
}

fn merged_json(file: &std::path::Path, merged: &Merged) -> Value {
    json!({
        "from": file, "new_runs": merged.new_runs, "grown_runs": merged.grown_runs, "rows": merged.rows,
        "blobs": merged.blobs, "datasets": merged.datasets, "kept_aliases": merged.kept_aliases,
        "new_notes": merged.new_notes, "kept_notes": merged.kept_notes,
    })
}
