//! How evaluations are made comparable: searched hyperparameters, drawn subsets, more metrics, tables of many
//! runs.

use dream_schema::Score;

use super::evaluating::{Tested, settings};
use super::groups::{evaluated, value};
use super::*;
use crate::ood::{Bootstrap, Spread};
use crate::stage::compare::{self, Comparison};

fn metrics(tested: &Tested, run: &Run) -> Vec<Metric> {
    tested.bench.store.rows(run.id, None).unwrap()
}

#[test]
fn hyperparameters_are_those_that_tell_validation_images_apart_best() {
    let mut tested = Tested::new(None);
    let held_out = tested.ood.remove(0);
    let searched = settings(serde_json::json!({
        "scores": ["gen", "fdbd", "iodin", "msp", { "name": "energy", "values": { "temperature": 2.0 } }],
        "validation_split": "val", "ood_validation_split": "test",
    }));
    let evaluation = pipeline::Evaluation {
        settings: &searched,
        id: &tested.id,
        ood: &tested.ood,
        ood_validation: Some(&held_out),
    };
    let detector: Input = tested.detector.id.into();
    let run = |steps: usize| {
        let run = |ctx: &Context<'_>| evaluation.run(ctx, detector.clone(), &mut |_, _, _| Ok(()));
        tested.bench.with(&Watch::new(steps), run)
    };
    let run = run(usize::MAX).unwrap();
    let rows = metrics(&tested, &run);
    let of = |name: &str, score: &str| -> Vec<&Metric> {
        let rows = rows.iter().filter(|row| row.name == name);
        rows.filter(|row| row.score.as_deref().is_some_and(|label| label.starts_with(score)))
            .collect()
    };
    assert_eq!(of("search_auroc", "gen:").len(), 7 * 6);
    assert_eq!(of("search_auroc", "fdbd:").len(), 2);
    // One that runs the network, on the images themselves.
    assert_eq!(of("search_auroc", "iodin:").len(), 4 * 2);
    assert!(of("search_auroc", "msp").is_empty() && of("search_auroc", "energy").is_empty());
    let best = of("search_auroc", "gen:")
        .iter()
        .map(|row| row.value)
        .fold(0.0, f64::max);
    let [chosen] = of("chosen_auroc", "gen:")[..] else {
        panic!("one setting is chosen")
    };
    assert_eq!(chosen.value, best);
    assert_eq!(evaluate::choices(&rows).len(), 3);

    // The test images are scored with what was chosen, under the score's own name.
    let of_label = |label: &str| label.parse::<evaluate::ScoreSpec>().unwrap();
    let network = of("chosen_auroc", "iodin:")[0].score.clone().unwrap();
    let specs = [of_label(chosen.score.as_deref().unwrap()), of_label(&network)];
    let fixed = settings(serde_json::json!({ "scores": specs }));
    let fixed = evaluated(&tested, &fixed);
    let values = |run: &Run, score: &str| -> Vec<f32> {
        let rows: Vec<Score> = tested.bench.store.rows(run.id, None).unwrap();
        rows.iter()
            .filter(|row| row.score == score)
            .map(|row| row.value)
            .collect()
    };
    assert_eq!(
        values(&run, "gen"),
        values(&fixed, chosen.score.as_deref().unwrap())
    );
    assert_eq!(values(&run, "iodin"), values(&fixed, &network));
    let networks = compare::networks(&tested.bench.store, &[run.id]).unwrap();
    assert_eq!(networks[0].chosen.len(), 3);
    let names = ["energy:temperature=2", "fdbd", "gen", "iodin", "msp"];
    assert_eq!(networks[0].scores(), names);
}

#[test]
fn a_search_needs_images_of_its_own() {
    let tested = Tested::new(None);
    let refused = |changes: serde_json::Value, set: &ImageSource| {
        let settings = settings(changes);
        let evaluation = pipeline::Evaluation {
            settings: &settings,
            id: &tested.id,
            ood: &tested.ood,
            ood_validation: Some(set),
        };
        let mut refusals = Refusals::of("evaluate");
        let detector = tested.detector.id.into();
        evaluation
            .check(&tested.bench.store, detector, &mut refusals)
            .unwrap();
        refusals.finish().unwrap_err().to_string()
    };
    let said = refused(
        serde_json::json!({ "ood_validation_split": "test" }),
        &tested.ood[0],
    );
    assert!(
        said.contains("held out of training, and there are none"),
        "{said}"
    );
    let same = serde_json::json!({ "validation_split": "train", "ood_validation_split": "train" });
    let said = refused(same, &tested.ood[0]);
    assert!(said.contains("once more"), "{said}");
    // k-NN would find each of these images itself among its neighbours.
    let learnt = serde_json::json!({
        "scores": ["knn"], "validation_split": "train", "ood_validation_split": "test",
    });
    let said = refused(learnt, &tested.ood[0]);
    assert!(said.contains("these are the training images"), "{said}");
}

#[test]
fn drawn_subsets_are_of_their_seed() {
    let tested = Tested::new(None);
    let drawn = |seed: u64| {
        let draws = serde_json::json!({ "repeats": 4, "id_per_ood": 2, "seed": seed });
        let run = evaluated(&tested, &settings(serde_json::json!({ "draws": draws })));
        metrics(&tested, &run)
    };
    let over = (None, Some("near"));
    let rows = drawn(0);
    let number = |rows: &[Metric], name: &str| value(rows, name, Some("msp"), over);
    assert!(number(&rows, "auroc_spread").is_some() && number(&rows, "fpr95_spread").is_some());
    assert!(value(&rows, "auroc_spread", Some("msp"), (None, None)).is_some());
    // The mean over sets has the spread of the mean, which is at most the mean of their spreads.
    let spread = |over| value(&rows, "fpr95_spread", Some("msp"), over);
    let of_sets: Vec<f64> = rows
        .iter()
        .filter(|row| row.name == "fpr95_spread" && row.score.as_deref() == Some("msp"))
        .filter(|row| row.dataset.is_some())
        .map(|row| row.value)
        .collect();
    let mean = of_sets.iter().sum::<f64>() / of_sets.len() as f64;
    let found = spread((None, None)).unwrap();
    assert!(of_sets.len() > 1 && found < mean, "{found} of {of_sets:?}");
    assert_eq!(number(&rows, "auroc"), number(&drawn(0), "auroc"));
    let all = |rows: &[Metric]| -> Vec<f64> {
        let rows = rows.iter().filter(|row| row.score.is_some());
        rows.map(|row| row.value).collect()
    };
    assert_ne!(all(&rows), all(&drawn(1)));
}

#[test]
fn a_draw_that_is_all_of_a_set_is_told() {
    let tested = Tested::new(None);
    // Beside 12 ID images 6 or 12 are drawn of 15 and 21.
    let whole = |id_per_ood: u32, changes: serde_json::Value| {
        let draws = serde_json::json!({ "repeats": 3, "id_per_ood": id_per_ood, "seed": 0 });
        let mut asked = serde_json::json!({ "draws": draws });
        for (key, value) in changes.as_object().unwrap() {
            asked[key] = value.clone();
        }
        let settings = settings(asked);
        let evaluation = pipeline::Evaluation {
            settings: &settings,
            id: &tested.id,
            ood: &tested.ood,
            ood_validation: None,
        };
        let detector = tested.detector.id.into();
        let watch = Watch::new(usize::MAX);
        let run = |ctx: &Context<'_>| evaluation.run(ctx, detector, &mut |_, _, _| Ok(()));
        let run = tested.bench.with(&watch, run).unwrap();
        let networks = compare::networks(&tested.bench.store, &[run.id]).unwrap();
        let said = watch.said.lock().unwrap().join("\n");
        let words = networks[0].say_drawn_whole();
        assert_eq!(words.is_some(), said.contains("every draw from"), "{said}");
        (Vec::from_iter(networks[0].drawn_whole.clone()), said, run)
    };
    let none = || serde_json::json!({});
    assert!(whole(2, none()).0.is_empty());
    // The test split has 12 images.
    let (names, said, run) = whole(1, serde_json::json!({ "ood_splits": { "far": "test" } }));
    assert_eq!(names, ["far"]);
    assert!(
        said.contains("every draw from `far` is all of its 12 images"),
        "{said}"
    );
    let rows = metrics(&tested, &run);
    assert_eq!(
        value(&rows, "auroc_spread", Some("msp"), (None, Some("far"))),
        Some(0.0)
    );
    // Without draws nothing is told.
    let run = evaluated(&tested, &settings(serde_json::json!({ "ood_split": "test" })));
    let networks = compare::networks(&tested.bench.store, &[run.id]).unwrap();
    assert!(networks[0].drawn_whole.is_empty());
}

#[test]
fn one_network_is_one_seed_whatever_its_sets_are_called() {
    let mut tested = Tested::new(None);
    let first = evaluated(&tested, &settings(serde_json::json!({})));
    let again = register_images(
        &tested.bench.store,
        "again",
        tested.folder(2),
        &Reading::default(),
    );
    tested.ood[1] = again.unwrap();
    let renamed = evaluated(&tested, &settings(serde_json::json!({})));
    assert_ne!(first.id, renamed.id);
    // Another seed, evaluated under the new name, is no seed of what stands in other columns either.
    let params = with(serde_json::json!({ "epochs": 1 }));
    let spec = detect::ask(&params, 8, detect::Inputs::default(), &tested.id).spec(&tested.bench.store);
    let other = tested.bench.run(&spec.unwrap(), &Watch::new(usize::MAX)).unwrap();
    tested.detector = other;
    let seed = evaluated(&tested, &settings(serde_json::json!({})));

    let store = &tested.bench.store;
    let networks = compare::networks(store, &[first.id, renamed.id, seed.id]).unwrap();
    let seeds: Vec<&[u64]> = networks.iter().map(|network| network.seeds.as_slice()).collect();
    assert_eq!(seeds, [&[7][..], &[7, 8]]);
    assert_ne!(networks[0].name, networks[1].name);
    for metric in [MetricName::Auroc, MetricName::Accuracy] {
        let table = Comparison::of(&networks, metric, &["msp".to_owned()], Spread::Sample);
        for line in &table.lines {
            let cells = line.cells.iter().flatten();
            assert!(
                cells.clone().count() > 0 && cells.clone().all(|cell| cell.values.len() == line.seeds.len())
            );
        }
    }
}

#[test]
fn metrics_that_were_not_asked_for_are_taken_of_the_scores() {
    let tested = Tested::new(None);
    let asked = evaluate::EXTRA_METRICS;
    let with = evaluated(&tested, &settings(serde_json::json!({ "metrics": asked })));
    let without = evaluated(&tested, &settings(serde_json::json!({})));
    assert_ne!(with.id, without.id);
    let store = &tested.bench.store;
    let of = |run: &Run| {
        let mut networks = compare::networks_with(store, &[run.id], asked).unwrap();
        networks.remove(0).metrics
    };
    let found = of(&without);
    assert_eq!(found, of(&with));
    // Where all images are classified rightly, or none, there is no misclassification AUROC.
    let always = asked
        .iter()
        .filter(|metric| **metric != MetricName::MisclassificationAuroc);
    for metric in always {
        assert!(found.keys().any(|(_, _, name)| name == metric), "{metric}");
    }
    let stored = metrics(&tested, &with);
    let over = (None, Some("near"));
    let key = (
        "msp".to_owned(),
        compare::Over {
            group: None,
            set: Some("near".into()),
        },
        MetricName::CcrAtFpr1e1,
    );
    assert_eq!(
        value(&stored, "ccr_at_fpr_1e-1", Some("msp"), over),
        Some(found[&key][0])
    );
}

#[test]
fn tables_have_a_line_a_method_and_the_best_is_marked() {
    let tested = Tested::new(None);
    let groups = serde_json::json!({ "near": "near", "far": "far" });
    let run = evaluated(&tested, &settings(serde_json::json!({ "groups": groups })));
    let store = &tested.bench.store;
    compare::check(store, &[run.id]).unwrap();
    let networks = compare::networks(store, &[run.id]).unwrap();
    let table = Comparison::of(&networks, MetricName::Auroc, &[], Spread::Sample);
    let names: Vec<String> = table.columns.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["near", "near average", "far", "far average", "average"]);
    let scores: Vec<&str> = table
        .lines
        .iter()
        .filter_map(|line| line.score.as_deref())
        .collect();
    assert_eq!(scores, ["energy", "msp"]);
    let one = Comparison::of(&networks, MetricName::Auroc, &["msp".to_owned()], Spread::Sample);
    assert_eq!(one.lines.len(), 1);
    assert!(
        one.lines[0]
            .cells
            .iter()
            .flatten()
            .all(|cell| cell.mark.is_none())
    );
    let accuracy = Comparison::of(&networks, MetricName::Accuracy, &[], Spread::Sample);
    assert_eq!(accuracy.columns[0].to_string(), "set");

    let by = |convention: &str| {
        evaluated(
            &tested,
            &settings(serde_json::json!({ "convention": convention })),
        )
    };
    let other = evaluated(&tested, &settings(serde_json::json!({ "ood_split": "test" })));
    let said = compare::check(store, &[run.id, by("pytorch-ood").id])
        .unwrap_err()
        .to_string();
    assert!(said.contains("convention pytorch-ood"), "{said}");
    let said = compare::check(store, &[run.id, other.id])
        .unwrap_err()
        .to_string();
    assert!(said.contains("its images of `far` are not those of"), "{said}");

    let said = compare::check(
        store,
        &[run.id, evaluated(&tested, &settings(serde_json::json!({}))).id],
    );
    let said = said.unwrap_err().to_string();
    assert!(said.contains("its set `far` is of the group none"), "{said}");
    let mut fewer = networks.clone();
    fewer[0]
        .metrics
        .retain(|(_, over, _), _| over.set.as_deref() != Some("far"));
    let both: Vec<_> = networks.iter().chain(&fewer).cloned().collect();
    let mixed = Comparison::of(&both, MetricName::Auroc, &[], Spread::Sample);
    let names: Vec<String> = mixed.left_out.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["far average", "average"]);

    let bootstrap = Bootstrap { draws: 100, seed: 0 };
    let metrics = [MetricName::Auroc, MetricName::Fpr95];
    let paired = compare::paired(store, &networks, &[], &metrics, bootstrap).unwrap();
    assert_eq!(paired.len(), 2 * 3);
    for row in &paired {
        assert_eq!(row.score, "msp");
        assert!(row.interval[0] <= row.interval[1]);
        assert!((0.0..=1.0).contains(&row.p));
    }
    let alone = compare::paired(store, &networks, &["msp".to_owned()], &metrics, bootstrap);
    assert!(alone.unwrap_err().to_string().contains("two methods"));
}
