//! Parameters, inputs and sources of runs.

use super::{lines, refusal};
use crate::query::catalog::{run_params_batch, run_sources_batch};
use crate::query::tests::sample;
use crate::query::{Format, write_rows};

#[test]
fn parameters_and_sources_can_be_asked() {
    let s = sample();
    let sql = "SELECT r.stage, p.key, p.value FROM run_params p JOIN runs r ON p.run = r.run
               WHERE r.alias = 'best'";
    assert_eq!(lines(&s, sql), ["sample k 300"]);
    let sql = "SELECT count(*) FROM runs r JOIN run_params p ON p.run = r.run
               WHERE p.key = 'k' AND CAST(p.value AS INT) > 299";
    assert_eq!(lines(&s, sql), ["3"]);
    let sql = "SELECT DISTINCT role, digest, dataset FROM run_sources";
    assert_eq!(lines(&s, sql), ["train cd cifar"]);
    let sql = "SELECT stage, json_value(params, 'k'), json_value(sources, 'train'), json_value(params, 'no')
               FROM runs WHERE alias = 'best'";
    assert_eq!(lines(&s, sql), ["sample 300 cd "]);
    for (call, value) in [
        (r#"json_value('{"a": {"b": [1, "x"]}}', 'a.b.1')"#, "x"),
        (r#"json_value('{"a": {"b": [1, "x"]}}', 'a')"#, r#"{"b":[1,"x"]}"#),
        (r#"json_value('"x"', '')"#, "x"),
        (r#"json_value('{"a": null}', 'a')"#, ""),
        ("json_value(NULL, 'a')", ""),
    ] {
        assert_eq!(lines(&s, &format!("SELECT {call}")), [value], "{call}");
    }
    assert!(refusal(&s, "SELECT json_value('{', 'a')").contains("is no JSON"));
}

#[test]
fn keys_are_dotted_and_values_are_json() {
    let s = sample();
    let mut run = s.outliers.clone();
    run.spec.params = serde_json::json!({
        "sampling": {"sigma": 0.1, "kind": "knn", "sizes": [1, 2], "none": null, "empty": {}}, "on": true
    });
    run.spec.sources.clear();
    let batch = run_params_batch(&[run.clone()]).unwrap();
    let mut csv = Vec::new();
    let batch = batch.project(&[1, 2]).unwrap();
    write_rows(&mut csv, Format::Csv, &batch.schema(), [Ok(batch)]).unwrap();
    let expected = "key,value\non,true\nsampling.empty,{}\nsampling.kind,\"\"\"knn\"\"\"\n\
                    sampling.none,null\n\
                    sampling.sigma,0.1\nsampling.sizes,\"[1,2]\"\n";
    assert_eq!(String::from_utf8(csv).unwrap(), expected);
    run.spec.params = serde_json::json!({});
    assert_eq!(run_params_batch(&[run.clone()]).unwrap().num_rows(), 0);
    assert_eq!(run_sources_batch(&[run], &[]).unwrap().num_rows(), 0);
}
