//! `dream show RUN` and `dream show FILE.png`.

use std::path::Path;

use anyhow::{Context as _, Result};
use dream_ood::ask::State;
use dream_ood::exchange;
use dream_ood::input;
use dream_ood::stage::{evaluate, name_of_source};
use dream_ood::store::Readable;
use dream_schema::{Image, Run, Status, Table};

use super::{Verdict, list};
use crate::globals::{Format, Globals};
use crate::host;
use crate::output;
use crate::session::Session;
use crate::table;

/// Shows a run: parameters, inputs, what it holds, and of an evaluation its detection table.
///
/// Of a generated picture (a PNG file), the run and row that it is from.
#[derive(Debug, clap::Args)]
pub struct Show {
    /// The run (id, prefix or alias), or a generated PNG file
    what: String,
}

impl Show {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        let session = Session::reading(globals)?;
        if self.what.ends_with(".png") {
            return self.picture(&session);
        }
        let run = session.store.run(session.resolve(&self.what)?)?;
        if globals.format == Format::Table {
            print(&session, &run)?;
            if run.spec.stage == evaluate::NAME && run.status == Status::Finished {
                out!("")?;
                table::print(&session, &[run.id])?;
            }
        } else {
            output::batch(globals.format, list::batch(&[run], &session.store.aliases()?)?)?;
        }
        Ok(Verdict::Good)
    }

    fn picture(&self, session: &Session<'_>) -> Result<Verdict> {
        let bytes = input::whole(Path::new(&self.what), input::PICTURE).with_context(|| self.what.clone())?;
        let decoded = exchange::decode_png(&bytes).with_context(|| self.what.clone())?;
        let ours = decoded
            .text
            .iter()
            .filter_map(|(k, v)| Some((k.strip_prefix("dream-ood:")?, v.as_str())));
        let rows: Vec<[String; 2]> = ours.map(|(k, v)| [k.to_owned(), v.to_owned()]).collect();
        let named = |key: &str| rows.iter().find(|[k, _]| k == key).map(|[_, v]| v.as_str());
        let run = named("run")
            .with_context(|| format!("{}: the picture does not say which run made it", self.what))?;
        let run = session.store.run(session.resolve(run)?)?;
        let place = named("class_id").and_then(|c| c.parse().ok());
        let place = place.zip(named("index").and_then(|i| i.parse().ok()));
        let stored: Option<Image> = match place {
            Some((class, index)) => session.store.row(run.id, class, index)?,
            None => None,
        };
        let row = match &stored {
            Some(image) if image.png == bytes => "this very file".to_owned(),
            Some(image) if exchange::decode_png(&image.png)?.bitmap == decoded.bitmap => {
                "the same picture in another file".to_owned()
            }
            Some(_) => "another picture: this one was changed, or made anew elsewhere".to_owned(),
            None => format!("none here: the run {} in this store", run.status.in_words()),
        };
        let from = match named("synthesis") {
            Some(synthesis) => synthesis.to_owned(),
            None => named("outlier").map_or("plain class prompt".to_owned(), |o| format!("outlier {o}")),
        };
        let mut rows = rows.clone();
        rows.retain(|[key, _]| key != "synthesis" && key != "outlier");
        rows.push(["made from".to_owned(), from]);
        rows.push([
            "size".to_owned(),
            format!("{}x{}", decoded.bitmap.width, decoded.bitmap.height),
        ]);
        rows.push(["stored row".to_owned(), row]);
        output::columns(&rows)?;
        out!("")?;
        print(session, &run)?;
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
        ["status".to_owned(), State::of(run, &host::name()).in_words(run)],
        ["seed".to_owned(), spec.seed.to_string()],
        ["seconds".to_owned(), list::seconds(run)],
        [
            "made by".to_owned(),
            match &run.engine {
                Some(engine) => {
                    format!(
                        "dream {} on {} of {}: {engine}",
                        run.version, run.device, run.host
                    )
                }
                None => format!("dream {} on {} of {}", run.version, run.device, run.host),
            },
        ],
    ];
    let aliases = session.store.aliases()?.into_iter();
    let own: Vec<String> = aliases
        .filter_map(|(name, named)| (named == run.id).then_some(name))
        .collect();
    if !own.is_empty() {
        rows.push(["alias".to_owned(), own.join(", ")]);
    }
    rows.extend(run.digest.clone().map(|d| ["digest".to_owned(), d]));
    let former = run.former.clone();
    rows.extend(former.map(|former| ["former digest".to_owned(), former.digest]));
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
        let name = name_of_source(&datasets, spec, role).unwrap_or("not registered here");
        rows.push([format!("source {role}"), format!("{name} ({digest:.12})")]);
    }
    for table in Table::ALL {
        let count = session.store.count(run.id, table)?;
        if count > 0 {
            rows.push([format!("table {table}"), format!("{count} rows")]);
        }
    }
    output::columns(&rows)?;
    out!("params")?;
    out!("{}", serde_json::to_string_pretty(&spec.params)?)?;
    Ok(())
}
