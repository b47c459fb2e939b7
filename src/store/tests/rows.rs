//! Rows in and out.

use dream_schema::{Feature, Latent, Metric, Table};

use super::*;
use crate::store::{Readable, StoreError};

#[test]
fn rows_come_back_in_key_order_whatever_order_they_were_put_in() {
    in_every_format(|| {
        let t = temporary();
        let run = begin(&t.store, 1);
        let rows = [
            feature(2, 5, 1.0),
            feature(0, 1, 2.0),
            feature(2, 4, 3.0),
            feature(0, 0, f32::NAN),
        ];
        t.store.put(run, &rows).unwrap();
        let t = t.reopen();
        let back: Vec<Feature> = t.store.rows(run, None).unwrap();
        let keys: Vec<_> = back.iter().map(|r| (r.class_id, r.index)).collect();
        assert_eq!(keys, [(0, 0), (0, 1), (2, 4), (2, 5)]);
        assert!(back[0].vector[0].is_nan());
        assert_eq!(back[3], rows[0]);
        assert_eq!(
            t.store.rows::<Feature>(run, Some(2)).unwrap(),
            [rows[2].clone(), rows[0].clone()]
        );
        assert_eq!(t.store.row(run, 2, 4).unwrap(), Some(rows[2].clone()));
        for (part, index) in [(2, 3), (2, 6), (1, 4), (0, 2)] {
            assert_eq!(t.store.row::<Feature>(run, part, index).unwrap(), None);
        }
        assert_eq!(t.store.parts(run, Table::Features).unwrap(), [0, 2]);
        assert_eq!(t.store.count(run, Table::Features).unwrap(), 4);
        assert_eq!(t.store.vector_width(Table::Features, run).unwrap(), Some(3));
        assert_eq!(t.store.vector_width(Table::Outliers, run).unwrap(), None);
        let indices = t.store.indices(run, Table::Features, 2).unwrap();
        assert_eq!(indices.into_iter().collect::<Vec<_>>(), [4, 5]);
    });
}

#[test]
fn overlapping_puts_fill_the_gaps_and_differing_rows_are_refused() {
    in_every_format(|| {
        let t = temporary();
        let run = begin(&t.store, 1);
        let rows: Vec<_> = (0..20).map(|i| feature(1, i, i as f32)).collect();
        t.store.put(run, &rows[3..6]).unwrap();
        t.store.put(run, &rows[10..12]).unwrap();
        t.store.put(run, &rows[4..5]).unwrap();
        t.store.put(run, &rows[2..15]).unwrap();
        assert_eq!(t.store.rows::<Feature>(run, None).unwrap(), rows[2..15]);
        let mut other = rows.clone();
        other[11].sample = 0;
        let error = t.store.put(run, &other).unwrap_err();
        assert!(
            matches!(
                error,
                StoreError::Conflict {
                    part: 1,
                    index: 11,
                    ..
                }
            ),
            "{error}"
        );
        // Nothing of the refused put was kept.
        assert_eq!(t.store.rows::<Feature>(run, None).unwrap(), rows[2..15]);
        t.store.put(run, &rows).unwrap();
        assert_eq!(t.store.rows::<Feature>(run, None).unwrap(), rows);
    });
}

#[test]
fn zeros_of_either_sign_differ() {
    in_every_format(|| {
        let t = temporary();
        let run = begin(&t.store, 1);
        t.store.put(run, &[metric(0, 0.0)]).unwrap();
        t.store.put(run, &[metric(0, 0.0)]).unwrap();
        assert!(t.store.put(run, &[metric(0, -0.0)]).is_err());
    });
}

#[test]
fn a_row_twice_in_one_put_is_harmless_and_two_rows_of_one_key_are_not() {
    in_every_format(|| {
        let t = temporary();
        let run = begin(&t.store, 1);
        t.store
            .put(run, &[metric(1, 1.0), metric(0, 0.0), metric(1, 1.0)])
            .unwrap();
        assert_eq!(t.store.count(run, Table::Metrics).unwrap(), 2);
        let error = t.store.put(run, &[metric(2, 1.0), metric(2, 2.0)]).unwrap_err();
        assert!(matches!(error, StoreError::Conflict { index: 2, .. }), "{error}");
        t.store.put::<Metric>(run, &[]).unwrap();
    });
}

#[test]
fn vectors_of_another_width_are_refused() {
    in_every_format(|| {
        let t = temporary();
        let run = begin(&t.store, 1);
        t.store.put(run, &[feature(0, 0, 1.0)]).unwrap();
        let mut wide = feature(1, 0, 1.0);
        wide.vector.push(0.0);
        let error = t.store.put(run, &[wide]).unwrap_err();
        assert!(
            matches!(
                error,
                StoreError::Width {
                    expected: 3,
                    actual: 4,
                    ..
                }
            ),
            "{error}"
        );
    });
}

#[test]
fn a_row_larger_than_a_block_is_a_block_by_itself() {
    let t = temporary();
    let run = begin(&t.store, 1);
    let rows = [
        latent(0, 0, 10),
        latent(0, 1, 5 << 20),
        latent(0, 2, 20),
        latent(0, 3, 0),
    ];
    t.store.put(run, &rows).unwrap();
    assert_eq!(t.store.rows::<Latent>(run, None).unwrap(), rows);
    assert_eq!(
        t.store
            .block_infos(Table::Latents, Some(run), None, &Projection::All)
            .unwrap()
            .len(),
        3
    );
}

#[test]
fn a_batch_is_written_whole_or_not_at_all() {
    in_every_format(|| {
        let t = temporary();
        let run = begin(&t.store, 1);
        let mut batch = t.store.batch(run);
        let hash = batch.blob(b"bytes".as_slice());
        batch.add(&[checkpoint(0, b"bytes")]).unwrap();
        batch.add(&[metric(0, 1.0)]).unwrap().commit().unwrap();
        assert_eq!(t.store.blob(&hash).unwrap(), b"bytes");
        // The checkpoint of bytes that are not there is refused, and the metric with it.
        let mut batch = t.store.batch(run);
        batch.add(&[metric(1, 1.0)]).unwrap();
        let error = batch
            .add(&[checkpoint(1, b"none")])
            .unwrap()
            .commit()
            .unwrap_err();
        assert!(matches!(error, StoreError::UnknownBlob { .. }), "{error}");
        assert_eq!(t.store.count(run, Table::Metrics).unwrap(), 1);
    });
}

#[test]
fn blocks_come_in_the_order_of_runs_and_only_those_asked_for() {
    in_every_format(|| {
        let t = temporary();
        let mut runs: Vec<_> = (0..3).map(|seed| begin(&t.store, seed)).collect();
        for run in &runs {
            t.store
                .put(*run, &[feature(0, 0, 1.0), feature(1, 0, 2.0)])
                .unwrap();
        }
        runs.sort();
        let blocks = t
            .store
            .blocks(Table::Features, None, Some(1), &Projection::All)
            .unwrap();
        let seen: Vec<_> = blocks.map(Result::unwrap).take(2).collect();
        let seen: Vec<_> = seen
            .iter()
            .map(|(info, rows)| (info.run, info.part, rows.num_rows()))
            .collect();
        assert_eq!(seen, [(runs[0], 1, 1), (runs[1], 1, 1)]);
    });
}

#[test]
fn blocks_are_a_snapshot() {
    in_every_format(|| {
        let t = temporary();
        let run = begin(&t.store, 1);
        t.store.put(run, &[metric(0, 0.0)]).unwrap();
        let blocks = t
            .store
            .blocks(Table::Metrics, Some(run), None, &Projection::All)
            .unwrap();
        t.store.put(run, &[metric(1, 0.0)]).unwrap();
        assert_eq!(blocks.count(), 1);
        assert_eq!(t.store.count(run, Table::Metrics).unwrap(), 2);
    });
}

#[test]
fn many_threads_put_into_one_run() {
    let t = temporary();
    let run = begin(&t.store, 1);
    std::thread::scope(|scope| {
        for class in 0..4 {
            let store = &t.store;
            scope.spawn(move || {
                for index in 0..10 {
                    store.put(run, &[feature(class, index, index as f32)]).unwrap();
                }
            });
        }
    });
    assert_eq!(t.store.count(run, Table::Features).unwrap(), 40);
}

#[test]
fn blobs_are_stored_once_and_freed_when_nothing_names_them() {
    let t = temporary();
    let run = begin(&t.store, 1);
    let large: Vec<u8> = (0..3_000_000_u32)
        .map(|i| (i.wrapping_mul(i) >> 7) as u8)
        .collect();
    let hash = t.store.put_blob(&large).unwrap();
    assert_eq!(t.store.put_blob(&large).unwrap(), hash);
    let empty = t.store.put_blob(b"").unwrap();
    assert_eq!(t.store.usage().unwrap().blobs, 2);
    assert_eq!(t.store.blob(&hash).unwrap(), large);
    assert_eq!(t.store.blob(&empty).unwrap(), b"");
    assert!(t.store.has_blob(&hash).unwrap());
    t.store.put(run, &[checkpoint(0, &large)]).unwrap();
    let free = t.store.gc(true).unwrap();
    assert_eq!(free.blobs, [(empty.clone(), 0)]);
    assert_eq!(t.store.usage().unwrap().blobs, 2);
    assert_eq!(t.store.gc(false).unwrap(), free);
    assert!(matches!(
        t.store.blob(&empty),
        Err(StoreError::UnknownBlob { .. })
    ));
    t.store.remove(&[run]).unwrap();
    assert_eq!(t.store.gc(false).unwrap().bytes(), 3_000_000);
    assert_eq!(t.store.usage().unwrap().blob_bytes, 0);
    assert!(matches!(
        t.store.blob("no hash"),
        Err(StoreError::UnknownBlob { .. })
    ));
}
