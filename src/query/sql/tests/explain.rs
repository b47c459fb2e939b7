//! What EXPLAIN says of what is read.

use super::{answer, lines};
use crate::query::Sql;
use crate::query::tests::sample;

/// Returns the line of a plan that says what is read.
fn scan(s: &crate::query::tests::Sample, sql: &str) -> String {
    let plan = lines(s, sql).join("\n");
    let line = plan.lines().find(|line| line.contains("Scan: table="));
    line.unwrap_or_else(|| panic!("{plan}")).trim().to_owned()
}

fn number(line: &str, name: &str) -> u64 {
    let rest = line
        .split(&format!("{name}="))
        .nth(1)
        .unwrap_or_else(|| panic!("{name}: {line}"));
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

#[test]
fn keys_become_ranges_and_wide_columns_are_left_alone() {
    let s = sample();
    let run = s.outliers.id;
    let of = |sql: &str| scan(&s, &format!("EXPLAIN {sql}"));
    let all = of("SELECT vector FROM outliers");
    assert!(all.contains("columns=[vector]"), "{all}");
    assert!(number(&all, "bytes") > 9000 * 128 * 4, "{all}");
    let narrow = of("SELECT avg(knn_distance) FROM outliers");
    assert!(
        narrow.contains("columns=[knn_distance]") && number(&narrow, "blocks") == 3,
        "{narrow}"
    );
    assert!(number(&narrow, "bytes") < 9000 * 40, "{narrow}");
    let keyed = of(&format!(
        "SELECT vector FROM outliers WHERE run = '{run}' AND class_id = 1 AND index BETWEEN 3 AND 9"
    ));
    for part in [
        "runs=1 of 1",
        "classes=1 of 3",
        "index=3..=9",
        "rows=7",
        "blocks=1",
    ] {
        assert!(keyed.contains(part), "{keyed}");
    }
    let none = of("SELECT count(*) FROM outliers WHERE class_name = 'class 2'");
    assert!(
        none.contains("class_names=[class 2]") && none.contains("blocks=0, bytes=0"),
        "{none}"
    );
    // A condition on one column does not read another.
    let filtered = of("SELECT index FROM outliers WHERE knn_distance > 1");
    assert!(
        filtered.contains("columns=[index, knn_distance]") && !filtered.contains("vector"),
        "{filtered}"
    );
    let png = of("SELECT class_name, width FROM images");
    assert!(!png.contains("png"), "{png}");
}

#[test]
fn what_was_read_is_what_was_foretold() {
    let s = sample();
    for sql in [
        "SELECT vector FROM outliers",
        "SELECT knn_distance FROM outliers WHERE class_id = 2",
        "SELECT vector, knn_distance FROM outliers WHERE index > 2000",
        "SELECT run, index FROM metrics",
        "SELECT value FROM metrics",
    ] {
        let (foretold, read) = (
            scan(&s, &format!("EXPLAIN {sql}")),
            scan(&s, &format!("EXPLAIN ANALYZE {sql}")),
        );
        let whole = answer(&Sql::new(&s.store), sql);
        assert_eq!(
            number(&read, "blocks_read"),
            number(&foretold, "blocks"),
            "{sql}: {read}"
        );
        // What is read is shown in round numbers.
        assert!(
            read.contains("bytes_read=") && read.contains("output_rows="),
            "{sql}: {read}"
        );
        assert_eq!(
            number(&foretold, "rows"),
            super::count(&whole) as u64,
            "{sql}: {foretold}"
        );
    }
}
