//! What a report measures: distances of imagined pictures beside those of the test sets.

use dream_schema::{Activation, Rating, RunId};
use serde_json::json;

use super::evaluating::{Tested, seen, settings};
use super::groups::evaluated;
use super::methods::CLASSES;
use super::*;
use crate::report::ScoreHistogram;
use crate::stage::select;

/// Minus the distance of each image of `queries` to the `k`-th nearest image of `bank`, by definition.
fn expected(store: &Store, queries: RunId, bank: RunId, k: usize) -> Vec<f64> {
    let directions = |run: RunId| {
        let rows: Vec<Activation> = store.rows(run, None).unwrap();
        let unit = |row: Activation| {
            let features = row.features.0.into_iter().map(f64::from);
            let norm = features.clone().map(|x| x * x).sum::<f64>().sqrt();
            features.map(|x| x / norm).collect::<Vec<f64>>()
        };
        rows.into_iter().map(unit).collect::<Vec<_>>()
    };
    let bank = directions(bank);
    let kth = |query: &Vec<f64>| {
        let square = |other: &Vec<f64>| other.iter().zip(query).map(|(a, b)| (a - b).powi(2)).sum();
        let mut squares: Vec<f64> = bank.iter().map(square).collect();
        squares.sort_by(f64::total_cmp);
        -squares[k - 1].sqrt()
    };
    directions(queries).iter().map(kth).collect()
}

fn assert_close(found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((f64::from(*found) - expected).abs() < 1e-4, "{found} {expected}");
    }
}

#[test]
fn imagined_pictures_and_test_sets_are_measured_to_the_same_training_images() {
    let tested = Tested::new(None);
    let store = &tested.bench.store;
    let evaluation = evaluated(&tested, &settings(json!({})));
    let distances = || -> Vec<ScoreHistogram> {
        let report = report::gather(store, evaluation.id, &[evaluation.id]).unwrap();
        report.distances
    };
    let id = Role::Id.input_of(&evaluation).unwrap();
    let far = Role::Ood("far".into()).input_of(&evaluation).unwrap();

    // Without ratings: of the 12 test images none is its own neighbour, so that there are 11.
    let [unrated] = &distances()[..] else { panic!() };
    assert!(unrated.score.contains("the 11-th nearest ID test image") && unrated.imagined.is_none());
    assert_close(&unrated.id.values, &expected(store, id, id, 12));
    assert_close(&unrated.ood[0].values, &expected(store, far, id, 11));

    // A classifier of another seed rates pictures, and then this one, twice by one k.
    let pictures = tested.bench.pictures(&CLASSES, 4);
    let params = with(json!({ "epochs": 1 }));
    let other = detect::ask(&params, 8, detect::Inputs::default(), &tested.id)
        .spec(store)
        .unwrap();
    let other = tested.bench.run(&other, &Watch::new(usize::MAX)).unwrap();
    let rated = |detector: RunId, params: serde_json::Value| {
        let classifier = observe::Classifier::Run(detector.into());
        let train = observe::ask(&seen("train"), &classifier, &tested.id);
        let train = tested
            .bench
            .run(&train.spec(store).unwrap(), &Watch::new(usize::MAX))
            .unwrap();
        let params: select::Params = serde_json::from_value(params).unwrap();
        let spec = select::ask(&params, pictures, train.id).spec(store).unwrap();
        (
            tested.bench.run(&spec, &Watch::new(usize::MAX)).unwrap().id,
            train.id,
        )
    };
    rated(other.id, json!({ "k": 5 }));
    assert!(distances()[0].imagined.is_none());
    let (run, train) = rated(tested.detector.id, json!({ "k": 5 }));
    rated(tested.detector.id, json!({ "k": 5, "knn": { "min": 2.0 } }));

    let [drawn] = &distances()[..] else { panic!() };
    assert!(
        drawn
            .score
            .contains("plain network: minus the distance to the 5-th nearest ID training image")
    );
    assert_close(&drawn.id.values, &expected(store, id, train, 5));
    let names: Vec<&str> = drawn.ood.iter().map(|set| set.dataset.as_str()).collect();
    assert_eq!(names, ["far", "near"]);
    assert_close(&drawn.ood[0].values, &expected(store, far, train, 5));
    let rows: Vec<Rating> = store.rows(run, None).unwrap();
    let imagined = drawn.imagined.as_ref().unwrap();
    assert_eq!(
        imagined.dataset,
        format!(
            "imagined pictures: import {pictures:.12}",
            pictures = pictures.to_string()
        )
    );
    assert_eq!(
        imagined.values,
        rows.iter().map(|row| -row.knn_distance).collect::<Vec<_>>()
    );
    // The lineage says where they come from.
    let report = report::gather(store, evaluation.id, &[evaluation.id]).unwrap();
    let nodes = report.lineage.unwrap().nodes;
    assert!(nodes.iter().any(|node| node.id == run.to_string()));
    assert!(nodes.iter().any(|node| node.id == pictures.to_string()));

    // Another k is another figure.
    rated(tested.detector.id, json!({ "k": 2 }));
    let scores: Vec<String> = distances().into_iter().map(|figure| figure.score).collect();
    assert_eq!(scores.len(), 2);
    assert!(
        scores[0].contains("the 2-th") && scores[1].contains("the 5-th"),
        "{scores:?}"
    );
}
