//! A preset with a sweep: what it stands for, what is made of it, what is compared.

use std::path::Path;

use crate::support::{bad, data, folder, good, json, quick_preset, store};

/// Writes the preset of the quick demo with a sweep, and returns its name.
fn preset(folder: &Path, sweep: &str) -> String {
    write(folder, &quick_preset(), sweep)
}

fn write(folder: &Path, text: &str, sweep: &str) -> String {
    let file = folder.join("sweep.toml");
    std::fs::write(&file, format!("{text}\n[sweep]\n{sweep}\n")).unwrap();
    file.display().to_string()
}

#[test]
fn a_preset_may_choose_among_the_pictures() {
    let place = store();
    let path = place.path();
    let with = |bounds: &str| {
        let text = quick_preset();
        assert!(text.contains("[select]\nk = 50\n"));
        let text = text.replace("[select]\nk = 50\n", &format!("[select]\n{bounds}\n"));
        write(path, &text, "seeds = [0]")
    };
    let file = with("k = 4801");
    let error = bad(path, 2, &["run", &file, "--check"]);
    assert!(
        error.contains("select: k: the 4801-th nearest of 4800 training images"),
        "{error}"
    );
    let file = with("k = 7\nother = { max = 0.9 }");
    let text = std::fs::read_to_string(&file).unwrap();
    let outlier = text.find("[detect.outlier]").unwrap();
    let outlier = &text[outlier..text.find("[evaluate]").unwrap()];
    let without = "[detect.outlier]\nmethod = \"logitnorm\"\ntemperature = 0.04\n\n";
    std::fs::write(path.join("without.toml"), text.replace(outlier, without)).unwrap();
    let error = bad(path, 2, &["run", "without.toml", "--check"]);
    assert!(
        error.contains("select: the method `logitnorm` is trained without pictures"),
        "{error}"
    );

    good(path, &["-q", "run", &file]);
    let check = json(path, &["run", &file, "--check"]);
    assert!(check.iter().all(|row| row["state"] == "in the store"));
    let sql = |query: &str| json(path, &["sql", query]);
    let rated = sql(
        "SELECT min(other) AS least, max(other) AS most, count(*) AS n FROM ratings r JOIN run_params p
                     ON p.run = r.run WHERE p.key = 'k' AND p.value = '7'
                     GROUP BY chosen ORDER BY chosen DESC",
    );
    assert!(
        rated[0]["most"].as_f64() <= Some(0.9) && rated[1]["least"].as_f64() > Some(0.9),
        "{rated:?}"
    );
    assert_eq!(
        rated[0]["n"].as_u64().unwrap() + rated[1]["n"].as_u64().unwrap(),
        64
    );
    let read = sql(
        "SELECT s.stage FROM run_inputs i JOIN runs d ON d.run = i.run JOIN runs s ON s.run = i.input
                    WHERE d.alias = 'quick-0-detect'",
    );
    assert!(read.iter().any(|row| row["stage"] == "select"), "{read:?}");
}

#[test]
fn a_sweep_makes_what_is_new_and_is_compared_by_its_settings() {
    let place = store();
    let path = place.path();
    let file = preset(path, "\"detect.outlier.beta\" = [0.5, 1.0]");
    let check = json(path, &["run", &file, "--check"]);
    let state = |setting: &str, part: &str| {
        let row = check
            .iter()
            .find(|row| row["setting"] == setting && row["part"] == part);
        row.unwrap()["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state("detect.outlier.beta=1.0", "evaluate"), "in the store");
    assert_eq!(state("detect.outlier.beta=0.5", "detect-plain"), "in the store");
    assert_eq!(state("detect.outlier.beta=0.5", "detect"), "to be made");

    good(path, &["-q", "run", &file]);
    let after = json(path, &["run", &file, "--check"]);
    assert!(after.iter().all(|row| row["state"] == "in the store"));
    assert!(good(path, &["show", "quick-beta-0.5-0-evaluate"]).contains("evaluate"));

    let all = [
        "compare", "--sweep", &file, "--over", "--scores", "energy", "--metric", "auroc",
    ];
    let rows = json(path, &[&all[..], &["--plot", "a.svg"]].concat());
    let of = |network: &str| rows.iter().filter(|row| row["network"] == network).count();
    let sets = json(
        path,
        &[
            "compare",
            "quick-0-evaluate",
            "--scores",
            "energy",
            "--metric",
            "auroc",
        ],
    );
    assert_eq!((of("dream"), of("plain")), (2 * sets.len(), sets.len()));
    let betas = rows.iter().filter(|row| row["network"] == "dream");
    let mut betas: Vec<f64> = betas
        .filter_map(|row| row["setting"]["detect.outlier.beta"].as_f64())
        .collect();
    betas.dedup();
    assert_eq!(betas.len(), 2, "{betas:?}");
    // What is stored needs none of the files that it was made of.
    let text = std::fs::read_to_string(&file).unwrap();
    let here = format!("path = \"{}/", data().display());
    std::fs::write(path.join("moved.toml"), text.replace(&here, "path = \"/gone/")).unwrap();
    let mut moved = all;
    moved[2] = "moved.toml";
    assert_eq!(json(path, &moved), rows);
    let svg = std::fs::read_to_string(path.join("a.svg")).unwrap();
    assert_eq!(svg.matches("<circle").count(), 2, "{svg}");
    let error = bad(path, 2, &[&all[..], &["--plot", "a.svg"]].concat());
    assert!(error.contains("is there already"), "{error}");
    let error = bad(
        path,
        2,
        &["compare", "--sweep", &file, "--over", "detect.outlier.bta"],
    );
    assert!(error.contains("detect.outlier.beta"), "{error}");
}

#[test]
fn settings_that_make_no_pipeline_are_refused_before_any_work() {
    let place = folder();
    let path = place.path();
    for (sweep, said) in [
        (
            "\"sample.sampling.sigma\" = [0.1, -1.0]",
            "with sample.sampling.sigma=-1.0",
        ),
        ("\"sample.sampling.sgma\" = [0.1]", "sigma"),
        ("\"sample.sampling.sigma\" = 0.1", "expected a list"),
        ("\"name\" = ['a', 'b']", "the same in all settings"),
        ("\"imagine.prompt.x\" = ['a']", "`prompt`"),
        ("seeds = 3", "sweep.seeds"),
        (
            "\"detect.outlier.beta\" = [0.5, 1, 1.0]",
            "sweep: detect.outlier.beta: 1 and 1.0 are the same value",
        ),
    ] {
        let file = preset(path, sweep);
        let error = bad(path, 2, &["run", &file, "--check"]);
        assert!(error.contains(said), "{sweep}: {error}");
    }
    assert!(!path.join("dream.redb").exists());
}
