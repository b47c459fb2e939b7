//! Evaluations: their rows, their resumption, what is refused before them, and the table that is made of
//! them.

use dream_schema::Score;

use super::methods::recipe;
use super::*;

/// The sets that a classifier is tested on, and a classifier.
pub(super) struct Tested {
    pub bench: Bench,
    pub detector: Run,
    pub id: ImageSource,
    pub ood: Vec<ImageSource>,
    _folders: Vec<TempDir>,
}

impl Tested {
    /// `bad`: a picture of the test split that cannot be decoded, and is left out.
    pub fn new(bad: Option<&str>) -> Self {
        let (bench, folders) = (Bench::new(), vec![pictures(10), pictures(5), pictures(7)]);
        hold_out(folders[0].path());
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

    /// Where a set lies: the ID set, then the OOD sets.
    pub fn folder(&self, place: usize) -> &Path {
        self._folders[place].path()
    }

    /// What is refused of an evaluation on these sets.
    pub fn refused(&self, settings: &evaluate::Settings, id: &ImageSource) -> String {
        let evaluation = pipeline::Evaluation {
            settings,
            id,
            ood: &self.ood,
            ood_validation: None,
        };
        let mut refusals = Refusals::of("evaluate");
        let detector = self.detector.id.into();
        evaluation
            .check(&self.bench.store, detector, &mut refusals)
            .unwrap();
        refusals.finish().unwrap_err().to_string()
    }

    /// Observes what `settings` need, and asks for the scores.
    fn spec(&self, settings: &evaluate::Settings) -> Result<RunSpec, StageError> {
        let classifier = observe::Classifier::Run(self.detector.id.into());
        let observe = |set: &ImageSource, split: &str| {
            let params = seen(split);
            let spec = observe::ask(&params, &classifier, set).spec(&self.bench.store)?;
            Ok::<_, StageError>(self.bench.run(&spec, &Watch::new(usize::MAX))?.id.into())
        };
        let ood = self.ood.iter();
        let observations = evaluate::Observations {
            id: observe(&self.id, &settings.split)?,
            ood: ood
                .map(|set| Ok((set.name().to_owned(), observe(set, settings.split_of(set))?)))
                .collect::<Result<_, StageError>>()?,
            train: Some(observe(&self.id, "train")?),
            validation: None,
            ood_validation: None,
        };
        evaluate::ask(&settings.params(None), &observations).spec(&self.bench.store)
    }
}

/// Adds a split `val`, of the pictures of `test`.
fn hold_out(root: &Path) {
    for class in std::fs::read_dir(root.join("test")).unwrap() {
        let class = class.unwrap();
        let target = root.join("val").join(class.file_name());
        std::fs::create_dir_all(&target).unwrap();
        for picture in std::fs::read_dir(class.path()).unwrap() {
            let picture = picture.unwrap();
            std::fs::copy(picture.path(), target.join(picture.file_name())).unwrap();
        }
    }
}

pub(super) fn settings(changes: serde_json::Value) -> evaluate::Settings {
    let mut settings = serde_json::json!({
        "scores": ["energy", "msp"], "convention": "openood", "split": "test", "ood_split": "train",
    });
    for (key, value) in changes.as_object().unwrap() {
        settings[key] = value.clone();
    }
    serde_json::from_value(settings).unwrap()
}

#[test]
fn images_left_out_are_no_accuracy() {
    let tested = Tested::new(Some("test/grey/02.png"));
    let spec = tested.spec(&settings(serde_json::json!({}))).unwrap();
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
    let spec = whole.spec(&settings(serde_json::json!({}))).unwrap();
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
    let spec = other.spec(&settings(serde_json::json!({}))).unwrap();
    let store = &other.bench.store;
    for sets in [1, 2] {
        let error = other.bench.run(&spec, &Watch::new(2 + sets)).unwrap_err();
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
        let error = tested.refused(&settings(serde_json::json!({ key: given })), &tested.id);
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
        tested.refused(&settings(serde_json::json!({})), &other)
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

#[test]
fn every_score_of_activations_is_taken_and_told_apart_by_its_values() {
    let tested = Tested::new(None);
    let scores = serde_json::json!(["mds", "knn", { "name": "knn", "values": { "k": 3.0 } }, "dice", "gen"]);
    // There are 30 training images, and knn takes 50 neighbours.
    let error = tested.spec(&settings(serde_json::json!({ "scores": scores })));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("`knn`") && error.contains("50"), "{error}");
    // A preset may say it as tables do.
    let said: crate::stage::evaluate::ScoreSpec =
        serde_json::from_value(serde_json::json!("knn:k=3")).unwrap();
    let written = serde_json::json!({ "name": "knn", "values": { "k": 3.0 } });
    assert_eq!(serde_json::to_value(said).unwrap(), written);
    let possible = serde_json::json!({ "scores": scores, "where_possible": true });
    let spec = tested.spec(&settings(possible)).unwrap();
    let watch = Watch::new(usize::MAX);
    let run = tested.bench.run(&spec, &watch).unwrap();
    let said = watch.said.lock().unwrap().join(" ");
    assert!(said.contains("left out") && said.contains("`knn`"), "{said}");
    let rows: Vec<Score> = tested.bench.store.rows(run.id, None).unwrap();
    assert_eq!(rows.len(), 4 * (12 + 15 + 21));
    assert!(rows.iter().all(|row| row.score != "knn"));

    let scores = serde_json::json!(["mds", { "name": "knn", "values": { "k": 3.0 } }, "dice", "gen"]);
    let spec = tested
        .spec(&settings(serde_json::json!({ "scores": scores })))
        .unwrap();
    let run = tested.bench.run(&spec, &Watch::new(usize::MAX)).unwrap();
    let rows: Vec<Score> = tested.bench.store.rows(run.id, None).unwrap();
    let names: std::collections::BTreeSet<&str> = rows.iter().map(|row| row.score.as_str()).collect();
    assert_eq!(Vec::from_iter(names), ["dice", "gen", "knn:k=3", "mds"]);
    assert_eq!(rows.len(), 4 * (12 + 15 + 21));
    assert_eq!(tested.bench.metrics(&run)["auroc"].len(), 4 * 3);
}

#[test]
fn scores_that_cannot_be_taken_are_refused_by_name() {
    let tested = Tested::new(None);
    let refused = |scores: serde_json::Value| {
        tested.refused(&settings(serde_json::json!({ "scores": scores })), &tested.id)
    };
    let said = refused(serde_json::json!(["knnn"]));
    assert!(
        said.contains("no score `knnn`") && said.contains("did you mean `knn`?"),
        "{said}"
    );
    let said = refused(serde_json::json!(["msp", "msp"]));
    assert!(said.contains("`msp` is named twice"), "{said}");
    let said = refused(serde_json::json!([{ "name": "knn", "values": { "k": 0.0 } }]));
    assert!(said.contains("knn:k=0") && said.contains("at least 1"), "{said}");
    let said = refused(serde_json::json!([{ "name": "knn", "values": { "kk": 3.0 } }]));
    assert!(said.contains("kk"), "{said}");
    let said = refused(serde_json::json!(["react"]));
    assert!(
        said.contains("`react` learns from") && said.contains("validation"),
        "{said}"
    );
    assert!(refused(serde_json::json!([])).contains("one at least"));
    // phi is only there after training with outliers.
    let said = refused(serde_json::json!(["dream"]));
    assert!(said.contains("`dream` needs phi"), "{said}");
}

#[test]
fn activations_are_the_networks_own() {
    let tested = Tested::new(Some("test/grey/02.png"));
    let store = &tested.bench.store;
    let params = seen("test");
    let classifier = observe::Classifier::Run(tested.detector.id.into());
    let spec = observe::ask(&params, &classifier, &tested.id)
        .spec(store)
        .unwrap();
    let run = tested.bench.run(&spec, &Watch::new(usize::MAX)).unwrap();
    let rows: Vec<dream_schema::Activation> = store.rows(run.id, None).unwrap();
    assert_eq!(rows.len(), 11);
    let last = checkpoint(store, run.id);
    let (weight, bias) = (last["fc.weight"].to_vec2::<f32>().unwrap(), &last["fc.bias"]);
    let bias = bias.to_vec1::<f32>().unwrap();
    for row in &rows {
        assert_eq!((row.features.0.len(), row.logits.0.len()), (16, 3));
        for (class, logit) in row.logits.0.iter().enumerate() {
            let sum: f32 = weight[class]
                .iter()
                .zip(&row.features.0)
                .map(|(w, x)| w * x)
                .sum();
            assert!((sum + bias[class] - logit).abs() < 1e-4 * logit.abs().max(1.0));
        }
        let (class, name) = (row.label.unwrap() as usize, row.class_name.as_deref());
        assert_eq!(name, Some(["black", "grey", "white"][class]));
    }
    let right = rows.iter().filter(|row| row.label == row.predicted).count();
    let metrics = tested.bench.metrics(&run);
    assert_eq!(metrics["accuracy"], [right as f64 / 11.0]);
    assert_eq!(metrics["images_left_out"], [1.0]);
}

fn checkpoint(store: &Store, run: RunId) -> crate::nn::State {
    let rows: Vec<Checkpoint> = store.rows(run, None).unwrap();
    crate::nn::from_safetensors(&store.blob(&rows[0].blob).unwrap(), &Device::Cpu).unwrap()
}

/// What to observe of a split.
pub(super) fn seen(split: &str) -> observe::Params {
    observe::Params {
        dtype: observe::Dtype::default(),
        precision: None,
        split: split.to_owned(),
        numbered: false,
        matched: false,
        network: None,
    }
}

/// Copies the split folders of classes of a set, each class called as `named` says.
fn renamed(set: &Path, named: impl Fn(&str) -> String) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for split in ["train", "test", "val"] {
        for class in files(&set.join(split)) {
            let name = named(&class.file_name().unwrap().to_string_lossy());
            let to = copy.path().join(split).join(name);
            std::fs::create_dir_all(&to).unwrap();
            for file in files(&class) {
                std::fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
            }
        }
    }
    copy
}

#[test]
fn an_ood_set_has_a_split_of_its_own_or_its_only_one() {
    let tested = Tested::new(None);
    let flat = tempfile::tempdir().unwrap();
    for file in files(&tested._folders[1].path().join("train/grey")) {
        std::fs::copy(&file, flat.path().join(file.file_name().unwrap())).unwrap();
    }
    let flat = register_images(&tested.bench.store, "flat", flat.path(), &Reading::default()).unwrap();
    let split = |set: &ImageSource, changes: serde_json::Value| {
        let mut settings = serde_json::json!({ "scores": ["msp"], "convention": "openood", "split": "test" });
        for (key, value) in changes.as_object().unwrap() {
            settings[key] = value.clone();
        }
        let settings: evaluate::Settings = serde_json::from_value(settings).unwrap();
        settings.split_of(set).to_owned()
    };
    let far = &tested.ood[0];
    assert_eq!(split(&flat, serde_json::json!({})), "all");
    assert_eq!(split(far, serde_json::json!({})), "test");
    assert_eq!(
        split(far, serde_json::json!({ "ood_splits": { "far": "train" } })),
        "train"
    );
    // What is asked for by name must be there.
    assert_eq!(split(&flat, serde_json::json!({ "ood_split": "train" })), "train");
}

#[test]
fn of_two_sets_with_one_digest_the_named_one_is_read() {
    let tested = Tested::new(None);
    let store = &tested.bench.store;
    let copy = renamed(tested._folders[0].path(), str::to_owned);
    // Its name comes first, and last, by the alphabet; another split is another run.
    for (name, split) in [("a-copy", "train"), ("z-copy", "test")] {
        let copy = register_images(store, name, copy.path(), &Reading::default()).unwrap();
        assert_eq!(copy.digest(), tested.id.digest());
        let params = seen(split);
        let classifier = observe::Classifier::Run(tested.detector.id.into());
        let spec = observe::ask(&params, &classifier, &copy).spec(store).unwrap();
        let run = tested.bench.run(&spec, &Watch::new(usize::MAX)).unwrap();
        assert_eq!(
            ImageSource::find(store, &run, &Role::Images).unwrap().name(),
            name
        );
        let rows: Vec<dream_schema::Activation> = store.rows(run.id, None).unwrap();
        assert_eq!(rows[0].dataset, name);
    }
}

#[test]
fn an_answer_for_other_class_names_is_none() {
    let tested = Tested::new(None);
    let store = &tested.bench.store;
    let copy = renamed(tested._folders[0].path(), |name| format!("new-{name}"));
    let copy = register_images(store, "renamed", copy.path(), &Reading::default()).unwrap();
    assert_eq!(copy.digest(), tested.id.digest());
    let params = seen("test");
    let classifier = observe::Classifier::Run(tested.detector.id.into());
    let own = observe::ask(&params, &classifier, &tested.id)
        .spec(store)
        .unwrap();
    tested.bench.run(&own, &Watch::new(usize::MAX)).unwrap();
    let ask = || observe::ask(&params, &classifier, &copy).spec(store);
    let (said, id) = (ask().unwrap_err().to_string(), tested.id.name());
    let expected = format!("are not those of `{id}`, as which run {}", own.id());
    assert!(said.contains(&expected), "{said}");
    // Without that entry the names of the other are the ones.
    store.remove_dataset(id).unwrap();
    assert_eq!(ask().unwrap().id(), own.id());
}

#[test]
fn activations_in_f16_are_a_run_of_their_own_and_read_as_f32() {
    let tested = Tested::new(None);
    let observe = |dtype: observe::Dtype| {
        let params = observe::Params {
            dtype,
            precision: None,
            split: "test".to_owned(),
            numbered: false,
            matched: false,
            network: None,
        };
        let classifier = observe::Classifier::Run(tested.detector.id.into());
        let spec = observe::ask(&params, &classifier, &tested.id)
            .spec(&tested.bench.store)
            .unwrap();
        tested.bench.run(&spec, &Watch::new(usize::MAX)).unwrap()
    };
    let (full, half) = (observe(observe::Dtype::F32), observe(observe::Dtype::F16));
    assert_ne!(full.id, half.id);
    assert_eq!(full.spec.params.get("dtype"), None);
    let rows =
        |run: &Run| -> Vec<dream_schema::Activation> { tested.bench.store.rows(run.id, None).unwrap() };
    for (full, half) in rows(&full).iter().zip(rows(&half)) {
        for (full, half) in [(&full.logits, half.logits), (&full.features, half.features)] {
            assert_eq!(full.0.len(), half.0.len());
            for (a, b) in full.0.iter().zip(half.0) {
                assert!((a - b).abs() <= a.abs() / 2048.0 + 1e-7, "{a} and {b}");
                assert_eq!(half::f16::from_f32(b).to_f32(), b);
            }
        }
    }
}

#[test]
fn scores_that_run_the_network_are_taken_where_it_is_and_resumed() {
    let tested = Tested::new(None);
    let scores = serde_json::json!(["odin", "mahalanobis", "gram", "energy", "rankfeat"]);
    let spec = tested
        .spec(&settings(serde_json::json!({ "scores": scores })))
        .unwrap();
    // Stopped at every place in turn, it goes on to the same rows.
    let mut stops = 0;
    let run = loop {
        match tested.bench.run(&spec, &Watch::new(3 + stops)) {
            Ok(run) => break run,
            Err(error) => assert!(matches!(error, StageError::Interrupted), "{error}"),
        }
        stops += 2;
        assert!(stops < 400);
    };
    assert!(stops > 0);
    let again = Tested::new(None);
    let spec = again
        .spec(&settings(serde_json::json!({ "scores": scores })))
        .unwrap();
    let whole = again.bench.run(&spec, &Watch::new(usize::MAX)).unwrap();
    assert_eq!(run.digest, whole.digest);
    // Images that have changed are refused before the network sees any.
    let spec = again
        .spec(&settings(serde_json::json!({ "scores": ["odin"] })))
        .unwrap();
    let picture = again._folders[1].path();
    let file = walk(picture);
    let other = image::RgbImage::from_pixel(8, 8, image::Rgb([7, 77, 177]));
    other.save_with_format(&file, image::ImageFormat::Png).unwrap();
    let error = again.bench.run(&spec, &Watch::new(usize::MAX)).unwrap_err();
    assert!(matches!(error, StageError::SourceChanged { .. }), "{error}");
    // Images that are gone are refused as the question is asked.
    std::fs::remove_dir_all(again._folders[2].path()).unwrap();
    let error = again
        .spec(&settings(serde_json::json!({ "scores": ["iodin"] })))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`near`, which is needed again for `iodin`, is no longer at"),
        "{error}"
    );
}

/// The first file below a folder.
fn walk(folder: &std::path::Path) -> std::path::PathBuf {
    let mut entries: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    match entries.into_iter().next().unwrap() {
        first if first.is_dir() => walk(&first),
        first => first,
    }
}

#[test]
fn what_a_network_was_trained_on_is_nothing_to_test_it_on() {
    let mut tested = Tested::new(None);
    let trained_on = "these are the images that the classifier was trained on";
    let said = tested.refused(&settings(serde_json::json!({ "split": "train" })), &tested.id);
    assert!(said.contains(&format!("id: {trained_on}")), "{said}");

    // Of scores that learn from images held out of training, and of no others.
    let validation = |score: &str, split: &str| {
        settings(serde_json::json!({ "scores": [score], "validation_split": split }))
    };
    let said = tested.refused(&validation("react", "train"), &tested.id);
    let expected = "`react` learns from ID images held out of training, and these are the training images";
    assert!(said.contains(expected), "{said}");
    let evaluation = |settings: &evaluate::Settings| {
        let evaluation = pipeline::Evaluation {
            settings,
            id: &tested.id,
            ood: &tested.ood,
            ood_validation: None,
        };
        let mut refusals = Refusals::of("evaluate");
        let detector = tested.detector.id.into();
        evaluation
            .check(&tested.bench.store, detector, &mut refusals)
            .unwrap();
        refusals.finish().map_err(|error| error.to_string())
    };
    assert_eq!(evaluation(&validation("react", "val")), Ok(()));
    assert_eq!(
        evaluation(&settings(serde_json::json!({ "scores": ["fdbd"] }))),
        Ok(())
    );

    // A network that went on from another one was trained on the images of both.
    let trained = |params: &detect::Params, initial: Option<Input>| {
        let inputs = detect::Inputs {
            initial,
            ..detect::Inputs::default()
        };
        let spec = detect::ask(params, 7, inputs, &tested.id).spec(&tested.bench.store);
        tested.bench.run(&spec.unwrap(), &Watch::new(usize::MAX)).unwrap()
    };
    let on_test = with(serde_json::json!({ "epochs": 1, "split": "test" }));
    let mut tuned = on_test.clone();
    let tune = serde_json::json!({ "epochs": 1, "batch_size": 10, "lr": 0.01 });
    tuned.outlier = recipe("logitnorm", serde_json::json!({ "fine_tune": tune })).outlier;
    let both = trained(&tuned, Some(tested.detector.id.into()));
    tested.detector = both;
    for split in ["test", "train"] {
        let said = tested.refused(&settings(serde_json::json!({ "split": split })), &tested.id);
        assert!(said.contains(&format!("id: {trained_on}")), "{split}: {said}");
    }

    // Nor are they OOD images, beside whatever ID set.
    let near = tested.ood[1].clone();
    tested.ood = vec![tested.id.clone()];
    let said = tested.refused(&settings(serde_json::json!({ "ood_split": "test" })), &near);
    assert!(said.contains(&format!("ood/set: {trained_on}")), "{said}");
}
