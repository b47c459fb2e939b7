//! The form of parameters in JSON, and what is out of range.

use super::*;

pub(in crate::stage::imagine) fn params() -> Params {
    serde_json::from_str(
        r#"{"per_class": 2, "prompt": "the <class>", "suffixes": {}, "scheduler": "plms", "eta": 0.0,
            "steps": 4, "guidance_scale": 3.0}"#,
    )
    .unwrap()
}

#[test]
fn what_is_not_used_is_not_written() {
    // A key more here would give every stored run another id.
    let keys: Vec<String> = serde_json::json!(params())
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    let old = [
        "eta",
        "guidance_scale",
        "per_class",
        "prompt",
        "scheduler",
        "steps",
        "suffixes",
    ];
    assert_eq!(keys, old);
    let new = Params {
        classes: vec!["bag".into()],
        negative: "blurry".into(),
        size: Some("64x32".parse().unwrap()),
        resize: Some("256".parse().unwrap()),
        synthesis: Some(Synthesis::Interpolation {
            with: Partner::Class("bag".into()),
            fraction: 0.5,
        }),
        ..params()
    };
    let json = serde_json::json!(new);
    assert_eq!(json["size"], "64x32");
    assert_eq!(json["resize"], "256x256");
    assert_eq!(json.get("resize_by"), None);
    assert_eq!(json["synthesis"]["interpolation"]["with"]["class"], "bag");
    assert_eq!(serde_json::from_value::<Params>(json).unwrap(), new);
}

#[test]
fn settings_out_of_range_are_refused() {
    let bad = |change: &dyn Fn(&mut Params), word: &str| {
        let mut params = params();
        change(&mut params);
        let said = params.check().unwrap_err().to_string();
        assert!(said.contains(word), "{said}");
    };
    bad(&|p| p.prompt = "the class".into(), "<class>");
    let other = [("bag".to_owned(), "a bag".to_owned())];
    bad(&|p| p.prompts = other.clone().into(), "\"a bag\" has no <class>");
    bad(&|p| p.resize_by = ResizeBy::Bilinear, "no resize");
    bad(&|p| p.steps = 0, "steps");
    bad(&|p| p.guidance_scale = f64::NAN, "guidance_scale");
    bad(&|p| p.guidance_scale = -2.0, "guidance_scale -2");
    bad(&|p| p.guidance_scale = 0.5, "guidance_scale 0.5");
    bad(
        &|p| (p.guidance_scale, p.negative) = (1.0, "blurry".into()),
        "without guidance",
    );
    bad(&|p| p.per_class = 0, "per_class 0");
    bad(&|p| p.per_class = 1_000_000_000, "per_class 1000000000");
    bad(&|p| p.eta = 0.5, "only ddim");
    bad(&|p| (p.eta, p.scheduler) = (1.5, SchedulerName::Ddim), "eta 1.5");
    for sigma in [0.0, -1.0, f64::INFINITY] {
        bad(&|p| p.synthesis = Some(Synthesis::Noise { sigma }), "sigma");
    }
    for fraction in [0.0, 1.5, f64::NAN] {
        let with = Partner::Random;
        let synthesis = Synthesis::Interpolation { with, fraction };
        bad(&|p| p.synthesis = Some(synthesis.clone()), "fraction");
    }
    params().check().unwrap();
}
