//! Queries, what they read, and what is refused.

mod explain;
mod files;
mod growth;
mod ids;
mod limits;
mod metrics;
mod runs;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use dream_schema::Table;

use crate::query::tests::{ROWS, Sample, WIDTH, older_sample, outlier, sample};
use crate::query::{Class, Distance, Filter, QueryError, Selection, Sql, TableName, nearest};
use crate::store::Projection;

fn count(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

/// Returns the rows of a query.
fn answer(query: &Sql<'_>, sql: &str) -> Vec<RecordBatch> {
    let rows = query.query(sql).and_then(Iterator::collect);
    rows.unwrap_or_else(|e: QueryError| panic!("{sql}: {e}"))
}

/// Returns the rows of a query as text, values separated by spaces.
fn lines(s: &Sample, sql: &str) -> Vec<String> {
    let batches = answer(&Sql::new(&s.store), sql);
    let mut lines = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            let value =
                |c: &arrow::array::ArrayRef| arrow::util::display::array_value_to_string(c, row).unwrap();
            lines.push(batch.columns().iter().map(value).collect::<Vec<_>>().join(" "));
        }
    }
    lines
}

fn refusal(s: &Sample, sql: &str) -> String {
    let rows: Result<Vec<_>, _> = Sql::new(&s.store).query(sql).and_then(Iterator::collect);
    match rows {
        Ok(_) => panic!("{sql} was answered"),
        Err(error) => error.to_string(),
    }
}

/// Returns the number of rows of a query and of the blocks that it read.
fn cost(s: &Sample, sql: &str) -> (usize, u64) {
    let query = Sql::new(&s.store);
    let rows = answer(&query, sql);
    (count(&rows), query.counter().blocks())
}

#[test]
fn rows_are_grouped_joined_and_counted() {
    let s = sample();
    let sql =
        "SELECT class_name, count(*) AS n, max(index) FROM outliers GROUP BY class_name ORDER BY class_name";
    assert_eq!(
        lines(&s, sql),
        ["class 0 3000 2999", "class 1 3000 2999", "class 2 3000 2999"]
    );
    let sql = "SELECT r.stage, count(*) FROM outliers o JOIN runs r ON o.run = r.run
               WHERE r.alias = 'best' GROUP BY 1";
    assert_eq!(lines(&s, sql), ["sample 9000"]);
    let sql =
        "SELECT count(*) FROM outliers WHERE run = (SELECT run FROM runs WHERE alias = 'best') AND index < 7";
    assert_eq!(lines(&s, sql), ["21"]);
    let sql = "SELECT count(*) FROM outliers WHERE run IN (SELECT run FROM runs WHERE stage = 'encode')";
    assert_eq!(lines(&s, sql), ["0"]);
    let sql = "SELECT a.stage, i.role, b.stage FROM run_inputs i
               JOIN runs a ON a.run = i.run JOIN runs b ON b.run = i.input";
    assert_eq!(lines(&s, sql), ["encode outliers sample"]);
    assert_eq!(
        lines(&s, "SELECT name, classes[2], splits FROM datasets"),
        ["cifar bee {\"train\":50000}"]
    );
    assert_eq!(
        lines(&s, "SELECT name, value FROM metrics WHERE class_id IS NULL"),
        ["auroc 0.5"]
    );
    assert_eq!(lines(&s, "SELECT avg(value) FROM metrics"), ["1.5"]);
    assert_eq!(lines(&s, "SELECT * FROM images"), [""; 0]);
    // Nothing is equal to a null, or told to differ from one.
    for condition in ["class_id IN (NULL)", "class_id NOT IN (1, NULL)", "run = NULL"] {
        let sql = format!("SELECT count(*) FROM outliers WHERE {condition}");
        assert_eq!(lines(&s, &sql), ["0"], "{condition}");
    }
    let sql = "SELECT status, seed, params, finished_at >= started_at, array_length(inputs)
               FROM runs WHERE stage = 'encode'";
    assert_eq!(lines(&s, sql), ["finished 2 {\"k\":300} true 1"]);
}

#[test]
fn columns_of_joined_tables_have_names_of_their_own() {
    let s = sample();
    let sql = "SELECT a.run, b.run, a.seed, b.seed FROM run_inputs i
               JOIN runs a ON a.run = i.run JOIN runs b ON b.run = i.input";
    let rows = answer(&Sql::new(&s.store), sql);
    let schema = rows[0].schema();
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    assert_eq!(names, ["run", "run_1", "seed", "seed_1"]);
    assert_ne!(rows[0].column(0), rows[0].column(1));
}

#[test]
fn what_is_selected_compares_as_conditions_do() {
    let s = sample();
    // Of the three classes one row each has the number that is shown so.
    let sql =
        "SELECT count(*) FILTER (WHERE knn_distance = 0.007), sum(CASE WHEN knn_distance = 0.007 THEN 1 END),
               bool_or(knn_distance = 0.007) FROM outliers";
    assert_eq!(lines(&s, sql), ["3 3 true"]);
    let sql =
        "SELECT knn_distance = 0.007, -knn_distance = -0.007 FROM outliers WHERE class_id = 1 AND index = 7";
    assert_eq!(lines(&s, sql), ["true true"]);
    let sql = "SELECT CASE knn_distance WHEN 0.5 THEN 1 WHEN 0.007 THEN 2 END
               FROM outliers WHERE class_id = 1 AND index = 7";
    assert_eq!(lines(&s, sql), ["2"]);
    let sql = "SELECT count(*) FROM outliers a JOIN outliers b ON a.run = b.run AND a.index = b.index
               AND a.class_id = b.class_id AND a.knn_distance = 0.007";
    assert_eq!(lines(&s, sql), ["3"]);
}

#[test]
fn integers_that_do_not_fit_are_an_error() {
    let s = sample();
    let largest = i64::MAX;
    // Of constants, of columns of 64 bits, of 32 bits by themselves, and of totals: plain, of groups, of
    // windows that grow and of those that slide.
    for sql in [
        format!("SELECT {largest} + 1"),
        format!("SELECT 0 - {largest} - 2"),
        format!("SELECT -(-{largest} - 1)"),
        format!("SELECT max(index) * {largest} FROM outliers"),
        "SELECT max(a.x * a.x) FROM (SELECT arrow_cast(index * 100, 'Int32') AS x FROM outliers) a"
            .to_owned(),
        format!("SELECT sum({largest} - index) FROM outliers"),
        format!("SELECT sum({largest} - index) FROM outliers GROUP BY class_id"),
        format!("SELECT sum({largest} - index) OVER (ORDER BY index) FROM outliers"),
        format!("SELECT sum({largest} - index) OVER (ORDER BY index ROWS 2 PRECEDING) FROM outliers"),
        format!("SELECT sum(DISTINCT {largest} - index) FROM outliers"),
    ] {
        let said = refusal(&s, &sql);
        assert!(
            said.contains("does not fit") && !said.contains('\n'),
            "{sql}: {said}"
        );
    }
    for (sql, right) in [
        (
            "SELECT 9223372036854775806 + 1, 2 - 3, -(2 * 3)",
            "9223372036854775807 -1 -6",
        ),
        (
            "SELECT sum(index), sum(DISTINCT index), sum(index * 1.5) FROM outliers",
            "13495500 4498500 20243250.0",
        ),
        ("SELECT sum(index - 1) - 1 FROM outliers WHERE index < 0", ""),
        (
            "SELECT max(x), min(x) FROM (SELECT sum(index) OVER (ORDER BY index ROWS 1 PRECEDING) AS x
          FROM outliers WHERE class_id = 1)",
            "5997 0",
        ),
        (
            "SELECT arrow_typeof(sum(o.index)), arrow_typeof(sum(value)) FROM outliers o, metrics",
            "Int64 Float64",
        ),
        (
            "SELECT sum(index) AS n FROM outliers GROUP BY class_id ORDER BY n LIMIT 1",
            "4498500",
        ),
        // A part of a total may be larger than what the total fits.
        (
            "SELECT sum(x) FROM (VALUES (9223372036854775807), (5), (-9)) AS t(x)",
            "9223372036854775803",
        ),
    ] {
        assert_eq!(lines(&s, sql), [right], "{sql}");
    }
}

#[test]
fn parts_of_times_can_be_asked_for() {
    let s = sample();
    let sql = "SELECT extract(year FROM started_at) = date_part('year', started_at),
               extract(year FROM started_at) FROM runs LIMIT 1";
    assert_eq!(lines(&s, sql), ["true 2023"]);
}

#[test]
fn bytes_are_counted_of_text_and_of_bytes() {
    let s = sample();
    let sql = "SELECT octet_length(x'010203'), octet_length('n\u{e9}'), octet_length(NULL)";
    assert_eq!(lines(&s, sql), ["3 3 "]);
    let sql = "SELECT DISTINCT octet_length(class_name), octet_length(arrow_cast(class_name, 'Binary'))
               FROM outliers";
    assert_eq!(lines(&s, sql), ["7 7"]);
    assert_eq!(lines(&s, "SELECT octet_length(png) FROM images"), [""; 0]);
    let said = refusal(&s, "SELECT octet_length(vector) FROM outliers");
    assert!(said.contains("octet_length takes text or bytes"), "{said}");
}

#[test]
fn every_table_has_its_columns() {
    let s = sample();
    for table in TableName::all() {
        let rows = Sql::new(&s.store)
            .query(&format!("SELECT * FROM {table}"))
            .unwrap();
        let width = if table == TableName::Artifacts(Table::Outliers) {
            WIDTH
        } else {
            2
        };
        let names = |schema: arrow::datatypes::SchemaRef| -> Vec<String> {
            schema.fields().iter().map(|f| f.name().clone()).collect()
        };
        assert_eq!(names(rows.schema()), names(table.schema(width)), "{table}");
    }
    let kind = |sql: &str| {
        let rows = Sql::new(&s.store).query(sql).unwrap();
        rows.schema().field(0).data_type().clone()
    };
    assert!(matches!(
        kind("SELECT started_at FROM runs"),
        DataType::Timestamp(_, Some(_))
    ));
    assert!(matches!(
        kind("SELECT vector FROM outliers LIMIT 1"),
        DataType::FixedSizeList(_, 128)
    ));
    assert!(matches!(
        kind("SELECT vector FROM class_embeddings"),
        DataType::List(_)
    ));
}

#[test]
fn vectors_of_several_widths_become_lists() {
    let s = sample();
    let wider = dream_schema::Feature {
        class_id: 0,
        class_name: "class 0".into(),
        index: 0,
        vector: vec![3.0, 4.0, 0.0],
        split: "train".into(),
        sample: 0,
    };
    let run = crate::query::tests::begin(&s.store, "encode", 77, &[]);
    s.store.put(run, &[wider]).unwrap();
    let batches = answer(&Sql::new(&s.store), "SELECT vector FROM features");
    assert!(matches!(batches[0].column(0).data_type(), DataType::List(_)));
    assert_eq!(
        lines(
            &s,
            "SELECT norm(vector) FROM features WHERE array_length(vector) = 3"
        ),
        ["5.0"]
    );
    let err = Filter::all(TableName::Artifacts(Table::Features))
        .rows(&s.store)
        .err()
        .unwrap();
    assert!(matches!(err, QueryError::Width { .. }), "{err}");
}

#[test]
fn only_the_blocks_that_are_needed_are_read() {
    let (new, old) = (sample(), older_sample());
    // What is read: the narrow columns; the vectors too; all columns at once, where the names of classes are
    // not known.
    for (s, column, named) in [
        (&new, "knn_distance", true),
        (&new, "vector", true),
        (&old, "knn_distance", false),
        (&old, "vector", false),
    ] {
        let run = s.outliers.id;
        let snapshot = s.store.snapshot().unwrap();
        let place = Table::Outliers.schema(0).index_of(column).unwrap();
        let columns = Projection::Only(vec![place]);
        let blocks = Selection::default()
            .blocks(&snapshot, Table::Outliers, &columns)
            .unwrap();
        let total = blocks.len() as u64;
        let of = |part| blocks.iter().filter(|b| b.part == part).count() as u64;
        let enough = if named && column != "vector" { 3 } else { 6 };
        assert!(total >= enough, "the sample is too small to show anything");
        let other = |classes| if named { 0 } else { classes };
        let none = format!("run IN ('{}', '{}')", s.features.id, s.metrics.id);
        for (condition, rows, blocks) in [
            ("true", 9000, total),
            (&*format!("run = '{run}'"), 9000, total),
            (&*format!("run LIKE '{}%'", &run.to_string()[..6]), 9000, total),
            (&*none, 0, 0),
            ("run = 'no such run'", 0, 0),
            ("class_id = 1", 3000, of(1)),
            ("class_id <> 1 AND class_id < 2", 3000, of(0)),
            ("class_id = 1 OR class_id = 2", 6000, of(1) + of(2)),
            ("class_name = 'class 2'", 3000, of(2) + other(2)),
            (
                "class_name IN ('class 0', 'class 2')",
                6000,
                of(0) + of(2) + other(1),
            ),
            ("class_id = 1 AND index = 7", 1, 1),
            ("class_id = 1 AND index >= 0 AND index < 5", 5, 1),
            ("class_id = 1 AND index BETWEEN 2998 AND 4000", 2, 1),
            ("5 > index", 15, 3),
            ("index < 0 OR index > 100000", 0, total),
            ("index = -1", 0, 0),
            // What is asked beyond that is filtered afterwards.
            ("class_id = 1 AND knn_distance < 0.0015", 2, of(1)),
            ("class_id = 1 AND round = 2 AND index <> 4", 1, of(1)),
        ] {
            let sql = format!("SELECT {column} FROM outliers WHERE {condition}");
            assert_eq!(cost(s, &sql), (rows, blocks), "{sql}");
        }
        // A limit ends the reading.
        for condition in ["", "WHERE class_id = 2"] {
            let sql = format!("SELECT {column} FROM outliers {condition} LIMIT 3");
            assert_eq!(cost(s, &sql), (3, 1), "{sql}");
        }
        // Keys are known without reading.
        assert_eq!(cost(s, "SELECT count(*) FROM outliers"), (1, 0));
        assert_eq!(cost(s, "SELECT run, index FROM metrics"), (3, 0));
        let sql = "SELECT class_name, count(*) FROM outliers GROUP BY 1";
        assert_eq!(cost(s, sql).1 == 0, named);
        let sql = "SELECT count(*), max(index) FROM outliers WHERE index > 2000";
        assert_eq!(lines(s, sql), ["2997 2999"]);
        let sql = "SELECT run, class_id, count(*) FROM outliers WHERE index > 2000 GROUP BY 1, 2";
        assert_eq!(cost(s, sql), (3, 0));
        let sql = "SELECT run, index, class_id FROM outliers WHERE index BETWEEN 10 AND 11 AND class_id = 2";
        assert_eq!(lines(s, sql), [format!("{run} 10 2"), format!("{run} 11 2")]);
    }
}

#[test]
fn only_the_tables_that_are_named_are_looked_at() {
    let s = sample();
    for (sql, rows, tables) in [
        ("SELECT 1", 1, 0),
        ("SELECT value FROM metrics", 3, 1),
        (
            "SELECT a.value FROM metrics a JOIN metrics b ON a.index = b.index",
            3,
            1,
        ),
        (
            "SELECT stage FROM runs WHERE run IN (SELECT run FROM metrics)",
            1,
            2,
        ),
        ("WITH runs AS (SELECT 1 AS x) SELECT x FROM runs", 1, 0),
        (
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'",
            TableName::names().len(),
            0,
        ),
    ] {
        let query = Sql::new(&s.store);
        assert_eq!(count(&answer(&query, sql)), rows, "{sql}");
        assert_eq!(query.counter().tables(), tables, "{sql}");
    }
}

#[test]
fn metrics_are_filtered_row_by_row() {
    let s = sample();
    for (condition, rows) in [
        ("class_id = 1", 1),
        ("class_id > 0", 2),
        ("class_name = 'class 2'", 1),
        ("index >= 1", 2),
        ("class_id IS NULL", 1),
        ("class_name IS NULL", 1),
        ("class_name <> 'class 2'", 1),
        ("class_name = 'class 1' OR class_name = 'class 2'", 2),
        ("class_name = 'class 1' AND class_name = 'class 2'", 0),
    ] {
        let (found, _) = cost(&s, &format!("SELECT value FROM metrics WHERE {condition}"));
        assert_eq!(found, rows, "{condition}");
    }
}

#[test]
fn vector_functions_agree_with_nearest() {
    let s = sample();
    let query = outlier(2, 5).vector;
    let literal = format!("{query:?}");
    let snapshot = s.store.snapshot().unwrap();
    for (sql, distance) in [
        ("l2_distance(vector, {v})", Distance::L2),
        ("1 - cosine_similarity({v}, vector)", Distance::Cosine),
    ] {
        let far = sql.replace("{v}", &literal);
        let sql = format!(
            "SELECT class_id, index, {far} AS d FROM outliers ORDER BY d, run, class_id, index LIMIT 10"
        );
        let batches = answer(&Sql::new(&s.store), &sql);
        let found = nearest(
            &snapshot,
            Table::Outliers,
            &Selection::default(),
            &query,
            10,
            distance,
        )
        .unwrap();
        let batch = &batches[0];
        assert_eq!(batch.num_rows(), 10);
        for (row, neighbour) in found.iter().enumerate() {
            assert_eq!(
                batch.column(1).as_primitive::<Int64Type>().value(row),
                neighbour.index as i64
            );
            let d = batch.column(2).as_primitive::<Float64Type>().value(row);
            assert!(
                (d - neighbour.distance).abs() < 1e-12,
                "{d} {}",
                neighbour.distance
            );
        }
    }
    assert_eq!(
        lines(
            &s,
            "SELECT dot([1.0, 2.0], [3, 4]), norm([3, 4]), l2_distance([0, 0], [3, 4])"
        ),
        ["11.0 5.0 5.0"]
    );
    assert_eq!(
        lines(&s, "SELECT cosine_similarity([1, 0], [0, 1]), dot(NULL, [1.0])"),
        ["0.0 "]
    );
    // Pairs of rows.
    let sql =
        "SELECT max(abs(1 - cosine_similarity(a.vector, b.vector))) < 1e-12 FROM outliers a JOIN outliers b
               ON a.class_id = b.class_id AND a.index = b.index WHERE a.index < 50";
    assert_eq!(lines(&s, sql), ["true"]);
    let err = refusal(&s, "SELECT dot(vector, [1.0, 2.0]) FROM outliers");
    assert!(err.contains("widths 128 and 2"), "{err}");
    let err = refusal(&s, "SELECT norm(class_name) FROM outliers");
    assert!(err.contains("norm takes vectors, not Utf8"), "{err}");
}

#[test]
fn nothing_can_be_changed() {
    let s = sample();
    for sql in [
        "DROP TABLE outliers",
        "DELETE FROM outliers",
        "UPDATE runs SET note = 'x'",
        "INSERT INTO metrics SELECT * FROM metrics",
        "CREATE TABLE x AS SELECT 1",
        "CREATE VIEW x AS SELECT 1",
        "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'",
        "COPY runs TO '/tmp/x.csv' STORED AS CSV",
        "EXPLAIN ANALYZE INSERT INTO metrics SELECT * FROM metrics",
        "SET datafusion.execution.batch_size = 1",
        "TRUNCATE TABLE metrics",
    ] {
        let err = refusal(&s, sql);
        assert!(
            err.starts_with("SQL only reads here") && !err.contains('\n'),
            "{sql}: {err}"
        );
    }
    assert_eq!(lines(&s, "SELECT count(*) FROM metrics"), ["3"]);
    let err = refusal(&s, "SELECT 1; DROP TABLE outliers");
    assert!(!err.contains('\n'), "{err}");
}

#[test]
fn errors_are_one_line_that_says_what_to_do() {
    let s = sample();
    for (sql, words) in [
        (
            "SELECT * FROM outlier",
            &["no table `outlier`; did you mean outliers?", "run_inputs"][..],
        ),
        ("SELECT * FROM runs JOIN nothing ON true", &["no table `nothing`"]),
        (
            "SELECT distance FROM outliers",
            &["no column `distance`; did you mean knn_distance?", "class_name"],
        ),
        ("SELECT o.x FROM outliers o", &["no column `x`", "knn_distance"]),
        ("SELEC 1", &["SELEC"]),
        ("", &[]),
        ("SELECT * FROM '/etc/passwd'", &["no table"]),
    ] {
        let err = refusal(&s, sql);
        assert!(
            words.iter().all(|word| err.contains(word)) && !err.contains('\n'),
            "{sql}: {err}"
        );
    }
    assert_eq!(
        lines(&s, "WITH nothing AS (SELECT 1 AS x) SELECT x FROM nothing"),
        ["1"]
    );
    assert!(
        lines(&s, "SHOW TABLES")
            .iter()
            .any(|line| line.contains("outliers"))
    );
    assert!(
        lines(&s, "DESCRIBE runs")
            .iter()
            .any(|line| line.starts_with("started_at"))
    );
    assert!(lines(&s, "EXPLAIN SELECT 1").len() > 1);
}

#[test]
fn an_answer_need_not_be_read_to_its_end() {
    let s = sample();
    let query = Sql::new(&s.store);
    let mut rows = query.query("SELECT knn_distance FROM outliers").unwrap();
    assert_eq!(rows.schema().fields().len(), 1);
    let first = rows.next().unwrap().unwrap().num_rows();
    assert!(first > 0 && first < 9000);
    drop(rows);
    assert!(query.counter().blocks() > 0);
}

#[test]
fn filters_take_conditions() {
    let s = sample();
    let mut filter = Filter::all(TableName::Artifacts(Table::Outliers));
    filter.runs = vec![s.outliers.id];
    filter.class = Some(Class::Name("class 1".into()));
    filter.condition = Some("knn_distance > 0.5 AND knn_distance < 0.6 -- a comment".into());
    let ask = |filter: &Filter| filter.rows(&s.store)?.collect::<Result<Vec<_>, _>>();
    let rows: usize = (0..ROWS)
        .filter(|i| *i as f32 * 0.001 > 0.5 && (*i as f32 * 0.001) < 0.6)
        .count();
    assert_eq!(count(&ask(&filter).unwrap()), rows);
    filter.limit = Some(3);
    assert_eq!(count(&ask(&filter).unwrap()), 3);
    filter.class = Some(Class::Name("it's".into()));
    let err = ask(&filter).unwrap_err();
    assert!(matches!(err, QueryError::UnknownClass { .. }), "{err}");
    // A class of the set that the run read, of which it has no rows.
    filter.class = Some(Class::Name("bee".into()));
    assert_eq!(count(&ask(&filter).unwrap()), 0);
    filter.class = Some(Class::Name("class 1".into()));
    filter.condition = Some("knn > 0.5".into());
    assert!(ask(&filter).unwrap_err().to_string().contains("no column `knn`"));
    let mut runs = Filter::all(TableName::Runs);
    runs.condition = Some("stage = 'encode'".into());
    assert_eq!(count(&ask(&runs).unwrap()), 1);
}
