//! Says where a query compares an id of a run with a text that is none.

use anyhow::Result;
use dream_ood::query::{Rows, TableName};
use dream_ood::store::{Readable as _, Store, StoreError};
use dream_schema::RunId;

use crate::bars::Bars;

/// The most texts that are told of.
const TOLD: usize = 5;

/// Says which of the texts that a query compares with ids of runs are the id of none: by these the answer
/// has no rows.
pub fn say(bars: &Bars, store: Option<&Store>, rows: &Rows) -> Result<()> {
    let mut notes = Vec::new();
    for text in rows.compared_ids() {
        let note = match (store, text.parse::<RunId>()) {
            (Some(store), _) => in_store(store, text)?,
            (None, Err(_)) => Some(format!("`{}` is no id of a run: {WHOLE}", shown(text))),
            (None, Ok(_)) => None,
        };
        notes.extend(note);
    }
    for note in notes.iter().take(TOLD) {
        bars.say(note);
    }
    if notes.len() > TOLD {
        bars.say(&format!("and so are {} other texts", notes.len() - TOLD));
    }
    Ok(())
}

/// What an id is.
const WHOLE: &str = "columns of runs hold whole ids, 32 digits of 0-9 and a-f";

fn in_store(store: &Store, text: &str) -> Result<Option<String>> {
    let shown = shown(text);
    Ok(match store.resolve(text) {
        Ok(run) if run.to_string() == *text => None,
        Ok(run) if store.aliases()?.iter().any(|(name, _)| name == text) => Some(format!(
            "`{shown}` is a name of run {run}: {WHOLE}; compare with '{run}', or join the table `{}`",
            TableName::RunAliases
        )),
        Ok(run) if text.len() == run.to_string().len() => Some(format!(
            "`{shown}` is the id of a run in capitals: {WHOLE}; compare with '{run}'"
        )),
        Ok(run) => Some(format!(
            "`{shown}` begins the id of run {run}: {WHOLE}; compare with '{run}'"
        )),
        Err(StoreError::AmbiguousRun { candidates, .. }) => Some(format!(
            "`{shown}` begins the ids of several runs: {WHOLE}; these are {}",
            candidates.join(", ")
        )),
        Err(StoreError::UnknownRun { .. }) if text.parse::<RunId>().is_ok() => {
            Some(format!("there is no run with the id {shown}"))
        }
        Err(StoreError::UnknownRun { near, .. }) => {
            let near = match near.is_empty() {
                true => String::new(),
                false => format!(", and {} names one; `dream ls` lists them", near.join(" or ")),
            };
            Some(format!("`{shown}` is no id of a run: {WHOLE}{near}"))
        }
        Err(error) => return Err(error.into()),
    })
}

/// The beginning of a long text.
fn shown(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text.to_owned(),
    }
}
