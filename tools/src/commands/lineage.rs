//! `dream lineage RUN`.

use anyhow::Result;
use dream_ood::ask::State;
use dream_ood::stage::name_of_source;
use dream_ood::store::Readable;
use dream_schema::{Dataset, RunId};
use serde_json::{Value, json};

use super::Verdict;
use crate::globals::{Format, Globals};
use crate::host;
use crate::output;
use crate::session::Session;

/// Shows what a run came from: its inputs, theirs, and the data sets and models at the roots.
#[derive(Debug, clap::Args)]
pub struct Lineage {
    /// The run: id, prefix or alias
    run: String,
}

/// What a run came from, as it is shown.
struct Node {
    /// What it serves as; empty for the run that was asked for.
    role: String,
    /// Its digest when it was read.
    read: Option<String>,
    run: RunId,
    /// What the store has of it.
    known: Option<Known>,
}

struct Known {
    stage: String,
    state: &'static str,
    seed: u64,
    alias: Option<String>,
    digest: Option<String>,
    sources: Vec<Source>,
    inputs: Vec<Node>,
}

/// A data set or model at a root.
struct Source {
    role: String,
    /// Its name, if it is registered here.
    name: Option<String>,
    digest: String,
}

impl Lineage {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        let session = Session::reading(globals)?;
        let id = session.resolve(&self.run)?;
        let datasets = session.store.datasets()?;
        let root = node(&session, &datasets, id, "", None)?;
        match globals.format {
            Format::Table => root.print(0)?,
            Format::Json => output::document(&root.json())?,
            Format::Csv => {
                let header = [
                    "run", "stage", "status", "seed", "role", "input", "source", "digest",
                ];
                output::csv(&header.map(str::to_owned))?;
                root.csv()?;
            }
        }
        Ok(Verdict::Good)
    }
}

fn node(
    session: &Session<'_>,
    datasets: &[Dataset],
    run: RunId,
    role: &str,
    read: Option<&str>,
) -> Result<Node> {
    let record = session.store.run(run).ok();
    let known = record.map(|record| {
        let source = |(role, digest): (&String, &String)| Source {
            role: role.clone(),
            name: name_of_source(datasets, &record.spec, role).map(str::to_owned),
            digest: digest.clone(),
        };
        let inputs = record.spec.inputs.iter();
        let inputs = inputs.map(|i| node(session, datasets, i.run, &i.role, Some(&i.digest)));
        Ok::<_, anyhow::Error>(Known {
            state: State::of(&record, &host::name()).name(),
            seed: record.spec.seed,
            alias: session.store.alias_of(run)?,
            sources: record.spec.sources.iter().map(source).collect(),
            inputs: inputs.collect::<Result<_>>()?,
            stage: record.spec.stage.clone(),
            digest: record.digest.clone(),
        })
    });
    Ok(Node {
        role: role.to_owned(),
        read: read.map(str::to_owned),
        run,
        known: known.transpose()?,
    })
}

impl Node {
    fn print(&self, depth: usize) -> Result<()> {
        let indent = "  ".repeat(depth);
        let label = match self.role.as_str() {
            "" => String::new(),
            role => format!("{role}: "),
        };
        let Some(known) = &self.known else {
            return out!("{indent}{label}{} (not in this store)", self.run);
        };
        let Known {
            stage, state, seed, ..
        } = known;
        out!("{indent}{label}{stage} {} ({state}, seed {seed})", self.run)?;
        for source in &known.sources {
            let name = source.name.as_deref().unwrap_or("not registered here");
            out!("{indent}  {}: {name} ({:.12})", source.role, source.digest)?;
        }
        known.inputs.iter().try_for_each(|input| input.print(depth + 1))
    }

    /// Returns the tree: an input that the store does not have says no more than what was read of it.
    fn json(&self) -> Value {
        let mut node = json!({ "run": self.run, "known": self.known.is_some() });
        if let Some(read) = &self.read {
            node["role"] = json!(self.role);
            node["read_digest"] = json!(read);
        }
        if let Some(known) = &self.known {
            let source = |source: &Source| {
                let Source { role, name, digest } = source;
                json!({ "role": role, "name": name, "digest": digest })
            };
            node["stage"] = json!(known.stage);
            node["status"] = json!(known.state);
            node["seed"] = json!(known.seed);
            node["alias"] = json!(known.alias);
            node["digest"] = json!(known.digest);
            node["sources"] = known.sources.iter().map(source).collect();
            node["inputs"] = known.inputs.iter().map(Node::json).collect();
        }
        node
    }

    /// Prints a line for each thing that each run read.
    fn csv(&self) -> Result<()> {
        let Some(known) = &self.known else { return Ok(()) };
        let line = |role: &str, input: String, source: String, digest: &str| {
            output::csv(&[
                self.run.to_string(),
                known.stage.clone(),
                known.state.to_owned(),
                known.seed.to_string(),
                role.to_owned(),
                input,
                source,
                digest.to_owned(),
            ])
        };
        for source in &known.sources {
            let name = source.name.clone().unwrap_or_default();
            line(&source.role, String::new(), name, &source.digest)?;
        }
        for input in &known.inputs {
            let digest = input.read.as_deref().unwrap_or_default();
            line(&input.role, input.run.to_string(), String::new(), digest)?;
        }
        known.inputs.iter().try_for_each(Node::csv)
    }
}
