//! The same questions to exported files.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use arrow::util::display::array_value_to_string;
use dream_schema::Table;

use super::{count, lines};
use crate::exchange::{Target, write_parquet};
use crate::query::tests::{Sample, sample};
use crate::query::{Filter, QueryError, Sql, TableName};

/// Exports every table that vectors of one width allow.
fn export(s: &Sample, folder: &Path) {
    for table in TableName::all() {
        let rows = Filter::all(table).rows(&s.store).unwrap();
        let target = Target::new(folder.join(format!("{table}-export.parquet")));
        write_parquet(&target, table.name(), &rows.schema(), rows).unwrap();
    }
}

fn ask(folder: &Path, sql: &str) -> Result<Vec<String>, QueryError> {
    let mut lines = Vec::new();
    for batch in Sql::parquet(folder)?.query(sql)? {
        let batch = batch?;
        for row in 0..batch.num_rows() {
            let values = batch
                .columns()
                .iter()
                .map(|c| array_value_to_string(c, row).unwrap());
            lines.push(values.collect::<Vec<_>>().join(" "));
        }
    }
    Ok(lines)
}

#[test]
fn files_answer_as_the_store_does() {
    let s = sample();
    let folder = tempfile::tempdir().unwrap();
    export(&s, folder.path());
    for sql in [
        "SELECT class_name, count(*), max(index), avg(knn_distance) FROM outliers GROUP BY 1 ORDER BY 1",
        "SELECT r.stage, count(*) FROM outliers o JOIN runs r ON o.run = r.run
         WHERE r.alias = 'best' GROUP BY 1",
        "SELECT index, norm(vector), vector FROM outliers WHERE class_id = 1 AND index < 3 ORDER BY index",
        "SELECT count(*) FROM outliers WHERE class_name IN ('class 0', 'class 2') AND knn_distance > 1.5",
        "SELECT * FROM features ORDER BY index",
        "SELECT key, value FROM run_params ORDER BY run",
        "SELECT name, classes[2], splits FROM datasets",
        "SELECT started_at, finished_at, inputs, seed FROM runs ORDER BY started_at",
        "SELECT name, value FROM metrics WHERE class_id IS NULL",
        "SELECT png, width FROM images",
        "SELECT count(*) FROM outliers a, features b",
    ] {
        assert_eq!(ask(folder.path(), sql).unwrap(), lines(&s, sql), "{sql}");
    }
    let plan = ask(
        folder.path(),
        "EXPLAIN SELECT knn_distance FROM outliers WHERE class_id = 7",
    )
    .unwrap();
    let plan = plan.join("\n");
    assert!(
        plan.contains("columns=[class_id, knn_distance]") && plan.contains("row_groups=0 of 1"),
        "{plan}"
    );
    let err = ask(folder.path(), "SELECT * FROM outlier")
        .unwrap_err()
        .to_string();
    assert!(err.contains("did you mean outliers?"), "{err}");
    let err = ask(folder.path(), "DROP TABLE outliers").unwrap_err();
    assert!(matches!(err, QueryError::ReadOnly { .. }), "{err}");
}

#[test]
fn rows_do_not_count_twice() {
    let s = sample();
    let folder = tempfile::tempdir().unwrap();
    let write = |file: &str, condition: Option<&str>| {
        let filter = Filter {
            condition: condition.map(str::to_owned),
            ..Filter::all(TableName::Artifacts(Table::Outliers))
        };
        let rows = filter.rows(&s.store).unwrap();
        let target = Target::new(folder.path().join(file)).overwrite(true);
        write_parquet(&target, "outliers", &rows.schema(), rows).unwrap();
    };
    let all = lines(&s, "SELECT count(*) FROM outliers");
    // Halves have nothing in common, though their classes and numbers overlap.
    write("a.parquet", Some("knn_distance > 1.5"));
    write("b.parquet", Some("knn_distance <= 1.5"));
    assert_eq!(ask(folder.path(), "SELECT count(*) FROM outliers").unwrap(), all);
    write("b.parquet", Some("class_id = 1"));
    let said = ask(folder.path(), "SELECT 1").unwrap_err();
    assert!(
        matches!(&said, QueryError::Doubled { table, .. } if table == "outliers"),
        "{said}"
    );
    let said = said.to_string();
    assert!(said.contains("b.parquet") && said.contains("a.parquet"), "{said}");
    // One file stands for itself.
    let one = folder.path().join("a.parquet");
    assert_eq!(ask(&one, "SELECT count(*) FROM outliers").unwrap().len(), 1);
}

#[test]
fn files_of_others_are_tables_too() {
    let folder = tempfile::tempdir().unwrap();
    let err = ask(folder.path(), "SELECT 1").unwrap_err().to_string();
    assert!(err.contains("no Parquet file"), "{err}");
    let ints = |values: Vec<i64>| -> ArrayRef { Arc::new(Int64Array::from(values)) };
    let one = RecordBatch::try_from_iter([("a", ints(vec![1, 2])), ("b", ints(vec![3, 4]))]).unwrap();
    let more: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    let two = RecordBatch::try_from_iter([("c", more), ("a", ints(vec![5]))]).unwrap();
    for (file, batch) in [("one", &one), ("two", &two)] {
        let target = Target::new(folder.path().join(format!("{file}.PARQUET")));
        let rows = [Ok::<_, QueryError>(batch.clone())];
        write_parquet(&target, "mine", &batch.schema(), rows).unwrap();
    }
    let found = ask(folder.path(), "SELECT a, b, c FROM mine ORDER BY a").unwrap();
    assert_eq!(found, ["1 3 ", "2 4 ", "5  x"]);
    let other: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    let clash = RecordBatch::try_from_iter([("a", other)]).unwrap();
    let target = Target::new(folder.path().join("three.parquet"));
    write_parquet(
        &target,
        "mine",
        &clash.schema(),
        [Ok::<_, QueryError>(clash.clone())],
    )
    .unwrap();
    let err = ask(folder.path(), "SELECT 1").unwrap_err().to_string();
    assert!(err.contains("two.PARQUET") || err.contains("`a` holds"), "{err}");
    std::fs::write(target.path, b"PAR1 no").unwrap();
    // Names tell nothing of their tables here.
    let err = ask(folder.path(), "SELECT a FROM mine").unwrap_err().to_string();
    assert!(err.contains("three.parquet"), "{err}");
    assert!(ask(folder.path(), "SELECT 1").is_ok());
    assert!(ask(Path::new("/no/such/folder"), "SELECT 1").is_err());
}

#[test]
fn numbers_equal_what_is_shown_of_them() {
    let s = sample();
    let folder = tempfile::tempdir().unwrap();
    export(&s, folder.path());
    let shown = 7.0 * 0.001_f32;
    assert_ne!(f64::from(shown).to_string(), shown.to_string());
    for (condition, rows) in [
        (format!("knn_distance = {shown}"), 3),
        (format!("{shown} = knn_distance"), 3),
        (format!("knn_distance <> {shown}"), 8997),
        (format!("knn_distance <= {shown}"), 24),
        (format!("knn_distance < {shown}"), 21),
        (format!("knn_distance >= {shown}"), 8979),
        (format!("knn_distance > {shown}"), 8976),
        (format!("knn_distance IS NOT DISTINCT FROM {shown}"), 3),
        (format!("knn_distance IN ({shown}, 1)"), 6),
        (format!("knn_distance NOT IN ({shown}, 1e300)"), 8997),
        (format!("knn_distance BETWEEN {shown} AND {shown}"), 3),
        (format!("abs(knn_distance) = {shown}"), 3),
        // No number of 32 bits stands for these.
        ("knn_distance < 1e300".to_owned(), 9000),
        ("knn_distance < 1e-300".to_owned(), 3),
        // Whoever asks for 64 bits has them.
        (format!("CAST(knn_distance AS DOUBLE) = {shown}"), 0),
    ] {
        let sql = format!("SELECT count(*) FROM outliers WHERE {condition}");
        assert_eq!(lines(&s, &sql), [rows.to_string()], "{condition}");
        assert_eq!(
            ask(folder.path(), &sql).unwrap(),
            [rows.to_string()],
            "{condition}"
        );
        let filter = Filter {
            condition: Some(condition.clone()),
            ..Filter::all(TableName::Artifacts(Table::Outliers))
        };
        let batches: Result<Vec<_>, _> = filter.rows(&s.store).and_then(Iterator::collect);
        assert_eq!(count(&batches.unwrap()), rows, "{condition}");
    }
}

#[test]
fn rows_whose_number_is_none_are_found_where_statistics_leave_them_out() {
    use arrow::array::{Float32Array, Float64Array};
    let folder = tempfile::tempdir().unwrap();
    let words = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Float64));
    let packed = arrow::compute::cast(&Float64Array::from(vec![1.0, f64::NAN, 1.0]), &words).unwrap();
    let columns: [(&str, ArrayRef); 4] = [
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3]))),
        ("z", packed),
        ("x", Arc::new(Float64Array::from(vec![1.0, f64::NAN, 1.0]))),
        ("y", Arc::new(Float32Array::from(vec![1.0, -f32::NAN, 1.0]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let target = Target::new(folder.path().join("t.parquet"));
    write_parquet(
        &target,
        "t",
        &batch.schema(),
        [Ok::<_, QueryError>(batch.clone())],
    )
    .unwrap();
    for (condition, ids) in [
        ("x > 1000", &["2"][..]),
        ("x <> 1.0", &["2"]),
        ("NOT (x < 1000)", &["2"]),
        ("x = 1.0", &["1", "3"]),
        ("isnan(y)", &["2"]),
        ("y < -1000", &["2"]),
        ("z > 1000", &["2"]),
        ("z <> 1.0", &["2"]),
        ("id > 1000", &[]),
    ] {
        let sql = format!("SELECT id FROM t WHERE {condition} ORDER BY id");
        assert_eq!(ask(folder.path(), &sql).unwrap(), ids, "{condition}");
    }
}

#[test]
fn a_broken_file_refuses_its_own_table_alone() {
    let s = sample();
    let folder = tempfile::tempdir().unwrap();
    export(&s, folder.path());
    let at = |name: &str| folder.path().join(name);
    std::fs::copy(at("outliers-export.parquet"), at("outliers-2.parquet")).unwrap();
    let file = std::fs::File::options()
        .write(true)
        .open(at("outliers-2.parquet"))
        .unwrap();
    file.set_len(100).unwrap();
    let asked = |sql: &str| ask(folder.path(), sql);
    let sql = "SELECT count(*) FROM features";
    assert_eq!(asked(sql).unwrap(), lines(&s, sql));
    for sql in [
        "SELECT count(*) FROM outliers",
        "SELECT count(*) FROM features f JOIN outliers o ON o.index = f.index",
    ] {
        let said = asked(sql).unwrap_err().to_string();
        assert!(said.contains("outliers-2.parquet"), "{said}");
    }
    // A name that says no table: it may be of any whose files have such names.
    std::fs::rename(at("outliers-2.parquet"), at("more.parquet")).unwrap();
    assert!(asked("SELECT count(*) FROM outliers").is_ok());
    let said = asked("SELECT count(*) FROM more").unwrap_err().to_string();
    assert!(said.contains("more.parquet"), "{said}");
    std::fs::rename(at("outliers-export.parquet"), at("some.parquet")).unwrap();
    assert!(
        asked("SELECT count(*) FROM outliers").is_err() && asked("SELECT count(*) FROM features").is_ok()
    );
    let said = ask(&at("more.parquet"), "SELECT 1").unwrap_err().to_string();
    assert!(said.contains("more.parquet"), "{said}");
}
