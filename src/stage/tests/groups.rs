//! Groups of test sets: their means, sets of the ID classes under a shift, the full spectrum.

use dream_schema::Score;

use super::evaluating::{Tested, seen, settings};
use super::*;
use crate::ood;

/// A set of two of the classes, in another order than the classifier's.
fn shifted(tested: &mut Tested, names: [&str; 2]) -> TempDir {
    let folder = pictures(4);
    for split in ["train", "test"] {
        let place = folder.path().join(split);
        std::fs::remove_dir_all(place.join("grey")).unwrap();
        for (from, to) in ["black", "white"].into_iter().zip(names) {
            // Two classes cannot be renamed to each other at once.
            std::fs::rename(place.join(from), place.join(format!("new-{to}"))).unwrap();
        }
        for name in names {
            std::fs::rename(place.join(format!("new-{name}")), place.join(name)).unwrap();
        }
    }
    let store = &tested.bench.store;
    let set = register_images(store, "drawn", folder.path(), &Reading::default()).unwrap();
    tested.ood.push(set);
    folder
}

pub(super) fn evaluated(tested: &Tested, settings: &evaluate::Settings) -> Run {
    let evaluation = pipeline::Evaluation {
        settings,
        id: &tested.id,
        ood: &tested.ood,
        ood_validation: None,
    };
    let detector = tested.detector.id.into();
    let run = |ctx: &Context<'_>| evaluation.run(ctx, detector, &mut |_, _, _| Ok(()));
    tested.bench.with(&Watch::new(usize::MAX), run).unwrap()
}

pub(super) fn value(
    rows: &[Metric],
    name: &str,
    score: Option<&str>,
    over: (Option<&str>, Option<&str>),
) -> Option<f64> {
    let is = |row: &&Metric| {
        row.name == name
            && row.score.as_deref() == score
            && (row.ood_group.as_deref(), row.dataset.as_deref()) == over
    };
    rows.iter().find(is).map(|row| row.value)
}

#[test]
fn groups_have_means_and_shifted_sets_an_accuracy() {
    let mut tested = Tested::new(None);
    let _folder = shifted(&mut tested, ["white", "black"]);
    let groups = serde_json::json!({ "near": "near", "drawn": "shifted" });
    let run = evaluated(&tested, &settings(serde_json::json!({ "groups": groups })));
    let store = &tested.bench.store;
    let rows: Vec<Metric> = store.rows(run.id, None).unwrap();
    let auroc = |over| value(&rows, "auroc", Some("msp"), over);
    let (near, far) = (
        auroc((Some("near"), Some("near"))).unwrap(),
        auroc((None, Some("far"))).unwrap(),
    );
    assert_eq!(auroc((Some("near"), None)), Some(near));
    assert_eq!(auroc((Some("far"), None)), None);
    // The shifted set has numbers of its own, and no part in the mean.
    assert_eq!(auroc((None, None)), Some((far + near) / 2.0));
    assert!(auroc((Some("shifted"), Some("drawn"))).is_some());

    let scores: Vec<Score> = store.rows(run.id, None).unwrap();
    let drawn: Vec<&Score> = scores
        .iter()
        .filter(|row| row.dataset == "drawn" && row.score == "msp")
        .collect();
    // Black is the classifier's first class and white its last.
    assert!(drawn.iter().all(|row| [Some(0), Some(2)].contains(&row.label)));
    let right = drawn
        .iter()
        .filter(|row| row.label == Some(row.predicted))
        .count();
    let accuracy = right as f64 / drawn.len() as f64;
    let found = |over| value(&rows, "accuracy", None, over);
    assert_eq!(found((Some("shifted"), Some("drawn"))), Some(accuracy));
    assert_eq!(found((Some("shifted"), None)), Some(accuracy));
    let networks = compare::networks(store, &[run.id]).unwrap();
    assert_eq!(networks[0].accuracy, [found((None, Some("set"))).unwrap()]);
    let columns: Vec<String> = networks[0].columns().iter().map(ToString::to_string).collect();
    let wanted = [
        "near",
        "near average",
        "drawn",
        "shifted average",
        "far",
        "average",
    ];
    assert_eq!(columns, wanted);
}

#[test]
fn a_full_spectrum_counts_shifted_images_as_in_distribution() {
    let mut tested = Tested::new(None);
    let _folder = shifted(&mut tested, ["black", "white"]);
    let groups = serde_json::json!({ "near": "near", "far": "far", "drawn": "shifted" });
    let whole = serde_json::json!({ "groups": groups, "full_spectrum": true });
    let run = evaluated(&tested, &settings(whole));
    let store = &tested.bench.store;
    let rows: Vec<Metric> = store.rows(run.id, None).unwrap();
    let scores: Vec<Score> = store.rows(run.id, None).unwrap();
    let of = |sets: &[&str]| -> Vec<f32> {
        let rows = scores.iter().filter(|row| row.score == "msp");
        let rows = rows.filter(|row| sets.contains(&row.dataset.as_str()));
        rows.map(|row| row.value).collect()
    };
    let auroc = ood::auroc(&of(&["set", "drawn"]), &of(&["near"])).unwrap();
    let found = value(&rows, "auroc", Some("msp"), (Some("near"), Some("near")));
    assert_eq!(found, Some(auroc));
    assert!(
        rows.iter()
            .all(|row| row.score.is_none() || row.dataset.as_deref() != Some("drawn"))
    );
    // Tables of accuracies have that over all of them beside that on the ID set.
    let of_all = value(&rows, "accuracy", None, (None, None)).unwrap();
    let networks = compare::networks(store, &[run.id]).unwrap();
    assert_eq!(networks[0].accuracy_of_all, [of_all]);
    let table = compare::Comparison::of(&networks, MetricName::Accuracy, &[], ood::Spread::Sample);
    let names: Vec<String> = table.columns.iter().map(ToString::to_string).collect();
    let place = names.iter().position(|name| name == "ID and shifted").unwrap();
    assert_eq!(table.lines[0].cells[place].as_ref().unwrap().values, [of_all]);
}

#[test]
fn groups_of_what_is_not_there_are_refused() {
    let mut tested = Tested::new(None);
    let groups = |groups: serde_json::Value| settings(serde_json::json!({ "groups": groups }));
    let said = tested.refused(&groups(serde_json::json!({ "nera": "near" })), &tested.id);
    assert!(
        said.contains("no test set `nera`") && said.contains("did you mean `near`?"),
        "{said}"
    );
    let alone = serde_json::json!({ "full_spectrum": true });
    let said = tested.refused(&settings(alone), &tested.id);
    assert!(said.contains("no set of the group `shifted`"), "{said}");
    let whole = serde_json::json!({
        "groups": { "near": "shifted", "far": "shifted" }, "full_spectrum": true
    });
    let said = tested.refused(&settings(whole), &tested.id);
    assert!(said.contains("no OOD set beside"), "{said}");

    let _folder = shifted(&mut tested, ["black", "snow"]);
    let said = tested.refused(&groups(serde_json::json!({ "drawn": "shifted" })), &tested.id);
    assert!(
        said.contains("classes that the classifier has not: snow"),
        "{said}"
    );
}

#[test]
fn a_shifted_set_has_labels_of_the_classifier() {
    let mut tested = Tested::new(None);
    let flat = tempfile::tempdir().unwrap();
    for file in files(&tested.folder(1).join("train/grey")) {
        std::fs::copy(&file, flat.path().join(file.file_name().unwrap())).unwrap();
    }
    let store = &tested.bench.store;
    let unlabelled = register_images(store, "flat", flat.path(), &Reading::default()).unwrap();
    let groups = serde_json::json!({ "groups": { "flat": "shifted" }, "ood_splits": { "flat": "all" } });
    tested.ood.push(unlabelled);
    let said = tested.refused(&settings(groups), &tested.id);
    assert!(
        said.contains("ood/flat: the image set `flat` has no labels"),
        "{said}"
    );
    tested.ood.pop();

    // Activations that are there already are asked the same.
    let _folder = shifted(&mut tested, ["white", "black"]);
    let refused = |set: &ImageSource, matched: bool, group: &str| {
        let store = &tested.bench.store;
        let classifier = observe::Classifier::Run(tested.detector.id.into());
        let looked_at = |set: &ImageSource, matched: bool| -> Input {
            let params = observe::Params {
                matched,
                ..seen("test")
            };
            let spec = observe::ask(&params, &classifier, set).spec(store).unwrap();
            tested
                .bench
                .run(&spec, &Watch::new(usize::MAX))
                .unwrap()
                .id
                .into()
        };
        let name = set.name().to_owned();
        let asked = settings(serde_json::json!({ "groups": { &name: group } })).params(None);
        let observations = evaluate::Observations {
            id: looked_at(&tested.id, false),
            ood: vec![(name, looked_at(set, matched))],
            train: None,
            validation: None,
            ood_validation: None,
        };
        let spec = evaluate::ask(&asked, &observations).spec(store);
        spec.map(|_| ()).map_err(|error| error.to_string())
    };
    let drawn = &tested.ood[2];
    assert_eq!(refused(drawn, true, "shifted"), Ok(()));
    let said = refused(drawn, false, "shifted").unwrap_err();
    assert!(said.contains("were not matched with these by name"), "{said}");
    assert_eq!(refused(drawn, false, "near"), Ok(()));
    let folder = pictures(4);
    for split in ["train", "test"] {
        let place = folder.path().join(split);
        std::fs::rename(place.join("white"), place.join("snow")).unwrap();
    }
    let other = register_images(&tested.bench.store, "other", folder.path(), &Reading::default()).unwrap();
    let said = refused(&other, false, "shifted").unwrap_err();
    assert!(
        said.contains("classes that the classifier has not: snow"),
        "{said}"
    );
}
