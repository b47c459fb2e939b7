//! Stores of other programs: older ones, which did not know all of today's tables, and newer ones.

use dream_schema::{Feature, Score, Table};

use super::*;
use crate::store::{Place, Problem, StoreError, layout};

/// Takes the tables of `table` out of the file, and what `meta` says of them, as if the program that made the
/// store had not known it.
fn forget(path: &std::path::Path, table: Table) {
    lose(path, table);
    let database = redb::Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut meta = transaction.open_table(layout::META).unwrap();
    let names = redb::ReadableTable::get(&meta, layout::TABLES)
        .unwrap()
        .map(|names| names.value().to_owned());
    if let Some(names) = names {
        let of_others = |name: &&str| name.split('/').next() != Some(table.name());
        let names: Vec<_> = names.split(' ').filter(of_others).collect();
        meta.insert(layout::TABLES, names.join(" ").as_str()).unwrap();
    }
    drop(meta);
    transaction.commit().unwrap();
}

/// Takes the tables of `table` out of the file.
fn lose(path: &std::path::Path, table: Table) {
    let database = redb::Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    let of_table = |name: &str| name.split('/').next() == Some(table.name());
    let names: Vec<_> = transaction
        .list_tables()
        .unwrap()
        .filter(|found| of_table(redb::TableHandle::name(found)))
        .collect();
    assert!(names.len() >= 2);
    for name in names {
        transaction.delete_table(name).unwrap();
    }
    transaction.commit().unwrap();
}

#[test]
fn a_store_from_before_a_table_existed_can_be_read_and_written() {
    in_every_format(|| {
        let t = temporary();
        let run = begin(&t.store, 1);
        t.store.put(run, &[feature(0, 0, 1.0)]).unwrap();
        let (path, _directory) = t.close();
        forget(&path, Table::Scores);
        // For reading it is as if the table were empty.
        let store = Store::open_read_only(&path).unwrap();
        assert_eq!(store.count(run, Table::Scores).unwrap(), 0);
        assert_eq!(store.rows::<Score>(run, None).unwrap(), []);
        assert_eq!(store.row::<Score>(run, 0, 0).unwrap(), None);
        assert_eq!(store.usage().unwrap().tables.len(), 1);
        assert_eq!(store.verify(&mut |_, _| {}).unwrap().problems, []);
        let snapshot = store.snapshot().unwrap();
        let scores = snapshot
            .blocks(Table::Scores, None, None, &Projection::All)
            .unwrap();
        assert_eq!(scores.count(), 0);
        let here = temporary();
        assert_eq!(
            here.store.merge(&store, &MergeOptions::default()).unwrap().rows,
            1
        );
        drop((snapshot, store));
        // Opened for writing it gets the table.
        let store = Store::open(&path).unwrap();
        assert_eq!(store.gc(false).unwrap().runs, []);
        store.put(run, &[fixture::score()]).unwrap();
        store.finish(run, 1).unwrap();
        assert_eq!(store.rows::<Score>(run, None).unwrap(), [fixture::score()]);
        assert_eq!(store.rows::<Feature>(run, None).unwrap(), [feature(0, 0, 1.0)]);
    });
}

#[test]
fn rows_in_a_table_of_a_newer_program_are_left_alone() {
    const NEW: redb::TableDefinition<'_, u64, u64> = redb::TableDefinition::new("novelties/narrow/index");
    let t = temporary();
    let run = begin(&t.store, 1);
    t.store.put(run, &[feature(0, 0, 1.0)]).unwrap();
    drop(t.store);
    let insert = |rows: u64| {
        let database = redb::Database::create(&t.path).unwrap();
        let transaction = database.begin_write().unwrap();
        let mut table = transaction.open_table(NEW).unwrap();
        (0..rows).for_each(|row| drop(table.insert(row, row).unwrap()));
        drop(table);
        transaction.commit().unwrap();
    };
    insert(0);
    Store::open(&t.path).unwrap();
    insert(1);
    let refused = |error: StoreError| {
        let text = error.to_string();
        assert!(
            text.contains("table novelties") && text.contains("newer"),
            "{text}"
        );
    };
    refused(Store::open(&t.path).unwrap_err());
    // What is known can still be read.
    let store = Store::open_read_only(&t.path).unwrap();
    assert_eq!(store.rows::<Feature>(run, None).unwrap(), [feature(0, 0, 1.0)]);
    refused(store.verify(&mut |_, _| {}).unwrap_err());
}

#[test]
fn a_table_that_is_lost_does_not_read_as_empty() {
    let t = temporary();
    let run = begin(&t.store, 1);
    t.store.put(run, &[feature(0, 0, 1.0)]).unwrap();
    t.store.put(run, &[fixture::score()]).unwrap();
    let (path, directory) = t.close();
    lose(&path, Table::Features);
    let lost = |error: StoreError| {
        let text = error.to_string();
        assert!(
            matches!(error, StoreError::Damaged { .. }) && text.contains("features/"),
            "{text}"
        );
    };
    lost(Store::open(&path).unwrap_err());
    let store = Store::open_read_only(&path).unwrap();
    lost(store.count(run, Table::Features).unwrap_err());
    lost(store.rows::<Feature>(run, None).unwrap_err());
    lost(store.row::<Feature>(run, 0, 0).unwrap_err());
    assert_eq!(store.rows::<Score>(run, None).unwrap(), [fixture::score()]);
    let problems = store.verify(&mut |_, _| {}).unwrap().problems;
    let named = |problem: &Problem| problem.place == Place::Pages && problem.reason.contains("features/");
    assert!(problems.iter().any(named), "{problems:?}");
    let saved = directory.path().join("saved.redb");
    let recovered = Store::recover(&path, &saved).unwrap();
    // The pages of a table that was dropped may hold it still, and nobody knows whether all of it.
    assert_eq!((recovered.unfinished.len(), recovered.in_part[0].run), (0, run));
    let saved = Store::open(&saved).unwrap();
    assert_eq!(saved.rows::<Score>(run, None).unwrap(), [fixture::score()]);
}
