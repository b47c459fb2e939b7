//! Pictures that several devices make together.

use dream_schema::{Latent, Table};

use super::*;
use crate::engine::Engine;
use crate::stage::embed::{self, ClassWord, Tokens};
use crate::stop::Stop;

/// A store with class embeddings and the question for six pictures of them.
pub(in crate::stage) fn asked() -> (Bench, RunSpec) {
    let bench = Bench::new();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/tiny-sd");
    let model = register_model(&bench.store, "tiny", &model, None, &Stop::default()).unwrap();
    let classes = ["tshirt", "dress"].map(|word| ClassWord {
        name: word.into(),
        word: word.into(),
    });
    let embed = embed::Params {
        classes: classes.into(),
        tokens: Tokens::default(),
    };
    let embed = embed::ask(&embed, &model).spec(&bench.store).unwrap();
    let embed = bench.run(&embed, &Watch::new(usize::MAX)).unwrap();
    let params = serde_json::from_value(serde_json::json!({
        "per_class": 3, "prompt": "a photo of a <class>", "suffixes": {}, "scheduler": "ddim", "eta": 0.5,
        "steps": 2, "guidance_scale": 2.0,
    }));
    let imagine = imagine::ask(&bench.store, &params.unwrap(), 7, embed.id, &model).unwrap();
    let spec = imagine.spec(&bench.store).unwrap();
    (bench, spec)
}

/// Makes the run one picture at a time on each of the devices.
fn made_by(beside: &[Engine], (bench, spec): &(Bench, RunSpec), watch: &Watch) -> Result<Run, StageError> {
    bench.with(watch, |ctx| {
        let ctx = Context {
            beside,
            batch_size: BatchSize::Pictures(1),
            ..*ctx
        };
        run(&ctx, spec).map(|(run, _)| run)
    })
}

#[test]
fn devices_share_a_run_and_it_is_the_one_that_a_single_device_makes() {
    let [alone, shared] = [0, 2].map(|beside| {
        let beside = vec![Engine::default(); beside];
        made_by(&beside, &asked(), &Watch::new(usize::MAX)).unwrap()
    });
    assert!(alone.digest.is_some());
    assert_eq!((alone.id, alone.digest), (shared.id, shared.digest));
}

#[test]
fn a_batch_that_is_filled_up_gives_the_same_latents() {
    let (bench, plain) = asked();
    let mut filled = plain.clone();
    // Six pictures, four at once: two are missing in the end.
    filled.params["batch"] = 4.into();
    let made = |spec: &RunSpec| {
        let run = bench.run(spec, &Watch::new(usize::MAX)).unwrap();
        let rows: Vec<Latent> = bench.store.rows(run.id, None).unwrap();
        (run.id, rows.into_iter().map(|row| row.data).collect::<Vec<_>>())
    };
    let [(plain, alone), (filled, together)] = [made(&plain), made(&filled)];
    assert_ne!(plain, filled, "what results depend on is part of the id");
    assert!(alone.len() == 6 && alone == together);
}

#[test]
fn what_devices_have_made_is_kept_when_they_are_stopped() {
    let (asked, two) = (asked(), vec![Engine::default(); 2]);
    let stopped = made_by(&two, &asked, &Watch::new(2)).unwrap_err();
    assert!(matches!(stopped, StageError::Interrupted), "{stopped}");
    let (store, run) = (&asked.0.store, asked.1.id());
    let made = store.count(run, Table::Images).unwrap();
    // All of them where the thread that stores them is slower than those that make them.
    assert!((2..=6).contains(&made), "{made}");
    assert_eq!(store.count(run, Table::Latents).unwrap(), made);
    let whole = made_by(&two, &asked, &Watch::new(usize::MAX)).unwrap();
    assert_eq!(store.count(run, Table::Images).unwrap(), 6);
    let alone = made_by(&[], &self::asked(), &Watch::new(usize::MAX)).unwrap();
    assert_eq!(whole.digest, alone.digest);
}
