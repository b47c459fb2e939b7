//! `dream show RUN` and `dream show FILE.png`.

use std::path::Path;

use anyhow::{Context as _, Result};
use dream_ood::exchange;
use dream_ood::query::runs_batch;
use dream_schema::{Run, Table};

use super::{Verdict, list};
use crate::args::{Args, Format};
use crate::output;
use crate::session::Session;

/// Shows a run: parameters, inputs, what it holds. Of a generated picture (a PNG file), the run and row that it is from.
#[derive(Debug, clap::Args)]
pub struct Show {
    /// The run (id, prefix or alias), or a generated PNG file
    what: String,
}

impl Show {
    pub fn execute(&self, args: &Args) -> Result<Verdict> {
        let session = Session::reading(args)?;
        if self.what.ends_with(".png") {
            return self.picture(&session);
        }
        let run = session.store.run(session.resolve(&self.what)?)?;
        if args.format == Format::Table {
            print(&session, &run)?;
        } else {
            output::batch(args.format, runs_batch(&[run], &session.store.aliases()?)?)?;
        }
        Ok(Verdict::Good)
    }

    fn picture(&self, session: &Session<'_>) -> Result<Verdict> {
        let bytes = std::fs::read(Path::new(&self.what)).with_context(|| self.what.clone())?;
        let decoded = exchange::decode_png(&bytes).with_context(|| self.what.clone())?;
        let ours = decoded
            .text
            .iter()
            .filter_map(|(k, v)| Some((k.strip_prefix("dream-ood:")?, v.as_str())));
        let rows: Vec<[String; 2]> = ours.map(|(k, v)| [k.to_owned(), v.to_owned()]).collect();
        let run = rows.iter().find(|[key, _]| key == "run").map(|[_, v]| v.clone());
        let run =
            run.with_context(|| format!("{}: the picture does not say which run made it", self.what))?;
        output::columns(&rows)?;
        println!();
        print(session, &session.store.run(session.resolve(&run)?)?)?;
        Ok(Verdict::Good)
    }
}

fn print(session: &Session<'_>, run: &Run) -> Result<()> {
    let spec = &run.spec;
    let mut rows = vec![
        ["run".to_owned(), run.id.to_string()],
        [
            "stage".to_owned(),
            format!("{} (version {})", spec.stage, spec.stage_version),
        ],
        ["status".to_owned(), run.status.to_string()],
        ["seed".to_owned(), spec.seed.to_string()],
        ["seconds".to_owned(), list::seconds(run)],
        [
            "made by".to_owned(),
            format!("dream {} on {} of {}", run.version, run.device, run.host),
        ],
    ];
    rows.extend(
        session
            .store
            .alias_of(run.id)?
            .into_iter()
            .map(|a| ["alias".to_owned(), a]),
    );
    rows.extend(run.digest.clone().map(|d| ["digest".to_owned(), d]));
    rows.extend(run.note.clone().map(|n| ["note".to_owned(), n]));
    for input in &spec.inputs {
        let stage = session
            .store
            .run(input.run)
            .map_or_else(|_| "not in this store".to_owned(), |r| r.spec.stage);
        rows.push([
            format!("input {}", input.role),
            format!("{} ({stage})", input.run),
        ]);
    }
    let datasets = session.store.datasets()?;
    for (role, digest) in &spec.sources {
        let name = datasets
            .iter()
            .find(|d| d.digest == *digest)
            .map_or("not registered here", |d| d.name.as_str());
        rows.push([format!("source {role}"), format!("{name} ({digest:.12})")]);
    }
    for table in Table::ALL {
        let count = session.store.count(run.id, table)?;
        if count > 0 {
            rows.push([format!("table {table}"), format!("{count} rows")]);
        }
    }
    output::columns(&rows)?;
    println!("params");
    println!("{}", serde_json::to_string_pretty(&spec.params)?);
    Ok(())
}
