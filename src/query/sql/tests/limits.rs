//! Queries that nest deep, hold much, or are no longer wanted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{answer, count, lines, refusal};
use crate::query::tests::{Sample, sample};
use crate::query::{QueryError, QueryOptions, Sql};

fn with_memory(s: &Sample, memory: usize) -> Sql<'_> {
    Sql::new(&s.store).with_options(QueryOptions {
        memory,
        ..QueryOptions::default()
    })
}

/// Returns the error of a query that fails.
fn failure(query: &Sql<'_>, sql: &str) -> QueryError {
    let rows: Result<Vec<_>, _> = query.query(sql).and_then(Iterator::collect);
    rows.err().unwrap_or_else(|| panic!("{sql} was answered"))
}

#[test]
fn queries_may_nest_deep() {
    let s = sample();
    let many = |n: usize, piece: &dyn Fn(usize) -> String, between: &str| -> String {
        (0..n).map(piece).collect::<Vec<_>>().join(between)
    };
    let ors = many(1000, &|i| format!("round = {i} AND kind <> 'x{i}'"), " OR ");
    let sql = format!("SELECT count(*) FROM outliers WHERE {ors}");
    // Rounds 0 to 999 of 1500, of two rows in each of three classes.
    assert_eq!(lines(&s, &sql), ["6000"]);
    let sql = format!("SELECT {}", many(2000, &|_| "1".into(), " + "));
    assert_eq!(lines(&s, &sql), ["2000"]);
    for (open, close, levels) in [
        ("(", ")", 2000),
        ("- (", ")", 100),
        ("abs(", ")", 200),
        ("CASE WHEN true THEN ", " END", 500),
    ] {
        let sql = format!("SELECT {}1{} IS NULL", open.repeat(levels), close.repeat(levels));
        assert_eq!(lines(&s, &sql), ["false"], "{open}");
    }
    let sql = format!("SELECT {} true", "NOT ".repeat(200));
    assert_eq!(lines(&s, &sql), ["true"]);
    let unions = many(500, &|i| format!("SELECT {i} AS x"), " UNION ALL ");
    assert_eq!(lines(&s, &format!("SELECT count(*) FROM ({unions})")), ["500"]);
    let list = many(100_000, &|i| i.to_string(), ", ");
    let sql = format!("SELECT count(*) FROM outliers WHERE round IN ({list})");
    assert_eq!(lines(&s, &sql), ["9000"]);
    let nested = format!("{}SELECT 1{}", "SELECT * FROM (".repeat(60), ")".repeat(60));
    assert_eq!(lines(&s, &nested), ["1"]);

    let sum = |column: &str, n: usize| {
        let sum = many(n, &|_| column.into(), " + ");
        format!("SELECT {sum} AS x FROM outliers LIMIT 1")
    };
    assert_eq!(lines(&s, &sum("1", 20_000)), ["20000"]);
    assert_eq!(lines(&s, &sum("class_id", 500)), ["0"]);
    assert_eq!(lines(&s, &sum("class_id - 1 - class_id * 2", 300)), ["-300"]);
    let deep = |depth: usize| {
        let (open, close) = ("abs(".repeat(depth), ")".repeat(depth));
        format!("SELECT {open}index{close} AS x FROM outliers LIMIT 1")
    };
    let nested = format!("{}SELECT 1{}", "SELECT * FROM (".repeat(500), ")".repeat(500));
    assert_eq!(lines(&s, &nested), ["1"]);
    for (sql, depth) in [
        (sum("class_id", 30_000), 30_000),
        (deep(600), 601),
        (deep(2000), 2001),
    ] {
        let err = refusal(&s, &sql);
        assert!(err.contains(&format!("{depth} deep")), "{err}");
    }

    let err = refusal(&s, &format!("SELECT {}", many(100_000, &|_| "1".into(), " + ")));
    assert!(
        err.contains("nests some 1") && err.contains("40000 at most"),
        "{err}"
    );
    let err = refusal(
        &s,
        &format!("SELECT {}1{}", "(".repeat(100_000), ")".repeat(100_000)),
    );
    assert!(err.contains("nests some"), "{err}");
}

#[test]
fn what_does_not_fit_is_spilled_or_refused() {
    let s = sample();
    // Nine thousand vectors of half a kilobyte.
    let sorted = "SELECT index, vector FROM outliers ORDER BY knn_distance DESC, class_id";
    let whole = answer(&Sql::new(&s.store), sorted);
    let spilled = answer(&with_memory(&s, 3 << 20), sorted);
    assert_eq!(count(&whole), 9000);
    let joined = |batches: &[_]| arrow::compute::concat_batches(&whole[0].schema(), batches).unwrap();
    assert_eq!(joined(&whole), joined(&spilled));
    let grouped = "SELECT count(*) FROM (SELECT index, class_id, count(*) FROM outliers GROUP BY 1, 2)";
    assert_eq!(count(&answer(&with_memory(&s, 1 << 20), grouped)), 1);

    let joined =
        "SELECT count(a.vector) FROM outliers a JOIN outliers b ON a.index = b.index AND a.vector = b.vector";
    let err = failure(&with_memory(&s, 1 << 20), joined);
    assert!(matches!(err, QueryError::Memory { .. }), "{err}");
    assert!(
        err.to_string()
            .starts_with("the query needs more memory than it may take"),
        "{err}"
    );
}

#[test]
fn rows_are_handed_out_as_they_come() {
    let s = sample();
    // 81 million rows, of which one side is held.
    let query = with_memory(&s, 16 << 20);
    let mut rows = query
        .query("SELECT a.index, b.round, b.class_name FROM outliers a, outliers b")
        .unwrap();
    for _ in 0..100 {
        assert!(rows.next().unwrap().unwrap().num_rows() > 0);
    }
}

#[test]
fn a_query_that_is_no_longer_wanted_ends_at_once() {
    let s = sample();
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    let query = Sql::new(&s.store).with_options(QueryOptions {
        cancelled: Arc::new(move || flag.load(Ordering::Relaxed)),
        ..QueryOptions::default()
    });
    let endless = "SELECT count(*) FROM outliers a, outliers b, outliers c WHERE a.round + b.round > c.round";
    let started = std::time::Instant::now();
    let stopped = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(100));
            stop.store(true, Ordering::Relaxed);
        });
        failure(&query, endless)
    });
    assert!(matches!(stopped, QueryError::Interrupted), "{stopped}");
    assert!(started.elapsed().as_secs() < 10);
}
