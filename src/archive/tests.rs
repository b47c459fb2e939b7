//! Runs that go out and come back, by a folder and by a bucket.

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use dream_schema::{Checkpoint, Feature, RunInput, RunSpec, Status, Table};
use object_store::memory::InMemory;

use super::bucket::Bucket;
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
    // More than one part of an upload.
    let weights: Vec<u8> = (0..20 << 17u32).flat_map(u64::to_le_bytes).collect();
    let size = weights.len() as i64;
    let blob = batch.blob(weights);
    let row = Checkpoint {
        class_id: None,
        class_name: None,
        index: 0,
        name: "model".into(),
        epoch: 1,
        format: "safetensors".into(),
        size,
        blake3: blob.clone(),
        blob,
    };
    batch.add(&[row]).unwrap().commit().unwrap();
    let second = store.finish(second, 11).unwrap().id;
    let open = store.begin(&spec(3, Vec::new()), &stamp()).unwrap().into_run().id;
    (store, vec![first.id, second, open])
}

/// A folder of a bucket in memory.
fn bucket() -> Box<dyn Place> {
    let store = Arc::new(InMemory::new());
    Box::new(Bucket::new(store, "of/mine".into(), "s3://bucket/of/mine/").unwrap())
}

#[test]
fn runs_go_out_and_come_back_with_their_digests() {
    let folder = tempfile::tempdir().unwrap();
    let (from, runs) = store(&folder.path().join("a.redb"));
    let never = || false;
    for (number, place) in [folder_of(&folder.path().join("set")), bucket()]
        .iter()
        .enumerate()
    {
        let place = place.as_ref();
        let exported = export(&from, &runs[..2], place, &never).unwrap();
        assert_eq!((exported.runs, exported.known, exported.rows), (2, 0, 16));
        let again = export(&from, &runs[..2], place, &never).unwrap();
        assert_eq!((again.runs, again.known, again.rows), (0, 2, 0));
        assert!(matches!(
            export(&from, &runs[2..], place, &never),
            Err(ArchiveError::Unfinished { .. })
        ));
        let class = |class: u32| format!("table=features/run_id={}/class={class}/rows.parquet", runs[0]);
        let names = place.list("table=features", &never).unwrap();
        assert_eq!(names, [class(0), class(1), class(2)]);
        let to = Store::create(folder.path().join(format!("b{number}.redb"))).unwrap();
        // A run brings what it came from.
        let imported = import(&to, place, &[runs[1].to_string()], &never).unwrap();
        assert_eq!((imported.runs.len(), imported.known, imported.rows), (2, 0, 16));
        for run in &runs[..2] {
            assert_eq!(to.run(*run).unwrap(), from.run(*run).unwrap());
        }
        assert_eq!(to.resolve("first").unwrap(), runs[0]);
        let again = import(&to, place, &[], &never).unwrap();
        assert_eq!((again.runs.len(), again.known), (0, 2));
        assert!(to.verify(&mut |_, _| {}).unwrap().problems.is_empty());
    }
}

#[test]
fn a_repeated_export_brings_aliases_and_notes_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let (from, runs) = store(&folder.path().join("a.redb"));
    let never = || false;
    for place in [folder_of(&folder.path().join("set")), bucket()] {
        let place = place.as_ref();
        from.set_alias("first", runs[0]).unwrap();
        from.set_note(runs[0], Some("words")).unwrap();
        export(&from, &runs[..2], place, &never).unwrap();
        let row = format!("table=runs/run_id={}/rows.parquet", runs[0]);
        let before = place.bytes(&row, &never).unwrap();
        // The alias goes to the second run, which alone is exported: the first loses it there, too.
        from.remove_alias("first").unwrap();
        from.set_alias("first", runs[1]).unwrap();
        let again = export(&from, &runs[1..2], place, &never).unwrap();
        assert_eq!((again.runs, again.known, again.updated), (0, 1, 2));
        let record = |run: usize| import::record(place, runs[run], &never).unwrap().unwrap();
        assert_eq!(record(0).aliases, [""; 0]);
        assert_eq!(record(1).aliases, ["first"]);
        assert_ne!(place.bytes(&row, &never).unwrap(), before);
        from.set_note(runs[0], Some("other words")).unwrap();
        let again = export(&from, &runs[..2], place, &never).unwrap();
        assert_eq!((again.known, again.updated), (2, 1));
        assert_eq!(record(0).run.note.as_deref(), Some("other words"));
        let again = export(&from, &runs[..2], place, &never).unwrap();
        assert_eq!((again.known, again.updated, again.restored), (2, 0, 0));
        from.remove_alias("first").unwrap();
    }
}

#[test]
fn files_of_a_run_that_are_missing_are_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let (from, runs) = store(&folder.path().join("a.redb"));
    let set = folder.path().join("set");
    let place = folder_of(&set);
    let never = || false;
    export(&from, &runs[..2], place.as_ref(), &never).unwrap();
    let [blob] = &import::record(place.as_ref(), runs[1], &never)
        .unwrap()
        .unwrap()
        .blobs[..]
    else {
        panic!("the second run has one checkpoint");
    };
    let files = [
        format!("table=features/run_id={}/class=1/rows.parquet", runs[0]),
        format!("table=runs/run_id={}/rows.parquet", runs[0]),
        format!("_blobs/{blob}"),
    ];
    for file in &files {
        fs::remove_file(set.join(file)).unwrap();
    }
    let again = export(&from, &runs[..2], place.as_ref(), &never).unwrap();
    assert_eq!(
        (again.runs, again.known, again.restored, again.updated),
        (0, 2, 3, 0)
    );
    let to = Store::create(folder.path().join("b.redb")).unwrap();
    let imported = super::import(&to, place.as_ref(), &[], &never).unwrap();
    assert_eq!((imported.runs.len(), imported.rows), (2, 16));
}

#[test]
fn a_run_is_in_a_bucket_once_all_of_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (from, runs) = store(&folder.path().join("a.redb"));
    let to = Store::create(folder.path().join("b.redb")).unwrap();
    let never = || false;
    let place = bucket();
    // The caller asks to stop a look later each time.
    for looks in 0.. {
        let asked = Cell::new(0);
        let cancelled = || asked.replace(asked.get() + 1) >= looks;
        match export(&from, &runs[..2], place.as_ref(), &cancelled) {
            Err(ArchiveError::Interrupted) => {
                let whole = super::import::runs(place.as_ref(), &never).unwrap();
                assert!(!whole.contains(&runs[1]), "{looks}");
            }
            done => {
                assert!(done.is_ok() && looks >= 4, "{looks}: {done:?}");
                break;
            }
        }
    }
    let name = format!("table=features/run_id={}/class=1/rows.parquet", runs[0]);
    let whole = place.bytes(&name, &never).unwrap().unwrap();
    place.put(&name, &whole[..whole.len() / 2], &never).unwrap();
    import(&to, place.as_ref(), &[], &never).unwrap_err();
    assert!(to.runs().unwrap().is_empty());
    place.put(&name, &whole, &never).unwrap();
    let imported = import(&to, place.as_ref(), &[], &never).unwrap();
    assert_eq!((imported.runs.len(), imported.rows), (2, 16));
    assert!(place.bytes("_blobs/none", &never).unwrap().is_none());
    assert!(place.read("_blobs/none", &never).unwrap().is_none());
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
            "table=features/run_id={}/class={class}/rows.parquet",
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
    assert!(matches!(error, ArchiveError::NoFolder { .. }), "{error}");
    fs::create_dir(folder.path().join("empty")).unwrap();
    let error = super::import(&from, empty.as_ref(), &[], &never).unwrap_err();
    assert!(matches!(error, ArchiveError::Empty { .. }), "{error}");
}

#[test]
fn an_address_is_no_folder() {
    let said = |place: &str| open(place).err().unwrap().to_string();
    assert!(said("ftp://a/b").contains("expected a folder, s3://BUCKET/FOLDER"));
    #[cfg(not(feature = "cloud"))]
    for place in ["s3://bucket/a", "gs://bucket", "az://container/a"] {
        assert!(said(place).contains("feature `cloud`"), "{place}");
    }
}
