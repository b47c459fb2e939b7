//! Against scikit-learn and the toolkits' own formulas (tests/fixtures/ood/make.py), and against pair
//! counting.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn fixture() -> Value {
    serde_json::from_str(include_str!("../../tests/fixtures/ood/metrics.json")).unwrap()
}

fn floats(value: &Value) -> Vec<f32> {
    let values = value.as_array().unwrap();
    values.iter().map(|v| v.as_f64().unwrap() as f32).collect()
}

fn close(actual: f64, expected: f64, tolerance: f64, what: &str) {
    assert!(
        (actual - expected).abs() <= tolerance,
        "{what}: {actual} is not {expected}"
    );
}

#[test]
fn metrics_agree_with_each_toolkit() {
    let fixture = fixture();
    let cases = fixture["cases"].as_array().unwrap();
    assert!(cases.len() > 20);
    for case in cases {
        let (id, ood) = (floats(&case["id"]), floats(&case["ood"]));
        let tpr = case["tpr"].as_f64().unwrap();
        for convention in Convention::ALL {
            let expected = &case["expected"][convention.name()];
            let number = |key: &str| expected[key].as_f64().unwrap();
            let label = |key: &str| format!("{} of {} by {}", key, case["name"], convention.name());
            let found = detection(&id, &ood, convention).unwrap();
            let fpr = fpr_at_tpr(&id, &ood, tpr, convention).unwrap();
            close(fpr, number("fpr"), 1e-15, &label("fpr"));
            close(found.auroc, number("auroc"), 1e-12, &label("auroc"));
            close(found.aupr_in, number("aupr_in"), 1e-12, &label("aupr_in"));
            close(found.aupr_out, number("aupr_out"), 1e-12, &label("aupr_out"));
            if tpr == 0.95 {
                assert_eq!(found.fpr95, fpr);
            }
        }
    }
}

#[test]
fn conventions_really_differ() {
    let fixture = fixture();
    let case = |name: &str| {
        let cases = fixture["cases"].as_array().unwrap();
        let case = cases.iter().find(|c| c["name"] == name).unwrap();
        (floats(&case["id"]), floats(&case["ood"]))
    };
    let (id, ood) = case("diagonal of ties");
    let fpr = |convention| fpr_at_tpr(&id, &ood, 0.95, convention).unwrap();
    assert_eq!(fpr(Convention::OpenOod), 1.0);
    assert_eq!(fpr(Convention::PytorchOod), 0.95);
}

#[test]
fn scores_agree_with_scipy() {
    let fixture = fixture();
    let expected = &fixture["scores"];
    let logits = floats(&expected["logits"]);
    let same = |scores: Vec<f32>, key: &str| {
        let wanted = floats(&expected[key]);
        assert_eq!(scores.len(), wanted.len());
        for (a, b) in scores.iter().zip(wanted) {
            assert!((a - b).abs() <= 1.2e-7 * b.abs(), "{key}: {a} is not {b}");
        }
    };
    same(msp(&logits, 5).unwrap(), "msp");
    same(max_logit(&logits, 5).unwrap(), "max_logit");
    same(energy(&logits, 5, 1.0).unwrap(), "energy");
    same(energy(&logits, 5, 2.5).unwrap(), "energy_temperature_2.5");
    let labels: Vec<u32> = floats(&expected["labels"]).iter().map(|l| *l as u32).collect();
    close(
        accuracy(&logits, 5, &labels).unwrap(),
        expected["accuracy"].as_f64().unwrap(),
        1e-15,
        "accuracy",
    );
}

#[test]
fn the_first_of_equal_logits_is_predicted() {
    assert_eq!(predictions(&[1.0, 3.0, 3.0, 2.0, 2.0, 2.0], 3).unwrap(), [1, 0]);
}

#[test]
fn phi_is_the_difference_of_the_two_outputs() {
    let linear = Phi::linear([-0.25, 0.5], [1.0, 0.25]);
    assert_eq!(phi(&[2.0, -4.0], &linear).unwrap(), [0.75, -3.75]);
    // Hidden units relu(e), relu(-e + 1): at 2 they are (2, 0), at -1 (0, 2).
    let mlp = Phi::TwoLayer {
        weight1: vec![1.0, -1.0],
        bias1: vec![0.0, 1.0],
        weight2: vec![0.5, 1.0, 2.0, -3.0],
        bias2: [0.125, 0.25],
    };
    assert_eq!(
        phi(&[2.0, -1.0], &mlp).unwrap(),
        [0.125 + 2.0 * 1.5, 0.125 - 2.0 * 4.0]
    );
}

#[test]
fn phi_with_weights_that_do_not_fit_is_refused() {
    let mlp = Phi::TwoLayer {
        weight1: vec![1.0, -1.0],
        bias1: vec![0.0, 1.0],
        weight2: vec![0.5, 1.0, 2.0],
        bias2: [0.0; 2],
    };
    assert!(matches!(
        phi(&[1.0], &mlp),
        Err(OodError::Length { actual: 3, .. })
    ));
    let nan = Phi::Linear {
        slope: f32::NAN,
        intercept: 0.0,
    };
    assert!(matches!(phi(&[1.0], &nan), Err(OodError::Nan { index: 0, .. })));
}

#[test]
fn nan_and_emptiness_are_errors() {
    for convention in Convention::ALL {
        assert_eq!(
            detection(&[], &[1.0], convention),
            Err(OodError::Empty { what: "ID scores" })
        );
        assert_eq!(
            detection(&[1.0], &[0.0, f32::NAN], convention),
            Err(OodError::Nan {
                what: "OOD scores",
                index: 1
            })
        );
        assert!(matches!(
            fpr_at_tpr(&[1.0], &[0.0], 1.5, convention),
            Err(OodError::Range { .. })
        ));
    }
    assert!(matches!(
        msp(&[1.0, f32::NAN], 2),
        Err(OodError::Nan { index: 1, .. })
    ));
    assert!(matches!(
        msp(&[1.0, 2.0, 3.0], 2),
        Err(OodError::Length { actual: 3, .. })
    ));
    assert!(matches!(msp(&[], 2), Err(OodError::Empty { .. })));
    assert!(matches!(msp(&[1.0], 0), Err(OodError::Empty { .. })));
    assert!(matches!(energy(&[1.0], 1, 0.0), Err(OodError::Range { .. })));
    assert!(matches!(
        accuracy(&[1.0, 0.0], 2, &[2]),
        Err(OodError::Label { label: 2, .. })
    ));
    assert!(matches!(
        accuracy(&[1.0, 0.0], 2, &[0, 1]),
        Err(OodError::Length { actual: 2, .. })
    ));
    assert!(matches!(mean(&[]), Err(OodError::Empty { .. })));
}

#[test]
fn infinite_scores_are_ordered_like_any_other() {
    let (id, ood) = ([f32::INFINITY, 1.0], [f32::NEG_INFINITY, 0.0]);
    assert_eq!(auroc(&id, &ood), Ok(1.0));
    let logits = [f32::NEG_INFINITY, 0.0, f32::INFINITY, 1.0];
    assert_eq!(energy(&logits, 2, 1.0).unwrap(), [0.0, f32::INFINITY]);
    assert_eq!(msp(&logits, 2).unwrap(), [1.0, 1.0]);
}

proptest! {
    #[test]
    fn auroc_counts_pairs(
        id in prop::collection::vec(-4_i8..5, 1..40),
        ood in prop::collection::vec(-4_i8..5, 1..40),
    ) {
        let float = |v: &[i8]| v.iter().map(|x| f32::from(*x)).collect::<Vec<_>>();
        let pairs = id.iter().flat_map(|a| ood.iter().map(move |b| (a, b)));
        let twice: u32 = pairs.map(|(a, b)| match a.cmp(b) {
            std::cmp::Ordering::Greater => 2,
            std::cmp::Ordering::Equal => 1,
            std::cmp::Ordering::Less => 0,
        }).sum();
        let expected = f64::from(twice) / (2 * id.len() * ood.len()) as f64;
        let (id, ood) = (float(&id), float(&ood));
        prop_assert_eq!(auroc(&id, &ood).unwrap(), expected);
        // Negating both and exchanging them is the same question.
        let negated = |v: &[f32]| v.iter().map(|x| -x).collect::<Vec<_>>();
        prop_assert_eq!(auroc(&negated(&ood), &negated(&id)).unwrap(), expected);
        for convention in Convention::ALL {
            let found = detection(&id, &ood, convention).unwrap();
            for value in [found.fpr95, found.auroc, found.aupr_in, found.aupr_out] {
                prop_assert!((0.0..=1.0 + 1e-12).contains(&value));
            }
        }
    }
}

#[test]
fn what_rejection_costs_agrees_with_other_programs() {
    let text = include_str!("../../tests/fixtures/ood/classified.json");
    let fixture: Value = serde_json::from_str(text).unwrap();
    let fprs: Vec<f64> = serde_json::from_value(fixture["fprs"].clone()).unwrap();
    for case in fixture["cases"].as_array().unwrap() {
        let (id, ood) = (floats(&case["id"]), floats(&case["ood"]));
        let right: Vec<bool> = serde_json::from_value(case["right"].clone()).unwrap();
        let label = |key: &str| format!("{key} of {}", case["name"]);
        let number = |key: &str| case[key].as_f64();
        let error = detection_error(&id, &ood).unwrap();
        close(
            error,
            number("detection_error").unwrap(),
            1e-12,
            &label("detection error"),
        );
        for (fpr, wanted) in fprs.iter().zip(case["ccr"].as_array().unwrap()) {
            let found = ccr_at_fpr(&id, &right, &ood, *fpr).unwrap();
            close(found, wanted.as_f64().unwrap(), 1e-12, &label("ccr"));
        }
        let area = aurc(&id, &right).unwrap();
        close(area, number("aurc").unwrap(), 1e-9, &label("aurc"));
        let found = misclassification_auroc(&id, &right).unwrap();
        let wanted = number("misclassification_auroc");
        assert_eq!(found.is_some(), wanted.is_some(), "{}", case["name"]);
        if let Some((found, wanted)) = found.zip(wanted) {
            close(found, wanted, 1e-12, &label("misclassification"));
        }
    }
    assert!(ccr_at_fpr(&[1.0_f32], &[true], &[0.0], 0.0).is_err());
    assert!(aurc(&[1.0_f32, 2.0], &[true]).is_err());
}

#[test]
fn delong_agrees_with_another_program() {
    let text = include_str!("../../tests/fixtures/ood/paired.json");
    let fixture: Value = serde_json::from_str(text).unwrap();
    for case in fixture["cases"].as_array().unwrap() {
        let side = |name: &str| (floats(&case[name][0]), floats(&case[name][1]));
        let (a, b) = (side("a"), side("b"));
        let found = delong((&a.0, &a.1), (&b.0, &b.1)).unwrap();
        let number = |key: &str| case[key].as_f64().unwrap();
        close(found.difference, number("difference"), 1e-12, "difference");
        close(
            (found.difference / found.error).abs(),
            number("z").abs(),
            1e-9,
            "z",
        );
        close(found.p, number("p"), 1e-9, "p");
        let same = delong((&a.0, &a.1), (&a.0, &a.1)).unwrap();
        assert_eq!((same.difference, same.p), (0.0, 1.0));
    }
    assert!(delong((&[1.0], &[0.0, 1.0]), (&[1.0], &[0.0, 1.0])).is_err());
    let numbers: Vec<f64> = serde_json::from_value(fixture["numbers"].clone()).unwrap();
    let [low, high] = interval_95(&numbers).unwrap();
    close(low, fixture["interval"][0].as_f64().unwrap(), 1e-12, "low");
    close(high, fixture["interval"][1].as_f64().unwrap(), 1e-12, "high");
}

#[test]
fn a_bootstrap_draws_the_same_images_for_both_methods_whatever_the_threads() {
    let bootstrap = Bootstrap { draws: 50, seed: 3 };
    let sums = |drawn: &Drawn| Ok::<_, OodError>(drawn.iter().map(|side| side.iter().sum()).collect());
    let first: Vec<Vec<usize>> = bootstrap.each(&[40, 7], sums).unwrap();
    assert_eq!(first, bootstrap.each(&[40, 7], sums).unwrap());
    assert_ne!(first[0], first[1]);
    assert!(bootstrap_p(&[1.0; 99]) <= 0.02 && bootstrap_p(&[1.0, -1.0]) > 0.9);
}
