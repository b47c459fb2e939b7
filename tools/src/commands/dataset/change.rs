//! Another name for what is registered, or none.

use anyhow::Result;
use dream_ood::store::Readable;
use dream_schema::Dataset;

use crate::commands::Verdict;
use crate::globals::Globals;
use crate::session::Session;

/// Runs that are named of those that read from an entry.
const NAMED: usize = 5;

pub(super) fn rename(globals: &Globals, name: &str, new: &str) -> Result<()> {
    let as_json = globals.as_json()?;
    let session = Session::existing(globals)?;
    session.store.rename_dataset(name, new)?;
    match as_json {
        true => out!("{}", serde_json::json!({ "name": name, "new": new })),
        false => out!("`{name}` is `{new}` now"),
    }
}

pub(super) fn remove(globals: &Globals, name: &str, yes: bool) -> Result<Verdict> {
    let as_json = globals.as_json()?;
    let session = match yes {
        true => Session::existing(globals)?,
        false => Session::reading(globals)?,
    };
    let entry = session.store.dataset(name)?;
    let others = session.store.datasets()?.into_iter();
    let twins: Vec<String> = others
        .filter(|other| other.digest == entry.digest && other.name != entry.name)
        .map(|other| format!("`{}`", other.name))
        .collect();
    let mut readers = Vec::new();
    for run in session.store.runs()? {
        if run.spec.sources.values().any(|digest| *digest == entry.digest) {
            let alias = session.store.alias_of(run.id)?;
            readers.push(alias.unwrap_or_else(|| format!("{:.12}", run.id.to_string())));
        }
    }
    if yes {
        session.store.remove_dataset(name)?;
    }
    if as_json {
        let read_by = &readers;
        out!(
            "{}",
            serde_json::json!({ "name": name, "digest": entry.digest, "read_by": read_by, "forgotten": yes })
        )?;
    } else {
        say(&entry, &readers, &twins)?;
        match yes {
            true => out!("forgotten")?,
            false => out!("nothing is forgotten yet: it would be, with --yes")?,
        }
    }
    Ok(if yes { Verdict::Good } else { Verdict::Found })
}

/// Says what would be forgotten, and what that means for the runs that read from it.
fn say(entry: &Dataset, readers: &[String], twins: &[String]) -> Result<()> {
    let (name, kind, path) = (&entry.name, &entry.kind, &entry.path);
    out!(
        "`{name}`: {kind} at {path}, digest {:.12}; its files stay",
        entry.digest
    )?;
    if !readers.is_empty() {
        let named = readers.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        let more = if readers.len() > NAMED { ", ..." } else { "" };
        out!("read by {} runs: {named}{more}", readers.len())?;
        out!(
            "{}",
            match twins.is_empty() {
                true => "they stay as they are, but cannot be resumed, reproduced or built upon until it is \
                     registered again"
                    .to_owned(),
                false => format!("they will read it as {}", twins.join(", ")),
            }
        )?;
    }
    Ok(())
}
