//! Narrow and wide columns: what is read, and how they are put together.

use dream_schema::{Artifact, Feature, Latent, Outlier, OutlierKind, Table};

use super::*;
use crate::store::Tally;
use crate::store::face::Viewed;
use crate::store::format::{Format, Share};
use crate::store::layout;

fn outlier(class_id: u32, index: u64) -> Outlier {
    Outlier {
        class_id,
        class_name: format!("class {class_id}"),
        index,
        kind: OutlierKind::Outlier,
        vector: vec![index as f32; 768],
        anchor: index as i64 % 50,
        round: (index / 100) as i32,
        knn_distance: Some(0.5 + index as f32),
    }
}

/// Returns the lengths of a strip's blocks.
fn lengths(store: &Store, share: Share) -> Vec<u32> {
    let strip = Format::V2
        .strips(Table::Outliers)
        .into_iter()
        .find(|strip| strip.share == share);
    let entries = store.view().unwrap().entries(strip.unwrap(), None, None).unwrap();
    entries.iter().map(|(_, entry)| entry.length).collect()
}

#[test]
fn a_class_has_one_narrow_block_and_many_wide_ones() {
    let t = temporary();
    let run = begin(&t.store, 1);
    let rows: Vec<_> = (0..2)
        .flat_map(|class| (0..2_000).map(move |i| outlier(class, i)))
        .collect();
    rows.chunks(333).for_each(|rows| t.store.put(run, rows).unwrap());
    t.store.finish(run, 1).unwrap();
    let (narrow, wide) = (lengths(&t.store, Share::Narrow), lengths(&t.store, Share::Wide));
    assert_eq!(narrow.len(), 2);
    assert!(wide.len() >= 12, "{}", wide.len());
    // Class, kind and index take no room; anchor, round and distance do.
    let bytes: u32 = narrow.iter().sum();
    assert!(bytes < 4_000 * 16 + 2 * 3_000, "{bytes}");
    assert_eq!(t.store.rows::<Outlier>(run, None).unwrap(), rows);
    let row = t.store.row::<Outlier>(run, 1, 1_234).unwrap();
    assert_eq!(row, Some(outlier(1, 1_234)));
    assert_eq!(t.store.verify(&mut |_, _| {}).unwrap().problems, []);
}

#[test]
fn narrow_columns_are_read_without_the_wide_blocks() {
    let t = temporary();
    let run = begin(&t.store, 1);
    let rows: Vec<_> = (0..700).map(|i| outlier(3, i)).collect();
    t.store.put(run, &rows).unwrap();
    // Without any wide block.
    let writer = t.store.write().unwrap();
    for strip in Format::V2.strips(Table::Outliers) {
        if strip.share == Share::Wide {
            writer.drop_table(&strip.blocks_name()).unwrap();
        }
    }
    writer.commit().unwrap();
    let snapshot = t.store.snapshot().unwrap();
    let schema = Outlier::schema(768);
    let places =
        |names: &[&str]| Projection::Only(names.iter().map(|n| schema.index_of(n).unwrap()).collect());
    let asked = [
        places(&["knn_distance", "class_name", "index", "kind"]),
        Projection::Narrow,
        places(&[]),
    ];
    for columns in asked {
        let infos = snapshot
            .block_infos(Table::Outliers, Some(run), None, &columns)
            .unwrap();
        assert_eq!(infos.len(), 1);
        assert_eq!(infos[0].class_name.as_deref(), Some("class 3"));
        let block = snapshot.block(Table::Outliers, &infos[0], &columns).unwrap();
        assert_eq!(block.num_rows(), 700);
        let whole = Outlier::to_batch(&rows).unwrap();
        for (field, column) in block.schema().fields().iter().zip(block.columns()) {
            assert_eq!(Some(column), whole.column_by_name(field.name()), "{field}");
        }
    }
    let blocks = snapshot
        .blocks(Table::Outliers, Some(run), None, &Projection::All)
        .unwrap();
    assert!(blocks.map(Result::err).all(|error| error.is_some()));
}

#[test]
fn a_narrow_block_that_several_threads_want_at_once_is_read_once() {
    let t = temporary();
    let run = begin(&t.store, 1);
    let rows: Vec<_> = (0..700).map(|i| outlier(3, i)).collect();
    t.store.put(run, &rows).unwrap();
    for _ in 0..50 {
        let snapshot = t.store.snapshot().unwrap();
        let infos = snapshot
            .block_infos(Table::Outliers, Some(run), None, &Projection::Narrow)
            .unwrap();
        let (tally, together) = (Tally::default(), std::sync::Barrier::new(4));
        let read = || {
            together.wait();
            let rows = snapshot.block_tallied(Table::Outliers, &infos[0], &Projection::Narrow, &tally);
            assert_eq!(rows.unwrap().num_rows(), 700);
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(read);
            }
        });
        assert_eq!(tally.blocks(), 1);
    }
}

#[test]
fn stretches_are_cut_where_the_blocks_of_either_strip_begin() {
    let t = temporary();
    let run = begin(&t.store, 1);
    // Three puts, the last one of rows of which each is a wide block.
    t.store.put(run, &[latent(0, 0, 10), latent(0, 1, 10)]).unwrap();
    t.store.put(run, &[latent(0, 5, 10)]).unwrap();
    let large: Vec<_> = (6..9).map(|i| latent(0, i, 900_000)).collect();
    t.store.put(run, &large).unwrap();
    let cut = |columns: &Projection| {
        let infos = t
            .store
            .block_infos(Table::Latents, Some(run), None, columns)
            .unwrap();
        infos
            .iter()
            .map(|info| (info.first, info.rows))
            .collect::<Vec<_>>()
    };
    assert_eq!(cut(&Projection::Narrow), [(0, 2), (5, 1), (6, 3)]);
    assert_eq!(cut(&Projection::All), [(0, 2), (5, 1), (6, 1), (7, 1), (8, 1)]);
    let bytes = |columns| {
        let infos = t.store.block_infos(Table::Latents, None, None, columns).unwrap();
        infos.iter().map(|info| info.bytes).sum::<u64>()
    };
    let used = t.store.usage().unwrap().tables[0];
    assert_eq!((bytes(&Projection::All), used.rows), (used.bytes, 6));
    let rows: Vec<Latent> = t.store.rows(run, None).unwrap();
    assert_eq!(rows[3..], large);
}

#[test]
fn odd_values_come_back() {
    let t = temporary();
    let run = begin(&t.store, 1);
    // Floats are constant by their bits, names and nulls as they are.
    let mut metrics: Vec<_> = (0..6).map(|index| metric(index, 0.0)).collect();
    metrics[3].value = -0.0;
    metrics[4].dataset = Some("svhn".into());
    t.store.put(run, &metrics).unwrap();
    t.store
        .put(
            run,
            &[
                Metric {
                    value: f64::NAN,
                    ..metric(10, 0.0)
                },
                Metric {
                    value: f64::NAN,
                    ..metric(11, 0.0)
                },
            ],
        )
        .unwrap();
    let back: Vec<Metric> = t.store.rows(run, None).unwrap();
    assert_eq!(back[..6], metrics);
    assert!(back[3].value.is_sign_negative() && back[2].value.is_sign_positive());
    assert!(back[6].value.is_nan() && back[7].value.is_nan());
    // A class whose rows have two names has none in the index.
    let mut features = vec![feature(0, 0, 1.0), feature(0, 1, 1.0)];
    features[1].class_name = "other".into();
    t.store.put(run, &features).unwrap();
    let infos = t
        .store
        .block_infos(Table::Features, Some(run), None, &Projection::Narrow)
        .unwrap();
    assert_eq!((infos.len(), infos[0].class_name.clone()), (1, None));
    assert_eq!(t.store.rows::<Feature>(run, None).unwrap(), features);
    // Indexes at the end of what the key can say.
    let last = feature(1, i64::MAX as u64, 1.0);
    t.store.put(run, std::slice::from_ref(&last)).unwrap();
    assert_eq!(t.store.row(run, 1, last.index).unwrap(), Some(last));
    // Behind that no block could end, and the row would be lost without a word.
    let error = t.store.put(run, &[feature(1, u64::MAX, 1.0)]).unwrap_err();
    assert!(error.to_string().contains("places are counted from 0"), "{error}");
}

#[test]
fn an_index_entry_that_cannot_be_read_is_corrupt() {
    let t = temporary();
    let run = begin(&t.store, 1);
    t.store.put(run, &[feature(0, 0, 1.0)]).unwrap();
    let writer = t.store.write().unwrap();
    let name = Format::V2.keys(Table::Features).index_name();
    let index = redb::TableDefinition::<&[u8; 28], &[u8]>::new(&name);
    let mut table = writer.table(index).unwrap();
    let key = layout::key(run, 0, 0);
    table.insert(&key, [7_u8; 46].as_slice()).unwrap();
    drop(table);
    writer.commit().unwrap();
    let error = t.store.rows::<Feature>(run, None).unwrap_err();
    assert!(error.to_string().contains("index entry"), "{error}");
}
