//! A small store, and questions without SQL.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use dream_schema::{
    Artifact, Dataset, Feature, Metric, Outlier, OutlierKind, Run, RunId, RunInput, RunSpec, Table,
};

use super::*;
use crate::rng::Stream;
use crate::store::{Projection, Readable, Stamp, Store};

/// Vectors of the outliers are this wide.
pub(super) const WIDTH: usize = 128;
/// Classes of the run of outliers: `class 0`, `class 1`, `class 2`.
pub(super) const CLASSES: u32 = 3;
/// Rows of each class.
pub(super) const ROWS: u64 = 3000;

/// A store with a run of outliers, one of features that read from it, and one of metrics.
pub(super) struct Sample {
    _directory: tempfile::TempDir,
    pub(super) store: Arc<Store>,
    pub(super) outliers: Run,
    pub(super) features: Run,
    pub(super) metrics: Run,
}

pub(super) fn begin(store: &Store, stage: &str, seed: u64, inputs: &[(&str, &Run)]) -> RunId {
    let input = |(role, run): &(&str, &Run)| RunInput {
        role: (*role).into(),
        run: run.id,
        digest: run.digest.clone().unwrap(),
    };
    let spec = RunSpec {
        stage: stage.into(),
        stage_version: 2,
        params: serde_json::json!({"k": 300}),
        seed,
        inputs: inputs.iter().map(input).collect(),
        sources: [("train".to_owned(), "cd".to_owned())].into(),
        source_names: Default::default(),
    };
    let stamp = Stamp {
        time_micros: 1_700_000_000_000_000 + seed as i64 * 1_000_000,
        version: "0.1.0".into(),
        device: "cpu".into(),
        engine: None,
        host: "here".into(),
        process: None,
    };
    store.begin(&spec, &stamp).unwrap().into_run().id
}

pub(super) fn outlier(class_id: u32, index: u64) -> Outlier {
    let mut stream = Stream::new(1, "query-test", class_id, index);
    Outlier {
        class_id,
        class_name: format!("class {class_id}"),
        index,
        kind: OutlierKind::Outlier,
        vector: (0..WIDTH).map(|_| stream.uniform() - 0.5).collect(),
        anchor: 1,
        round: (index / 2) as i32,
        knn_distance: Some(index as f32 * 0.001),
    }
}

pub(super) fn sample() -> Sample {
    sample_in(|path| Store::create(path).unwrap())
}

/// The sample in a store of format 1, whose blocks have all columns of their rows and whose index has no
/// names of classes.
pub(super) fn older_sample() -> Sample {
    sample_in(|path| Store::create_v1(path).unwrap())
}

fn sample_in(create: fn(&Path) -> Store) -> Sample {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(create(&directory.path().join("a.redb")));
    let run = begin(&store, "sample", 1, &[]);
    let rows: Vec<_> = (0..CLASSES)
        .flat_map(|c| (0..ROWS).map(move |i| outlier(c, i)))
        .collect();
    store.put(run, &rows).unwrap();
    let outliers = store.finish(run, 1_700_000_001_000_000).unwrap();

    let run = begin(&store, "encode", 2, &[("outliers", &outliers)]);
    let feature = |index| Feature {
        class_id: 0,
        class_name: "class 0".into(),
        index,
        vector: vec![index as f32, 1.0],
        split: "train".into(),
        sample: index as i64,
    };
    store.put(run, &(0..4).map(feature).collect::<Vec<_>>()).unwrap();
    let features = store.finish(run, 1_700_000_002_000_000).unwrap();

    let run = begin(&store, "evaluate", 3, &[]);
    let metric = |index: u64| Metric {
        class_id: (index > 0).then_some(index as u32),
        class_name: (index > 0).then(|| format!("class {index}")),
        index,
        name: "auroc".into(),
        dataset: Some("svhn".into()),
        score: None,
        epoch: None,
        value: 0.5 + index as f64,
        ood_group: None,
    };
    store.put(run, &(0..3).map(metric).collect::<Vec<_>>()).unwrap();
    let metrics = store.run(run).unwrap();

    store.set_alias("best", outliers.id).unwrap();
    let dataset = Dataset {
        name: "cifar".into(),
        kind: "cifar".into(),
        path: "/data/cifar".into(),
        digest: "cd".into(),
        splits: [("train".to_owned(), 50_000)].into(),
        classes: vec!["apple".into(), "bee".into()],
        ..Dataset::default()
    };
    store.put_dataset(&dataset).unwrap();
    Sample {
        _directory: directory,
        store,
        outliers,
        features,
        metrics,
    }
}

fn rows(filter: &Filter, store: &Arc<Store>) -> Result<Vec<RecordBatch>> {
    filter.rows(store)?.collect()
}

fn count(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

#[test]
fn filters_choose_runs_classes_and_a_number() {
    let s = sample();
    let all = Filter::all(TableName::Artifacts(Table::Outliers));
    assert_eq!(count(&rows(&all, &s.store).unwrap()), 9000);
    let mut filter = all.clone();
    filter.runs = vec![s.outliers.id];
    filter.class = Some(Class::Name("class 1".into()));
    let batches = rows(&filter, &s.store).unwrap();
    assert_eq!(count(&batches), 3000);
    assert_eq!(batches[0].schema().field(0).name(), "run");
    assert_eq!(
        batches[0].column(0).as_string::<i32>().value(0),
        s.outliers.id.to_string()
    );
    assert!(batches.iter().all(|b| {
        b.column(1)
            .as_primitive::<Int32Type>()
            .values()
            .iter()
            .all(|c| *c == 1)
    }));
    filter.class = Some(Class::Id(2));
    filter.limit = Some(5);
    let batches = rows(&filter, &s.store).unwrap();
    assert_eq!(
        batches[0].column(3).as_primitive::<Int64Type>().values().as_ref(),
        [0, 1, 2, 3, 4]
    );
    // A class of what it came from, of which the run has no rows.
    filter.runs = vec![s.features.id];
    assert_eq!(count(&rows(&filter, &s.store).unwrap()), 0);

    // Tables without a place for classes are filtered row by row.
    let mut metrics = Filter::all(TableName::Artifacts(Table::Metrics));
    metrics.class = Some(Class::Id(2));
    assert_eq!(count(&rows(&metrics, &s.store).unwrap()), 1);
    metrics.class = Some(Class::Name("class 1".into()));
    assert_eq!(count(&rows(&metrics, &s.store).unwrap()), 1);
}

#[test]
fn a_class_is_one_of_the_runs_that_are_asked_about() {
    let s = sample();
    // A set of more classes, which none of the runs read, says nothing of theirs.
    let set = Dataset {
        name: "many".into(),
        kind: "cifar".into(),
        path: "/data/many".into(),
        digest: "ef".into(),
        classes: (0..64).map(|class| format!("kind {class}")).collect(),
        ..Dataset::default()
    };
    s.store.put_dataset(&set).unwrap();
    let ask = |table, runs: &[RunId], class: Class| {
        let filter = Filter {
            runs: runs.to_vec(),
            class: Some(class),
            ..Filter::all(TableName::Artifacts(table))
        };
        let found = rows(&filter, &s.store).map(|batches| count(&batches));
        found.map_err(|error| error.to_string())
    };
    let outliers = [s.outliers.id];
    for runs in [&outliers[..], &[]] {
        assert_eq!(
            ask(Table::Outliers, runs, Class::Id(CLASSES - 1)),
            Ok(ROWS as usize)
        );
        for number in [CLASSES, 9, 63, 64] {
            let said = ask(Table::Outliers, runs, Class::Id(number)).unwrap_err();
            assert!(said.contains(&format!("no class `{number}` among 3")), "{said}");
        }
        let said = ask(Table::Outliers, runs, Class::Name("clas 1".into())).unwrap_err();
        assert!(said.contains("did you mean class 1"), "{said}");
        assert!(ask(Table::Outliers, runs, Class::Name("kind 3".into())).is_err());
    }
    // Of a table without rows, all that the store knows are classes.
    assert_eq!(ask(Table::Images, &[], Class::Id(63)), Ok(0));
    assert!(ask(Table::Images, &[], Class::Id(64)).is_err());
    // Without a class table, those of the set that the lineage begins with.
    let stamped = begin(&s.store, "detect", 4, &[]);
    let read = s.store.run(stamped).unwrap().spec.sources;
    assert!(read.values().any(|digest| *digest == "cd"), "{read:?}");
    assert_eq!(ask(Table::Metrics, &[stamped], Class::Name("bee".into())), Ok(0));
    assert!(ask(Table::Metrics, &[stamped], Class::Id(2)).is_err());
}

#[test]
fn filters_choose_columns_in_their_order() {
    let s = sample();
    let names = |batch: &RecordBatch| -> Vec<String> {
        let schema = batch.schema();
        schema.fields().iter().map(|field| field.name().clone()).collect()
    };
    let chosen = ["knn_distance", "index"].map(str::to_owned).to_vec();
    let mut filter = Filter {
        columns: Some(chosen.clone()),
        limit: Some(3),
        ..Filter::all(TableName::Artifacts(Table::Outliers))
    };
    let plain = filter.rows(&s.store).unwrap();
    assert_eq!(plain.schema().field(1).name(), "index");
    let plain = plain.collect::<Result<Vec<_>>>().unwrap();
    assert_eq!((names(&plain[0]), count(&plain)), (chosen.clone(), 3));
    #[cfg(feature = "sql")]
    {
        filter.condition = Some("index >= 0 AND vector IS NOT NULL".into());
        assert_eq!(names(&rows(&filter, &s.store).unwrap()[0]), chosen);
    }
    let catalog = Filter {
        columns: Some(vec!["stage".into()]),
        ..Filter::all(TableName::Runs)
    };
    assert_eq!(names(&rows(&catalog, &s.store).unwrap()[0]), ["stage"]);
    filter.columns = Some(vec!["vectr".into()]);
    let error = rows(&filter, &s.store).unwrap_err().to_string();
    assert!(
        error.contains("no column `vectr`; did you mean vector?"),
        "{error}"
    );
}

#[test]
fn filters_choose_among_runs_and_data_sets() {
    let s = sample();
    let mut filter = Filter::all(TableName::Runs);
    assert_eq!(count(&rows(&filter, &s.store).unwrap()), 3);
    filter.runs = vec![s.metrics.id];
    let batches = rows(&filter, &s.store).unwrap();
    assert_eq!(
        batches[0]
            .column_by_name("stage")
            .unwrap()
            .as_string::<i32>()
            .value(0),
        "evaluate"
    );
    filter.table = TableName::RunInputs;
    filter.runs = vec![s.features.id];
    let batches = rows(&filter, &s.store).unwrap();
    assert_eq!(
        batches[0].column(1).as_string::<i32>().value(0),
        s.outliers.id.to_string()
    );
    filter.table = TableName::Datasets;
    let err = rows(&filter, &s.store).unwrap_err().to_string();
    assert!(err.contains("datasets has no runs"), "{err}");
    filter.runs.clear();
    assert_eq!(count(&rows(&filter, &s.store).unwrap()), 1);
}

#[test]
fn a_class_is_found_by_name_without_reading_the_others() {
    for (s, looked_at) in [(sample(), 0), (older_sample(), 2)] {
        let snapshot = Arc::new(s.store.snapshot().unwrap());
        let all = Projection::All;
        let blocks = Selection::default()
            .blocks(&snapshot, Table::Outliers, &all)
            .unwrap();
        let of = |part| blocks.iter().filter(|b| b.part == part).count() as u64;
        assert!(of(0) > 1 && of(1) > 1, "the sample is too small to show anything");
        let options = ScanOptions {
            selection: Selection {
                class_names: Some(["class 1".to_owned()].into()),
                ..Selection::default()
            },
            ..ScanOptions::default()
        };
        let counter = options.counter.clone();
        let scan = Scan::new(snapshot, Table::Outliers, options).unwrap();
        assert_eq!(scan.map(|b| b.unwrap().num_rows()).sum::<usize>(), 3000);
        // Where the index has no names, the first block of a class tells its name.
        assert_eq!(counter.blocks(), of(1) + looked_at);
    }
}

#[test]
fn a_scan_yields_the_columns_that_are_asked_for() {
    for s in [sample(), older_sample()] {
        let snapshot = Arc::new(s.store.snapshot().unwrap());
        let scan = |table, selection, columns| {
            let options = ScanOptions {
                selection,
                columns,
                ..ScanOptions::default()
            };
            let scan = Scan::new(snapshot.clone(), table, options).unwrap();
            let batches: Vec<_> = scan.map(Result::unwrap).collect();
            arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap()
        };
        let names = Some(["class 1".to_owned(), "class 2".to_owned()].into());
        for (table, selection) in [
            (Table::Outliers, Selection::default()),
            (
                Table::Outliers,
                Selection {
                    index: 2000..=2100,
                    ..Selection::default()
                },
            ),
            (
                Table::Outliers,
                Selection {
                    class_names: names.clone(),
                    ..Selection::default()
                },
            ),
            (Table::Metrics, Selection::default()),
            (
                Table::Metrics,
                Selection {
                    class_names: names,
                    ..Selection::default()
                },
            ),
            (
                Table::Metrics,
                Selection {
                    classes: Some([2].into()),
                    ..Selection::default()
                },
            ),
        ] {
            let all = scan(table, selection.clone(), None);
            let width = if table == Table::Outliers { WIDTH } else { 0 };
            assert_eq!(all.schema(), TableName::Artifacts(table).schema(width));
            let last = all.num_columns() - 1;
            for columns in [vec![0], vec![3, 0], vec![last, 2], vec![5], vec![1, 2, 3, 4]] {
                let some = scan(table, selection.clone(), Some(columns.clone()));
                assert_eq!(
                    some,
                    all.project(&columns).unwrap(),
                    "{table} {selection:?} {columns:?}"
                );
            }
            assert_eq!(
                scan(table, selection, Some(Vec::new())).num_rows(),
                all.num_rows()
            );
        }
    }
}

#[test]
fn a_snapshot_does_not_see_what_comes_later() {
    let s = sample();
    let snapshot = Arc::new(s.store.snapshot().unwrap());
    let mut scan = Scan::new(snapshot.clone(), Table::Metrics, ScanOptions::default()).unwrap();
    let late = Metric::from_batch(&scan.next().unwrap().unwrap()).unwrap()[0].clone();
    s.store
        .put(s.metrics.id, &[Metric { index: 99, ..late }])
        .unwrap();
    let count = |snapshot| {
        let scan = Scan::new(snapshot, Table::Metrics, ScanOptions::default()).unwrap();
        scan.map(|b| b.unwrap().num_rows()).sum::<usize>()
    };
    assert_eq!(count(snapshot), 3);
    assert_eq!(count(Arc::new(s.store.snapshot().unwrap())), 4);
}

#[test]
fn nearest_agrees_with_sorting_everything() {
    let s = sample();
    let snapshot = s.store.snapshot().unwrap();
    let query = outlier(1, 17).vector;
    let selection = Selection::run(s.outliers.id);
    for distance in [Distance::Cosine, Distance::L2] {
        let ask = |k| nearest(&snapshot, Table::Outliers, &selection, &query, k, distance).unwrap();
        let found = ask(20);
        assert_eq!(
            (found[0].class_id, found[0].index, found[0].class_name.as_str()),
            (1, 17, "class 1")
        );
        assert!(found[0].distance.abs() < 1e-12);
        let far = |v: &[f32]| match distance {
            Distance::L2 => v
                .iter()
                .zip(&query)
                .map(|(a, b)| f64::from(a - b).powi(2))
                .sum::<f64>()
                .sqrt(),
            Distance::Cosine => {
                let dot =
                    |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(x, y)| f64::from(x * y)).sum() };
                1.0 - dot(v, &query) / (dot(v, v) * dot(&query, &query)).sqrt()
            }
        };
        let mut all: Vec<_> = (0..CLASSES)
            .flat_map(|c| (0..ROWS).map(move |i| (c, i)))
            .map(|(c, i)| (far(&outlier(c, i).vector), c, i))
            .collect();
        all.sort_by(|a, b| a.partial_cmp(b).unwrap());
        for (mine, (distance, class, index)) in found.iter().zip(&all) {
            assert_eq!((mine.class_id, mine.index), (*class, *index));
            assert!((mine.distance - distance).abs() < 1e-6);
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(pool.install(|| ask(20)), found);
        assert_eq!(ask(0), []);
        assert_eq!(ask(10_000).len(), 9000);
    }
}

#[test]
fn ties_go_to_the_lower_key_whatever_the_threads() {
    let s = sample();
    let run = begin(&s.store, "sample", 9, &[]);
    let same = |class_id, index| Outlier {
        vector: vec![1.0; WIDTH],
        ..outlier(class_id, index)
    };
    let rows: Vec<_> = (0..4).flat_map(|c| (0..500).map(move |i| same(c, i))).collect();
    s.store.put(run, &rows).unwrap();
    let snapshot = s.store.snapshot().unwrap();
    for threads in [1, 4] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let found = pool.install(|| {
            nearest(
                &snapshot,
                Table::Outliers,
                &Selection::run(run),
                &[1.0; WIDTH],
                3,
                Distance::L2,
            )
            .unwrap()
        });
        let keys: Vec<_> = found.iter().map(|n| (n.class_id, n.index)).collect();
        assert_eq!(keys, [(0, 0), (0, 1), (0, 2)]);
    }
}

#[test]
fn nearest_refuses_what_has_no_answer() {
    let s = sample();
    let snapshot = s.store.snapshot().unwrap();
    let ask = |table, vector: &[f32]| {
        nearest(
            &snapshot,
            table,
            &Selection::default(),
            vector,
            1,
            Distance::Cosine,
        )
        .unwrap_err()
        .to_string()
    };
    assert!(ask(Table::Images, &[1.0]).contains("images has no vectors"));
    assert!(ask(Table::Outliers, &[1.0, 2.0]).contains("have width 128, the one asked for 2"));
    assert!(ask(Table::Outliers, &[0.0; WIDTH]).contains("all zeros"));
    assert!(ask(Table::Outliers, &[f32::NAN; WIDTH]).contains("not finite"));
}

fn show(format: Format, filter: &Filter, store: &Arc<Store>) -> String {
    let rows = filter.rows(store).unwrap();
    let schema = rows.schema();
    let mut out = Vec::new();
    write_rows(&mut out, format, &schema, rows).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn rows_are_shown_in_three_ways() {
    let s = sample();
    let mut filter = Filter::all(TableName::Artifacts(Table::Features));
    filter.limit = Some(2);
    let run = s.features.id;
    let expected = format!(
        "\
run                               class_id  class_name  index  vector  split  sample
{run}         0  class 0         0  [0 1]   train       0
{run}         0  class 0         1  [1 1]   train       1
"
    );
    assert_eq!(show(Format::Table, &filter, &s.store), expected);
    let json = show(Format::Json, &filter, &s.store);
    let first: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(first["vector"], serde_json::json!([0.0, 1.0]));
    assert_eq!(first["run"], run.to_string());
    let csv = show(Format::Csv, &filter, &s.store);
    assert_eq!(
        csv.lines().nth(2).unwrap(),
        format!("{run},0,class 0,1,\"[1.0,1.0]\",train,1")
    );

    let mut outliers = Filter::all(TableName::Artifacts(Table::Outliers));
    outliers.limit = Some(1);
    let text = show(Format::Table, &outliers, &s.store);
    assert!(text.lines().nth(1).unwrap().contains(" .. 128]  "), "{text}");

    let metrics = Filter::all(TableName::Artifacts(Table::Metrics));
    let json = show(Format::Json, &metrics, &s.store);
    assert!(
        json.lines().next().unwrap().contains("\"class_id\":null"),
        "{json}"
    );
    let runs = show(Format::Table, &Filter::all(TableName::Runs), &s.store);
    assert!(
        runs.contains("2023-11-14 22:13:21") && runs.contains("best"),
        "{runs}"
    );
}

#[test]
fn bytes_are_counted_in_tables_and_in_hex_in_json() {
    let image = dream_schema::Image {
        class_id: 0,
        class_name: "a\nb".into(),
        index: 0,
        outlier: None,
        width: 1,
        height: 1,
        png: vec![0xAB, 0xCD],
        blake3: "00".into(),
    };
    let batch = dream_schema::Image::to_batch(&[image]).unwrap();
    let show = |format| {
        let mut out = Vec::new();
        write_rows(&mut out, format, &batch.schema(), [Ok(batch.clone())])
            .map(|_| String::from_utf8(out).unwrap())
    };
    let text = show(Format::Table).unwrap();
    assert!(text.contains("<2 bytes>") && text.contains("a\\nb"), "{text}");
    assert!(show(Format::Json).unwrap().contains("\"png\":\"abcd\""));
    assert!(show(Format::Csv).unwrap_err().to_string().contains("`png`"));
}

#[test]
fn tables_are_found_by_name() {
    for table in TableName::all() {
        assert_eq!(table.name().parse::<TableName>().unwrap(), table);
    }
    let err = "outlier".parse::<TableName>().unwrap_err().to_string();
    assert!(
        err.contains("no table `outlier`") && err.contains("run_inputs") && err.contains("metrics"),
        "{err}"
    );
}
