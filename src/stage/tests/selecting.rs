//! Pictures that are chosen by how they look to a classifier.

use dream_schema::{Rating, RunId};
use serde_json::json;

use super::methods::{CLASSES, recipe};
use super::*;
use crate::stage::pictures::Pictures;
use crate::stage::select;

/// The activations of a set's training images, by a classifier of it.
fn observed(bench: &Bench, set: &Path) -> RunId {
    let images = register_images(&bench.store, "set", set, &Reading::default()).unwrap();
    let spec = bench.asked(&with(json!({ "epochs": 1 })), &images).unwrap();
    let detector = bench.run(&spec, &Watch::new(usize::MAX)).unwrap();
    let params: observe::Params = serde_json::from_value(json!({ "split": "train" })).unwrap();
    let classifier = observe::Classifier::Run(detector.id.into());
    let spec = observe::ask(&params, &classifier, &images)
        .spec(&bench.store)
        .unwrap();
    bench.run(&spec, &Watch::new(usize::MAX)).unwrap().id
}

fn selected(bench: &Bench, params: serde_json::Value, pictures: RunId, train: RunId) -> Result<Run, String> {
    let params: select::Params = serde_json::from_value(params).unwrap();
    let spec = select::ask(&params, pictures, train).spec(&bench.store);
    let run = spec.and_then(|spec| bench.run(&spec, &Watch::new(usize::MAX)));
    run.map_err(|error| error.to_string())
}

#[test]
fn pictures_are_chosen_by_bounds_and_training_takes_those() {
    let set = pictures(20);
    let bench = Bench::new();
    let (train, imagined) = (observed(&bench, set.path()), bench.pictures(&CLASSES, 4));
    let rated = selected(&bench, json!({ "k": 3 }), imagined, train).unwrap();
    let rows: Vec<Rating> = bench.store.rows(rated.id, None).unwrap();
    assert_eq!(rows.len(), 12);
    assert!(rows.iter().all(|row| row.chosen == 1));
    for row in &rows {
        assert!((0.0..=2.0).contains(&row.knn_distance), "{row:?}");
        let own = row.own.unwrap();
        assert_eq!(own.max(row.other), row.confidence);
        assert_eq!(row.predicted == row.class_id as i32, own > row.other);
    }
    // The middle one of the distances cuts them in two.
    let mut distances: Vec<f32> = rows.iter().map(|row| row.knn_distance).collect();
    distances.sort_by(f32::total_cmp);
    let cut = f64::from(distances[6]);
    let far = selected(&bench, json!({ "k": 3, "knn": { "min": cut } }), imagined, train).unwrap();
    let chosen: Vec<Rating> = bench.store.rows(far.id, None).unwrap();
    assert_eq!(chosen.len(), 12);
    for row in &chosen {
        assert_eq!(row.chosen == 1, f64::from(row.knn_distance) >= cut);
    }
    let params = recipe("outlier-exposure", json!({}));
    let spec = bench.by_method(set.path(), &params, far.id).unwrap();
    assert!(spec.inputs.iter().any(|input| input.run == far.id));
    let all = bench.by_method(set.path(), &params, rated.id).unwrap();
    let plain = bench.by_method(set.path(), &params, imagined).unwrap();
    let losses = |spec| bench.metrics(&bench.run(spec, &Watch::new(usize::MAX)).unwrap())["loss"].clone();
    // All pictures chosen are as good as the run itself.
    assert_eq!(losses(&all), losses(&plain));
    losses(&spec);
    let opened = |run: RunId| {
        let preparation = params.training.preparation();
        Pictures::of_run(&bench.store, run, preparation, true, 1 << 20).unwrap()
    };
    let of_class = |class: u32| {
        chosen
            .iter()
            .filter(move |row| row.chosen == 1 && row.class_id == class)
    };
    let expected: Vec<u32> = (0..3)
        .flat_map(|class| of_class(class).map(|row| row.class_id))
        .collect();
    assert_eq!(opened(far.id).labels().unwrap(), expected);
    assert_eq!(opened(rated.id).len(), 12);
    // Fewer than a step takes.
    let few = selected(&bench, json!({ "k": 3, "knn": { "min": 2.0 } }), imagined, train).unwrap();
    let said = bench
        .by_method(set.path(), &params, few.id)
        .unwrap_err()
        .to_string();
    assert!(said.contains("pictures do not fill one batch of 6"), "{said}");
}

#[test]
fn bounds_that_cannot_be_meant_are_refused() {
    let set = pictures(20);
    let bench = Bench::new();
    let (train, imagined) = (observed(&bench, set.path()), bench.pictures(&CLASSES, 1));
    for (params, said) in [
        (json!({ "k": 0 }), "k"),
        (json!({ "k": 1000 }), "1000-th nearest of"),
        (json!({ "k": 1, "knn": { "max": 3.0 } }), "from 0 to 2"),
        (json!({ "k": 1, "confidence": { "min": -0.5 } }), "from 0 to 1"),
        (
            json!({ "k": 1, "other": { "min": 0.9, "max": 0.1 } }),
            "the least first",
        ),
    ] {
        let error = selected(&bench, params, imagined, train).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
    let error = selected(&bench, json!({ "k": 1 }), train, train).unwrap_err();
    assert!(error.contains("observe"), "{error}");
    // What has no bounds says nothing of them.
    let open = serde_json::to_string(&select::Params::default()).unwrap();
    assert_eq!(open, r#"{"k":50}"#);
}
