use dream_schema::Image;

use super::pictures::{Look, Pictures};
use super::*;
use crate::bitmap::Bitmap;
use crate::exchange::encode_png;
use crate::store::Begun;

fn looks() -> Vec<(&'static str, Look)> {
    let look = |changes| with(changes).training.look();
    let jitter = serde_json::json!({ "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1 });
    vec![
        ("flip and crop", look(serde_json::json!({}))),
        ("colours", look(serde_json::json!({ "color_jitter": jitter }))),
        (
            "still",
            look(serde_json::json!({ "flip": false, "crop_padding": 0 })),
        ),
    ]
}

fn part() -> Look {
    let crop = serde_json::json!({ "scale": [0.08, 1.0], "ratio": [0.75, 1.3333333333333333] });
    with(serde_json::json!({ "crop_padding": 0, "resized_crop": crop }))
        .training
        .look()
}

#[test]
fn a_batch_has_the_same_bits_from_memory_and_from_files() {
    let (set, bench) = (pictures(9), Bench::new());
    let images = register_images(&bench.store, "set", set.path(), &Reading::default()).unwrap();
    let preparation = with(serde_json::json!({})).training.preparation();
    let open = |whole, limit| Pictures::of_set(&images, "train", preparation, whole, limit).unwrap();
    // 27 images of 8 x 8 x 3 bytes fit exactly, or lack one byte.
    let (held, streamed) = (open(true, 27 * 192), open(true, 27 * 192 - 1));
    assert_eq!((held.len(), held.labels()), (streamed.len(), streamed.labels()));
    let samples = [26, 0, 3, 3, 14];
    for (name, look) in looks() {
        let [a, b] = [&held, &streamed].map(|p| p.batch(&look, &samples, 5, 2).unwrap());
        assert!(a == b, "{name}");
        assert_eq!(a.len(), 5 * 192);
        assert!(
            name == "still" || a != held.batch(&look, &samples, 5, 3).unwrap(),
            "{name}"
        );
    }
    // Parts of the images as they are: by sample and epoch, whatever the batch and the threads.
    let (parts, look) = (open(false, usize::MAX), part());
    let all = parts.batch(&look, &samples, 5, 2).unwrap();
    let alone = parts.batch(&look, &[14], 5, 2).unwrap();
    assert!(all[4 * 192..] == alone);
    assert!(all[2 * 192..3 * 192] == all[3 * 192..4 * 192]);
    assert!(alone != parts.batch(&look, &[14], 5, 3).unwrap());
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert!(one.install(|| parts.batch(&look, &samples, 5, 2).unwrap()) == all);
}

#[test]
fn stored_pictures_have_the_same_bits_from_memory_and_from_the_store() {
    let bench = Bench::new();
    let spec = RunSpec {
        stage: imagine::NAME.into(),
        stage_version: imagine::VERSION,
        params: serde_json::json!({}),
        seed: 0,
        inputs: Vec::new(),
        sources: BTreeMap::new(),
        source_names: Default::default(),
    };
    let Begun::New(run) = bench.store.begin(&spec, &stamp()).unwrap() else {
        panic!()
    };
    let preparation = with(serde_json::json!({})).training.preparation();
    let none = Pictures::of_run(&bench.store, run.id, preparation, true, usize::MAX)
        .err()
        .unwrap();
    assert!(none.to_string().contains("no picture"), "{none}");
    let row = |i: u64| {
        let rgb: Vec<u8> = (0..12 * 10 * 3)
            .map(|b| (b as u64 * (i + 3) % 251) as u8)
            .collect();
        let bitmap = Bitmap {
            width: 12,
            height: 10,
            rgb,
        };
        Image {
            class_id: (i % 2) as u32,
            class_name: format!("class {}", i % 2),
            index: i / 2,
            outlier: None,
            width: 12,
            height: 10,
            png: encode_png(&bitmap, &[]).unwrap(),
            blake3: String::new(),
        }
    };
    bench
        .store
        .put(run.id, &(0..7).map(row).collect::<Vec<_>>())
        .unwrap();
    let open = |whole, limit| Pictures::of_run(&bench.store, run.id, preparation, whole, limit).unwrap();
    let (held, stored) = (open(true, usize::MAX), open(true, 0));
    assert_eq!(
        (held.len(), stored.len(), stored.labels()),
        (7, 7, Some(&[0, 0, 0, 0, 1, 1, 1][..]))
    );
    let samples = [6, 0, 4];
    for (name, look) in looks() {
        let [a, b] = [&held, &stored].map(|p| p.batch(&look, &samples, 5, 2).unwrap());
        assert!(a == b, "{name}");
    }
    let parts = open(false, usize::MAX).batch(&part(), &samples, 5, 2).unwrap();
    assert!(parts == stored.batch(&part(), &samples, 5, 2).unwrap());
}

/// A file that is damaged after the set was checked, while an epoch is under way.
#[test]
fn a_corrupt_image_in_the_middle_of_an_epoch_is_named() {
    let (set, bench) = (pictures(9), Bench::new());
    let images = register_images(&bench.store, "set", set.path(), &Reading::default()).unwrap();
    let preparation = with(serde_json::json!({})).training.preparation();
    let streamed = Pictures::of_set(&images, "train", preparation, true, 0).unwrap();
    let file = files(&set.path().join("train/grey")).remove(4);
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let (_, look) = looks().remove(0);
    assert!(streamed.batch(&look, &[0, 12], 5, 2).is_ok());
    let error = streamed.batch(&look, &[0, 13], 5, 2).unwrap_err().to_string();
    assert!(error.contains("grey/04.png"), "{error}");
}

#[test]
fn a_network_trains_on_parts_and_colours() {
    let (set, bench) = (pictures(20), Bench::new());
    let params = with(serde_json::json!({
        "epochs": 6, "crop_padding": 0, "resize": 9,
        "resized_crop": { "scale": [0.3, 1.0], "ratio": [0.75, 1.3333333333333333] },
        "color_jitter": { "hue": 0.1 },
    }));
    let run = bench
        .run(&bench.detect(set.path(), &params), &Watch::new(usize::MAX))
        .unwrap();
    let metrics = bench.metrics(&run);
    assert!(metrics["loss"][5] < metrics["loss"][0], "{metrics:?}");
    let wrong = [
        (serde_json::json!({ "resize": 7 }), "resize"),
        (
            serde_json::json!({ "resized_crop": { "scale": [0.3, 1.0], "ratio": [1.0, 1.0] } }),
            "crop_padding",
        ),
        (
            serde_json::json!({
                "crop_padding": 0, "resized_crop": { "scale": [0.0, 1.0], "ratio": [1.0, 1.0] },
            }),
            "scale",
        ),
        (serde_json::json!({ "color_jitter": { "hue": 0.7 } }), "hue"),
        (
            serde_json::json!({ "validation": { "fraction": 1.0 } }),
            "fraction",
        ),
    ];
    for (changes, word) in wrong {
        let mut refusals = Refusals::of("detect");
        with(changes).training.check(&mut refusals);
        let error = refusals.finish().unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}
