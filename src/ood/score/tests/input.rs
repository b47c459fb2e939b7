//! What is refused, and what follows a rule.

use super::fixture::Case;
use crate::ood::score::{Fitted, Needs, Reference, SCORES, ScoreError, by_name};
use crate::ood::{Observed, Rows};

/// A score fitted with numbers that suit small sets.
fn fit(name: &str, reference: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
    let score = by_name(name).unwrap();
    let few: &[(&str, f64)] = match name {
        "knn" => &[("k", 3.0)],
        "nnguide" => &[("k", 3.0), ("share", 1.0)],
        "vim" | "residual" | "neco" | "gmm" => &[("dim", 4.0)],
        "cfood" => &[("share", 1.0)],
        _ => &[],
    };
    score.fit(&score.values(few)?, reference)
}

#[test]
fn numbers_that_are_not_finite_are_named_by_row() {
    let logits = [0.0, 1.0, 2.0, f32::NAN, 4.0, 5.0];
    assert!(matches!(
        Observed::of_logits(&logits, 2),
        Err(ScoreError::NotFinite { what: "logits", row: 1, column: 1, value }) if value.is_nan()
    ));
    let features = [0.0, f32::INFINITY];
    assert!(matches!(
        Observed::of_features(&features, 1),
        Err(ScoreError::NotFinite {
            what: "features",
            row: 1,
            column: 0,
            value: f32::INFINITY
        })
    ));
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let shape = |error: Result<Observed<'_>, ScoreError>| matches!(error, Err(ScoreError::Shape { .. }));
    let four = [1.0, 2.0, 3.0, 4.0];
    assert!(matches!(Rows::new("rows", &[], 3), Err(ScoreError::Empty { .. })));
    assert!(matches!(
        Rows::new("rows", &four, 0),
        Err(ScoreError::Empty { .. })
    ));
    assert!(shape(Observed::of_logits(&four, 3)));
    let observed = Observed::of_logits(&four, 2).unwrap();
    assert!(shape(observed.with_features(&four, 1)));
    assert!(shape(observed.with_labels(&[0])));
    assert!(matches!(
        observed.with_labels(&[1, 2]),
        Err(ScoreError::Label {
            row: 1,
            label: 2,
            classes: 2
        })
    ));
    assert!(shape(observed.with_head(&four, &[0.0])));
    assert!(shape(observed.with_head(&four[..3], &[0.0, 0.0])));
    let observed = observed.with_features(&four, 2).unwrap();
    assert!(shape(observed.with_head(&four[..2], &[0.0, 0.0])));
    assert!(observed.with_head(&four, &[0.0, 0.0]).is_ok());
}

#[test]
fn hyperparameters_are_checked() {
    let gen_score = by_name("gen").unwrap();
    assert!(matches!(
        gen_score.values(&[("gama", 1.0)]),
        Err(ScoreError::Unknown { score: "gen", .. })
    ));
    for bad in [0.5, 0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(
            gen_score.values(&[("top", bad)]),
            Err(ScoreError::Range { name: "top", .. })
        ));
    }
    let values = gen_score.values(&[("top", 7.0)]).unwrap();
    assert_eq!(values.iter().collect::<Vec<_>>(), [("gamma", 0.1), ("top", 7.0)]);
}

/// Leaves out one thing after another: what a card calls needed is asked for by name, and nothing else is.
#[test]
fn needs_are_true() {
    let case = Case::digits();
    let part = |set: &str, needs: Needs| {
        let set = &case.sets[set];
        let observed = match (needs.logits, needs.features) {
            (true, true) => Observed::of_logits(&set.logits, case.classes)
                .and_then(|o| o.with_features(&set.features, case.width)),
            (true, false) => Observed::of_logits(&set.logits, case.classes),
            (false, _) => Observed::of_features(&set.features, case.width),
        };
        let observed = observed.unwrap();
        let observed = if needs.labels {
            observed.with_labels(&set.labels).unwrap()
        } else {
            observed
        };
        if needs.head {
            observed.with_head(&case.weight, &case.bias).unwrap()
        } else {
            observed
        }
    };
    let run = |name: &str, needs: Needs| {
        let reference = Reference {
            train: needs.train.then(|| part("train", needs)),
            validation: needs.validation.then(|| part("validation", needs)),
        };
        fit(name, &reference)?.score(&part(
            "test",
            Needs {
                labels: false,
                ..needs
            },
        ))
    };
    for score in SCORES {
        let card = score.card();
        let needs = card.needs;
        assert!(needs.logits || needs.features, "{}", card.name);
        let found = run(card.name, needs);
        assert!(found.is_ok(), "{}: {found:?}", card.name);
        let less = [
            (
                needs.logits && needs.features,
                Needs {
                    logits: false,
                    ..needs
                },
            ),
            (
                needs.logits && needs.features,
                Needs {
                    features: false,
                    ..needs
                },
            ),
            (needs.head, Needs { head: false, ..needs }),
            (
                needs.train,
                Needs {
                    train: false,
                    ..needs
                },
            ),
            (
                needs.validation,
                Needs {
                    validation: false,
                    ..needs
                },
            ),
            (
                needs.labels,
                Needs {
                    labels: false,
                    ..needs
                },
            ),
        ];
        for (_, less) in less.into_iter().filter(|(needed, _)| *needed) {
            let found = run(card.name, less);
            assert!(
                matches!(found, Err(ScoreError::Missing { .. })),
                "{} with {less:?}: {found:?}",
                card.name
            );
        }
    }
}

/// The same bits in every set that a picture is part of, and with any number of threads.
#[test]
fn a_score_is_its_own_rows_alone() {
    for case in Case::all() {
        let test = case.observed("test");
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        for score in SCORES {
            let name = score.card().name;
            let Ok(fitted) = fit(name, &case.reference()) else {
                continue;
            };
            let whole = fitted.score(&test).unwrap();
            let again = pool.install(|| fit(name, &case.reference()).unwrap().score(&test).unwrap());
            assert!(
                whole.iter().zip(&again).all(|(a, b)| a.to_bits() == b.to_bits()),
                "{name}"
            );
            for row in [0, 7, test.len() - 1] {
                let logits = test.logits().unwrap().row(row);
                let one = Observed::of_logits(logits, case.classes)
                    .and_then(|o| o.with_features(test.features().unwrap().row(row), case.width))
                    .and_then(|o| o.with_head(&case.weight, &case.bias))
                    .unwrap();
                let alone = fitted.score(&one).unwrap();
                assert_eq!(alone.len(), 1);
                assert_eq!(
                    alone[0].to_bits(),
                    whole[row].to_bits(),
                    "{name} of {}, row {row}",
                    case.name
                );
            }
        }
    }
}

/// Very large and very small logits, constant ones, one class, one training picture: finite scores or a clear
/// error.
#[test]
fn extremes_score_finite_numbers() {
    for logits in [
        [3e38, -3e38, 3e38, 0.0],
        [1e-40, 0.0, -1e-40, 0.0],
        [5.0; 4],
        [-1e30; 4],
    ] {
        for classes in [1, 2, 4] {
            let labels = vec![0; 4 / classes];
            let features = [0.0, 1e20, 0.0, 2.0];
            let weight = vec![0.5; 4 * classes * classes / 4];
            let bias = vec![0.0; classes];
            let observed = Observed::of_logits(&logits, classes)
                .and_then(|o| o.with_features(&features, classes))
                .and_then(|o| o.with_labels(&labels))
                .and_then(|o| o.with_head(&weight, &bias))
                .unwrap();
            let reference = Reference {
                train: Some(observed),
                validation: Some(observed),
            };
            for score in SCORES {
                let name = score.card().name;
                let Ok(fitted) = score.fit(&score.values(&[]).unwrap(), &reference) else {
                    continue;
                };
                let scores = fitted.score(&observed).unwrap();
                assert!(
                    scores.iter().all(|s| s.is_finite()),
                    "{name}, {classes} classes: {scores:?}"
                );
            }
        }
    }
}

#[test]
fn another_width_is_refused() {
    let case = Case::digits();
    let other = vec![0.5; 2 * 3];
    let observed = Observed::of_logits(&other, 3)
        .unwrap()
        .with_features(&other, 3)
        .unwrap();
    let observed = observed.with_head(&[0.5; 9], &[0.0; 3]).unwrap();
    for score in SCORES
        .iter()
        .filter(|score| score.card().needs.train || score.card().needs.validation)
    {
        let name = score.card().name;
        let found = fit(name, &case.reference()).unwrap().score(&observed);
        assert!(
            matches!(found, Err(ScoreError::Shape { .. })),
            "{name}: {found:?}"
        );
    }
}

/// Too few pictures or features for a score's numbers, and features without a residual.
#[test]
fn what_cannot_be_fitted_is_named() {
    let case = Case::digits();
    let too_few = |name: &str, parameter: &str, value: f64| {
        let score = by_name(name).unwrap();
        let found = score.fit(&score.values(&[(parameter, value)]).unwrap(), &case.reference());
        matches!(found.err(), Some(ScoreError::TooFew { .. }))
    };
    assert!(too_few("knn", "k", 281.0));
    assert!(!too_few("knn", "k", 280.0));
    assert!(too_few("vim", "dim", case.width as f64));
    assert!(too_few("residual", "dim", 100.0));
    assert!(too_few("neco", "dim", case.width as f64 + 1.0));
    assert!(too_few("gmm", "dim", case.width as f64 + 1.0));
    assert!(too_few("cfood", "share", 0.001));
    let vra = by_name("vra").unwrap();
    let values = vra.values(&[("low", 60.0), ("high", 40.0)]).unwrap();
    assert!(matches!(
        vra.fit(&values, &case.reference()).err(),
        Some(ScoreError::Range { name: "low", .. })
    ));
    // All features on one line through the origin, which the head's bias leaves where it is.
    let features: Vec<f32> = (1..9).flat_map(|x| [x as f32, 0.0]).collect();
    let observed = Observed::of_logits(&features, 2)
        .unwrap()
        .with_features(&features, 2)
        .unwrap();
    let observed = observed.with_head(&[1.0, 0.0, 0.0, 1.0], &[0.0, 0.0]).unwrap();
    let reference = Reference {
        train: Some(observed),
        validation: None,
    };
    let vim = by_name("vim").unwrap();
    let found = vim.fit(&vim.values(&[("dim", 1.0)]).unwrap(), &reference);
    assert!(matches!(found.err(), Some(ScoreError::Degenerate { .. })));
}
