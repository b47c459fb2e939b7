//! Parquet files of other programs, and what other programs read of ours.

use std::process::Stdio;

use crate::support::{demo, folder, good, json, store, written_to};

#[test]
fn a_type_that_the_reader_does_not_know_is_no_damage_and_no_panic() {
    let place = folder();
    let path = place.path();
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/exchange");
    std::fs::create_dir(path.join("files")).unwrap();
    let copy = |from: &str, to: &str| std::fs::copy(fixtures.join(from), path.join(to)).unwrap();
    copy("polars_int128.parquet", "files/wide.parquet");
    copy("features_wide.parquet", "files/other.parquet");
    let ask = |sql: &str| {
        let (code, said) = written_to(path, &["sql", "--parquet", "files", sql], Stdio::null());
        assert_eq!((code, said.as_str()), (Some(0), ""), "{sql}");
        json(path, &["sql", "--parquet", "files", sql])
    };
    let rows = ask("SELECT t, n FROM wide ORDER BY t");
    let bytes = |first: &str, rest: &str| format!("{first}{}", rest.repeat(15));
    assert_eq!(
        (rows[0]["t"].as_str(), rows[1]["t"].as_str()),
        (Some("a"), Some("b"))
    );
    assert_eq!(rows[0]["n"], bytes("01", "00"));
    assert_eq!(rows[1]["n"], bytes("fe", "ff"));
    assert_eq!(ask("SELECT count(*) AS n FROM other").len(), 1);
    // Damage is told in one line, whatever the environment says of panics.
    let whole = std::fs::read(path.join("files/wide.parquet")).unwrap();
    std::fs::write(path.join("files/wide.parquet"), &whole[..whole.len() / 2]).unwrap();
    let damaged = ["sql", "--parquet", "files", "SELECT * FROM wide"];
    let (code, said) = written_to(path, &damaged, Stdio::null());
    assert!(
        code == Some(1) && said.contains("wide.parquet") && said.lines().count() == 1,
        "{said}"
    );
}

#[test]
fn a_data_set_of_runs_answers_as_the_store_does() {
    let place = store();
    let path = place.path();
    good(path, &["export", "--to", "lake"]);
    let compare = |sql: &str| {
        let own = json(path, &["sql", sql]);
        assert!(!own.is_empty(), "{sql}");
        assert_eq!(json(path, &["sql", "--parquet", "lake", sql]), own, "{sql}");
    };
    let all = || {
        for table in ["run_aliases", "run_inputs", "run_params", "run_sources"] {
            compare(&format!("SELECT * FROM {table}"));
        }
        compare("SELECT * FROM datasets WHERE digest IN (SELECT digest FROM run_sources)");
        compare(
            "SELECT r.stage, i.role, p.value FROM runs r JOIN run_inputs i ON r.run = i.run
             JOIN run_params p ON p.run = i.input WHERE p.key LIKE '%sigma' ORDER BY 1, 2, 3",
        );
        compare("SELECT count(*) AS n, min(knn_distance) AS m FROM outliers");
    };
    all();
    // The names of folders as version 1 of the layout had them.
    older(&path.join("lake"));
    all();
    // What comes to it lies as what is there.
    let sample = json(
        path,
        &["sql", "SELECT run FROM runs WHERE stage = 'evaluate' LIMIT 1"],
    );
    let run = sample[0]["run"].as_str().unwrap();
    std::fs::remove_file(path.join(format!("lake/_runs/{run}.json"))).unwrap();
    std::fs::remove_dir_all(path.join(format!("lake/table=runs/run={run}"))).unwrap();
    good(path, &["export", "--to", "lake"]);
    assert!(
        path.join(format!("lake/table=runs/run={run}/rows.parquet"))
            .is_file()
    );
    all();
    let imported = good(path, &["--store", "back.redb", "import", "--from", "lake"]);
    assert_eq!(imported.lines().count(), json(demo(), &["ls"]).len());
    // A record that cannot be read is told where it is needed.
    std::fs::write(path.join(format!("lake/_runs/{run}.json")), "{}").unwrap();
    let ask = |sql: &str| written_to(path, &["sql", "--parquet", "lake", sql], Stdio::null());
    assert_eq!(ask("SELECT count(*) FROM outliers").0, Some(0));
    let (code, said) = ask("SELECT count(*) FROM run_params");
    assert!(
        code == Some(1) && said.contains(&format!("_runs/{run}.json")),
        "{said}"
    );
}

/// Makes of a data set one of version 1.
fn older(lake: &std::path::Path) {
    let names = |folder: &std::path::Path| {
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    for table in names(lake) {
        for entry in names(&table) {
            let name = entry.file_name().unwrap().to_str().unwrap();
            if let Some(id) = name.strip_prefix("run_id=") {
                std::fs::rename(&entry, table.join(format!("run={id}"))).unwrap();
            } else if name.ends_with(".json") {
                let text = std::fs::read_to_string(&entry).unwrap();
                let first = text.replacen("\"version\": 2", "\"version\": 1", 1);
                assert_ne!(first, text);
                std::fs::write(&entry, first).unwrap();
            }
        }
    }
}
