//! Evaluations of activations that were taken in.

use super::*;

/// Activations of logits alone.
fn of_logits(bench: &Bench, name: &str, split: &str, logits: &[[f32; 2]], labels: &[i64]) -> RunId {
    of_network(bench, name, split, logits, labels, None)
}

fn of_network(
    bench: &Bench,
    name: &str,
    split: &str,
    logits: &[[f32; 2]],
    labels: &[i64],
    network: Option<NetworkOf<'_>>,
) -> RunId {
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
        network,
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
    let asked = crate::stage::evaluate::ask(&serde_json::from_value(params).unwrap(), &observations(id, ood));
    asked.spec(&bench.store).map_err(|error| error.to_string())
}

/// What an evaluation without anything to learn from reads.
fn observations(id: RunId, ood: &[(&str, RunId)]) -> crate::stage::evaluate::Observations {
    crate::stage::evaluate::Observations {
        id: id.into(),
        ood: ood
            .iter()
            .map(|(name, run)| ((*name).to_owned(), (*run).into()))
            .collect(),
        train: None,
        validation: None,
        ood_validation: None,
    }
}

#[test]
fn metrics_of_what_is_not_known_are_refused_and_no_part_of_all() {
    let bench = Bench::new();
    let of = |name: &str, labels: &[i64]| of_logits(&bench, name, "test", &[[2.0, 0.0], [3.0, 1.0]], labels);
    let [id, unlabelled, ood] =
        [("id", [0, 1]), ("unlabelled", [-1, -1]), ("ood", [-1, -1])].map(|(name, labels)| of(name, &labels));
    let asked = |id: RunId, metrics: serde_json::Value, groups: serde_json::Value| {
        let params = serde_json::json!({
            "scores": ["msp"], "convention": "openood", "metrics": metrics, "groups": groups,
            "full_spectrum": groups != serde_json::json!({}),
        });
        let params: crate::stage::evaluate::Params = serde_json::from_value(params).unwrap();
        let observations = observations(id, &[("ood", ood), ("unlabelled", unlabelled)]);
        let all = crate::stage::evaluate::all_metrics(&bench.store, &params, &observations).unwrap();
        let spec = crate::stage::evaluate::ask(&params, &observations).spec(&bench.store);
        (spec.map(|_| ()).map_err(|error| error.to_string()), all.len())
    };
    let none = serde_json::json!({});
    let named = serde_json::json!(["ccr_at_fpr_1e-1", "aurc", "detection_error"]);
    let every = crate::stage::evaluate::EXTRA_METRICS.len();
    assert_eq!(asked(id, named.clone(), none.clone()), (Ok(()), every));
    // Of shifted images that count as in-distribution classes are asked too, but not for the AURC.
    let shifted = serde_json::json!({ "unlabelled": "shifted" });
    let (said, all) = asked(id, named.clone(), shifted);
    let said = said.unwrap_err();
    assert!(
        said.contains("`ccr_at_fpr_1e-1`") && !said.contains("aurc"),
        "{said}"
    );
    assert_eq!(all, every - 4);
    let other = of("other", &[-1, 0]);
    let (said, all) = asked(other, named, none.clone());
    let said = said.unwrap_err();
    assert!(
        said.contains("`ccr_at_fpr_1e-1`") && said.contains("`aurc`"),
        "{said}"
    );
    assert!(
        said.contains("image 0 has no class") && !said.contains("detection_error"),
        "{said}"
    );
    assert_eq!(all, 1);
    assert_eq!(
        asked(other, serde_json::json!(["detection_error"]), none).0,
        Ok(())
    );
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
    let asked_of = |score: &str, train: RunId, validation: RunId, ood_validation: RunId| {
        let params = serde_json::json!({ "scores": [score], "convention": "openood" });
        let params = serde_json::from_value(params).unwrap();
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
    let asked = |train, validation, ood_validation| asked_of("msp", train, validation, ood_validation);
    // Validation images may be those of the training, but not where values are searched on them.
    assert_eq!(asked(train, train, other), Ok(()));
    let said = asked_of("gen", train, train, other).unwrap_err();
    assert!(said.contains("these are the training images"), "{said}");
    assert_eq!(asked_of("gen:top=1", train, train, other), Ok(()));
    let said = asked_of("klm", train, train, other).unwrap_err();
    assert!(said.contains("`klm` learns from ID images held out"), "{said}");
    // Another file of the ID images, by its names, is none to learn from.
    let again = of_logits(&bench, "id", "test", &[[5.0, 0.0], [3.0, 2.0]], &[0, 1]);
    let said = asked(again, train, other).unwrap_err();
    assert!(said.contains("could not be told apart"), "{said}");
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
        bench.activations(name, arrays)
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
    // Another split of the ID set is none of an OOD set, as where the network looked at it here.
    let train = of_logits(&bench, "set", "train", &[[1.0, 0.0]], &[0]);
    let said = evaluation(&bench, &["msp"], id, &[("set", train)], none.clone()).unwrap_err();
    assert!(
        said.contains("these are images of the ID set `set` too, of the split `train`"),
        "{said}"
    );
    let other = of_logits(&bench, "corrupted", "test", &[[1.0, 0.0]], &[7]);
    // Its classes are another set's, unless it is said to be a shifted one.
    evaluation(&bench, &["msp"], id, &[("corrupted", other)], none.clone()).unwrap();
    let shifted = serde_json::json!({ "corrupted": "shifted" });
    let said = evaluation(&bench, &["msp"], id, &[("corrupted", other)], shifted.clone()).unwrap_err();
    assert!(
        said.contains("image 0 is of class 7, but there are 2 logits"),
        "{said}"
    );
    let some = of_logits(&bench, "corrupted", "val", &[[1.0, 0.0], [0.0, 1.0]], &[1, -1]);
    evaluation(&bench, &["msp"], id, &[("corrupted", some)], none.clone()).unwrap();
    let said = evaluation(&bench, &["msp"], id, &[("corrupted", some)], shifted).unwrap_err();
    assert!(said.contains("and image 1 has none"), "{said}");

    // Sides that are swapped are told by their labels.
    let outside = of_logits(&bench, "outside", "test", &[[1.0, 0.0]], &[-1]);
    evaluation(&bench, &["msp"], id, &[("outside", outside)], none.clone()).unwrap();
    let said = evaluation(&bench, &["msp"], outside, &[("set", id)], none.clone()).unwrap_err();
    assert!(
        said.contains("ood/set: ") && said.contains("seem to be swapped"),
        "{said}"
    );
    evaluation(&bench, &["msp"], outside, &[("corrupted", some)], none).unwrap();
}

/// Logits that are surer of the first class by so much.
fn sure(by: &[f32]) -> Vec<[f32; 2]> {
    by.iter().map(|by| [*by, 0.0]).collect()
}

fn evaluated(
    bench: &Bench,
    scores: &[&str],
    id: RunId,
    ood: &[(&str, RunId)],
    changes: serde_json::Value,
) -> RunId {
    let mut params = serde_json::json!({ "scores": scores, "convention": "openood" });
    for (key, value) in changes.as_object().unwrap() {
        params[key] = value.clone();
    }
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
    bench.run(&asked.spec(&bench.store).unwrap()).unwrap().id
}

/// Evaluations of one network: with groups, without, with a shifted set, in the full spectrum.
struct Evaluations {
    bench: Bench,
    id: RunId,
    near: RunId,
    grouped: RunId,
    plain: RunId,
    shifted: RunId,
    whole: RunId,
}

impl Evaluations {
    fn new() -> Self {
        let bench = Bench::new();
        let id = of_logits(
            &bench,
            "set",
            "test",
            &sure(&[5.0, 4.0, -3.0, 1.0]),
            &[0, 0, 1, 1],
        );
        let near = of_logits(&bench, "near", "test", &sure(&[1.5, 0.5]), &[-1, -1]);
        let drawn = of_logits(&bench, "drawn", "test", &sure(&[2.0, -0.2]), &[0, 1]);
        let groups = serde_json::json!({ "near": "near" });
        let both = serde_json::json!({ "near": "near", "drawn": "shifted" });
        let of = |ood: &[(&str, RunId)], changes| evaluated(&bench, &["msp"], id, ood, changes);
        let sets = [("near", near), ("drawn", drawn)];
        let [grouped, plain, shifted, whole] = [
            of(&sets[..1], serde_json::json!({ "groups": groups })),
            of(&sets[..1], serde_json::json!({})),
            of(&sets, serde_json::json!({ "groups": both })),
            of(
                &sets,
                serde_json::json!({ "groups": both, "full_spectrum": true }),
            ),
        ];
        Self {
            bench,
            id,
            near,
            grouped,
            plain,
            shifted,
            whole,
        }
    }
}

#[test]
fn a_report_is_of_what_was_measured_alike() {
    let of = Evaluations::new();
    let store = &of.bench.store;
    let siblings = |run: RunId| crate::stage::report::siblings(store, run).unwrap();
    for run in [of.grouped, of.plain, of.shifted, of.whole] {
        assert_eq!(siblings(run), [run]);
    }
    // Another network on the same images, and one on images of the same name in another order.
    let again = of_logits(
        &of.bench,
        "set",
        "test",
        &sure(&[5.0, 4.5, -3.0, 1.0]),
        &[0, 0, 1, 1],
    );
    let other = of_logits(
        &of.bench,
        "set",
        "test",
        &sure(&[5.0, -3.0, 4.0, 1.0]),
        &[0, 1, 0, 1],
    );
    let of_it = |id| {
        evaluated(
            &of.bench,
            &["msp"],
            id,
            &[("near", of.near)],
            serde_json::json!({}),
        )
    };
    let (again, other) = (of_it(again), of_it(other));
    assert_eq!(siblings(of.plain), [of.plain, again]);
    assert_eq!(siblings(other), [other]);

    // Sets without a group have their numbers, also where another evaluation gives them one.
    for run in [of.plain, of.grouped] {
        let report = crate::stage::report::gather(store, run, &[of.grouped, of.plain]).unwrap();
        assert_eq!(report.title, format!("evaluate {:.8}", run.to_string()));
        assert_eq!(report.facts[0].1, run.to_string());
        let rows = &report.detection[0].rows;
        assert_eq!(rows.len(), 2);
        for row in rows {
            let known = row.cells.iter().flatten().filter(|cell| cell.auroc.is_finite());
            assert_eq!(known.count(), 1, "{row:?}");
        }
    }
    let report = crate::stage::report::gather(store, of.whole, &[of.whole]).unwrap();
    assert!(report.detection[0].convention.contains("full spectrum"));
}

#[test]
fn a_table_is_of_numbers_that_mean_the_same() {
    use crate::stage::compare::{self, Comparison, FULL_SPECTRUM};
    let of = Evaluations::new();
    let store = &of.bench.store;
    let said = |runs: &[RunId]| compare::check(store, runs).unwrap_err().to_string();
    let mixed = said(&[of.shifted, of.whole]);
    assert!(
        mixed.contains("its metrics count images of shifted sets"),
        "{mixed}"
    );
    let mixed = said(&[of.whole, of.shifted]);
    assert!(
        mixed.contains("its metrics do not count images of shifted sets"),
        "{mixed}"
    );
    let networks = compare::networks(store, &[of.whole]).unwrap();
    assert_eq!(networks[0].name, "other full spectrum");
    assert!(networks[0].full_spectrum && FULL_SPECTRUM.starts_with("full spectrum"));

    let letters = of_logits(&of.bench, "letters", "test", &sure(&[5.0, 4.0]), &[0, 1]);
    let none = serde_json::json!({ "groups": { "near": "near" } });
    let letters = evaluated(&of.bench, &["msp"], letters, &[("near", of.near)], none);
    let other = said(&[of.grouped, letters]);
    assert!(
        other.contains("2 images of `letters`, split `test`, and 4 images of `set`, split `test`"),
        "{other}"
    );

    // A shifted set has no part in the mean over OOD sets, and one network is told from itself.
    compare::check(store, &[of.grouped, of.shifted]).unwrap();
    let networks = compare::networks(store, &[of.grouped, of.shifted]).unwrap();
    let name = |run: RunId| format!(" {:.6}", run.to_string());
    assert!(
        networks[0].name.ends_with(&name(of.grouped)),
        "{}",
        networks[0].name
    );
    assert!(
        networks[1].name.ends_with(&name(of.shifted)),
        "{}",
        networks[1].name
    );
    let table = Comparison::of(
        &networks,
        crate::stage::MetricName::Auroc,
        &[],
        crate::ood::Spread::Sample,
    );
    assert!(table.left_out.is_empty(), "{:?}", table.left_out);
    let names: Vec<String> = table.columns.iter().map(ToString::to_string).collect();
    assert_eq!(
        names,
        ["near", "near average", "drawn", "shifted average", "average"]
    );
}

/// Runs are known to others by what is in them, in which no network stands.
#[test]
fn an_evaluation_is_of_the_network_that_its_imports_name() {
    let bench = Bench::new();
    let of = |network: Option<NetworkOf<'_>>| {
        let import = |name: &str, logits: &[[f32; 2]], labels: &[i64]| {
            of_network(&bench, name, "test", logits, labels, network)
        };
        let id = import("set", &sure(&[5.0, 4.0, -3.0, 2.0]), &[0, 0, 1, 0]);
        let near = import("near", &sure(&[1.5, 0.25]), &[-1, -1]);
        let params = serde_json::json!({});
        let run = evaluated(&bench, &["msp"], id, &[("near", near)], params);
        crate::stage::compare::networks(&bench.store, &[run])
            .unwrap()
            .remove(0)
            .name
    };
    let named = |name, seed| Some(NetworkOf { name, seed });
    assert_eq!(of(None), "other");
    assert_eq!(of(named("resnet", 0)), "resnet");
    assert_eq!(of(named("wide", 3)), "wide");
    assert_eq!(of(named("resnet", 0)), "resnet");
}

#[test]
fn rows_are_paired_where_they_are_of_the_same_images() {
    let of = Evaluations::new();
    let store = &of.bench.store;
    let of_it = |id, near| {
        let groups = serde_json::json!({ "groups": { "near": "near" } });
        evaluated(&of.bench, &["msp"], id, &[("near", near)], groups)
    };
    let paired = |other: RunId| {
        let networks = crate::stage::compare::networks(store, &[of.grouped, other]).unwrap();
        let bootstrap = crate::ood::Bootstrap { draws: 100, seed: 0 };
        let metrics = [crate::stage::MetricName::Auroc];
        let rows = crate::stage::compare::paired(store, &networks, &[], &metrics, bootstrap);
        rows.map(|rows| rows[0].difference)
            .map_err(|error| error.to_string())
    };
    let surer = sure(&[5.0, 4.0, -3.0, 2.0]);
    let again = of_logits(&of.bench, "set", "test", &surer, &[0, 0, 1, 1]);
    assert_eq!(paired(of_it(again, of.near)), Ok(0.125));
    let other = of_logits(
        &of.bench,
        "set",
        "test",
        &sure(&[5.0, -3.0, 4.0, 1.0]),
        &[0, 1, 0, 1],
    );
    let said = paired(of_it(other, of.near)).unwrap_err();
    assert!(
        said.contains("2 of 4 have another class, the first is row 1 (class 0 in one, 1 in the other)"),
        "{said}"
    );
    // Classes of OOD images tell an order where they are the same ones.
    let [one, reversed, renamed] = [[3, 4], [4, 3], [0, 1]].map(|labels| {
        let logits = sure(&[1.5, 0.25 + labels[0] as f32 / 100.0]);
        of_logits(&of.bench, "near", "test", &logits, &labels)
    });
    let first = of_it(of.id, one);
    let against = |near: RunId| {
        let networks = crate::stage::compare::networks(store, &[first, of_it(again, near)]).unwrap();
        let bootstrap = crate::ood::Bootstrap { draws: 100, seed: 0 };
        let metrics = [crate::stage::MetricName::Auroc];
        let rows = crate::stage::compare::paired(store, &networks, &[], &metrics, bootstrap);
        rows.map(|_| ()).map_err(|error| error.to_string())
    };
    assert!(against(reversed).unwrap_err().contains("the rows of `near`"));
    assert_eq!(against(renamed), Ok(()));
}

#[test]
fn parameters_beside_those_that_are_named_tell_settings_apart() {
    use crate::stage::compare;
    let of = Evaluations::new();
    let store = &of.bench.store;
    let drawn = |repeats: u32, seed: u64| {
        let draws = serde_json::json!({ "repeats": repeats, "id_per_ood": 2, "seed": seed });
        evaluated(
            &of.bench,
            &["msp"],
            of.id,
            &[("near", of.near)],
            serde_json::json!({ "draws": draws }),
        )
    };
    let runs = [drawn(2, 0), drawn(2, 1), drawn(3, 0), drawn(3, 1)];
    let networks = compare::networks(store, &runs).unwrap();
    let key = "evaluate.draws.seed".to_owned();
    let settings = compare::settings(store, &networks, std::slice::from_ref(&key)).unwrap();
    assert_eq!(
        (settings.named, &settings.keys),
        (1, &vec![key.clone(), "evaluate.draws.repeats".to_owned()])
    );
    let values: Vec<String> = settings
        .values
        .iter()
        .map(|of| serde_json::json!(of).to_string())
        .collect();
    assert_eq!(values, ["[0,2]", "[1,2]", "[0,3]", "[1,3]"]);
    let settings = compare::settings(store, &networks[..2], std::slice::from_ref(&key)).unwrap();
    assert_eq!(settings.keys, [key]);
}

#[test]
fn networks_of_one_name_are_seeds_of_one_method() {
    use crate::stage::compare;
    let bench = Bench::new();
    let near = of_logits(&bench, "near", "test", &sure(&[1.5, 0.5]), &[-1, -1]);
    let of = |by: f32, name, seed| {
        let logits = sure(&[5.0, 4.0, -3.0, by]);
        let network = Some(NetworkOf { name, seed });
        let id = of_network(&bench, "set", "test", &logits, &[0, 0, 1, 1], network);
        let near = [sure(&[1.5, by / 2.0]), sure(&[by, 0.5])].concat();
        let near = of_network(&bench, "near", "test", &near, &[-1; 4], network);
        (id, near)
    };
    let [first, second, other] = [of(1.0, "mine", 0), of(2.0, "mine", 1), of(0.3, "theirs", 0)];
    let run = |(id, near): (RunId, RunId)| {
        evaluated(&bench, &["msp"], id, &[("near", near)], serde_json::json!({}))
    };
    let runs = [first, second, other].map(run);
    compare::check(&bench.store, &runs).unwrap();
    let networks = compare::networks(&bench.store, &runs).unwrap();
    let shown: Vec<(&str, &[u64])> = networks
        .iter()
        .map(|of| (of.name.as_str(), of.seeds.as_slice()))
        .collect();
    assert_eq!(shown, [("mine", &[0, 1][..]), ("theirs", &[0][..])]);
    let auroc =
        (networks[0].metrics.iter()).find(|((_, _, metric), _)| *metric == crate::stage::MetricName::Auroc);
    assert_eq!(auroc.unwrap().1.len(), 2);
    // Two networks of one name and seed are no two seeds.
    let twice = compare::networks(&bench.store, &[runs[0], run(of(0.7, "mine", 0))]).unwrap();
    assert_eq!(twice.len(), 2);
    assert_ne!(twice[0].name, twice[1].name);
    // Nor are ID images of one file taken in as those of two seeds, whatever stands beside them.
    let network = Some(NetworkOf {
        name: "mine",
        seed: 7,
    });
    let near_of_seed = of_network(
        &bench,
        "near",
        "test",
        &sure(&[0.1, 0.2, 0.3, 0.4]),
        &[-1; 4],
        network,
    );
    let again = run((of(1.0, "mine", 7).0, near_of_seed));
    assert_ne!(again, runs[0]);
    let again = compare::networks(&bench.store, &[runs[0], again]).unwrap();
    let seeds: Vec<&[u64]> = again.iter().map(|of| of.seeds.as_slice()).collect();
    assert_eq!(seeds, [&[0][..], &[7]]);
    assert_ne!(again[0].name, again[1].name);
    // Activations of a set are of the network of the ID set, where both are said.
    let said = evaluation(
        &bench,
        &["msp"],
        first.0,
        &[("near", second.1)],
        serde_json::json!({}),
    )
    .unwrap_err();
    assert!(said.contains("of the network `mine`, seed 1"), "{said}");
    evaluation(
        &bench,
        &["msp"],
        first.0,
        &[("near", near)],
        serde_json::json!({}),
    )
    .unwrap();
}

#[test]
fn settings_of_a_search_that_do_not_fit_are_known_before_it() {
    let bench = Bench::new();
    let [id, ood, train, validation, outside] = ["id", "ood", "train", "validation", "outside"].map(|name| {
        let numbers: Vec<f32> = (0..12 * 24).map(|n| ((n * n + name.len()) % 13) as f32).collect();
        let bytes = [&numbers[..], &numbers[..24]].map(crate::floats::to_bytes);
        let labels: Vec<u8> = (0..12_i64).flat_map(|row| (row % 2).to_le_bytes()).collect();
        let view = |shape: &[usize], bytes| {
            safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.to_vec(), bytes).unwrap()
        };
        let labels =
            safetensors::tensor::TensorView::new(safetensors::Dtype::I64, vec![12], &labels).unwrap();
        let arrays = [
            ("features", view(&[12, 24], &bytes[0])),
            ("logits", view(&[12, 2], &bytes[1])),
            ("labels", labels),
        ];
        bench.activations(name, arrays)
    });
    let asked = |score: &str, searched: bool| {
        let params = serde_json::json!({
            "scores": [score.parse::<crate::stage::evaluate::ScoreSpec>().unwrap()],
            "convention": "openood",
        });
        let observations = crate::stage::evaluate::Observations {
            id: id.into(),
            ood: vec![("ood".to_owned(), ood.into())],
            train: Some(train.into()),
            validation: Some(validation.into()),
            ood_validation: searched.then(|| outside.into()),
        };
        let params = serde_json::from_value(params).unwrap();
        let spec = crate::stage::evaluate::ask(&params, &observations).spec(&bench.store);
        spec.map_err(|error| error.to_string())
    };
    // One that leaves nothing open to a search is taken with its defaults.
    for (score, words) in [
        ("nnguide", "in the bank: 1, but 100 are needed"),
        ("cfood:share=0.1", "reference pictures: 1, but 2 are needed"),
    ] {
        for searched in [false, true] {
            let said = asked(score, searched).unwrap_err();
            assert!(said.contains(words), "{score}: {said}");
        }
    }
    let said = asked("knn", true).unwrap_err();
    assert!(
        said.contains("`knn`: none of the 5 settings of a search is possible: training pictures: 12, but 50"),
        "{said}"
    );
    let said = asked("vra:low=90:high=10", false).unwrap_err();
    assert!(said.contains("low is 90, expected at most high, 10"), "{said}");
    // Of some settings that are too large the others are tried.
    let watch = crate::stage::tests::Watch::new(usize::MAX);
    let spec = asked("neco", true).unwrap();
    let run = in_context(&bench.store, &watch, |ctx| crate::stage::run(ctx, &spec));
    run.map_err(|error| error.to_string()).unwrap();
    let said = watch.said.lock().unwrap().join("\n");
    assert!(said.contains("`neco`: 2 settings tried; of others:"), "{said}");
}
