//! Evaluations of activations that were taken in.

use super::*;

/// Activations of logits alone.
fn of_logits(bench: &Bench, name: &str, split: &str, logits: &[[f32; 2]], labels: &[i64]) -> RunId {
    let bytes = crate::floats::to_bytes(logits.as_flattened());
    let labels: Vec<u8> = labels.iter().flat_map(|label| label.to_le_bytes()).collect();
    let view = |dtype, shape: &[usize], bytes| {
        safetensors::tensor::TensorView::new(dtype, shape.to_vec(), bytes).unwrap()
    };
    let arrays = [
        (
            "logits",
            view(safetensors::Dtype::F32, &[logits.len(), 2], &bytes),
        ),
        ("labels", view(safetensors::Dtype::I64, &[logits.len()], &labels)),
    ];
    let file = format!("{name}-{split}.safetensors");
    let file = bench.file(&file, &safetensors::serialize(arrays, None).unwrap());
    let rows = Rows::Activations(ActivationsOf {
        dataset: name,
        split,
        arrays: None,
    });
    bench.import(&Question { file: &file, rows }).unwrap().id
}

fn evaluation(
    bench: &Bench,
    scores: &[&str],
    id: RunId,
    ood: &[(&str, RunId)],
    groups: serde_json::Value,
) -> Result<RunSpec, String> {
    let params = serde_json::json!({ "scores": scores, "convention": "openood", "groups": groups });
    let observations = crate::stage::evaluate::Observations {
        id: id.into(),
        ood: ood
            .iter()
            .map(|(name, run)| ((*name).to_owned(), (*run).into()))
            .collect(),
        train: None,
        validation: None,
        ood_validation: None,
    };
    let asked = crate::stage::evaluate::ask(&serde_json::from_value(params).unwrap(), &observations);
    asked.spec(&bench.store).map_err(|error| error.to_string())
}

#[test]
fn an_evaluation_says_what_its_numbers_do_not_tell() {
    let bench = Bench::new();
    let id = of_logits(&bench, "id", "test", &[[2.0, 0.0], [3.0, 1.0]], &[0, 1]);
    let one = of_logits(&bench, "one", "test", &[[5.0, 3.0]], &[-1]);
    let spec = evaluation(
        &bench,
        &["msp", "energy"],
        id,
        &[("one", one)],
        serde_json::json!({}),
    );
    let watch = crate::stage::tests::Watch::new(usize::MAX);
    let run = in_context(&bench.store, &watch, |ctx| crate::stage::run(ctx, &spec.unwrap()));
    let run = run.map_err(|error| error.to_string()).unwrap().0;
    let said = watch.said.lock().unwrap().join("\n");
    assert!(said.contains("`one` has one image"), "{said}");
    // Differences of the logits are all alike: the confidence tells nothing.
    assert!(said.contains("`msp` is the same for every image"), "{said}");
    assert!(!said.contains("`energy` is the same"), "{said}");
    let metrics: Vec<dream_schema::Metric> = bench.store.rows(run.id, None).unwrap();
    let auroc = |score: &str| {
        let is_it = |row: &&dream_schema::Metric| {
            row.name == "auroc" && row.score.as_deref() == Some(score) && row.dataset.is_some()
        };
        metrics.iter().find(is_it).map(|row| row.value)
    };
    assert_eq!((auroc("msp"), auroc("energy")), (Some(0.5), Some(0.0)));
}

#[test]
fn what_scores_learn_from_is_none_of_the_test_images() {
    let bench = Bench::new();
    let of = |name: &str| of_logits(&bench, name, "test", &[[2.0, 0.0], [3.0, 1.0]], &[0, 1]);
    let [id, ood, train, other] = ["id", "ood", "train", "other"].map(of);
    let params = serde_json::json!({ "scores": ["msp"], "convention": "openood" });
    let params = serde_json::from_value(params).unwrap();
    let asked = |train: RunId, validation: RunId, ood_validation: RunId| {
        let observations = crate::stage::evaluate::Observations {
            id: id.into(),
            ood: vec![("ood".to_owned(), ood.into())],
            train: Some(train.into()),
            validation: Some(validation.into()),
            ood_validation: Some(ood_validation.into()),
        };
        let spec = crate::stage::evaluate::ask(&params, &observations).spec(&bench.store);
        spec.map(|_| ()).map_err(|error| error.to_string())
    };
    // Validation images may be those of the training.
    assert_eq!(asked(train, train, other), Ok(()));
    for (wrong, words) in [
        (asked(ood, train, other), "the training images once more"),
        (
            asked(train, train, ood),
            "hyperparameters are searched on once more",
        ),
        (asked(id, train, other), "once more"),
        (asked(train, other, other), "once more"),
    ] {
        let said = wrong.unwrap_err();
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn numbers_beyond_what_there_is_to_learn_from_are_refused_first() {
    let bench = Bench::new();
    let [id, ood, train] = ["id", "ood", "train"].map(|name| {
        let (features, logits) = ([0.5f32; 6], [1.0f32; 4]);
        let [features, logits] = [&features[..], &logits].map(crate::floats::to_bytes);
        let view = |width: usize, bytes| {
            safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![2, width], bytes).unwrap()
        };
        let arrays = [("features", view(3, &features)), ("logits", view(2, &logits))];
        let file = bench.file(
            &format!("{name}.safetensors"),
            &safetensors::serialize(arrays, None).unwrap(),
        );
        let rows = Rows::Activations(ActivationsOf {
            dataset: name,
            split: "test",
            arrays: None,
        });
        bench.import(&Question { file: &file, rows }).unwrap().id
    });
    let asked = |score: &str, possible: bool| {
        let params = serde_json::json!({
            "scores": [score.parse::<crate::stage::evaluate::ScoreSpec>().unwrap()],
            "convention": "openood", "where_possible": possible,
        });
        let observations = crate::stage::evaluate::Observations {
            id: id.into(),
            ood: vec![("ood".to_owned(), ood.into())],
            train: Some(train.into()),
            validation: None,
            ood_validation: None,
        };
        let params = serde_json::from_value(params).unwrap();
        let spec = crate::stage::evaluate::ask(&params, &observations).spec(&bench.store);
        spec.map(|_| ()).map_err(|error| error.to_string())
    };
    for score in ["knn:k=2", "neco:dim=3", "nnguide:k=2:share=1"] {
        assert_eq!(asked(score, false), Ok(()), "{score}");
    }
    for (score, words) in [
        ("knn:k=3", "training pictures: 2, but 3 are needed"),
        ("nnguide:k=2:share=0.5", "in the bank: 1, but 2 are needed"),
        ("neco:dim=4", "features a picture: 3, but 4 are needed"),
    ] {
        let said = asked(score, false).unwrap_err();
        assert!(said.contains(words), "{score}: {said}");
        // Of all scores those that cannot learn are left out.
        assert_eq!(asked(score, true), Ok(()), "{score}");
    }
}

#[test]
fn sets_that_cannot_be_told_apart_or_scored_are_refused_first() {
    let bench = Bench::new();
    let id = of_logits(&bench, "set", "test", &[[2.0, 0.0], [3.0, 1.0]], &[0, 1]);
    let again = of_logits(&bench, "set", "test", &[[1.0, 0.0]], &[0]);
    let none = serde_json::json!({});
    let said = evaluation(&bench, &["msp"], id, &[("set", again)], none.clone()).unwrap_err();
    assert!(said.contains("could not be told apart"), "{said}");
    let other = of_logits(&bench, "set", "corrupted", &[[1.0, 0.0]], &[7]);
    // Its classes are another set's, unless it is said to be a shifted one.
    evaluation(&bench, &["msp"], id, &[("set", other)], none).unwrap();
    let shifted = serde_json::json!({ "set": "shifted" });
    let said = evaluation(&bench, &["msp"], id, &[("set", other)], shifted).unwrap_err();
    assert!(
        said.contains("image 0 is of class 7, but there are 2 logits"),
        "{said}"
    );
}
