//! How long putting and reading takes; run by hand in a release build, with a folder for the stores:
//! `DREAM_MEASURE=/tmp/measure cargo test --release --lib store::tests::measure -- --ignored --nocapture`.

use std::path::Path;
use std::time::Instant;

use dream_schema::{ClassEmbedding, Outlier, OutlierKind, Table};

use super::*;
use crate::rng::Stream;

const CLASSES: u32 = 100;
const WIDTH: usize = 768;

fn outliers(class_id: u32, rows: u64) -> Vec<Outlier> {
    let mut stream = Stream::new(1, "test/measure", class_id, 0);
    let vector = stream.normals(WIDTH);
    let row = |index| Outlier {
        class_id,
        class_name: format!("class {class_id:03}"),
        index,
        kind: OutlierKind::Outlier,
        // Enough of a difference, and quick to make.
        vector: vector.iter().map(|v| v + index as f32).collect(),
        anchor: index as i64 % 50,
        round: (index / 100) as i32,
        knn_distance: Some(0.5 + (index as f32).sqrt()),
    };
    (0..rows).map(row).collect()
}

/// Begins an `embed` run, which `dream import` needs.
fn embed(store: &Store) {
    let spec = RunSpec {
        stage: "embed".into(),
        ..spec(1)
    };
    let run = store.begin(&spec, &stamp(1)).unwrap().into_run().id;
    let embedding = |class_id| ClassEmbedding {
        class_id,
        class_name: format!("class {class_id:03}"),
        index: 0,
        word: "class".into(),
        token_id: 1,
        model: "00".into(),
        vector: vec![0.1; WIDTH],
        norm: 1.0,
    };
    store
        .put(run, &(0..CLASSES).map(embedding).collect::<Vec<_>>())
        .unwrap();
    store.finish(run, 2).unwrap();
    store.set_alias("embed", run).unwrap();
}

fn fill(path: &Path, format: Format, rows: u64) {
    let store = Store::create_as(path, format).unwrap();
    embed(&store);
    let run = begin(&store, 7);
    let (mut put, mut all) = (0.0, 0);
    for class in 0..CLASSES {
        let rows = outliers(class, rows);
        let started = Instant::now();
        store.put(run, &rows).unwrap();
        put += started.elapsed().as_secs_f64();
        all += rows.len();
    }
    let started = Instant::now();
    store.finish(run, 1).unwrap();
    let finish = started.elapsed().as_secs_f64();
    println!(
        "format {}: {all} x {WIDTH}: put {put:.2} s, finish {finish:.2} s",
        format.version()
    );
}

fn read(path: &Path, columns: &Projection) -> (usize, f64) {
    let store = Store::open_read_only(path).unwrap();
    let started = Instant::now();
    let blocks = store.blocks(Table::Outliers, None, None, columns).unwrap();
    let rows = blocks.map(|item| item.unwrap().1.num_rows()).sum();
    (rows, started.elapsed().as_secs_f64() * 1000.0)
}

#[test]
#[ignore = "a measurement: takes a minute and 7 GB of disk"]
fn measure() {
    let Some(folder) = std::env::var_os("DREAM_MEASURE").map(PathBuf::from) else {
        return;
    };
    std::fs::create_dir_all(&folder).unwrap();
    let name_and_distance = Projection::Only(vec![1, 7]);
    for format in Format::ALL {
        let path = |name: &str| folder.join(format!("{name}-v{}.redb", format.version()));
        embed(&Store::create_as(&path("embed"), format).unwrap());
        fill(&path("few"), format, 1_000);
        fill(&path("many"), format, 10_000);
        for columns in [&name_and_distance, &Projection::Narrow, &Projection::All] {
            let (rows, ms) = read(&path("many"), columns);
            println!(
                "format {}: {rows} rows, {columns:?}: {ms:.1} ms",
                format.version()
            );
        }
    }
}
