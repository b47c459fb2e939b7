//! Texts that are compared with ids of runs are told of.

use crate::query::tests::sample;
use crate::query::{Filter, Sql, TableName};

#[test]
fn what_is_compared_with_an_id_is_told_wherever_it_stands() {
    let s = sample();
    for (sql, texts) in [
        ("SELECT * FROM outliers WHERE run = 'a'", &["a"][..]),
        ("SELECT * FROM outliers WHERE 'a' = run", &["a"]),
        (
            "SELECT * FROM outliers WHERE run <> 'a' AND (class_id = 1 OR run IN ('b', 'c'))",
            &["a", "b", "c"],
        ),
        ("SELECT * FROM outliers WHERE run NOT IN ('b')", &["b"]),
        (
            "SELECT * FROM outliers o JOIN runs r ON o.run = r.run AND r.run = 'a'",
            &["a"],
        ),
        (
            "SELECT * FROM runs r LEFT JOIN run_inputs i ON r.run = i.run AND 'a' = i.input",
            &["a"],
        ),
        (
            "SELECT * FROM run_inputs WHERE input = 'a' OR run = 'b'",
            &["a", "b"],
        ),
        ("SELECT * FROM (SELECT run AS r FROM runs) WHERE r = 'a'", &["a"]),
        (
            "WITH t AS (SELECT o.run AS x FROM outliers o) SELECT * FROM t AS u(y) WHERE y = 'a'",
            &["a"],
        ),
        (
            "SELECT * FROM metrics WHERE run IN (SELECT run FROM runs WHERE run = 'a')",
            &["a"],
        ),
        ("SELECT (SELECT stage FROM runs WHERE run = 'a')", &["a"]),
        (
            "SELECT run, count(*) FROM outliers GROUP BY run HAVING run = 'a'",
            &["a"],
        ),
        (
            "SELECT CASE run WHEN 'a' THEN 1 WHEN 'b' THEN 2 END FROM runs",
            &["a", "b"],
        ),
        ("SELECT CASE WHEN run = 'a' THEN 1 END FROM runs", &["a"]),
        ("SELECT count(*) FILTER (WHERE run = 'a') FROM runs", &["a"]),
        ("SELECT * FROM runs WHERE run LIKE 'a'", &["a"]),
        ("SELECT * FROM runs WHERE run IS NOT DISTINCT FROM 'a'", &["a"]),
        (
            "SELECT * FROM runs WHERE CAST(run AS VARCHAR) = CAST('a' AS VARCHAR)",
            &["a"],
        ),
        (
            "SELECT run FROM runs UNION ALL SELECT run FROM outliers WHERE run = 'a'",
            &["a"],
        ),
        (
            "SELECT * FROM (SELECT run FROM runs UNION ALL SELECT run FROM outliers) WHERE run = 'a'",
            &["a"],
        ),
        ("EXPLAIN SELECT * FROM runs WHERE run = 'a'", &["a"]),
        // What compares no id, or not with the whole of one.
        ("SELECT * FROM runs WHERE run LIKE 'a%'", &[]),
        ("SELECT * FROM runs WHERE substr(run, 1, 12) = 'a'", &[]),
        ("SELECT * FROM runs WHERE run > 'a'", &[]),
        ("SELECT * FROM runs WHERE alias = 'a' OR stage = 'a'", &[]),
        (
            "SELECT * FROM (SELECT stage AS run FROM runs) WHERE run = 'a'",
            &[],
        ),
        ("SELECT * FROM (VALUES ('a')) AS t(run) WHERE run = 'a'", &[]),
    ] {
        let rows = Sql::new(&s.store)
            .query(sql)
            .unwrap_or_else(|e| panic!("{sql}: {e}"));
        let found: Vec<&str> = rows.compared_ids().iter().map(String::as_str).collect();
        assert_eq!(found, texts, "{sql}");
    }
    let mut filter = Filter::all(TableName::Runs);
    filter.condition = Some("'a' = run".into());
    assert!(filter.rows(&s.store).unwrap().compared_ids().contains("a"));
}
