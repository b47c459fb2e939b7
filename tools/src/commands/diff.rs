//! `dream diff RUN RUN`.

use std::collections::BTreeMap;

use anyhow::Result;
use dream_schema::{Run, Table};
use serde_json::Value;

use super::Verdict;
use crate::args::Args;
use crate::output;
use crate::session::Session;
use dream_ood::store::Readable;

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
    pub fn execute(&self, args: &Args) -> Result<Verdict> {
        let session = Session::reading(args)?;
        let left = facts(&session, &session.store.run(session.resolve(&self.left)?)?)?;
        let right = facts(&session, &session.store.run(session.resolve(&self.right)?)?)?;
        let mut keys: Vec<&String> = left.keys().chain(right.keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut rows = vec![["what".to_owned(), self.left.clone(), self.right.clone()]];
        for key in keys {
            let (a, b) = (left.get(key), right.get(key));
            if a != b {
                let side = |v: Option<&String>| v.cloned().unwrap_or_else(|| "-".to_owned());
                rows.push([key.clone(), side(a), side(b)]);
            }
        }
        if rows.len() == 1 {
            session.bars.say("the runs are the same");
            return Ok(Verdict::Good);
        }
        output::columns(&rows)?;
        Ok(Verdict::Found)
    }
}

fn facts(session: &Session<'_>, run: &Run) -> Result<BTreeMap<String, String>> {
    let mut facts = BTreeMap::from([
        ("stage".to_owned(), run.spec.stage.clone()),
        ("stage_version".to_owned(), run.spec.stage_version.to_string()),
        ("seed".to_owned(), run.spec.seed.to_string()),
        ("status".to_owned(), run.status.to_string()),
        ("digest".to_owned(), run.digest.clone().unwrap_or_default()),
        ("device".to_owned(), run.device.clone()),
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
