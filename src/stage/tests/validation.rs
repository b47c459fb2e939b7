use super::*;

fn patient(patience: usize) -> detect::Params {
    with(serde_json::json!({
        "epochs": 12, "checkpoint_every": 5, "validation": { "fraction": 0.2, "patience": patience },
    }))
}

#[test]
fn training_stops_and_the_best_network_is_used() {
    let (set, bench) = (pictures(20), Bench::new());
    let spec = bench.detect(set.path(), &patient(2));
    let run = bench.run(&spec, &Watch::new(usize::MAX)).unwrap();
    let metrics = bench.metrics(&run);
    let validation = &metrics["validation_accuracy"];
    let epochs = metrics["loss"].len();
    assert_eq!(
        (metrics["accuracy"].len(), metrics["lr"].len(), validation.len()),
        (epochs, epochs, epochs)
    );
    // The first of the best, two epochs before the end, is on record.
    let most = validation.iter().copied().fold(0.0, f64::max);
    let best = validation.iter().position(|v| *v == most).unwrap() + 1;
    assert!(epochs < 12 && epochs == best + 2, "{validation:?}");
    assert_eq!(
        (metrics["best_epochs"][0], metrics["best_validation_accuracy"][0]),
        (best as f64, most)
    );
    assert_eq!(bench.checkpoints(&run, "best"), [best as i32]);
    // Every better one, the fifths and the last were kept.
    let kept = bench.checkpoints(&run, "model");
    assert!(
        kept.contains(&(best as i32)) && kept.contains(&(epochs as i32)),
        "{kept:?}"
    );
    assert_eq!(kept, bench.checkpoints(&run, "optimizer"));
    let used = training::used_row(&bench.store, run.id).unwrap().unwrap();
    let rows: Vec<Checkpoint> = bench.store.rows(run.id, None).unwrap();
    let of_best = rows
        .iter()
        .find(|c| c.name == "model" && c.epoch == best as i32)
        .unwrap();
    assert_eq!((used.epoch, &used.blob), (best as i32, &of_best.blob));
    // The places of rows are part of a run's digest.
    let places = rows.iter().map(|c| (c.name.as_str(), c.epoch, c.index));
    let place = |(name, epoch, index): (&str, i32, u64)| match name {
        "best" => index == 0,
        "model" => index == 2 * epoch as u64,
        _ => index == 2 * epoch as u64 + 1,
    };
    assert!(places.clone().all(place), "{:?}", places.collect::<Vec<_>>());
    assert!(bench.store.verify(&mut |_, _| ()).unwrap().problems.is_empty());
}

#[test]
fn without_patience_all_epochs_are_trained_and_without_validation_nothing_is_added() {
    let (set, bench) = (pictures(20), Bench::new());
    let held = with(serde_json::json!({ "validation": { "fraction": 0.2 } }));
    let run = bench
        .run(&bench.detect(set.path(), &held), &Watch::new(usize::MAX))
        .unwrap();
    assert_eq!(bench.metrics(&run)["validation_accuracy"].len(), 3);
    assert_eq!(bench.checkpoints(&run, "best").len(), 1);

    let plain = with(serde_json::json!({}));
    let written = serde_json::to_value(&plain).unwrap();
    assert_eq!(
        written["training"],
        training(),
        "a parameter that is not used changes the id"
    );
    let run = bench
        .run(&bench.detect(set.path(), &plain), &Watch::new(usize::MAX))
        .unwrap();
    let names: Vec<String> = bench.metrics(&run).into_keys().collect();
    assert_eq!(names, ["accuracy", "loss", "lr"]);
    assert_eq!(bench.checkpoints(&run, "model"), [2, 3]);
    assert_eq!(
        training::used_row(&bench.store, run.id).unwrap().unwrap().epoch,
        3
    );
}

#[test]
fn an_interrupted_training_is_resumed_to_the_same_digest() {
    let (set, whole) = (pictures(20), Bench::new());
    let spec = whole.detect(set.path(), &patient(2));
    let digest = whole.run(&spec, &Watch::new(usize::MAX)).unwrap().digest;
    for steps in [1, 4, 6, 9] {
        let bench = Bench::new();
        let spec = bench.detect(set.path(), &patient(2));
        let mut interrupted = 0;
        let run = loop {
            match bench.run(&spec, &Watch::new(steps + 4 * interrupted)) {
                Ok(run) => break run,
                Err(StageError::Interrupted) => interrupted += 1,
                Err(error) => panic!("{error}"),
            }
        };
        assert!(interrupted > 0);
        assert_eq!(
            run.digest, digest,
            "stopped {interrupted} times, first after {steps} steps"
        );
    }
}

#[test]
fn what_is_left_out_is_named_and_counted() {
    let (set, bench) = (pictures(12), Bench::new());
    for name in ["train/grey/03.png", "train/grey/05.png", "test/white/00.png"] {
        std::fs::write(set.path().join(name), b"no picture").unwrap();
    }
    let error = register_images(&bench.store, "set", set.path(), &Reading::default()).unwrap_err();
    assert!(error.to_string().contains("white/00.png"), "{error}");
    let reading = Reading {
        skip_bad: true,
        ..Default::default()
    };
    let images = register_images(&bench.store, "set", set.path(), &reading).unwrap();
    assert_eq!(images.left_out("train").len(), 2);
    let params = with(serde_json::json!({ "epochs": 1 }));
    let spec = bench.asked(&params, &images).unwrap();
    let watch = Watch::new(usize::MAX);
    let run = bench.run(&spec, &watch).unwrap();
    let said = watch.said.lock().unwrap().join("\n");
    assert!(
        said.contains("2 of the images") && said.contains("grey/03.png, grey/05.png"),
        "{said}"
    );
    assert_eq!(bench.metrics(&run)["images_left_out"], [2.0, 1.0]);
    let rows: Vec<Metric> = bench.store.rows(run.id, None).unwrap();
    let of: Vec<_> = rows
        .iter()
        .filter(|m| m.name == "images_left_out")
        .map(|m| m.dataset.clone().unwrap())
        .collect();
    assert_eq!(of, ["set/train", "set/test"]);
    // The places of rows are part of a run's digest: closing rows leave room for four metrics an epoch.
    assert_eq!(rows.iter().map(|m| m.index).collect::<Vec<_>>(), [0, 1, 2, 4, 5]);

    // One more that cannot be decoded is another set.
    std::fs::write(set.path().join("train/grey/07.png"), b"no picture").unwrap();
    let again = with(serde_json::json!({ "epochs": 2 }));
    let spec = bench.asked(&again, &images).unwrap();
    let error = bench.run(&spec, &Watch::new(usize::MAX)).unwrap_err();
    assert!(matches!(error, StageError::SourceChanged { .. }), "{error}");
}

#[test]
fn what_holding_images_out_leaves_too_little_of_is_refused_before_training() {
    let bench = Bench::new();
    let said = |per_class: u32, fraction: f64| {
        let set = pictures(per_class);
        let name = format!("of-{per_class}");
        let images = register_images(&bench.store, &name, set.path(), &Reading::default()).unwrap();
        let params = with(serde_json::json!({ "validation": { "fraction": fraction } }));
        bench
            .asked(&params, &images)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    assert_eq!(said(20, 0.8), Ok(()));
    // Two of the twenty images of each class are left.
    let error = said(20, 0.9).unwrap_err();
    assert!(
        error.contains("training images do not fill one batch of 10"),
        "{error}"
    );
    let error = said(1, 0.5).unwrap_err();
    assert!(
        error.contains("training.validation: of the one image of"),
        "{error}"
    );
}
