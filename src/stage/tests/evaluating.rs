//! Evaluations: their rows, their resumption, what is refused before them, and the table that is made of
//! them.

use dream_schema::Score;

use super::*;

/// The sets that a classifier is tested on, and a classifier.
struct Tested {
    bench: Bench,
    detector: Run,
    id: ImageSource,
    ood: Vec<ImageSource>,
    _folders: Vec<TempDir>,
}

impl Tested {
    /// `bad`: a picture of the test split that cannot be decoded, and is left out.
    fn new(bad: Option<&str>) -> Self {
        let (bench, folders) = (Bench::new(), vec![pictures(10), pictures(5), pictures(7)]);
        if let Some(name) = bad {
            std::fs::write(folders[0].path().join(name), b"no picture").unwrap();
        }
        let reading = Reading {
            skip_bad: bad.is_some(),
            ..Reading::default()
        };
        let set = |name: &str, folder: &TempDir| {
            register_images(&bench.store, name, folder.path(), &reading).unwrap()
        };
        let id = set("set", &folders[0]);
        let ood = vec![set("far", &folders[1]), set("near", &folders[2])];
        let params = with(serde_json::json!({ "epochs": 1 }));
        let spec = bench.asked(&params, &id).unwrap();
        let detector = bench.run(&spec, &Watch::new(usize::MAX)).unwrap();
        Self {
            bench,
            detector,
            id,
            ood,
            _folders: folders,
        }
    }

    fn spec(&self, changes: serde_json::Value) -> Result<RunSpec, StageError> {
        let mut params = serde_json::json!({
            "scores": ["energy", "msp"], "convention": "openood", "split": "test", "ood_split": "train",
        });
        for (key, value) in changes.as_object().unwrap() {
            params[key] = value.clone();
        }
        let params = serde_json::from_value(params).unwrap();
        evaluate::ask(&params, self.detector.id, &self.id, &self.ood).spec(&self.bench.store)
    }
}

#[test]
fn images_left_out_are_no_accuracy() {
    let tested = Tested::new(Some("test/grey/02.png"));
    let spec = tested.spec(serde_json::json!({})).unwrap();
    let run = tested.bench.run(&spec, &Watch::new(usize::MAX)).unwrap();
    assert_eq!(tested.bench.metrics(&run)["images_left_out"], [1.0]);
    let networks = compare::networks(&tested.bench.store, &[run.id]).unwrap();
    assert_eq!(networks[0].accuracy, tested.bench.metrics(&run)["accuracy"]);
    // Named twice, it is still one seed.
    let twice = compare::networks(&tested.bench.store, &[run.id, run.id]).unwrap();
    assert_eq!((twice.len(), &twice[0].seeds), (1, &networks[0].seeds));
}

#[test]
fn an_interrupted_evaluation_goes_on_with_the_next_set() {
    let whole = Tested::new(None);
    let spec = whole.spec(serde_json::json!({})).unwrap();
    let run = whole.bench.run(&spec, &Watch::new(usize::MAX)).unwrap();
    // Rows are numbered score by score, set by set, picture by picture.
    let rows: Vec<Score> = whole.bench.store.rows(run.id, None).unwrap();
    let keys = rows
        .iter()
        .map(|r| (r.score.as_str(), r.dataset.as_str(), r.sample));
    let mut wanted = Vec::new();
    for score in ["energy", "msp"] {
        for (set, pictures) in [("set", 12), ("far", 15), ("near", 21)] {
            wanted.extend((0..pictures).map(|sample| (score, set, sample)));
        }
    }
    assert_eq!(keys.collect::<Vec<_>>(), wanted);
    assert!(rows.iter().enumerate().all(|(i, row)| row.index == i as u64));

    let other = Tested::new(None);
    let spec = other.spec(serde_json::json!({})).unwrap();
    let store = &other.bench.store;
    for sets in [1, 2] {
        let error = other.bench.run(&spec, &Watch::new(sets)).unwrap_err();
        assert!(matches!(error, StageError::Interrupted), "{error}");
        let rows: Vec<Score> = store.rows(spec.id(), None).unwrap();
        let pictures: usize = [12, 15][..sets].iter().sum();
        assert_eq!(rows.len(), 2 * pictures, "after {sets} sets");
    }
    let resumed = other.bench.run(&spec, &Watch::new(usize::MAX)).unwrap();
    assert_eq!((resumed.id, resumed.digest), (run.id, run.digest));
}

#[test]
fn splits_are_checked_before_a_picture_is_read() {
    let tested = Tested::new(None);
    for (key, given) in [("split", "tset"), ("ood_split", "trian")] {
        let error = tested
            .spec(serde_json::json!({ key: given }))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(given) && error.contains("test") && error.contains("train"),
            "{error}"
        );
    }
    for (key, given) in [("split", "trian"), ("test_split", "tset")] {
        let params = with(serde_json::json!({ key: given }));
        let error = tested.bench.asked(&params, &tested.id);
        let error = error.unwrap_err().to_string();
        assert!(error.contains(given), "{error}");
    }
    let params = with(serde_json::json!({ "depth": 13 }));
    let error = tested.bench.asked(&params, &tested.id);
    assert!(error.unwrap_err().to_string().contains("13"));
}

#[test]
fn a_set_of_other_classes_is_refused_with_both_lists() {
    let tested = Tested::new(None);
    let refused = |from: &str, to: &str| {
        let folder = pictures(4);
        for split in ["train", "test"] {
            let place = folder.path().join(split);
            std::fs::rename(place.join(from), place.join(to)).unwrap();
        }
        let store = &tested.bench.store;
        let other = register_images(store, to, folder.path(), &Reading::default()).unwrap();
        let spec = tested.spec(serde_json::json!({})).unwrap();
        let params = serde_json::from_value(spec.params).unwrap();
        let asked = evaluate::ask(&params, tested.detector.id, &other, &tested.ood);
        asked.spec(store).unwrap_err().to_string()
    };
    let said = refused("white", "snow");
    assert!(
        said.contains("(black, grey, snow)") && said.contains("(black, grey, white)"),
        "{said}"
    );
    // The set that the classifier was trained on needs no name.
    let store = &tested.bench.store;
    let own = lineage::source::<ImageSource>(store, tested.detector.id, &Role::Images).unwrap();
    assert_eq!(own.unwrap().name(), "set");
    let order = tested
        .id
        .check_classes(&["white", "grey", "black"].map(str::to_owned), "the embeddings");
    assert!(order.unwrap_err().to_string().contains("in another order"));
}
