//! Partial runs: how they come about, and that nothing takes what is left of one for its beginning.

use dream_schema::{Feature, Status, Table};

use super::mend::{fill, problems, put_all, repair, spoil, value};
use super::*;
use crate::store::face::Viewed;
use crate::store::{Fix, Place, ProblemKind, StoreError, layout};

/// Takes the features of a class out of a store, as damage does, and lets it be repaired.
fn lose(store: &Store, run: RunId, class: u32) {
    let writer = store.write().unwrap();
    for strip in FORMAT.get().strips(Table::Features) {
        let blocks = strip.blocks_name();
        let blocks = redb::TableDefinition::<&[u8; 28], &[u8]>::new(&blocks);
        writer.remove(blocks, &layout::key(run, class, 0)).unwrap();
    }
    writer.commit().unwrap();
    let report = store.verify(&mut |_, _| {}).unwrap();
    store.repair(&report, Default::default()).unwrap();
    assert_eq!(store.run(run).unwrap().status, Status::Partial);
}

/// Returns what `meta` says that a program must know.
fn features(store: &Store) -> String {
    let view = Viewed::view(store).unwrap();
    let meta = view.table(layout::META).unwrap();
    let features = meta.get("features").unwrap().unwrap();
    features.value().to_owned()
}

fn elsewhere() -> Stamp {
    Stamp {
        engine: Some("another engine".into()),
        ..stamp(7)
    }
}

#[test]
fn a_run_recovered_with_a_gap_is_made_from_the_beginning() {
    in_every_format(|| {
        let t = temporary();
        let runs = fill(&t.store);
        let last = &runs[2];
        let (path, directory) = t.close();
        let vector = [value(3, 1, 20), -value(3, 1, 20)];
        let vector: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
        spoil(&path, &vector);
        let new = directory.path().join("new.redb");
        let recovered = Store::recover(&path, &new).unwrap();
        assert_eq!((recovered.whole.len(), recovered.in_part[0].run), (2, last.id));
        let store = Store::open(&new).unwrap();
        // What is left can be read, and both people and older programs are told what it is.
        assert_eq!(store.run(last.id).unwrap().result(), last.digest.as_deref());
        assert_eq!(store.rows::<Feature>(last.id, None).unwrap().len(), 100);
        assert_eq!(features(&store), layout::PARTIAL);
        let found = problems(&store);
        assert_eq!(
            (&found[0].place, found[0].kind),
            (&Place::Run(last.id), ProblemKind::Missing)
        );
        assert_eq!(store.gc(true).unwrap().blobs, []);
        // Recovered once more it is the same, and repair alone leaves it as it is.
        let again = Store::recover(&new, &directory.path().join("again.redb")).unwrap();
        assert_eq!(again.in_part[0].rows, recovered.in_part[0].rows);
        assert_eq!(repair(&store, None).left.len(), 1);
        let begun = store.begin(&last.spec, &stamp(5)).unwrap();
        assert!(matches!(begun, Begun::Remade(_)), "{begun:?}");
        assert_eq!(store.rows::<Feature>(last.id, None).unwrap(), []);
        assert_eq!(features(&store), "");
        // Interrupted now it is a beginning.
        let rows = [feature(0, 0, value(3, 0, 0))];
        store.put(last.id, &rows).unwrap();
        let begun = store.begin(&last.spec, &stamp(6)).unwrap();
        assert!(matches!(begun, Begun::Resumed(_)), "{begun:?}");
        put_all(&store, last.id, 3);
        let finished = store.finish(last.id, 9).unwrap();
        assert_eq!((finished.digest, finished.former), (last.digest.clone(), None));
        assert_eq!(problems(&store), []);
    });
}

#[test]
fn another_result_than_the_former_is_refused() {
    let t = temporary();
    let runs = fill(&t.store);
    let (read, last) = (&runs[0], &runs[2]);
    for (run, stamp) in [(last, stamp(5)), (read, elsewhere())] {
        lose(&t.store, run.id, 1);
        t.store.begin(&run.spec, &stamp).unwrap();
        t.store.put(run.id, &[metric(0, 7.0)]).unwrap();
        let error = t.store.finish(run.id, 9).unwrap_err();
        assert!(matches!(error, StoreError::OtherResult { .. }), "{error}");
        let refused = t.store.run(run.id).unwrap();
        assert_eq!(
            (refused.status, refused.result()),
            (Status::Partial, run.digest.as_deref())
        );
        assert_eq!(t.store.count(run.id, Table::Metrics).unwrap(), 0);
        // Made as it was, it is finished.
        t.store.begin(&run.spec, &stamp).unwrap();
        put_all(&t.store, run.id, run.spec.seed);
        assert_eq!(t.store.finish(run.id, 9).unwrap().digest, run.digest);
    }
    assert_eq!(problems(&t.store), []);
}

#[test]
fn an_engine_of_another_kind_may_round_otherwise_where_nothing_was_made_from_the_run() {
    let t = temporary();
    let here = Stamp {
        engine: Some("an engine".into()),
        ..stamp(1)
    };
    let run = t.store.begin(&spec(5), &here).unwrap().into_run();
    put_all(&t.store, run.id, 5);
    let whole = t.store.finish(run.id, 9).unwrap();
    let make = |stamp: &Stamp, rows: &dyn Fn()| {
        t.store.begin(&run.spec, stamp).unwrap();
        rows();
        t.store.finish(run.id, 9)
    };
    let other = || t.store.put(run.id, &[metric(0, 7.0)]).unwrap();
    let same = || put_all(&t.store, run.id, 5);
    let refused = |stamp: &Stamp| {
        lose(&t.store, run.id, 1);
        let error = make(stamp, &other).unwrap_err();
        assert!(matches!(error, StoreError::OtherResult { .. }), "{error}");
        assert_eq!(make(&here, &same).unwrap(), whole);
    };
    refused(&here);
    let reader = t.store.begin(&spec_from(6, &whole), &here).unwrap().into_run().id;
    refused(&elsewhere());
    t.store.remove(&[reader]).unwrap();
    lose(&t.store, run.id, 1);
    let finished = make(&elsewhere(), &other).unwrap();
    assert!(finished.digest != whole.digest && finished.former.is_none());
}

#[test]
fn a_partial_run_is_completed_by_any_store_that_has_it_whole() {
    in_every_format(|| {
        let sound = temporary();
        let runs = fill(&sound.store);
        let id = runs[1].id;
        let broken = || {
            let t = temporary();
            fill(&t.store);
            t.store.set_note(id, Some("mine")).unwrap();
            lose(&t.store, id, 1);
            t
        };
        let is_whole = |store: &Store| {
            let run = store.run(id).unwrap();
            assert_eq!(
                (&run.digest, run.status, run.note.as_deref()),
                (&runs[1].digest, Status::Finished, Some("mine"))
            );
            assert_eq!(problems(store), []);
            assert_eq!(features(store), "");
        };
        let options = MergeOptions::default();
        let t = broken();
        t.store.merge(&sound.store, &options).unwrap();
        is_whole(&t.store);
        // Its dependent, which verify found to be without its input, is put right by the same repair.
        let t = broken();
        let repaired = repair(&t.store, Some(&sound.store));
        assert!(
            matches!(repaired.fixes[..], [Fix::Rows { run, .. }] if run == id),
            "{repaired:?}"
        );
        assert_eq!(repaired.left, []);
        is_whole(&t.store);
        // Two of which each has what the other lacks.
        let other = temporary();
        fill(&other.store);
        lose(&other.store, id, 2);
        let t = broken();
        t.store.merge(&other.store, &options).unwrap();
        is_whole(&t.store);
        let t = broken();
        assert_eq!(repair(&t.store, Some(&other.store)).left, []);
        is_whole(&t.store);
        // Of two that lack the same, both stay what they are; and a whole one gets nothing from a partial
        // one.
        let (t, other) = (broken(), broken());
        t.store.merge(&other.store, &options).unwrap();
        assert_eq!(t.store.run(id).unwrap().status, Status::Partial);
        assert_eq!(repair(&t.store, Some(&other.store)).fixes, []);
        sound.store.merge(&other.store, &options).unwrap();
        assert_eq!(sound.store.run(id).unwrap().digest, runs[1].digest);
        // A store that does not have it takes it as it is.
        let t = temporary();
        t.store.merge(&other.store, &options).unwrap();
        assert_eq!(t.store.run(id).unwrap(), other.store.run(id).unwrap());
        assert_eq!(features(&t.store), layout::PARTIAL);
        t.store.remove(&[runs[2].id, id]).unwrap();
        assert_eq!(features(&t.store), "");
    });
}

#[test]
fn rows_of_a_partial_run_never_become_those_of_an_interrupted_one() {
    let options = MergeOptions::default();
    let broken = temporary();
    let runs = fill(&broken.store);
    let run = &runs[0];
    lose(&broken.store, run.id, 1);
    let begun = || {
        let t = temporary();
        t.store.begin(&run.spec, &stamp(5)).unwrap();
        t.store.put(run.id, &[feature(0, 0, value(1, 0, 0))]).unwrap();
        t
    };
    let is_beginning = |store: &Store| {
        let record = store.run(run.id).unwrap();
        assert_eq!(
            (record.status, record.result()),
            (Status::Running, run.digest.as_deref())
        );
        assert_eq!(store.rows::<Feature>(run.id, None).unwrap().len(), 1);
    };
    let t = begun();
    t.store.merge(&broken.store, &options).unwrap();
    is_beginning(&t.store);
    broken.store.merge(&begun().store, &options).unwrap();
    is_beginning(&broken.store);
    // Shards that come together are the run.
    let shard = temporary();
    shard.store.begin(&run.spec, &stamp(5)).unwrap();
    put_all(&shard.store, run.id, 1);
    broken.store.merge(&shard.store, &options).unwrap();
    assert_eq!(broken.store.finish(run.id, 9).unwrap().digest, run.digest);
}

#[test]
fn an_interrupted_run_that_lost_rows_is_partial() {
    in_every_format(|| {
        let t = temporary();
        let run = begin(&t.store, 1);
        put_all(&t.store, run, 1);
        let (path, directory) = t.close();
        let copy = directory.path().join("copy.redb");
        std::fs::copy(&path, &copy).unwrap();
        let store = Store::open(&path).unwrap();
        lose(&store, run, 1);
        assert_eq!(store.run(run).unwrap().result(), None);
        // Nothing says that a run which was never finished is whole elsewhere.
        let copy = Store::open_read_only(&copy).unwrap();
        assert_eq!(repair(&store, Some(&copy)).fixes, []);
        // An index without entries that are there as blocks has lost them.
        drop(store);
        std::fs::remove_file(&path).unwrap();
        drop(copy);
        std::fs::rename(directory.path().join("copy.redb"), &path).unwrap();
        let store = Store::open(&path).unwrap();
        let writer = store.write().unwrap();
        for strip in FORMAT.get().strips(Table::Features) {
            let index = strip.index_name();
            let key = layout::key(run, 1, 0);
            match FORMAT.get() {
                Format::V1 => {
                    let index = redb::TableDefinition::<&[u8; 28], &[u8; 44]>::new(&index);
                    writer.remove(index, &key).unwrap();
                }
                Format::V2 | Format::V3 => {
                    let index = redb::TableDefinition::<&[u8; 28], &[u8]>::new(&index);
                    writer.remove(index, &key).unwrap();
                }
            }
        }
        writer.commit().unwrap();
        // The commit before has them.
        (0..2).for_each(|_| store.set_note(run, Some("later")).unwrap());
        drop(store);
        let saved = Store::recover(&path, &directory.path().join("saved.redb")).unwrap();
        assert_eq!((saved.unfinished.len(), saved.in_part.len()), (0, 1), "{saved:?}");
    });
}

#[test]
fn what_earlier_programs_saved_in_part_is_partial() {
    for note in [
        "not all of its rows could be recovered; asked for again, it is completed",
        "rows of it were lost; asked for again, it is completed",
    ] {
        let t = temporary();
        let run = begin(&t.store, 1);
        t.store.put(run, &[feature(0, 5, 1.0)]).unwrap();
        t.store.fail(run, note, 5).unwrap();
        let t = t.reopen();
        assert_eq!(t.store.run(run).unwrap().status, Status::Partial);
        assert_eq!(problems(&t.store)[0].kind, ProblemKind::Missing);
        let begun = t.store.begin(&spec(1), &stamp(5)).unwrap();
        assert!(matches!(begun, Begun::Remade(_)), "{begun:?}");
        assert_eq!(t.store.count(run, Table::Features).unwrap(), 0);
    }
}
