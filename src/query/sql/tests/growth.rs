//! Functions that make much of little keep to the memory of the query.

use super::{answer, count, lines};
use crate::query::tests::{Sample, sample};
use crate::query::{QueryError, QueryOptions, Sql};

/// What every query here may hold; the result of a function half of it.
const MEMORY: usize = 16 << 20;

fn query(s: &Sample) -> Sql<'_> {
    Sql::new(&s.store).with_options(QueryOptions {
        memory: MEMORY,
        ..QueryOptions::default()
    })
}

/// Returns the words of an error of memory.
fn refusal(s: &Sample, sql: &str) -> String {
    let rows: Result<Vec<_>, _> = query(s).query(sql).and_then(Iterator::collect);
    let error = rows.map(|rows| count(&rows)).unwrap_err();
    assert!(matches!(error, QueryError::Memory { .. }), "{sql}: {error}");
    error.to_string()
}

#[test]
fn what_would_be_too_large_is_refused_before_it_is_made() {
    let s = sample();
    for (expression, function) in [
        ("length(repeat('x', 2000000000))", "repeat"),
        ("length(repeat('x', 9223372036854775807))", "repeat"),
        ("length(lpad('x', 1000000000))", "lpad"),
        ("length(rpad('x', 1000000000, '\u{e9}'))", "rpad"),
        ("array_length(range(0, 100000000))", "range"),
        (
            "array_length(range(-9223372036854775807, 9223372036854775807))",
            "range",
        ),
        (
            "array_length(generate_series(100000000, 0, -1))",
            "generate_series",
        ),
        (
            "array_length(generate_series(DATE '0001-01-01', DATE '9999-01-01', INTERVAL '1' DAY))",
            "generate_series",
        ),
        (
            "array_length(range(TIMESTAMP '2020-01-01', TIMESTAMP '2021-01-01', INTERVAL '1 second'))",
            "range",
        ),
        ("array_length(array_repeat('x', 100000000))", "array_repeat"),
        ("array_length(list_repeat(range(0, 1000), 10000))", "array_repeat"),
        ("array_length(array_resize([1], 100000000))", "array_resize"),
        (
            "length(replace(repeat('x', 100000), 'x', repeat('y', 1000)))",
            "replace",
        ),
        (
            "length(replace(repeat('x', 100000), '', repeat('y', 1000)))",
            "replace",
        ),
        (
            "length(regexp_replace(repeat('x', 100000), 'x', repeat('y', 1000), 'g'))",
            "regexp_replace",
        ),
        (
            "length(array_to_string(range(0, 100000), repeat(',', 1000)))",
            "array_to_string",
        ),
        (
            "length(concat_ws(repeat(',', 5000000), 'a', 'b', 'c'))",
            "concat_ws",
        ),
        (
            "length(concat(repeat('x', 5000000), repeat('y', 5000000)))",
            "concat",
        ),
    ] {
        let said = refusal(&s, &format!("SELECT {expression}"));
        assert!(
            said.contains(&format!(" {function} would make ")),
            "{expression}: {said}"
        );
        // Of what is nested, the first that is too large in many rows.
        refusal(
            &s,
            &format!("SELECT count(*) FROM outliers WHERE index + {expression} > 0"),
        );
    }
}

#[test]
fn a_column_counts_in_every_row() {
    let s = sample();
    for expression in [
        "repeat(class_name, 100000)",
        "repeat('x', 1000000)",
        "lpad(class_name, 1000000)",
        "range(0, 1000000)",
        "range(0, index * 100000)",
        "array_repeat(vector, 10000)",
    ] {
        refusal(&s, &format!("SELECT {expression} FROM outliers"));
    }
}

#[test]
fn what_fits_is_as_it_was() {
    let s = sample();
    for (sql, expected) in [
        ("SELECT length(repeat('x', 1000000))", "1000000"),
        (
            "SELECT repeat('ab', 3), repeat('x', 0), repeat('x', -1), repeat(NULL, 3)",
            "ababab   ",
        ),
        (
            "SELECT lpad('7', 3, '0'), rpad('7', 3), lpad('abc', 2), lpad('a', -1)",
            "007 7   ab ",
        ),
        (
            "SELECT range(3), range(1, 7, 3), range(3, 0, -1), range(0, 3, -1)",
            "[0, 1, 2] [1, 4] [3, 2, 1] []",
        ),
        ("SELECT generate_series(1, 3)", "[1, 2, 3]"),
        ("SELECT array_length(range(0, 100000))", "100000"),
        ("SELECT count(*) FROM (SELECT unnest(range(0, 500000)))", "500000"),
        (
            "SELECT array_repeat(1, 2), list_repeat('a', 2), array_resize([1], 3, 7)",
            "[1, 1] [a, a] [1, 7, 7]",
        ),
        (
            "SELECT replace('abcabc', 'bc', 'xyz'), regexp_replace('aXbX', 'X', '-', 'g')",
            "axyzaxyz a-b-",
        ),
        (
            "SELECT length(replace(repeat('ab', 1000), 'abc', repeat('y', 100000)))",
            "2000",
        ),
        (
            "SELECT array_to_string([1, 2], ', '), concat_ws('-', 'a', NULL, 'b'), concat('a', 1)",
            "1, 2 a-b a1",
        ),
        (
            "SELECT upper('\u{e9}a'), translate('abc', 'ab', 'xy'), initcap('ab cd')",
            "\u{c9}A xyc Ab Cd",
        ),
        (
            "SELECT DISTINCT lpad(CAST(class_id AS VARCHAR), 3, '0') AS n FROM outliers ORDER BY n LIMIT 1",
            "000",
        ),
        (
            "SELECT lpad(class_name, 9, '.'), count(*) FROM outliers WHERE class_id = 1
             GROUP BY lpad(class_name, 9, '.')",
            "..class 1 3000",
        ),
        (
            "SELECT count(*) FROM outliers WHERE class_name = concat('class ', repeat('2', 1))",
            "3000",
        ),
    ] {
        assert_eq!(lines(&s, sql).join("; "), expected, "{sql}");
        assert_eq!(count(&answer(&query(&s), sql)), 1, "{sql}");
    }
}
