//! `dream diff RUN RUN`.

use std::collections::BTreeMap;

use anyhow::Result;
use dream_schema::{Run, Table};
use serde_json::{Value, json};

use super::Verdict;
use crate::globals::{Format, Globals};
use crate::host;
use crate::output;
use crate::session::Session;
use dream_ood::ask::State;
use dream_ood::store::Readable;

/// What stands where only the other run has something.
const NONE: &str = "-";

/// Shows how two runs differ: parameters, seed, inputs, what they hold.
///
/// Exit code 1 if they do.
#[derive(Debug, clap::Args)]
pub struct Diff {
    /// The one run: id, prefix or alias
    left: String,
    /// The other
    right: String,
}

impl Diff {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        let session = Session::reading(globals)?;
        let left = facts(&session, &session.store.run(session.resolve(&self.left)?)?)?;
        let right = facts(&session, &session.store.run(session.resolve(&self.right)?)?)?;
        let mut keys: Vec<&String> = left.keys().chain(right.keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut rows = vec![["what".to_owned(), self.left.clone(), self.right.clone()]];
        for key in keys {
            let (a, b) = (left.get(key), right.get(key));
            if a != b {
                let side = |v: Option<&String>| v.cloned().unwrap_or_else(|| NONE.to_owned());
                rows.push([key.clone(), side(a), side(b)]);
            }
        }
        let (header, differences) = rows.split_at(1);
        let verdict = if differences.is_empty() {
            Verdict::Good
        } else {
            Verdict::Found
        };
        match globals.format {
            Format::Json => {
                let side = |text: &String| Some(text.clone()).filter(|text| text != NONE);
                let difference = |[what, left, right]: &[String; 3]| {
                    let (left, right) = (side(left), side(right));
                    json!({ "what": what, "left": left, "right": right })
                };
                output::document(&json!({
                    "left": session.resolve(&self.left)?, "right": session.resolve(&self.right)?,
                    "same": differences.is_empty(),
                    "differences": differences.iter().map(difference).collect::<Vec<_>>(),
                }))?;
            }
            Format::Csv => header.iter().chain(differences).try_for_each(output::csv)?,
            Format::Table if differences.is_empty() => out!("the runs are the same")?,
            Format::Table => output::columns(&rows)?,
        }
        Ok(verdict)
    }
}

fn facts(session: &Session<'_>, run: &Run) -> Result<BTreeMap<String, String>> {
    let mut facts = BTreeMap::from([
        ("stage".to_owned(), run.spec.stage.clone()),
        ("stage_version".to_owned(), run.spec.stage_version.to_string()),
        ("seed".to_owned(), run.spec.seed.to_string()),
        (
            "status".to_owned(),
            State::of(run, &host::name()).name().to_owned(),
        ),
        ("digest".to_owned(), run.digest.clone().unwrap_or_default()),
        ("device".to_owned(), run.device.clone()),
        ("engine".to_owned(), run.engine.clone().unwrap_or_default()),
        ("version".to_owned(), run.version.clone()),
    ]);
    flatten("params", &run.spec.params, &mut facts);
    for input in &run.spec.inputs {
        facts.insert(
            format!("input {}", input.role),
            format!("{} ({:.12})", input.run, input.digest),
        );
    }
    facts.extend(
        run.spec
            .sources
            .iter()
            .map(|(role, digest)| (format!("source {role}"), digest.clone())),
    );
    for table in Table::ALL {
        facts.insert(
            format!("rows of {table}"),
            session.store.count(run.id, table)?.to_string(),
        );
    }
    Ok(facts)
}

fn flatten(path: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(map) => map
            .iter()
            .for_each(|(key, value)| flatten(&format!("{path}.{key}"), value, into)),
        other => {
            into.insert(path.to_owned(), other.to_string());
        }
    }
}
