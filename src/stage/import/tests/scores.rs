//! Evaluations of scores that were taken in.

use dream_schema::{Metric, Score};

use super::*;
use crate::stage::compare;
use crate::stage::evaluate::{self, Observations, Params};
use crate::stage::{MetricName, reproduce::reproduce};

const NETWORK: Option<NetworkOf<'_>> = Some(NetworkOf {
    name: "mine",
    seed: 0,
});

/// An import of a table.
fn taken(bench: &Bench, dataset: &str, score: &str, network: Option<NetworkOf<'_>>, table: &str) -> RunId {
    let file = bench.file("scores.csv", table.as_bytes());
    let rows = Rows::Scores(ScoresOf {
        dataset,
        split: "test",
        score,
        network,
        member: None,
    });
    bench.import(&Question { file: &file, rows }).unwrap().id
}

/// A table of scores, a line each.
fn table(values: &[f64]) -> String {
    let lines = values.iter().map(|value| format!("{value:?}\n"));
    std::iter::once("conf\n".to_owned()).chain(lines).collect()
}

fn asked(
    bench: &Bench,
    id: RunId,
    ood: &[(&str, RunId)],
    changes: serde_json::Value,
) -> Result<RunSpec, String> {
    let mut params = serde_json::json!({ "scores": [], "convention": "openood" });
    let changes = changes.as_object().unwrap().clone();
    params.as_object_mut().unwrap().extend(changes);
    let params: Params = serde_json::from_value(params).unwrap();
    let named = |(name, run): &(&str, RunId)| ((*name).to_owned(), (*run).into());
    let observations = Observations {
        id: id.into(),
        ood: ood.iter().map(named).collect(),
        train: None,
        validation: None,
        ood_validation: None,
    };
    let asked = evaluate::ask(&params, &observations);
    asked.spec(&bench.store).map_err(|error| error.to_string())
}

fn none() -> serde_json::Value {
    serde_json::json!({})
}

pub(super) fn evaluated(
    bench: &Bench,
    id: RunId,
    ood: &[(&str, RunId)],
    changes: serde_json::Value,
) -> RunId {
    let spec = asked(bench, id, ood, changes).unwrap();
    bench.run(&spec).unwrap().id
}

pub(super) fn metric(
    bench: &Bench,
    run: RunId,
    name: &str,
    set: Option<&str>,
    group: Option<&str>,
) -> Option<f64> {
    let rows: Vec<Metric> = bench.store.rows(run, None).unwrap();
    let is_it = |row: &&Metric| {
        (
            row.name.as_str(),
            row.dataset.as_deref(),
            row.ood_group.as_deref(),
        ) == (name, set, group)
    };
    rows.iter().find(is_it).map(|row| row.value)
}

#[test]
fn metrics_are_those_of_scikit_learn() {
    let fixture: serde_json::Value =
        serde_json::from_str(include_str!("../../../../tests/fixtures/ood/metrics.json")).unwrap();
    let bench = Bench::new();
    for name in ["gaussian", "heavy ties", "unbalanced", "one each"] {
        let case = fixture["cases"]
            .as_array()
            .unwrap()
            .iter()
            .find(|case| case["name"] == name);
        let case = case.unwrap();
        let [id, ood] = ["id", "ood"].map(|side| {
            let values: Vec<f64> = serde_json::from_value(case[side].clone()).unwrap();
            taken(
                &bench,
                &format!("{side}-{}", name.replace(' ', "-")),
                "msp",
                None,
                &table(&values),
            )
        });
        for convention in ["dream-ood", "openood", "pytorch-ood"] {
            let convention_of = serde_json::json!({ "convention": convention });
            let run = evaluated(&bench, id, &[("far", ood)], convention_of);
            let names = [
                ("fpr95", "fpr"),
                ("auroc", "auroc"),
                ("aupr_in", "aupr_in"),
                ("aupr_out", "aupr_out"),
            ];
            for (own, theirs) in names {
                let expected = case["expected"][convention][theirs].as_f64().unwrap();
                let found = metric(&bench, run, own, Some("far"), None).unwrap();
                assert!(
                    (found - expected).abs() < 1e-12,
                    "{name} {convention} {own}: {found} {expected}"
                );
            }
        }
    }
}

/// Scores of a named network as OpenOOD writes them: the ID set, a near and a far one, and one that is
/// shifted.
fn sets(bench: &Bench, score: &str, seed: u64, best: f64) -> [RunId; 4] {
    let network = Some(NetworkOf { name: "mine", seed });
    let of = |dataset, text: &str| {
        taken(
            bench,
            dataset,
            score,
            network,
            &format!("conf,pred,label\n{text}"),
        )
    };
    [
        of("set", &format!("{best},0,0\n0.8,1,1\n0.4,1,0\n0.3,1,1\n")),
        of("near", "0.5,0,-1\n0.1,1,-1\n"),
        of("far", "0.2,0,-1\n0.1,1,-1\n"),
        of("drawn", "0.7,0,0\n0.35,0,1\n"),
    ]
}

#[test]
fn classes_and_groups_are_those_of_the_files() {
    let bench = Bench::new();
    let [id, near, far, drawn] = sets(&bench, "msp", 0, 0.9);
    let ood = [("near", near), ("far", far), ("drawn", drawn)];
    let mut groups = serde_json::json!({ "groups": { "near": "near", "far": "far", "drawn": "shifted" } });
    groups["metrics"] = serde_json::json!(["aurc", "misclassification_auroc", "ccr_at_fpr_1e-1"]);
    let run = evaluated(&bench, id, &ood, groups.clone());
    let of = |name: &str, set: Option<&str>, group: Option<&str>| metric(&bench, run, name, set, group);
    // Of 8 pairs the ID image has the higher score in 6; the far set is below all.
    assert_eq!(of("auroc", Some("near"), Some("near")), Some(0.75));
    assert_eq!(of("auroc", Some("far"), Some("far")), Some(1.0));
    assert_eq!(of("auroc", None, None), Some(0.875));
    assert_eq!(of("accuracy", Some("set"), None), Some(0.75));
    assert_eq!(of("accuracy", Some("drawn"), Some("shifted")), Some(0.5));
    // Above the higher near image, two of four ID images are right.
    assert_eq!(of("ccr_at_fpr_1e-1", Some("near"), Some("near")), Some(0.5));
    // Surest first the share of errors is 0, 0, 1/3, 1/4.
    let aurc = of("aurc", Some("set"), None).unwrap();
    assert!((aurc - (1.0 / 3.0 + 1.0 / 4.0) / 4.0).abs() < 1e-12, "{aurc}");
    let misclassified = of("misclassification_auroc", Some("set"), None).unwrap();
    assert!((misclassified - 2.0 / 3.0).abs() < 1e-12, "{misclassified}");
    let rows: Vec<Score> = bench.store.rows(run, None).unwrap();
    assert_eq!((rows.len(), rows[0].score.as_str()), (10, "msp"));
    let of_near: Vec<_> = rows.iter().filter(|row| row.dataset == "near").collect();
    assert_eq!(
        (of_near[0].label, of_near[0].predicted, of_near[1].sample),
        (None, 0, 1)
    );

    groups["full_spectrum"] = true.into();
    let whole = evaluated(&bench, id, &ood, groups);
    // 0.7 is above both near images, 0.35 above one.
    assert_eq!(
        metric(&bench, whole, "auroc", Some("near"), Some("near")),
        Some(0.75)
    );
    assert_eq!(metric(&bench, whole, "accuracy", None, None), Some(4.0 / 6.0));

    let aside = tempfile::tempdir().unwrap();
    let again = in_context(&bench.store, &Silent, |ctx| {
        reproduce(ctx, run, &aside.path().join("aside.redb"))
    });
    assert!(again.unwrap().is_equal());
}

#[test]
fn what_does_not_fit_is_refused() {
    let bench = Bench::new();
    let [id, near, ..] = sets(&bench, "msp", 0, 0.9);
    let [_, other_seed, ..] = sets(&bench, "msp", 1, 0.9);
    let other_score = sets(&bench, "energy", 0, 0.9)[1];
    let again = taken(&bench, "set", "msp", NETWORK, "conf\n1\n");
    let run = evaluated(&bench, id, &[("near", near)], none());
    let logits = crate::floats::to_bytes(&[0.5, 0.25]);
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1, 2], &logits).unwrap();
    let activations = bench.activations("shown", [("logits", view)]);
    let said = |id, name, ood, changes| asked(&bench, id, &[(name, ood)], changes).unwrap_err();
    let named = serde_json::json!({ "scores": ["knn"] });
    let metrics = serde_json::json!({ "metrics": ["aurc"] });
    for (said, words) in [
        (
            said(id, "near", other_seed, none()),
            "the scores are of the network `mine`, seed 1",
        ),
        (
            said(id, "near", other_score, none()),
            "these are scores of `energy`, those of the ID set of `msp`",
        ),
        (
            said(id, "set", id, none()),
            "these are the scores of the ID set once more",
        ),
        (said(id, "set", again, none()), "could not be told apart"),
        (
            said(id, "near", activations, none()),
            "an import of activations, scores are needed",
        ),
        (
            said(activations, "near", near, named.clone()),
            "an import of scores, activations are needed",
        ),
        (said(id, "near", run, none()), "is of the stage `evaluate`"),
        (said(id, "near", near, named), "`knn` is taken of activations"),
        // What OOD images have in place of a class is none.
        (said(near, "set", id, metrics), "image 0 has no class"),
    ] {
        assert!(said.contains(words), "{said}");
    }
    let unpredicted = taken(&bench, "other", "msp", None, "conf,label\n1,0\n2,1\n");
    let metrics = serde_json::json!({ "metrics": ["aurc"] });
    let said = said(unpredicted, "near", near, metrics);
    assert!(said.contains("not every image has a predicted class"), "{said}");
}

#[test]
fn scores_of_a_network_stand_in_a_table_under_its_name() {
    let bench = Bench::new();
    let of = |score, seed, best| {
        let [id, near, ..] = sets(&bench, score, seed, best);
        evaluated(&bench, id, &[("near", near)], none())
    };
    let runs = [
        of("msp", 0, 0.9),
        of("msp", 1, 0.45),
        of("energy", 0, 0.9),
        of("energy", 1, 0.35),
    ];
    compare::check(&bench.store, &runs).unwrap();
    let networks = compare::networks(&bench.store, &runs).unwrap();
    let shown: Vec<_> = networks
        .iter()
        .map(|of| (of.name.as_str(), of.seeds.as_slice(), of.scores()))
        .collect();
    let seeds = &[0, 1][..];
    let [msp, energy] = ["msp", "energy"].map(|score| vec![score.to_owned()]);
    assert_eq!(shown, [("mine", seeds, msp), ("mine", seeds, energy)]);
    let lines = |metric| compare::Comparison::of(&networks, metric, &[], crate::ood::Spread::Sample).lines;
    assert_eq!(lines(MetricName::Auroc).len(), 2);
    assert_eq!(lines(MetricName::Accuracy).len(), 1);
    let bootstrap = crate::ood::Bootstrap { draws: 10, seed: 0 };
    let paired = compare::paired(&bench.store, &networks, &[], &[MetricName::Auroc], bootstrap).unwrap();
    let differences: Vec<_> = paired.iter().map(|row| (row.seed, row.difference)).collect();
    assert_eq!(differences, [(0, 0.0), (1, 0.0)]);
    // One score of one network twice: the lines are told apart.
    let again = of("msp", 0, 0.2);
    let networks = compare::networks(&bench.store, &[runs[0], again]).unwrap();
    assert_ne!(networks[0].name, networks[1].name);
    let siblings = crate::stage::report::siblings(&bench.store, again).unwrap();
    assert_eq!(siblings.len(), 5);
    let report = crate::stage::report::gather(&bench.store, again, &siblings).unwrap();
    assert_eq!(report.histograms.len(), 3);
}
