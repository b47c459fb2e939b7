//! Stores of older programs, which did not know all of today's tables.

use dream_schema::{Feature, Score, Table};

use super::*;

/// Takes the tables of `table` out of the file, as if the program that made the store had not known it.
fn forget(path: &std::path::Path, table: Table) {
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
        let Temporary {
            store,
            path,
            directory: _directory,
        } = t;
        drop(store);
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
