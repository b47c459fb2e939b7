//! Room: what rows take in the file.

use dream_schema::{Feature, Latent, Table};

use super::*;
use crate::rng::Stream;

/// redb aligns a value to its size: the first MiB of the file cannot hold a block of that size.
const ALIGNMENT: u64 = 1 << 20;

/// Returns the bytes that the file takes for what `fill` puts, after compaction.
fn room(fill: impl FnOnce(&Store)) -> u64 {
    let t = temporary();
    fill(&t.store);
    let Temporary {
        mut store,
        path,
        directory: _directory,
    } = t;
    store.compact().unwrap();
    drop(store);
    std::fs::metadata(path).unwrap().len()
}

fn vectors(rows: u64, width: usize) -> Vec<Feature> {
    let mut stream = Stream::new(1, "test/vectors", 0, 0);
    let row = |index| Feature {
        vector: stream.normals(width),
        ..feature(0, index, 0.0)
    };
    (0..rows).map(row).collect()
}

#[test]
fn two_thousand_wide_vectors_come_back_and_take_little_more_than_themselves() {
    in_every_format(|| {
        let rows = vectors(2_000, 768);
        let raw = 2_000 * 768 * 4;
        let full = room(|store| {
            let run = begin(store, 1);
            store.put(run, &rows).unwrap();
            assert_eq!(store.rows::<Feature>(run, None).unwrap(), rows);
            assert_eq!(store.row(run, 0, 1_234).unwrap().as_ref(), Some(&rows[1_234]));
            store.finish(run, 1).unwrap();
            assert_eq!(store.rows::<Feature>(run, None).unwrap(), rows);
        });
        let rows = full - ALIGNMENT;
        println!(
            "features: {} bytes a row, {:.3} of raw",
            rows / 2_000,
            rows as f64 / raw as f64
        );
        assert!(rows < raw * 105 / 100, "{rows} against {raw}");
    });
}

#[test]
fn latents_put_a_few_at_a_time_are_joined_when_the_run_is_finished() {
    in_every_format(|| {
        let raw = 60 * 65_536;
        let put = |finish: bool| {
            room(|store| {
                let run = begin(store, 1);
                let rows: Vec<_> = (0..60).map(|index| latent(0, index, 65_536)).collect();
                rows.chunks(4).for_each(|some| store.put(run, some).unwrap());
                if finish {
                    store.finish(run, 1).unwrap();
                    assert!(
                        store
                            .block_infos(Table::Latents, Some(run), None, &Projection::All)
                            .unwrap()
                            .len()
                            <= 5
                    );
                }
                assert_eq!(store.rows::<Latent>(run, None).unwrap(), rows);
            }) - ALIGNMENT
        };
        let (open, finished) = (put(false), put(true));
        println!(
            "latents: {:.3} of raw before finish, {:.3} after",
            open as f64 / raw as f64,
            finished as f64 / raw as f64
        );
        assert!(finished < raw * 110 / 100, "{finished} against {raw}");
    });
}

#[test]
fn metrics_put_one_at_a_time_become_one_block() {
    in_every_format(|| {
        let t = temporary();
        let run = begin(&t.store, 1);
        let rows: Vec<_> = (0..100).map(|index| metric(index, index as f64)).collect();
        // A gap keeps two groups apart, and so does a block of another part.
        rows.iter()
            .filter(|row| row.index != 50)
            .for_each(|row| t.store.put(run, std::slice::from_ref(row)).unwrap());
        t.store.finish(run, 1).unwrap();
        let infos = t
            .store
            .block_infos(Table::Metrics, Some(run), None, &Projection::All)
            .unwrap();
        assert_eq!(
            infos.iter().map(|i| (i.first, i.rows)).collect::<Vec<_>>(),
            [(0, 50), (51, 49)]
        );
        let back: Vec<dream_schema::Metric> = t.store.rows(run, None).unwrap();
        assert!(back.iter().eq(rows.iter().filter(|row| row.index != 50)));
        assert!(t.store.verify(&mut |_, _| {}).unwrap().problems.is_empty());
    });
}

#[test]
fn compaction_keeps_everything_and_gives_room_back() {
    in_every_format(|| {
        let t = temporary();
        let run = begin(&t.store, 1);
        let gone = begin(&t.store, 2);
        t.store.put(run, &vectors(10, 8)).unwrap();
        t.store.put(gone, &vectors(2_000, 768)).unwrap();
        let before = t.store.usage().unwrap().file_bytes.unwrap();
        t.store.remove(&[gone]).unwrap();
        let Temporary {
            mut store,
            path,
            directory: _directory,
        } = t;
        assert!(store.compact().unwrap());
        assert!(store.usage().unwrap().file_bytes.unwrap() < before / 2);
        drop(store);
        let mut store = Store::open(&path).unwrap();
        assert_eq!(store.rows::<Feature>(run, None).unwrap(), vectors(10, 8));
        assert!(store.check_pages().unwrap());
    });
}
