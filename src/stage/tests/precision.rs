use super::*;
use crate::engine::{Precision, Processor};
use crate::stage::reproduce::reproduce;
use crate::stage::{Refusals, Room};

/// A network of whole vectors of channels, as the GPU's kernels take it.
fn wide(precision: Option<&str>) -> detect::Params {
    with(serde_json::json!({ "epochs": 1, "width": 8, "precision": precision }))
}

/// One that they do not take.
fn narrow(precision: Option<&str>) -> detect::Params {
    with(serde_json::json!({ "epochs": 1, "width": 4, "precision": precision }))
}

#[test]
fn a_precision_is_part_of_the_id_but_for_f32() {
    let (set, bench) = (pictures(10), Bench::new());
    let id = |params: detect::Params| bench.detect(set.path(), &params).id();
    assert_eq!(id(wide(Some("f32"))), id(wide(None)));
    assert_ne!(id(wide(Some("tf32"))), id(wide(None)));
    assert_ne!(id(wide(Some("tf32"))), id(wide(Some("bf16"))));
    // Networks of other widths are computed in f32 on every device.
    assert_eq!(id(narrow(Some("tf32"))), id(narrow(None)));
}

#[test]
fn what_a_processor_does_not_compute_in_is_refused_before_the_work() {
    let (set, bench) = (pictures(10), Bench::new());
    bench.detect(set.path(), &wide(None)); // registers the set
    let images = ImageSource::named(&bench.store, "set").unwrap();
    let said = |params: detect::Params, processor| {
        let mut refusals = Refusals::of("detect").within(Room {
            processor: Some(processor),
            ..Room::default()
        });
        let asked = detect::ask(&params, 0, detect::Inputs::default(), &images);
        asked.plan(&bench.store, &mut refusals).unwrap();
        let all = refusals.into_inner();
        all.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let cpu = said(wide(Some("tf32")), Processor::Cpu);
    assert!(
        cpu.contains("training.precision") && cpu.contains("expected f32"),
        "{cpu}"
    );
    assert_eq!(said(wide(Some("tf32")), Processor::Cuda), "");
    let half = said(wide(Some("f16")), Processor::Cuda);
    assert!(half.contains("expected tf32 or bf16 or f32"), "{half}");
    let odd = said(narrow(Some("bf16")), Processor::Cuda);
    assert!(odd.contains("expected f32"), "{odd}");
}

#[test]
fn a_run_is_not_made_in_another_precision_than_its_own_and_is_compared_all_the_same() {
    let (set, bench) = (pictures(10), Bench::new());
    let spec = bench.detect(set.path(), &wide(Some("tf32")));
    let watch = Watch::new(usize::MAX);
    let said = bench.run(&spec, &watch).unwrap_err().to_string();
    assert!(said.contains("tf32") && said.contains("host"), "{said}");
    // As on a GPU that computes exactly what the CPU does.
    let made = |ctx: &Context<'_>| {
        let there = Context {
            f32_stands_in: true,
            ..*ctx
        };
        crate::stage::run(&there, &spec).unwrap().0
    };
    let run = bench.with(&watch, made);
    assert_eq!(run.engine.as_deref(), Some("host"));
    let aside = tempfile::tempdir().unwrap();
    let again = bench.with(&watch, |ctx| {
        reproduce(ctx, run.id, &aside.path().join("aside.redb"))
    });
    assert!(again.unwrap().is_equal());
    assert_eq!(
        run.spec.params["training"]["precision"],
        serde_json::json!(Precision::Tf32)
    );
}

#[test]
fn checkpoints_that_differ_say_by_how_much() {
    let (set, bench) = (pictures(10), Bench::new());
    let spec = bench.detect(set.path(), &wide(None));
    let run = bench.run(&spec, &Watch::new(usize::MAX)).unwrap();
    let aside = tempfile::tempdir().unwrap();
    // Another engine for the second time: candle's operations add in another order.
    let reproduced = bench.with(&Watch::new(usize::MAX), |ctx| {
        let composed = Engine::composed(&Device::Cpu);
        let there = Context {
            engine: &composed,
            ..*ctx
        };
        reproduce(&there, run.id, &aside.path().join("aside.redb"))
    });
    let reproduced = reproduced.unwrap();
    let table = |table| reproduced.tables.iter().find(move |found| found.table == table);
    let checkpoints = table(dream_schema::Table::Checkpoints).unwrap();
    assert!(checkpoints.equal < checkpoints.rows, "{checkpoints:?}");
    assert!(
        checkpoints.largest > 0.0 && checkpoints.largest < 0.1,
        "{checkpoints:?}"
    );
}
