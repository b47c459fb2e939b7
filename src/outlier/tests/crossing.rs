//! Features across the decision boundary: against PyTorch's gradient (tests/fixtures/outlier/make.py), and
//! what must be refused.

use super::*;

fn fixture() -> (Value, Vec<f32>, Vec<f32>, CrossingParams) {
    let fixture: Value =
        serde_json::from_str(include_str!("../../../tests/fixtures/outlier/crossing.json")).unwrap();
    let floats = |key: &str| -> Vec<f32> {
        let values = fixture[key].as_array().unwrap();
        values.iter().map(|v| v.as_f64().unwrap() as f32).collect()
    };
    let size = |key: &str| fixture[key].as_u64().unwrap() as usize;
    let params = CrossingParams {
        count: fixture["walked"].as_array().unwrap().len(),
        step: fixture["step"].as_f64().unwrap() as f32,
        extra_steps: size("extra_steps"),
        max_steps: size("max_steps"),
        temperature: fixture["temperature"].as_f64(),
        k: 7,
    };
    let (features, head) = (floats("features"), floats("head"));
    (fixture, features, head, params)
}

fn head(weights: &[f32], m: usize) -> Head {
    Head::new(&weights.chunks(m).collect::<Vec<_>>()).unwrap()
}

#[test]
fn features_go_where_the_gradient_of_pytorch_takes_them() {
    let (fixture, raw, weights, params) = fixture();
    let (m, label) = (
        fixture["m"].as_u64().unwrap() as usize,
        fixture["label"].as_u64().unwrap() as usize,
    );
    let head = head(&weights, m);
    let sampled = crossing(&raw, &head, label, &params, 0).unwrap();
    let walked = fixture["walked"].as_array().unwrap();
    assert_eq!(sampled.len(), walked.len());
    let features: Vec<Vec<f64>> = raw.chunks(m).map(unit).collect();
    for (s, expected) in sampled.iter().zip(walked) {
        assert_eq!(u64::from(s.anchor), expected["feature"].as_u64().unwrap());
        assert_eq!(u64::from(s.round), expected["steps"].as_u64().unwrap());
        let vector: Vec<f64> = s.vector.iter().map(|v| f64::from(*v)).collect();
        let expected = expected["vector"].as_array().unwrap();
        for (a, b) in vector.iter().zip(expected) {
            assert!((a - b.as_f64().unwrap()).abs() < 1e-5, "{a} is not {b}");
        }
        let cosine = |w: &[f32]| unit(w).iter().zip(&vector).map(|(a, b)| a * b).sum::<f64>();
        let cosines: Vec<f64> = weights.chunks(m).map(cosine).collect();
        assert!(
            cosines.iter().any(|c| *c > cosines[label]),
            "not across: {cosines:?}"
        );
        assert!((brute(&vector, &features, 7) - f64::from(s.knn_distance)).abs() < 2e-6);
    }
    // The closest ones alone are the same.
    let few = CrossingParams { count: 4, ..params };
    assert_eq!(crossing(&raw, &head, label, &few, 0).unwrap(), sampled[..4]);
}

#[test]
fn crossing_does_not_depend_on_threads() {
    let m = 24;
    let raw = class_of(150, m, 0.5);
    let weights = [class_of(1, m, 0.1), class_of(3, m, 2.0)].concat();
    let head = head(&weights, m);
    let params = CrossingParams {
        count: 100,
        temperature: Some(0.1),
        k: 5,
        ..CrossingParams::DEFAULT
    };
    let pool = |threads| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap()
    };
    let one = pool(1).install(|| crossing(&raw, &head, 0, &params, 0)).unwrap();
    assert_eq!(
        one,
        pool(5).install(|| crossing(&raw, &head, 0, &params, 0)).unwrap()
    );
    assert!(one.windows(2).all(|w| w[0].round <= w[1].round));
}

#[test]
fn boundaries_that_cannot_be_crossed_are_refused() {
    let (fixture, raw, weights, params) = fixture();
    let m = fixture["m"].as_u64().unwrap() as usize;
    let label = fixture["label"].as_u64().unwrap() as usize;
    let rows: Vec<&[f32]> = weights.chunks(m).collect();
    let head = Head::new(&rows).unwrap();
    let short = CrossingParams {
        max_steps: 1,
        ..params
    };
    assert!(matches!(
        crossing(&raw, &head, label, &short, 3),
        Err(OutlierError::TooFewCross {
            class: 3,
            max_steps: 1,
            ..
        })
    ));
    let named = |params: CrossingParams| match crossing(&raw, &head, label, &params, 0).unwrap_err() {
        OutlierError::Parameter { what, .. } => what,
        other => panic!("{other}"),
    };
    assert_eq!(named(CrossingParams { count: 0, ..params }), "count");
    assert_eq!(named(CrossingParams { step: 0.0, ..params }), "step");
    assert_eq!(
        named(CrossingParams {
            step: f32::NAN,
            ..params
        }),
        "step"
    );
    assert_eq!(
        named(CrossingParams {
            max_steps: 0,
            ..params
        }),
        "max_steps"
    );
    let bad = CrossingParams {
        temperature: Some(0.0),
        ..params
    };
    assert_eq!(named(bad), "temperature");
    let none = CrossingParams {
        temperature: None,
        ..params
    };
    assert_eq!(named(none), "temperature");
    let alone = Head::new(&rows[..1]);
    assert!(matches!(
        alone,
        Err(OutlierError::Parameter {
            what: "the number of classes",
            ..
        })
    ));
    assert!(Head::new(&[rows[0], &rows[1][1..]]).is_err());
    assert!(Head::new(&[rows[0], &vec![0.0; m]]).is_err());
    let mut broken = raw.clone();
    broken[5] = f32::NAN;
    assert!(matches!(
        crossing(&broken, &head, label, &params, 0),
        Err(OutlierError::NotFinite { row: 0, .. })
    ));
}
