//! Names of runs, and what opening refuses.

use super::runs::dataset;
use super::*;
use crate::store::{StoreError, layout};

#[test]
fn runs_are_named_by_id_prefix_and_alias() {
    let t = temporary();
    let runs: Vec<_> = (0..40).map(|seed| begin(&t.store, seed)).collect();
    for run in &runs {
        let id = run.to_string();
        assert_eq!(t.store.resolve(&id).unwrap(), *run);
        assert_eq!(t.store.resolve(&id.to_uppercase()).unwrap(), *run);
        for digits in [4, 5, 12, 31] {
            let same = runs
                .iter()
                .filter(|r| r.to_string().starts_with(&id[..digits]))
                .count();
            match t.store.resolve(&id[..digits]) {
                Ok(found) => assert_eq!((found, same), (*run, 1)),
                Err(StoreError::AmbiguousRun { candidates, .. }) => assert_eq!(candidates.len(), same),
                Err(other) => panic!("{other}"),
            }
        }
        let short = t.store.resolve(&id[..3]).unwrap_err().to_string();
        assert_eq!(
            short,
            format!(
                "no run is named `{}` (of an id at least 4 digits are needed)",
                &id[..3]
            )
        );
    }
    t.store.set_alias("baseline", runs[0]).unwrap();
    t.store.set_alias("bad", runs[1]).unwrap();
    assert_eq!(t.store.resolve("baseline").unwrap(), runs[0]);
    assert_eq!(t.store.alias_of(runs[0]).unwrap().as_deref(), Some("baseline"));
    assert_eq!(t.store.alias_of(runs[2]).unwrap(), None);
    // It is moved only where that is asked for.
    let error = t.store.set_alias("baseline", runs[2]).unwrap_err();
    assert!(
        matches!(&error, StoreError::AliasTaken { run, .. } if *run == runs[0]),
        "{error}"
    );
    assert_eq!(t.store.resolve("baseline").unwrap(), runs[0]);
    t.store.set_alias("baseline", runs[0]).unwrap();
    assert_eq!(t.store.move_alias("baseline", runs[2]).unwrap(), Some(runs[0]));
    assert_eq!(t.store.move_alias("baseline", runs[2]).unwrap(), None);
    assert_eq!(t.store.resolve("baseline").unwrap(), runs[2]);
    let error = t.store.resolve("basline").unwrap_err();
    assert_eq!(
        error.to_string(),
        "no run is named `basline`; did you mean `baseline`?"
    );
    let error = t.store.remove_alias("baselines").unwrap_err();
    assert!(
        matches!(&error, StoreError::UnknownAlias { near, .. } if near == &["baseline"]),
        "{error}"
    );
    t.store.remove_alias("baseline").unwrap();
    assert_eq!(t.store.aliases().unwrap(), [("bad".to_owned(), runs[1])]);
}

#[test]
fn a_prefix_of_several_runs_lists_them() {
    let t = temporary();
    // Ids are hashes, so two that begin alike are entered by hand.
    let transaction = t.store.write().unwrap();
    {
        let mut table = transaction.table(layout::RUNS).unwrap();
        for last in 0..12_u8 {
            let mut id = [0xAB; 16];
            id[15] = last;
            table.insert(&id, b"{}".as_slice()).unwrap();
        }
    }
    transaction.commit().unwrap();
    let error = t.store.resolve("abab").unwrap_err();
    let StoreError::AmbiguousRun { candidates, .. } = error else {
        panic!("{error}");
    };
    assert_eq!((candidates.len(), candidates[8].as_str()), (9, "..."));
    assert_eq!(
        t.store.resolve(&format!("{}03", "ab".repeat(15))).unwrap().0[15],
        3
    );
    assert!(matches!(
        t.store.resolve("abac"),
        Err(StoreError::UnknownRun { .. })
    ));
}

#[test]
fn aliases_that_could_be_mistaken_are_refused() {
    let t = temporary();
    let run = begin(&t.store, 1);
    for bad in [
        "",
        "face",
        "0123",
        "a b",
        "é",
        "-x",
        &"x".repeat(65),
        "..",
        "a/../b",
        "/a",
        "a/",
    ] {
        let refused = t.store.set_alias(bad, run);
        assert!(matches!(refused, Err(StoreError::BadAlias { .. })), "{bad:?}");
    }
    for good in ["faces", "v1.2/best_run-3", "abc"] {
        t.store.set_alias(good, run).unwrap();
    }
    let missing = RunId([9; 16]);
    assert!(matches!(
        t.store.set_alias("x", missing),
        Err(StoreError::UnknownRun { .. })
    ));
}

#[test]
fn names_of_data_sets_are_checked_wherever_they_are_given() {
    let t = temporary();
    let other = temporary();
    for store in [&t.store, &other.store] {
        store.put_dataset(&dataset("shirt")).unwrap();
    }
    for bad in ["", "average", "a b", "a\nb", "a/b", ".", "..", "-x"] {
        let rename = [("shirt".to_owned(), bad.to_owned())].into();
        for refused in [
            t.store.put_dataset(&dataset(bad)),
            t.store.rename_dataset("shirt", bad),
            t.store.merge(&other.store, &MergeOptions { rename }).map(drop),
        ] {
            assert!(
                matches!(refused, Err(StoreError::BadName { .. })),
                "{bad:?}: {refused:?}"
            );
        }
    }
    // No run is named where sets are.
    t.store.put_dataset(&dataset("c100")).unwrap();
    assert_eq!(t.store.datasets().unwrap(), [dataset("c100"), dataset("shirt")]);
}

#[test]
fn only_stores_of_known_formats_are_opened() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.redb");
    assert!(matches!(Store::open(&path), Err(StoreError::Missing { .. })));
    assert!(matches!(
        Store::open_read_only(&path),
        Err(StoreError::Missing { .. })
    ));
    assert!(matches!(
        Store::open(directory.path()),
        Err(StoreError::IsFolder { .. })
    ));
    for other in [b"".as_slice(), b"text", &[7; 5_000]] {
        std::fs::write(&path, other).unwrap();
        assert!(matches!(Store::open(&path), Err(StoreError::NotAStore { .. })));
        assert!(matches!(
            Store::open_or_create(&path),
            Err(StoreError::NotAStore { .. })
        ));
        assert_eq!(std::fs::read(&path).unwrap(), other, "the file was touched");
    }
    assert!(matches!(Store::create(&path), Err(StoreError::Exists { .. })));
    std::fs::remove_file(&path).unwrap();

    let foreign = redb::Database::create(&path).unwrap();
    let transaction = foreign.begin_write().unwrap();
    let table: redb::TableDefinition<'_, u64, u64> = redb::TableDefinition::new("theirs");
    transaction.open_table(table).unwrap();
    transaction.commit().unwrap();
    drop(foreign);
    assert!(matches!(
        Store::open_or_create(&path),
        Err(StoreError::NotAStore { .. })
    ));
    assert!(matches!(
        Store::open_read_only(&path),
        Err(StoreError::NotAStore { .. })
    ));
}

#[test]
fn later_formats_and_unknown_features_are_refused() {
    let mut t = temporary();
    for (key, value, back) in [("version", "4", "3"), ("features", "zstd", "")] {
        let set = |store: &Store, value: &str| {
            let transaction = store.write().unwrap();
            transaction
                .table(layout::META)
                .unwrap()
                .insert(key, value)
                .unwrap();
            transaction.commit().unwrap();
        };
        set(&t.store, value);
        drop(t.store);
        let error = Store::open(&t.path).unwrap_err();
        match key {
            "version" => assert!(
                matches!(
                    error,
                    StoreError::Newer {
                        found: 4,
                        supported: 3,
                        ..
                    }
                ),
                "{error}"
            ),
            _ => assert!(matches!(error, StoreError::UnknownFeature { .. }), "{error}"),
        }
        let database = redb::Database::open(&t.path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction
            .open_table(layout::META)
            .unwrap()
            .insert(key, back)
            .unwrap();
        transaction.commit().unwrap();
        drop(database);
        t.store = Store::open(&t.path).unwrap();
    }
}

#[test]
fn an_unfinished_creation_is_completed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.redb");
    drop(redb::Database::create(&path).unwrap());
    assert!(matches!(Store::open(&path), Err(StoreError::NotAStore { .. })));
    begin(&Store::open_or_create(&path).unwrap(), 1);
    assert_eq!(Store::open(&path).unwrap().runs().unwrap().len(), 1);
}

#[test]
fn one_writes_and_many_read() {
    let t = temporary();
    let run = begin(&t.store, 1);
    assert!(matches!(Store::open(&t.path), Err(StoreError::Locked { .. })));
    let readers: Vec<_> = (0..3).map(|_| Store::open_read_only(&t.path).unwrap()).collect();
    t.store.put(run, &[metric(0, 1.0)]).unwrap();
    for reader in &readers {
        assert_eq!(
            reader.rows::<dream_schema::Metric>(run, None).unwrap(),
            [metric(0, 1.0)]
        );
        assert!(matches!(
            reader.put(run, &[metric(1, 1.0)]),
            Err(StoreError::ReadOnly { .. })
        ));
        assert!(matches!(reader.gc(true), Err(StoreError::ReadOnly { .. })));
        assert!(reader.verify(&mut |_, _| {}).unwrap().problems.is_empty());
    }
}
