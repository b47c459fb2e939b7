//! Detection metrics as aggregates, against scikit-learn and the toolkits' formulas
//! (`tests/fixtures/ood/make.py`).

use serde_json::Value;

use super::{answer, lines, refusal};
use crate::ood::Convention;
use crate::query::Sql;
use crate::query::tests::sample;

fn cases() -> Vec<Value> {
    let fixture = include_str!("../../../../tests/fixtures/ood/metrics.json");
    let fixture: Value = serde_json::from_str(fixture).unwrap();
    fixture["cases"].as_array().unwrap().clone()
}

#[test]
fn the_numbers_are_those_of_other_programs() {
    use arrow::array::AsArray;
    use arrow::datatypes::Float64Type;
    let s = sample();
    let cases = cases();
    assert!(cases.iter().filter(|case| case["tpr"] == 0.95).count() > 10);
    for case in cases {
        let rows = |side: &str, is_ood: bool| -> Vec<String> {
            let scores = case[side].as_array().unwrap();
            scores
                .iter()
                .map(|score| format!("(CAST({score} AS REAL), {is_ood})"))
                .collect()
        };
        let values = [rows("id", false), rows("ood", true)].concat().join(", ");
        for convention in Convention::ALL {
            let name = convention.name();
            let sql = format!(
                "SELECT auroc(s, o), fpr95(s, o, '{name}'), aupr_in(s, o, '{name}'), aupr_out(s, o, '{name}')
                 FROM (VALUES {values}) AS t(s, o)"
            );
            let batch = answer(&Sql::new(&s.store), &sql).remove(0);
            for (place, key) in ["auroc", "fpr", "aupr_in", "aupr_out"].into_iter().enumerate() {
                if key == "fpr" && case["tpr"] != 0.95 {
                    continue;
                }
                let found = batch.column(place).as_primitive::<Float64Type>().value(0);
                let expected = case["expected"][name][key].as_f64().unwrap();
                assert!(
                    (found - expected).abs() < 1e-9,
                    "{name} {key}: {found}, expected {expected}"
                );
            }
        }
    }
}

#[test]
fn groups_nulls_and_what_is_refused() {
    let s = sample();
    let rows = "(VALUES ('a', 3, false), ('a', 1, true), ('a', 2, true), ('a', NULL, true), ('a', 0, NULL),
                 ('b', 1, false), ('b', 2, true), ('c', 1, true)) AS t(g, s, o)";
    let sql = format!("SELECT g, auroc(s, o), fpr95(s, o), aupr(s, o) FROM {rows} GROUP BY g ORDER BY g");
    assert_eq!(lines(&s, &sql), ["a 1.0 0.0 1.0", "b 0.0 1.0 0.5", "c   "]);
    // Numbers that differ beyond 32 bits are told apart; 0 and 1 are false and true.
    let sql = "SELECT auroc(s, o) FROM (VALUES (1.00000000001, 0), (1.0, 1)) AS t(s, o)";
    assert_eq!(lines(&s, sql), ["1.0"]);
    let sql =
        "SELECT auroc(s, o) FILTER (WHERE s > 1) FROM (VALUES (3, false), (2, true), (1, true)) AS t(s, o)";
    assert_eq!(lines(&s, sql), ["1.0"]);
    for (call, words) in [
        ("auroc(s)", "takes (score, is_ood)"),
        ("auroc(g, o)", "the score is a number"),
        ("auroc(s, g)", "is_ood is true or false"),
        ("fpr95(s, o, 'nobody')", "'dream-ood', 'openood', 'pytorch-ood'"),
        ("auroc(DISTINCT s, o)", "would drop samples"),
        ("auroc(s, CAST(s AS INT))", "1 or 0, and not"),
        ("auroc(CAST('NaN' AS DOUBLE), o)", "is NaN"),
    ] {
        let err = refusal(&s, &format!("SELECT {call} FROM {rows}"));
        assert!(err.contains(words) && !err.contains('\n'), "{call}: {err}");
    }
}
