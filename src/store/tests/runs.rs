//! The life of a run, and merging.

use dream_schema::{Dataset, Feature, Status, Table};

use super::*;
use crate::store::{Readable, StoreError};

#[test]
fn a_run_is_new_then_resumed_then_finished_for_ever() {
    in_every_format(|| {
        let t = temporary();
        let run = begin(&t.store, 1);
        t.store.put(run, &[metric(0, 1.0)]).unwrap();
        let t = t.reopen();
        let Begun::Resumed(resumed) = t.store.begin(&spec(1), &stamp(9_000)).unwrap() else {
            panic!("not resumed");
        };
        assert_eq!((resumed.id, resumed.started_at), (run, 1_001));
        let failed = t.store.fail(run, "out of memory", 9_500).unwrap();
        assert_eq!(failed.note.as_deref(), Some("out of memory"));
        let Begun::Resumed(again) = t.store.begin(&spec(1), &stamp(9_600)).unwrap() else {
            panic!("not resumed");
        };
        assert_eq!(
            (again.status, again.note, again.finished_at),
            (Status::Running, None, None)
        );
        t.store.put(run, &[metric(1, 2.0)]).unwrap();
        let sealed = t.store.finish(run, 10_000).unwrap();
        assert_eq!(
            (sealed.status, sealed.finished_at),
            (Status::Finished, Some(10_000))
        );
        assert_eq!(
            t.store.begin(&spec(1), &stamp(11_000)).unwrap(),
            Begun::Finished(sealed.clone())
        );
        for refused in [
            t.store.put(run, &[metric(2, 1.0)]),
            t.store.put(run, &[metric(0, 1.0)]),
            t.store.finish(run, 1).map(drop),
            t.store.fail(run, "no", 1).map(drop),
        ] {
            assert!(matches!(refused, Err(StoreError::Finished { .. })), "{refused:?}");
        }
        t.store.set_note(run, Some("the good one")).unwrap();
        assert_eq!(t.store.run(run).unwrap().digest, sealed.digest);
        assert_eq!(t.store.run(run).unwrap().note.as_deref(), Some("the good one"));
        assert!(t.store.verify(&mut |_, _| {}).unwrap().problems.is_empty());
    });
}

#[test]
fn the_digest_does_not_depend_on_how_rows_were_put() {
    in_every_format(|| {
        let rows: Vec<_> = (0..3)
            .flat_map(|c| (0..50).map(move |i| feature(c, i, (c as u64 * 50 + i) as f32)))
            .collect();
        let mut digests = Vec::new();
        for way in 0..3 {
            let t = temporary();
            let run = begin(&t.store, 1);
            match way {
                0 => t.store.put(run, &rows).unwrap(),
                1 => rows
                    .iter()
                    .rev()
                    .for_each(|row| t.store.put(run, std::slice::from_ref(row)).unwrap()),
                _ => rows.chunks(7).for_each(|some| t.store.put(run, some).unwrap()),
            }
            t.store.put(run, &[metric(0, 0.5)]).unwrap();
            digests.push(t.store.finish(run, 5).unwrap().digest.unwrap());
        }
        assert_eq!(digests[0], digests[1]);
        assert_eq!(digests[0], digests[2]);
        let t = temporary();
        let run = begin(&t.store, 1);
        t.store.put(run, &rows).unwrap();
        assert_ne!(digests[0], t.store.finish(run, 5).unwrap().digest.unwrap());
    });
}

#[test]
fn inputs_must_be_there_and_as_they_were() {
    in_every_format(|| {
        let t = temporary();
        let run = begin(&t.store, 1);
        let open = t.store.run(run).unwrap();
        let error = t.store.begin(&spec_from(2, &open), &stamp(1)).unwrap_err();
        assert!(matches!(error, StoreError::InputChanged { .. }), "{error}");
        let sealed = t.store.finish(run, 5).unwrap();
        t.store.begin(&spec_from(2, &sealed), &stamp(1)).unwrap();
        let other = temporary();
        let error = other.store.begin(&spec_from(2, &sealed), &stamp(1)).unwrap_err();
        assert!(matches!(error, StoreError::UnknownRun { .. }), "{error}");
    });
}

#[test]
fn a_run_that_others_read_is_removed_only_with_them() {
    in_every_format(|| {
        let t = temporary();
        let a = t.store.finish(begin(&t.store, 1), 5).unwrap();
        let b = t.store.begin(&spec_from(2, &a), &stamp(1)).unwrap().into_run();
        t.store.put(b.id, &[feature(0, 0, 1.0)]).unwrap();
        let b = t.store.finish(b.id, 6).unwrap();
        let c = t.store.begin(&spec_from(3, &b), &stamp(2)).unwrap().into_run();
        t.store.set_alias("mid", b.id).unwrap();
        assert_eq!(t.store.dependents(a.id).unwrap(), [b.id, c.id]);
        let error = t.store.remove(&[a.id, b.id]).unwrap_err();
        assert!(
            matches!(&error, StoreError::InUse { by, .. } if by == &[c.id]),
            "{error}"
        );
        assert_eq!(t.store.runs().unwrap().len(), 3);
        t.store.remove(&[c.id, b.id]).unwrap();
        assert_eq!(t.store.runs().unwrap().len(), 1);
        assert_eq!(t.store.count(b.id, Table::Features).unwrap(), 0);
        assert!(t.store.aliases().unwrap().is_empty());
    });
}

#[test]
fn shards_merged_have_the_digest_of_the_whole() {
    in_every_format(|| {
        let rows: Vec<_> = (0..4)
            .flat_map(|c| (0..30).map(move |i| feature(c, i, i as f32)))
            .collect();
        let whole = temporary();
        let run = begin(&whole.store, 1);
        whole.store.put(run, &rows).unwrap();
        let expected = whole.store.finish(run, 5).unwrap();
        let shards: Vec<_> = (0..3).map(|_| temporary()).collect();
        for (number, shard) in shards.iter().enumerate() {
            assert_eq!(begin(&shard.store, 1), run);
            let own = rows
                .iter()
                .filter(|row| row.index as usize % 3 == number || row.index == 0);
            shard.store.put(run, &own.cloned().collect::<Vec<_>>()).unwrap();
        }
        let target = temporary();
        for shard in &shards {
            target
                .store
                .merge(&shard.store, &MergeOptions::default())
                .unwrap();
        }
        // A second time changes nothing.
        let again = target
            .store
            .merge(&shards[0].store, &MergeOptions::default())
            .unwrap();
        assert_eq!((again.rows, again.grown_runs.len()), (0, 0));
        assert_eq!(target.store.rows::<Feature>(run, None).unwrap(), rows);
        let merged = target.store.finish(run, 7).unwrap();
        assert_eq!(merged.digest, expected.digest);
        target
            .store
            .merge(&whole.store, &MergeOptions::default())
            .unwrap();
        target
            .store
            .merge(&shards[1].store, &MergeOptions::default())
            .unwrap();
        assert!(target.store.verify(&mut |_, _| {}).unwrap().problems.is_empty());
    });
}

#[test]
fn merging_takes_over_everything_and_refuses_what_differs() {
    in_every_format(|| {
        let from = temporary();
        let run = begin(&from.store, 1);
        let mut batch = from.store.batch(run);
        batch.blob(b"weights".as_slice());
        batch.add(&[checkpoint(0, b"weights")]).unwrap().commit().unwrap();
        from.store.finish(run, 5).unwrap();
        from.store.set_alias("best", run).unwrap();
        let set = dataset("a");
        from.store.put_dataset(&set).unwrap();

        let to = temporary();
        let merged = to.store.merge(&from.store, &MergeOptions::default()).unwrap();
        assert_eq!((merged.new_runs, merged.rows, merged.blobs), (vec![run], 1, 1));
        assert_eq!(to.store.resolve("best").unwrap(), run);
        assert_eq!(to.store.dataset("a").unwrap(), set);
        assert_eq!(to.store.run(run).unwrap(), from.store.run(run).unwrap());

        let other = temporary();
        let same = begin(&other.store, 1);
        let second = begin(&other.store, 2);
        other.store.put(same, &[metric(0, 1.0)]).unwrap();
        other.store.finish(same, 5).unwrap();
        let error = to
            .store
            .merge(&other.store, &MergeOptions::default())
            .unwrap_err();
        assert!(matches!(error, StoreError::MergeConflict { .. }), "{error}");
        assert!(matches!(to.store.run(second), Err(StoreError::UnknownRun { .. })));

        // Rows that a finished run does not have.
        let other = temporary();
        let same = begin(&other.store, 1);
        other.store.put(same, &[metric(0, 1.0)]).unwrap();
        let error = to
            .store
            .merge(&other.store, &MergeOptions::default())
            .unwrap_err();
        assert!(matches!(error, StoreError::Finished { .. }), "{error}");
    });
}

#[test]
fn merging_takes_notes_where_there_are_none() {
    in_every_format(|| {
        let [ours, theirs] = [(); 2].map(|()| temporary());
        let both: Vec<_> = (0..4).map(|seed| begin(&ours.store, seed)).collect();
        for (seed, run) in (0..).zip(&both) {
            assert_eq!(begin(&theirs.store, seed), *run);
        }
        let [new, kept, same, open] = both[..] else {
            unreachable!()
        };
        for run in [new, kept, same] {
            ours.store.finish(run, 5).unwrap();
            theirs.store.finish(run, 5).unwrap();
        }
        ours.store.set_note(kept, Some("ours")).unwrap();
        ours.store.set_note(same, Some("one")).unwrap();
        for (run, note) in [(new, "theirs"), (kept, "theirs"), (same, "one"), (open, "half")] {
            theirs.store.set_note(run, Some(note)).unwrap();
        }
        let merged = ours.store.merge(&theirs.store, &MergeOptions::default()).unwrap();
        assert_eq!((merged.new_notes.len(), merged.kept_notes), (2, vec![kept]));
        let note = |run| ours.store.run(run).unwrap().note;
        let notes = [new, kept, same, open].map(|run| note(run).unwrap());
        assert_eq!(notes, ["theirs", "ours", "one", "half"]);
    });
}

pub fn dataset(name: &str) -> Dataset {
    Dataset {
        name: name.into(),
        kind: "idx".into(),
        path: "/data".into(),
        digest: "ab".into(),
        splits: [("train".to_owned(), 3)].into(),
        classes: vec!["x".into()],
        ..Dataset::default()
    }
}

#[test]
fn a_data_set_keeps_its_pictures_and_may_move() {
    in_every_format(|| {
        let t = temporary();
        t.store.put_dataset(&dataset("fashion")).unwrap();
        let moved = Dataset {
            path: "/other".into(),
            ..dataset("fashion")
        };
        t.store.put_dataset(&moved).unwrap();
        assert_eq!(t.store.datasets().unwrap(), [moved]);
        let changed = Dataset {
            digest: "cd".into(),
            ..dataset("fashion")
        };
        let error = t.store.put_dataset(&changed).unwrap_err();
        assert!(matches!(error, StoreError::DatasetChanged { .. }), "{error}");
        let error = t.store.dataset("fasion").unwrap_err();
        assert!(
            matches!(&error, StoreError::UnknownDataset { near, .. } if near == &["fashion"]),
            "{error}"
        );
        t.store.remove_dataset("fashion").unwrap();
        assert!(t.store.datasets().unwrap().is_empty());
    });
}
