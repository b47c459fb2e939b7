//! Finished runs as a data set of Parquet files in a folder: for programs that query what has outgrown one
//! file, and for stores that take the runs in again.
//!
//! ```text
//! table=outliers/run=ID/class=5/rows.parquet     the rows of a class; other tables have no class
//! table=runs/run=ID/rows.parquet                 the run, as SQL shows it
//! _blobs/BLAKE3                                  the bytes that checkpoints name
//! _runs/ID.json                                  the run as a store keeps it, what it reads, its aliases
//! ```
//!
//! Names that begin with `_` are passed over by Spark, Hive and Hugging Face. The record in `_runs` comes
//! last: a run is there when its record is, and what an interrupted export has left is written over by the
//! next. A run that is there is not written again, so that an export can be repeated and grows by what is
//! new.

mod export;
mod import;
mod place;

use std::collections::BTreeMap;

use dream_schema::{Dataset, Run, RunId};
use serde::{Deserialize, Serialize};

use crate::error::{HasKind, Kind};
use crate::exchange::ExchangeError;
use crate::query::QueryError;
use crate::store::StoreError;

pub use export::{Exported, export};
pub use import::{Imported, import};
pub use place::{Local, Place, open};

/// What is on record of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    /// The version of this layout.
    version: u32,
    run: Run,
    aliases: Vec<String>,
    /// What is registered of the sources that the run names.
    datasets: Vec<Dataset>,
    /// The rows that it has in each table.
    rows: BTreeMap<String, u64>,
    /// The bytes that its checkpoints name.
    blobs: Vec<String>,
}

/// The version of the layout that this program writes and reads.
const VERSION: u32 = 1;

impl Record {
    fn name(run: RunId) -> String {
        format!("_runs/{run}.json")
    }
}

/// Runs that cannot go to a data set, or come from one.
#[expect(missing_docs, reason = "fields are named for what they hold")]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// A place that this program cannot use.
    #[error("{place}: {reason}")]
    Place { place: String, reason: String },
    /// A record that is none, or of a newer program.
    #[error("{place}: {reason}")]
    Record { place: String, reason: String },
    /// No run of that name is there.
    #[error("{place}: there is no run {name} in it")]
    UnknownRun { place: String, name: String },
    /// Nothing is there.
    #[error("{place}: there are no runs in it: it is no data set that an export wrote")]
    Empty { place: String },
    /// A run has another digest there than here.
    #[error("run {run} has the digest {here} here and {there} in {place}: one of them is not what was made")]
    Conflict {
        place: String,
        run: RunId,
        here: String,
        there: String,
    },
    /// Rows or bytes are missing, or are not those of the run.
    #[error("{place}: run {run}: {reason}; nothing of the run was kept")]
    Damaged {
        place: String,
        run: RunId,
        reason: String,
    },
    /// The caller asked to stop.
    #[error("interrupted; what is done is stored, the same command goes on from there")]
    Interrupted,
    /// A run cannot be exported before it is finished.
    #[error("run {run} is {status}, not finished: run its command again first")]
    Unfinished {
        run: RunId,
        status: dream_schema::Status,
    },
    /// A file.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The table of runs.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// Rows that are not those of their table.
    #[error(transparent)]
    Schema(#[from] dream_schema::SchemaError),
}

impl HasKind for ArchiveError {
    fn kind(&self) -> Kind {
        match self {
            Self::Place { .. } | Self::Unfinished { .. } => Kind::Refused,
            Self::Record { .. } | Self::Damaged { .. } => Kind::Corrupt,
            Self::UnknownRun { .. } | Self::Empty { .. } => Kind::Missing,
            Self::Conflict { .. } => Kind::Changed,
            Self::Interrupted => Kind::Interrupted,
            Self::Exchange(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Query(error) => error.kind(),
            Self::Schema(error) => error.kind(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use dream_schema::{Checkpoint, Feature, RunInput, RunSpec, Status, Table};

    use super::*;
    use crate::store::{Readable, Stamp, Store};

    fn folder_of(path: &Path) -> Box<dyn Place> {
        open(path.to_str().unwrap()).unwrap()
    }

    fn stamp() -> Stamp {
        Stamp {
            time_micros: 7,
            version: "1".into(),
            device: "cpu".into(),
            engine: None,
            host: "here".into(),
            process: None,
        }
    }

    fn spec(seed: u64, inputs: Vec<RunInput>) -> RunSpec {
        RunSpec {
            stage: "encode".into(),
            stage_version: 1,
            params: serde_json::json!({ "k": 3 }),
            seed,
            inputs,
            sources: Default::default(),
            source_names: Default::default(),
        }
    }

    /// A store with two runs, the second made from the first, and one that is not finished.
    fn store(path: &Path) -> (Store, Vec<RunId>) {
        let store = Store::create(path).unwrap();
        let feature = |class_id: u32, index: u64| Feature {
            class_id,
            class_name: format!("class {class_id}"),
            index,
            vector: vec![index as f32, -0.0, f32::MIN_POSITIVE],
            split: "train".into(),
            sample: index as i64,
        };
        let first = store.begin(&spec(1, Vec::new()), &stamp()).unwrap().into_run().id;
        let rows: Vec<Feature> = (0..3)
            .flat_map(|class| (0..5).map(move |i| feature(class, i)))
            .collect();
        store.put(first, &rows).unwrap();
        let first = store.finish(first, 9).unwrap();
        store.set_alias("first", first.id).unwrap();
        store.set_note(first.id, Some("words")).unwrap();
        let input = RunInput {
            role: "features".into(),
            run: first.id,
            digest: first.digest.unwrap(),
        };
        let second = store
            .begin(&spec(2, vec![input]), &stamp())
            .unwrap()
            .into_run()
            .id;
        let mut batch = store.batch(second);
        let blob = batch.blob(b"weights".to_vec());
        let row = Checkpoint {
            class_id: None,
            class_name: None,
            index: 0,
            name: "model".into(),
            epoch: 1,
            format: "safetensors".into(),
            size: 7,
            blake3: blob.clone(),
            blob,
        };
        batch.add(&[row]).unwrap().commit().unwrap();
        let second = store.finish(second, 11).unwrap().id;
        let open = store.begin(&spec(3, Vec::new()), &stamp()).unwrap().into_run().id;
        (store, vec![first.id, second, open])
    }

    #[test]
    fn runs_go_out_and_come_back_with_their_digests() {
        let folder = tempfile::tempdir().unwrap();
        let (from, runs) = store(&folder.path().join("a.redb"));
        let place = folder_of(&folder.path().join("set"));
        let never = || false;
        let exported = export(&from, &runs[..2], place.as_ref(), &never).unwrap();
        assert_eq!((exported.runs, exported.known, exported.rows), (2, 0, 16));
        let again = export(&from, &runs[..2], place.as_ref(), &never).unwrap();
        assert_eq!((again.runs, again.known), (0, 2));
        assert!(matches!(
            export(&from, &runs[2..], place.as_ref(), &never),
            Err(ArchiveError::Unfinished { .. })
        ));
        let path = folder
            .path()
            .join(format!("set/table=features/run={}/class=1/rows.parquet", runs[0]));
        assert!(path.exists());
        let to = Store::create(folder.path().join("b.redb")).unwrap();
        // A run brings what it came from.
        let imported = import(&to, place.as_ref(), &[runs[1].to_string()], &never).unwrap();
        assert_eq!((imported.runs.len(), imported.known, imported.rows), (2, 0, 16));
        for run in &runs[..2] {
            assert_eq!(to.run(*run).unwrap(), from.run(*run).unwrap());
        }
        assert_eq!(to.resolve("first").unwrap(), runs[0]);
        let again = import(&to, place.as_ref(), &[], &never).unwrap();
        assert_eq!((again.runs.len(), again.known), (0, 2));
        assert!(to.verify(&mut |_, _| {}).unwrap().problems.is_empty());
    }

    #[test]
    fn what_is_not_as_it_was_made_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (from, runs) = store(&folder.path().join("a.redb"));
        let set = folder.path().join("set");
        let place = folder_of(&set);
        let never = || false;
        export(&from, &runs[..2], place.as_ref(), &never).unwrap();
        let of = |class: u32| {
            set.join(format!(
                "table=features/run={}/class={class}/rows.parquet",
                runs[0]
            ))
        };
        let import = |name: &str| {
            let to = Store::create(folder.path().join(name)).unwrap();
            let error = import(&to, place.as_ref(), &[], &never).unwrap_err();
            assert!(
                to.runs()
                    .unwrap()
                    .iter()
                    .all(|run| run.status == Status::Finished),
                "{error}"
            );
            assert_eq!(to.count(runs[0], Table::Features).unwrap(), 0);
            error.to_string()
        };
        // A class is missing; then it has the rows of another.
        let whole = fs::read(of(1)).unwrap();
        fs::remove_file(of(1)).unwrap();
        let error = import("c.redb");
        assert!(
            error.contains("15 rows of features") && error.contains("10"),
            "{error}"
        );
        fs::write(of(1), &whole[..whole.len() / 2]).unwrap();
        import("d.redb");
        fs::write(of(1), &whole).unwrap();
        let record = set.join(format!("_runs/{}.json", runs[0]));
        let text = fs::read_to_string(&record).unwrap();
        let digest = from.run(runs[0]).unwrap().digest.unwrap();
        fs::write(&record, text.replace(&digest, &"0".repeat(64))).unwrap();
        let error = import("e.redb");
        assert!(error.contains(&digest), "{error}");
        // The store has it with its right digest.
        let error = super::import(&from, place.as_ref(), &[], &never).unwrap_err();
        assert!(matches!(error, ArchiveError::Conflict { .. }), "{error}");
        let error = super::export(&from, &runs[..1], place.as_ref(), &never).unwrap_err();
        assert!(matches!(error, ArchiveError::Conflict { .. }), "{error}");
        fs::write(&record, "{}").unwrap();
        assert!(import("f.redb").contains("no record of a run"));
        let empty = folder_of(&folder.path().join("empty"));
        let error = super::import(&from, empty.as_ref(), &[], &never).unwrap_err();
        assert!(matches!(error, ArchiveError::Empty { .. }), "{error}");
    }

    #[test]
    fn a_url_is_no_folder() {
        for place in ["ftp://a/b", "s3://bucket/a"] {
            let error = open(place).err().unwrap().to_string();
            assert!(error.contains("expected a folder"), "{error}");
        }
    }
}
