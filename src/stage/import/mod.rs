//! Takes in what another program made, as a run of its own that later stages read: class embeddings, ID
//! features, outlier vectors, pictures, scores and activations.
//!
//! Every row is checked. A file that is refused leaves no run behind: most are read whole before anything is
//! stored, files of vectors in pieces, so that they may be larger than memory, and what was stored of one is
//! removed.

mod activations;
mod checker;
mod classes;
mod images;
mod names;
mod openood;
mod question;
mod row;
mod scores;
mod table;
#[cfg(test)]
mod tests;
mod vectors;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};

use arrow::array::RecordBatch;
use dream_schema::{ClassEmbedding, Feature, Outlier, Run, RunId, RunSpec, Status, Table};
use serde_json::json;

pub use self::activations::{ActivationsOf, Arrays, NetworkOf};
use self::checker::Checker;
use self::classes::Classes;
use self::images::PictureFolder;
pub use self::openood::{SavedSet, SavedSets, saved_sets};
pub use self::question::{Question, Rows, VectorKind};
use self::row::Vectored;
pub use self::scores::ScoresOf;
use self::vectors::VectorFile;
use super::{Context, Known, Refusals, Role, StageError, embed, input, observe};
use crate::exchange::ExchangeError;
use crate::file_digest::file_digest;
use crate::store::{Append, Readable, Store};

/// Name under which imports stand among the stages.
pub const NAME: &str = "import";
/// 2: an unknown distance is null and no longer NaN; the norm of a class embedding is its vector's.
const VERSION: u32 = 2;
/// Pieces of a file that are read before they are stored: enough to go on while a commit waits for the disk.
const AHEAD: usize = 8;
/// Activations that are committed at once.
const PIECE: usize = 2000;
/// The key of the parameters under which the table's name stands.
const TABLE: &str = "table";
/// The key of the parameters under which the name of a network stands.
const NETWORK: &str = "network";
/// The key of the parameters under which the name of a score stands.
const SCORE: &str = "score";

/// Returns the name that an import gives the network of its activations or scores.
pub(super) fn network_of(run: &RunSpec) -> Option<&str> {
    let is_import = run.stage == NAME;
    run.params.get(NETWORK).filter(|_| is_import)?.as_str()
}

/// Returns the name of the score that a run is an import of; none of any other run.
pub fn score_of(run: &RunSpec) -> Option<&str> {
    score_in(&run.stage, &run.params)
}

/// The same of a run of these parameters.
pub(super) fn score_in<'a>(stage: &str, params: &'a serde_json::Value) -> Option<&'a str> {
    let is_one = stage == NAME && !is_of_another(stage, params, Table::Scores);
    params.get(SCORE).filter(|_| is_one)?.as_str()
}

/// Refuses a file of scores that cannot be taken in, before others are that come with it; of other tables
/// nothing is looked at.
///
/// # Errors
/// As of [`import`].
pub fn check_scores(question: &Question<'_>) -> Result<(), StageError> {
    question.rows.check_names()?;
    match question.rows {
        Rows::Scores(of) => scores::read(question.file, of).map(|_| ()),
        _ => Ok(()),
    }
}

/// Stores the rows of a file. Parquet as we export it keeps its other columns; of any other file what it does
/// not say is unknown: numbers are -1, a distance is null. The run is named by the file's contents, so
/// importing it again is harmless.
///
/// # Errors
/// If the file cannot be read, or its classes or widths are not those that are asked for.
pub fn import(ctx: &Context<'_>, question: &Question<'_>) -> Result<Run, StageError> {
    let Question { file, rows } = question;
    let stopped = &|| ctx.progress.cancelled();
    rows.check_names()?;
    question.check_file()?;
    let spec = |sources| spec(ctx.store, question, params(rows, None), sources);
    match rows {
        Rows::ClassEmbeddings { classes, .. } => {
            vectors::<ClassEmbedding>(ctx, question, &Classes::listed(file, classes)?)
        }
        Rows::Vectors { kind, embeddings, .. } => {
            let classes = Classes::of_run(ctx.store, *embeddings)?;
            match kind {
                VectorKind::Features => vectors::<Feature>(ctx, question, &classes),
                VectorKind::Outliers => vectors::<Outlier>(ctx, question, &classes),
            }
        }
        Rows::Images { embeddings } => {
            let classes = Classes::of_run(ctx.store, *embeddings)?;
            let folder = PictureFolder {
                path: file,
                classes: &classes,
            };
            let told = folder.each(&mut |_| ctx.check_interrupt())?;
            let spec = spec(whole(folder.digest(stopped)?))?;
            store(ctx, question, &spec, told, |run| {
                folder
                    .each(&mut |rows| {
                        ctx.check_interrupt()?;
                        Ok(ctx.store.put(run, &rows)?)
                    })
                    .map(|_| ())
            })
        }
        Rows::Scores(of) => {
            let (read, told) = scores::read(file, *of)?;
            let spec = spec(sources(question, stopped)?)?;
            store(ctx, question, &spec, told, |run| Ok(ctx.store.put(run, &read)?))
        }
        Rows::Activations(of) => {
            let spec = spec(sources(question, stopped)?)?;
            let mut read = activations::read(file, *of)?;
            let told = std::mem::take(&mut read.told);
            store(ctx, question, &spec, told, |run| {
                if let Some(head) = &read.head {
                    observe::put_head(ctx, run, head)?;
                }
                let count = read.count();
                let mut pieces = (0..count).step_by(PIECE);
                pieces.try_for_each(|start| {
                    ctx.check_interrupt()?;
                    let rows = read.rows(start..(start + PIECE).min(count))?;
                    Ok(ctx.store.put(run, &rows)?)
                })
            })
        }
    }
}

/// Returns the id of the run that an import is, of whose file no more than the digest is read.
///
/// # Errors
/// If the file cannot be read, or a class table or the run of the classes is none.
pub fn id(ctx: &Context<'_>, question: &Question<'_>) -> Result<RunId, StageError> {
    let (store, stopped) = (ctx.store, &|| ctx.progress.cancelled());
    let Question { file, rows } = question;
    question.check_file()?;
    let classes = match rows {
        Rows::ClassEmbeddings { classes, .. } => Some(Classes::listed(file, classes)?),
        Rows::Vectors { embeddings, .. } | Rows::Images { embeddings } => {
            Some(Classes::of_run(store, *embeddings)?)
        }
        Rows::Scores(_) | Rows::Activations(_) => None,
    };
    let sources = match (rows, &classes) {
        (Rows::Images { .. }, Some(classes)) => whole(PictureFolder { path: file, classes }.digest(stopped)?),
        _ => sources(question, stopped)?,
    };
    Ok(spec(store, question, params(rows, classes.as_ref()), sources)?.id())
}

/// What an import's parameters say beside what [`spec`] adds to all.
fn params(rows: &Rows<'_>, classes: Option<&Classes>) -> serde_json::Value {
    match rows {
        Rows::ClassEmbeddings { .. } | Rows::Vectors { .. } => match classes.and_then(Classes::words) {
            Some(words) => json!({ "classes": words }),
            None => json!({}),
        },
        Rows::Images { .. } => json!({}),
        Rows::Scores(of) => json!({ "dataset": of.dataset, "split": of.split, SCORE: of.score }),
        Rows::Activations(of) => json!({ "dataset": of.dataset, "split": of.split }),
    }
}

fn vectors<A: Vectored>(
    ctx: &Context<'_>,
    question: &Question<'_>,
    classes: &Classes,
) -> Result<Run, StageError> {
    let params = params(&question.rows, Some(classes));
    let stopped = &|| ctx.progress.cancelled();
    let spec = spec(ctx.store, question, params, sources(question, stopped)?)?;
    if let Ok(run) = ctx.store.run(spec.id())
        && run.status == Status::Finished
    {
        return Ok(run);
    }
    let source = VectorFile {
        path: question.file,
        member: question.rows.member(),
        classes,
    };
    let source = &source;
    std::thread::scope(|scope| {
        let (sender, pieces) = sync_channel(AHEAD);
        let reader = scope.spawn(move || {
            let mut checker = Checker::new(source);
            let told = source.each::<A>(&mut |rows| {
                ctx.check_interrupt()?;
                checker.check(&rows)?;
                // Nobody takes them once they cannot be stored, which is the error to be told then.
                sender.send(rows.to_batch()?).map_err(|_| StageError::Interrupted)
            })?;
            checker.finish::<A>()?;
            Ok(told)
        });
        let stored = put_pieces(ctx, &spec, A::TABLE, pieces);
        let read = reader
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let run = stored?;
        let told = match read {
            Ok(told) => told,
            Err(error) => {
                if !matches!(error, StageError::Interrupted)
                    && let Some((run, rows)) = run
                {
                    drop(rows);
                    ctx.store.remove(&[run])?;
                }
                return Err(error);
            }
        };
        tell(ctx, question, told);
        let (_, rows) = run.ok_or_else(|| source.wrong("there is no row in it".into()))?;
        Ok(rows.finish((ctx.now)())?)
    })
}

/// A run that is begun, and its rows so far.
type Put<'a> = (RunId, Append<'a>);

/// Stores pieces as they come, in a run that is begun with the first.
fn put_pieces<'a>(
    ctx: &Context<'a>,
    spec: &RunSpec,
    table: Table,
    pieces: Receiver<RecordBatch>,
) -> Result<Option<Put<'a>>, StageError> {
    let mut put = None;
    for piece in pieces {
        let (_, rows) = match &mut put {
            Some(put) => put,
            None => {
                let run = super::begin(ctx, spec)?.into_run().id;
                put.insert((run, ctx.store.append(run, table)?))
            }
        };
        rows.add(&piece)?;
    }
    Ok(put)
}

fn tell(ctx: &Context<'_>, question: &Question<'_>, told: Vec<String>) {
    for note in told {
        ctx.progress.note(&format!("{}: {note}", question.file.display()));
    }
}

/// Begins the run, puts its rows and finishes it, unless it is there.
fn store(
    ctx: &Context<'_>,
    question: &Question<'_>,
    spec: &RunSpec,
    told: Vec<String>,
    put: impl FnOnce(RunId) -> Result<(), StageError>,
) -> Result<Run, StageError> {
    tell(ctx, question, told);
    let begun = super::begin(ctx, spec)?;
    if begun.is_finished() {
        return Ok(begun.into_run());
    }
    let run = begun.into_run();
    put(run.id)?;
    Ok(ctx.store.finish(run.id, (ctx.now)())?)
}

fn spec(
    store: &Store,
    question: &Question<'_>,
    mut params: serde_json::Value,
    sources: BTreeMap<String, String>,
) -> Result<RunSpec, StageError> {
    let rows = &question.rows;
    params[TABLE] = rows.table().name().into();
    if let Some(member) = rows.member() {
        params["member"] = member.into();
    }
    let network = rows.network();
    if let Some(network) = network {
        params[NETWORK] = network.name.into();
    }
    let role = Role::Embeddings.to_string();
    let embeddings = rows
        .embeddings()
        .map(|run| input(store, &role, run, embed::STAGES));
    Ok(RunSpec {
        stage: NAME.into(),
        stage_version: VERSION,
        params,
        seed: network.map_or(0, |network| network.seed),
        inputs: embeddings.into_iter().collect::<Result<_, _>>()?,
        sources,
        source_names: BTreeMap::new(),
    })
}

/// What is read, by its digest: the file, or each of those of arrays.
fn sources(
    question: &Question<'_>,
    stopped: &dyn Fn() -> bool,
) -> Result<BTreeMap<String, String>, StageError> {
    match question.rows {
        Rows::Activations(ActivationsOf {
            arrays: Some(arrays), ..
        }) => arrays
            .given()
            .map(|(name, path)| Ok((Role::Array(name).to_string(), digest(path, stopped)?)))
            .collect(),
        _ => Ok(whole(digest(question.file, stopped)?)),
    }
}

/// What is read from one file, of that digest.
fn whole(digest: String) -> BTreeMap<String, String> {
    BTreeMap::from([(Role::File.to_string(), digest)])
}

/// BLAKE3 of a file, in hex.
fn digest(file: &Path, stopped: &dyn Fn() -> bool) -> Result<String, StageError> {
    let digest = file_digest(file, stopped).map_err(ExchangeError::io(file))?;
    Ok(digest.to_hex().to_string())
}

/// Says whether a run of these parameters is an import of another table.
pub(super) fn is_of_another(stage: &str, params: &serde_json::Value, table: Table) -> bool {
    stage == NAME && params.get(TABLE).is_some_and(|name| name != table.name())
}

/// Refuses an import of another table than is needed as `role`; says whether it is the right one.
pub(super) fn require(known: &Known, table: Table, role: &Role, refusals: &mut Refusals) -> bool {
    let wrong = is_of_another(&known.stage, &known.params, table);
    if wrong {
        let found = known
            .params
            .get(TABLE)
            .and_then(|name| name.as_str())
            .unwrap_or_default();
        refusals.refuse(
            role,
            format!("the run is an import of {found}, {table} are needed"),
        );
    }
    !wrong
}

/// Returns the class embeddings of a run that is to give them.
fn embeddings(store: &Store, run: RunId) -> Result<Vec<ClassEmbedding>, StageError> {
    input(store, &Role::Embeddings.to_string(), run, embed::STAGES)?;
    let rows: Vec<ClassEmbedding> = store.rows(run, None)?;
    if rows.is_empty() {
        return Err(StageError::Mismatch(format!("run {run} has no class embeddings")));
    }
    Ok(rows)
}
