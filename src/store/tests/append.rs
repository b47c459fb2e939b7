//! Rows that are appended are those that are put.

use dream_schema::{Artifact, Feature, Table};

use super::*;
use crate::store::StoreError;

fn rows() -> Vec<Feature> {
    let row = |index: u64| feature((index / 700) as u32, index % 700, index as f32);
    (0..2_100).map(row).collect()
}

fn put(rows: &[Feature]) -> (Temporary, Run) {
    let t = temporary();
    let run = begin(&t.store, 1);
    t.store.put(run, rows).unwrap();
    let run = t.store.finish(run, 2).unwrap();
    (t, run)
}

fn append(store: &Store, run: RunId, pieces: &[&[Feature]]) -> Run {
    let mut append = store.append(run, Table::Features).unwrap();
    for piece in pieces {
        append.add(&Feature::to_batch(piece).unwrap()).unwrap();
    }
    append.finish(2).unwrap()
}

#[test]
fn in_any_pieces_and_order_the_run_is_the_same() {
    in_every_format(|| {
        let rows = rows();
        let (_kept, expected) = put(&rows);
        let (a, b, c) = (&rows[..100], &rows[100..1_500], &rows[1_500..]);
        let backwards: Vec<_> = rows.iter().rev().cloned().collect();
        let twice = [rows.clone(), rows.clone()].concat();
        let orders: [&[&[Feature]]; 6] = [
            &[&rows],
            &[a, &[], b, c],
            &[c, a, b],
            &[b, b, c, a],
            &[&backwards],
            &[&twice],
        ];
        for pieces in orders {
            let t = temporary();
            let run = begin(&t.store, 1);
            assert_eq!(append(&t.store, run, pieces).digest, expected.digest);
            assert_eq!(t.store.rows::<Feature>(run, None).unwrap(), rows);
            assert!(t.store.verify(&mut |_, _| {}).unwrap().problems.is_empty());
        }
    });
}

#[test]
fn what_else_is_in_the_run_belongs_to_it() {
    let rows = rows();
    let with_metric = |put_rows: &dyn Fn(&Store, RunId) -> Run| {
        let t = temporary();
        let run = begin(&t.store, 1);
        t.store.put(run, &[metric(0, 0.5)]).unwrap();
        put_rows(&t.store, run).digest
    };
    let expected = with_metric(&|store, run| {
        store.put(run, &rows).unwrap();
        store.finish(run, 2).unwrap()
    });
    assert_eq!(with_metric(&|store, run| append(store, run, &[&rows])), expected);
    // Of an interrupted run the first rows are there.
    let resumed = with_metric(&|store, run| {
        store.put(run, &rows[..900]).unwrap();
        append(store, run, &[&rows])
    });
    assert_eq!(resumed, expected);
}

#[test]
fn another_row_under_the_same_key_is_refused_and_nothing_of_its_piece_is_kept() {
    let rows = rows();
    let t = temporary();
    let run = begin(&t.store, 1);
    let mut append = t.store.append(run, Table::Features).unwrap();
    append.add(&Feature::to_batch(&rows[..10]).unwrap()).unwrap();
    let other = feature(0, 9, -1.0);
    let error = append.add(&Feature::to_batch(&[other]).unwrap()).unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::Conflict {
                part: 0,
                index: 9,
                ..
            }
        ),
        "{error}"
    );
    drop(append);
    assert_eq!(t.store.count(run, Table::Features).unwrap(), 0);
    t.store.put(run, &rows).unwrap();
    t.store.finish(run, 2).unwrap();
    assert!(matches!(
        t.store.append(run, Table::Features).map(drop),
        Err(StoreError::Finished { .. })
    ));
}
