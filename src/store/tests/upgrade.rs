//! From older formats to the newest, and what interrupts it.

use dream_schema::{Feature, Latent, Metric, Table};

use super::disk::Disk;
use super::*;
use crate::store::face::Viewed;
use crate::store::{StoreError, Upgraded};

/// Bytes of a transaction: a few blocks of these tests.
const STEP: u64 = 10_000;

/// Fills a store with a finished run and an unfinished one.
fn fill(store: &Store) {
    let first = begin(store, 1);
    let features: Vec<_> = (0..3)
        .flat_map(|class| (0..40).map(move |i| feature(class, i, i as f32)))
        .collect();
    features
        .chunks(7)
        .for_each(|rows| store.put(first, rows).unwrap());
    let latents: Vec<_> = (0..6).map(|index| latent(1, 2 * index, 3_000)).collect();
    store.put(first, &latents).unwrap();
    let mut batch = store.batch(first);
    batch.blob(b"weights".as_slice());
    batch.add(&[checkpoint(0, b"weights")]).unwrap().commit().unwrap();
    let sealed = store.finish(first, 2).unwrap();
    let second = store
        .begin(&spec_from(2, &sealed), &stamp(3_000))
        .unwrap()
        .into_run()
        .id;
    (0..5).for_each(|i| store.put(second, &[metric(i, 0.5)]).unwrap());
    store.set_alias("first", first).unwrap();
}

/// Returns all that a store holds.
fn contents(store: &Store) -> (Vec<Run>, Vec<Feature>, Vec<Latent>, Vec<Metric>) {
    let runs = store.runs().unwrap();
    let [first, second] = [runs[0].id, runs[1].id];
    assert_eq!(store.resolve("first").unwrap(), first);
    assert_eq!(store.verify(&mut |_, _| {}).unwrap().problems, []);
    (
        runs,
        store.rows(first, None).unwrap(),
        store.rows(first, None).unwrap(),
        store.rows(second, None).unwrap(),
    )
}

fn old_disk() -> Disk {
    let disk = Disk::new(Vec::new(), usize::MAX);
    let store = Store::with_backend_as("disk", Format::V1, disk.clone()).unwrap();
    fill(&store);
    drop(store);
    disk
}

fn open(bytes: Vec<u8>, left: usize) -> (Disk, Result<Store, StoreError>) {
    let disk = Disk::new(bytes, left);
    (disk.clone(), Store::with_backend("disk", disk))
}

#[test]
fn the_fixture_is_upgraded_and_holds_what_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.redb");
    std::fs::write(&path, fixture::bytes(Format::V1)).unwrap();
    let reader = Store::open_read_only(&path).unwrap();
    let mut store = Store::open(&path).unwrap();
    let plan = store.upgrade_plan().unwrap().unwrap();
    assert_eq!((plan.from, plan.to), (1, 3));
    assert!(plan.room > plan.bytes && plan.bytes > 0, "{plan:?}");
    let mut seen = Vec::new();
    let done = store.upgrade(&mut |now, all| seen.push((now, all))).unwrap();
    assert_eq!(
        done,
        Upgraded {
            runs: 2,
            resumed: false
        }
    );
    assert!(seen.is_sorted() && seen.last() == Some(&(2 * plan.bytes, 2 * plan.bytes)));
    fixture::check(&store);
    assert_eq!(store.view().unwrap().format, Format::NEWEST);
    assert_eq!(store.upgrade_plan().unwrap(), None);
    assert_eq!(store.upgrade(&mut |_, _| {}).unwrap(), Upgraded::default());
    // Who reads beside it follows, and the old tables are gone.
    fixture::check(&reader);
    drop((reader, store));
    let database = redb::Database::open(&path).unwrap();
    let transaction = redb::ReadableDatabase::begin_read(&database).unwrap();
    let names = transaction.list_tables().unwrap();
    let names: Vec<_> = names
        .map(|table| redb::TableHandle::name(&table).to_owned())
        .collect();
    assert!(!names.contains(&"features/index".to_owned()), "{names:?}");
}

#[test]
fn an_upgrade_interrupted_anywhere_is_taken_up_and_loses_nothing() {
    let old = old_disk().after_kill();
    let expected = contents(&open(old.clone(), usize::MAX).1.unwrap());
    let (whole, store) = open(old.clone(), usize::MAX);
    let mut store = store.unwrap();
    let before = whole.used();
    store.upgrade_by(STEP, &mut |_, _| {}).unwrap();
    assert_eq!(contents(&store), expected);
    drop(store);
    assert!(whole.used() > before + 30, "{}", whole.used());
    let mut resumed = 0;
    for left in 0..whole.used() {
        let (disk, store) = open(old.clone(), left);
        if let Ok(mut store) = store {
            // What is left may suffice for all but closing the store.
            drop(store.upgrade_by(STEP, &mut |_, _| {}));
        }
        for image in [disk.after_kill(), disk.after_power_loss(left as u64)] {
            let mut store = open(image, usize::MAX).1.unwrap();
            assert_eq!(contents(&store), expected);
            let done = store.upgrade_by(STEP, &mut |_, _| {}).unwrap();
            resumed += usize::from(done.resumed);
            assert_eq!(store.view().unwrap().format, Format::NEWEST);
            assert_eq!(contents(&store), expected);
        }
    }
    assert!(resumed > 10, "{resumed}");
}

/// Copies a part of a store of format 1, as an upgrade that is interrupted does.
fn interrupted() -> Store {
    let old = old_disk().after_kill();
    for left in (0..20_000).step_by(5) {
        let (disk, store) = open(old.clone(), left);
        if let Ok(mut store) = store {
            drop(store.upgrade_by(STEP, &mut |_, _| {}));
        }
        let store = open(disk.after_kill(), usize::MAX).1.unwrap();
        let copied = store.view_as(Format::NEWEST).unwrap();
        let copied = copied
            .entries(Format::NEWEST.keys(Table::Metrics), None, None)
            .unwrap();
        if !copied.is_empty() && store.view().unwrap().format == Format::V1 {
            return store;
        }
    }
    unreachable!()
}

#[test]
fn what_was_written_between_two_attempts_is_taken_along() {
    let mut store = interrupted();
    let runs = store.runs().unwrap();
    store.put(runs[1].id, &[metric(7, 1.0)]).unwrap();
    store.finish(runs[1].id, 9).unwrap();
    let expected = contents(&store);
    store.upgrade_by(STEP, &mut |_, _| {}).unwrap();
    assert_eq!(contents(&store), expected);
    assert_eq!(store.view().unwrap().format, Format::NEWEST);
}

#[test]
fn what_was_removed_between_two_attempts_stays_removed() {
    let mut store = interrupted();
    let runs = store.runs().unwrap();
    store.remove(&[runs[1].id]).unwrap();
    store.upgrade_by(STEP, &mut |_, _| {}).unwrap();
    assert_eq!(store.view().unwrap().format, Format::NEWEST);
    assert_eq!(store.runs().unwrap(), runs[..1]);
    assert_eq!(store.count(runs[1].id, Table::Metrics).unwrap(), 0);
    assert_eq!(store.gc(true).unwrap().runs, []);
    assert_eq!(store.verify(&mut |_, _| {}).unwrap().problems, []);
}

#[test]
fn a_store_with_a_bad_block_stays_as_it_is() {
    FORMAT.set(Format::V1);
    let t = temporary();
    FORMAT.set(Format::NEWEST);
    let run = begin(&t.store, 1);
    t.store
        .put(run, &[feature(3, 0, 1.25), feature(3, 1, 2.5)])
        .unwrap();
    t.store.put(run, &[feature(4, 0, 7.0)]).unwrap();
    t.store.finish(run, 1).unwrap();
    let (path, _directory) = t.close();
    let needle: Vec<u8> = [1.25_f32, -1.25, 0.5, 2.5]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    faults::flip(&path, &needle);
    let mut store = Store::open(&path).unwrap();
    let error = store.upgrade(&mut |_, _| {}).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { part: 3, .. }), "{error}");
    assert_eq!(store.rows::<Feature>(run, Some(4)).unwrap(), [feature(4, 0, 7.0)]);
    assert_eq!(store.view().unwrap().format, Format::V1);
}

#[test]
fn stores_of_any_format_are_merged_into_those_of_others() {
    let pairs = Format::ALL
        .into_iter()
        .flat_map(|ours| Format::ALL.map(|theirs| (ours, theirs)));
    for (ours, theirs) in pairs.filter(|(ours, theirs)| ours != theirs) {
        FORMAT.set(theirs);
        let other = temporary();
        fill(&other.store);
        FORMAT.set(ours);
        let here = temporary();
        FORMAT.set(Format::NEWEST);
        here.store.merge(&other.store, &MergeOptions::default()).unwrap();
        assert_eq!(contents(&here.store), contents(&other.store));
        assert_eq!(here.store.view().unwrap().format, ours);
    }
}

#[test]
fn what_an_interrupted_upgrade_left_is_seen_and_freed() {
    let mut store = interrupted();
    let before = contents(&store);
    let found = store.garbage().unwrap();
    assert!(found.upgrade_bytes.is_some_and(|bytes| bytes > 0), "{found:?}");
    assert_eq!(store.gc(false).unwrap(), found);
    assert_eq!(store.garbage().unwrap().upgrade_bytes, None);
    assert_eq!(contents(&store), before);
    store.upgrade(&mut |_, _| {}).unwrap();
    assert_eq!(contents(&store), before);
}

#[test]
fn a_store_of_format_2_gets_seals_and_holds_what_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.redb");
    std::fs::write(&path, fixture::bytes(Format::V2)).unwrap();
    let reader = Store::open_read_only(&path).unwrap();
    let mut store = Store::open(&path).unwrap();
    let plan = store.upgrade_plan().unwrap().unwrap();
    assert_eq!((plan.from, plan.to), (2, 3));
    assert!(plan.room > plan.bytes && plan.bytes > 0, "{plan:?}");
    let done = store.upgrade(&mut |_, _| {}).unwrap();
    let expected = Upgraded {
        runs: 2,
        resumed: false,
    };
    assert_eq!(done, expected);
    assert_eq!(store.view().unwrap().format, Format::V3);
    assert_eq!(store.upgrade_plan().unwrap(), None);
    fixture::check(&store);
    fixture::check(&reader);
}

#[test]
fn an_entry_that_was_changed_is_not_sealed() {
    FORMAT.set(Format::V2);
    let t = temporary();
    FORMAT.set(Format::NEWEST);
    let run = begin(&t.store, 1);
    let rows = [feature(3, 0, 1.25), feature(3, 1, 2.5)];
    t.store.put(run, &rows).unwrap();
    t.store.finish(run, 1).unwrap();
    let (path, _directory) = t.close();
    faults::set_rows(&path, Table::Features, 9);
    let mut store = Store::open(&path).unwrap();
    let error = store.upgrade(&mut |_, _| {}).unwrap_err();
    assert!(matches!(error, StoreError::Unsound { .. }), "{error}");
    assert_eq!(store.view().unwrap().format, Format::V2);
}
