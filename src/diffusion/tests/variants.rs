//! `tiny` with other settings against diffusers and transformers (`tests/fixtures/diffusion/variants.py`).

use super::errors::{Copy, copy};
use super::*;
use crate::diffusion::folder::Folder;
use crate::diffusion::scheduler::SchedulerConfig;
use crate::diffusion::{Hooks, Outline, Sampling, Scheduler, Tokenizer};

const SCHEDULER: &str = "scheduler/scheduler_config.json";

fn variants() -> Value {
    serde_json::from_slice(&std::fs::read(fixtures().join("variants.json")).unwrap()).unwrap()
}

fn list<T: serde::de::DeserializeOwned>(value: &Value) -> Vec<T> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn settings_of_a_tokenizer_are_read_in_every_form() {
    let facts = &variants()["tokenizers"];
    let texts: Vec<String> = list(&facts["texts"]);
    for form in facts["forms"].as_array().unwrap() {
        let dir = tempfile::tempdir().unwrap();
        copy(&fixtures().join("tiny/tokenizer"), dir.path());
        for (file, content) in form["files"].as_object().unwrap() {
            std::fs::write(dir.path().join(file), content.to_string()).unwrap();
        }
        let mut folder = Folder::new(Path::new("nowhere"), Some(dir.path().to_path_buf()));
        let tokenizer = Tokenizer::load(&mut folder, 77).unwrap();
        for (text, ids) in texts.iter().zip(list::<Vec<u32>>(&form["ids"])) {
            assert_eq!(tokenizer.ids(text).unwrap(), ids, "{}: {text:?}", form["name"]);
        }
    }
}

#[test]
fn a_unet_without_a_middle_is_that_of_diffusers() {
    let facts = &variants()["no_middle"];
    let tensor =
        |key: &str, shape: &[usize]| Tensor::from_vec(list::<f32>(&facts[key]), shape, &Device::Cpu).unwrap();
    let dir = Copy::new();
    dir.edit_json("unet/config.json", |config| {
        config["mid_block_type"] = Value::Null;
    });
    // With the weights of a middle the configuration is wrong.
    let said = Pipeline::open(dir.path(), &PipelineOptions::default())
        .unwrap_err()
        .to_string();
    assert!(said.contains("mid_block."), "{said}");
    dir.edit_tensors("unet/diffusion_pytorch_model.safetensors", |name, shape, _| {
        if name.starts_with("mid_block.") {
            shape.clear();
        }
    });
    let pipeline = Pipeline::open(dir.path(), &PipelineOptions::default()).unwrap();
    let found = pipeline
        .predict(
            &tensor("noise", &[1, 4, 8, 8]),
            321,
            &tensor("states", &[1, 5, 24]),
        )
        .unwrap();
    assert!(difference(&found, &tensor("out", &[1, 4, 8, 8])) < 1e-4);
}

#[test]
fn trailing_timesteps_are_those_of_numpy() {
    let facts = variants();
    for (steps, expected) in facts["trailing"].as_object().unwrap() {
        let config = serde_json::json!({"beta_schedule": "linear", "timestep_spacing": "trailing"});
        let config: SchedulerConfig = serde_json::from_value(config).unwrap();
        let schedule = config.schedule(Path::new("scheduler_config.json")).unwrap();
        let steps: usize = steps.parse().unwrap();
        let stepper = schedule.start(Scheduler::Ddim { eta: 0.0 }, steps).unwrap();
        let mut found = stepper.timesteps().to_vec();
        found.reverse();
        assert_eq!(found, list::<usize>(expected), "{steps} steps");
    }
}

#[test]
fn early_files_are_repaired_as_in_the_pipeline_of_diffusers() {
    for row in variants()["early"].as_array().unwrap() {
        assert_eq!(row["clip_sample"], false);
        let dir = Copy::new();
        dir.edit_json(SCHEDULER, |config| {
            let config = config.as_object_mut().unwrap();
            config.remove("steps_offset");
            config.remove("clip_sample");
        });
        let scheduler = match row["scheduler"].as_str().unwrap() {
            "PNDMScheduler" => Scheduler::Plms,
            _ => Scheduler::Ddim { eta: 0.0 },
        };
        let sampling = Sampling {
            scheduler,
            steps: 10,
            guidance_scale: 3.0,
        };
        let outline = Outline::read(dir.path(), None).unwrap();
        let expected: Vec<usize> = list(&row["timesteps"]);
        assert_eq!(outline.evaluations(sampling).unwrap(), expected.len());
        // The repaired file samples what the whole one does.
        let sample = |path: &Path| {
            let pipeline = Pipeline::open(path, &PipelineOptions::default()).unwrap();
            let states = pipeline.encode("a photo", None).unwrap();
            let noise = start(&pipeline, 1, 0, 0);
            let latents = pipeline.sample(sampling, &states, &states, noise, Hooks::default());
            bits(&latents.unwrap())
        };
        assert_eq!(sample(dir.path()), sample(&fixtures().join("tiny")));
    }
}

#[test]
fn only_what_the_scheduler_in_use_goes_by_is_refused() {
    let start = |key: &str, value: Value, scheduler: Scheduler| {
        let dir = Copy::new();
        dir.edit_json(SCHEDULER, |config| config[key] = value);
        let sampling = Sampling {
            scheduler,
            steps: 10,
            guidance_scale: 3.0,
        };
        Outline::read(dir.path(), None).unwrap().evaluations(sampling)
    };
    for (key, value) in [
        ("use_karras_sigmas", Value::from(true)),
        ("use_flow_sigmas", true.into()),
        ("algorithm_type", "deis".into()),
        ("solver_type", "heun".into()),
        ("final_sigmas_type", "none".into()),
        ("thresholding", true.into()),
        ("lambda_min_clipped", (-5.1).into()),
    ] {
        let said = start(key, value.clone(), Scheduler::DpmSolver2M)
            .unwrap_err()
            .to_string();
        assert!(said.contains(key) && said.contains("dpm-solver"), "{said}");
        start(key, value.clone(), Scheduler::Plms).unwrap();
        let ddim = start(key, value, Scheduler::Ddim { eta: 0.0 });
        assert_eq!(ddim.is_err(), key == "thresholding", "{key}");
    }
    for solver in ["bh1", "bh2", "logrho", "midpoint"] {
        start("solver_type", solver.into(), Scheduler::DpmSolver2M).unwrap();
    }
    for (key, value) in [
        ("_class_name", Value::from("FlowMatchEulerDiscreteScheduler")),
        ("_class_name", "LCMScheduler".into()),
        ("rescale_betas_zero_snr", true.into()),
    ] {
        let dir = Copy::new();
        dir.edit_json(SCHEDULER, |config| config[key] = value.clone());
        let said = Outline::read(dir.path(), None).unwrap_err().to_string();
        assert!(said.contains(key) && said.contains(SCHEDULER), "{said}");
    }
    let dir = Copy::new();
    std::fs::write(dir.path().join(SCHEDULER), "{}").unwrap();
    let said = Outline::read(dir.path(), None).unwrap_err().to_string();
    assert!(said.contains("says nothing of the noise"), "{said}");
    // As Python writes minus infinity.
    let path = fixtures().join("tiny").join(SCHEDULER);
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.replacen('{', "{\"lambda_min_clipped\": -Infinity,", 1);
    std::fs::write(dir.path().join(SCHEDULER), text).unwrap();
    Outline::read(dir.path(), None).unwrap();
}

#[test]
fn a_wrong_value_is_told_by_its_key() {
    let dir = Copy::new();
    dir.edit_json("unet/config.json", |config| {
        config["in_channels"] = "four".into();
    });
    let said = Outline::read(dir.path(), None).unwrap_err().to_string();
    assert!(said.contains("in_channels"), "{said}");
}
