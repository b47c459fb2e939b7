use dream_schema::{Image, RunId};
use serde_json::json;

use super::*;

/// The recipe of a method on small numbers.
pub(super) fn recipe(method: &str, changes: serde_json::Value) -> detect::Params {
    let mut outlier = json!(detect::Recipe {
        method: detect::Method::of_name(method).unwrap(),
        fine_tune: None,
    });
    let small = match method {
        "logitnorm" => json!({}),
        "vos" => json!({ "batch_size": 6, "features_per_class": 20, "candidates": 50, "select": 4 }),
        "npos" => json!({
            "batch_size": 6, "features_per_class": 10, "k": 4, "select": 5, "candidates": 30,
        }),
        _ => json!({ "batch_size": 6 }),
    };
    for (key, value) in small
        .as_object()
        .unwrap()
        .iter()
        .chain(changes.as_object().unwrap())
    {
        outlier[key] = value.clone();
    }
    let mut params = with(json!({}));
    params.outlier = Some(serde_json::from_value(outlier).unwrap());
    params
}

impl Bench {
    /// Enters so many pictures of a run of these classes, brighter than any image of the set.
    pub(super) fn pictures(&self, classes: &[&str], per_class: u64) -> RunId {
        let spec = RunSpec {
            stage: import::NAME.into(),
            stage_version: 1,
            params: json!({ "table": "images", "classes": classes, "per_class": per_class }),
            seed: 0,
            inputs: Vec::new(),
            sources: BTreeMap::new(),
            source_names: Default::default(),
        };
        let run = self.store.begin(&spec, &stamp()).unwrap().into_run().id;
        for (class, name) in classes.iter().enumerate() {
            let picture = |index: u64| {
                let mut noise = Stream::new(9, "test/picture", class as u32, index);
                let image = image::RgbImage::from_fn(8, 8, |_, _| {
                    image::Rgb([0; 3].map(|_: u8| 200 + noise.below(50) as u8))
                });
                let mut png = std::io::Cursor::new(Vec::new());
                image.write_to(&mut png, image::ImageFormat::Png).unwrap();
                Image {
                    class_id: class as u32,
                    class_name: (*name).to_owned(),
                    index,
                    outlier: None,
                    width: 8,
                    height: 8,
                    blake3: blake3::hash(png.get_ref()).to_hex().to_string(),
                    png: png.into_inner(),
                }
            };
            let rows: Vec<Image> = (0..per_class).map(picture).collect();
            self.store.put(run, &rows).unwrap();
        }
        self.store.finish(run, 0).unwrap();
        run
    }

    pub(super) fn by_method(
        &self,
        set: &Path,
        params: &detect::Params,
        pictures: RunId,
    ) -> Result<RunSpec, StageError> {
        let images = register_images(&self.store, "set", set, &Reading::default()).unwrap();
        let pair = detect::Pair {
            params,
            seed: 7,
            images: &images,
            weights: None,
        };
        let takes = params.outlier.as_ref().and_then(|recipe| recipe.method.beside());
        pair.with_method(takes.map(|_| Input::Stored(pictures)), None)
            .spec(&self.store)
    }
}

pub(super) const CLASSES: [&str; 3] = ["black", "grey", "white"];

#[test]
fn every_method_trains_and_goes_on_after_an_interruption() {
    let set = pictures(20);
    let mut losses = BTreeMap::new();
    for name in detect::Method::NAMES {
        let params = recipe(name, json!({}));
        let bench = Bench::new();
        let imagined = bench.pictures(&CLASSES, 4);
        let spec = bench.by_method(set.path(), &params, imagined).unwrap();
        let run = bench.run(&spec, &Watch::new(usize::MAX)).unwrap();
        let metrics = bench.metrics(&run);
        assert!(
            metrics["accuracy"].iter().all(|a| (0.0..=1.0).contains(a)),
            "{name}"
        );
        losses.insert(metrics["loss"][2].to_bits(), *name);

        let again = Bench::new();
        let imagined = again.pictures(&CLASSES, 4);
        let spec = again.by_method(set.path(), &params, imagined).unwrap();
        // The first checkpoint is the second epoch's.
        let stopped = again.run(&spec, &Watch::new(14)).unwrap_err();
        assert!(matches!(stopped, StageError::Interrupted), "{name}: {stopped}");
        let resumed = again.run(&spec, &Watch::new(usize::MAX)).unwrap();
        assert_eq!(resumed.digest, run.digest, "{name}");
    }
    assert_eq!(losses.len(), detect::Method::NAMES.len(), "{losses:?}");
}

#[test]
fn pictures_that_cannot_serve_are_refused_before_training() {
    let (set, bench) = (pictures(20), Bench::new());
    let few = bench.pictures(&CLASSES, 1);
    let said = |params: &detect::Params, run| {
        let error = bench.by_method(set.path(), params, run).unwrap_err();
        assert!(matches!(error, StageError::Refused(_)), "{error}");
        error.to_string()
    };
    for method in [
        "phi",
        "outlier-exposure",
        "energy-margins",
        "extra-class",
        "mixoe",
        "dream-id",
    ] {
        let error = said(&recipe(method, json!({})), few);
        assert!(
            error.contains("3 pictures do not fill one batch of 6"),
            "{method}: {error}"
        );
        let error = said(&recipe(method, json!({ "batch_size": 0 })), few);
        assert!(error.contains("outlier.batch_size"), "{method}: {error}");
    }
    let other = bench.pictures(&["black", "white", "grey"], 4);
    let error = said(&recipe("dream-id", json!({})), other);
    assert!(error.contains("`white`") && error.contains("`grey`"), "{error}");
    // Outliers are of no class.
    bench
        .by_method(set.path(), &recipe("mixoe", json!({})), other)
        .unwrap();
    for (method, key, value) in [
        ("energy-margins", "margin_out", json!(-30)),
        ("energy-margins", "margin_in", json!(1e9)),
        ("mixoe", "alpha", json!(0)),
        ("mixoe", "batch_size", json!(11)),
        ("logitnorm", "temperature", json!(0)),
        ("vos", "start", json!(1)),
        ("vos", "ridge", json!(0)),
        ("vos", "select", json!(51)),
        ("npos", "k", json!(11)),
        ("npos", "sigma", json!(0)),
        ("outlier-exposure", "beta", json!(-1)),
    ] {
        let error = said(&recipe(method, json!({ key: value })), other);
        assert!(error.contains(key), "{method} {key}: {error}");
    }
    // Of three epochs the last one begins at two thirds.
    for method in ["vos", "npos"] {
        let error = said(&recipe(method, json!({ "start": 0.7 })), other);
        assert!(error.contains("at least 4 epochs"), "{error}");
        let last = recipe(method, json!({ "start": 0.6 }));
        bench.by_method(set.path(), &last, other).unwrap();
    }
    // How many images a class has is known of a registered set.
    let many = |k: usize| recipe("npos", json!({ "features_per_class": 50, "k": k }));
    let error = said(&many(21), other);
    assert!(
        error.contains("20 images of `black`") && error.contains("needs 21"),
        "{error}"
    );
    bench.by_method(set.path(), &many(20), other).unwrap();
}
