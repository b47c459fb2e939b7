use super::*;
use crate::nn::{from_safetensors, to_safetensors};
use crate::stop::Stop;

/// Trains for one epoch and exports the network; the run's spec, and the file.
fn exported(bench: &Bench, set: &Path, folder: &Path) -> PathBuf {
    let params = with(serde_json::json!({ "epochs": 1 }));
    let run = bench
        .run(&bench.detect(set, &params), &Watch::new(usize::MAX))
        .unwrap();
    let row = training::used_row(&bench.store, run.id).unwrap().unwrap();
    let path = folder.join("trained.safetensors");
    std::fs::write(&path, bench.store.blob(&row.blob).unwrap()).unwrap();
    path
}

#[test]
fn training_starts_from_weights_in_a_file() {
    let (set, folder, bench) = (pictures(10), tempfile::tempdir().unwrap(), Bench::new());
    let path = exported(&bench, set.path(), folder.path());
    let weights = register_state(&bench.store, None, &path, &Stop::default()).unwrap();
    assert!(weights.name().starts_with("trained-"), "{}", weights.name());
    let images = ImageSource::named(&bench.store, "set").unwrap();
    // A rate too small to move: what comes out is what went in.
    let still = with(serde_json::json!({ "epochs": 1, "lr": 1e-12, "min_lr": 0.0 }));
    let spec = |params: &detect::Params, weights: Option<&StateSource>| {
        let from = detect::Inputs {
            weights: weights.cloned(),
            ..detect::Inputs::default()
        };
        detect::ask(params, 7, from, &images).spec(&bench.store)
    };
    let said =
        |params: &detect::Params, weights: &StateSource| spec(params, Some(weights)).unwrap_err().to_string();
    assert_ne!(
        spec(&still, Some(&weights)).unwrap().id(),
        spec(&still, None).unwrap().id()
    );
    let run = bench
        .run(&spec(&still, Some(&weights)).unwrap(), &Watch::new(usize::MAX))
        .unwrap();
    let state =
        |row: Checkpoint| from_safetensors(&bench.store.blob(&row.blob).unwrap(), &Device::Cpu).unwrap();
    let after = state(training::used_row(&bench.store, run.id).unwrap().unwrap());
    let before = from_safetensors(&std::fs::read(&path).unwrap(), &Device::Cpu).unwrap();
    let far = |name: &str| {
        let difference = (&after[name] - &before[name])
            .unwrap()
            .abs()
            .unwrap()
            .max_all()
            .unwrap();
        difference.to_scalar::<f32>().unwrap()
    };
    for name in ["conv1.weight", "layer4.0.conv2.weight", "fc.weight"] {
        assert!(far(name) < 1e-6, "{name}: {}", far(name));
    }

    // Another number of classes: the tensor is named, and new_head is the way.
    let mut wide = before.clone();
    for (name, tensor) in wide.iter_mut().filter(|(name, _)| name.starts_with("fc.")) {
        let rows: Vec<_> = std::iter::repeat_n(&*tensor, 2).collect();
        assert!(name.starts_with("fc."));
        *tensor = candle_core::Tensor::cat(&rows, 0).unwrap();
    }
    let other = folder.path().join("wide.safetensors");
    std::fs::write(&other, to_safetensors(&wide).unwrap()).unwrap();
    let wide = register_state(&bench.store, Some("wide"), &other, &Stop::default()).unwrap();
    let error = said(&still, &wide);
    for word in ["wide.safetensors", "fc.weight", "[6]", "[3]", "new_head"] {
        assert!(error.contains(word), "{word}: {error}");
    }
    let new_head = with(serde_json::json!({ "epochs": 1, "new_head": true }));
    bench
        .run(&spec(&new_head, Some(&wide)).unwrap(), &Watch::new(usize::MAX))
        .unwrap();

    // A network of another width, and a file that has changed.
    let narrow = with(serde_json::json!({ "epochs": 1, "width": 4 }));
    let error = said(&narrow, &weights);
    assert!(
        error.contains("bn1.bias") && error.contains("[2]") && error.contains("[4]"),
        "{error}"
    );
    let again = spec(&with(serde_json::json!({ "epochs": 2 })), Some(&weights)).unwrap();
    std::fs::write(&path, std::fs::read(&other).unwrap()).unwrap();
    let error = bench.run(&again, &Watch::new(usize::MAX)).unwrap_err();
    assert!(matches!(error, StageError::SourceChanged { .. }), "{error}");
    let error = StateSource::named(&bench.store, images.name())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("state-dict") && error.contains("image-folder"),
        "{error}"
    );
}
