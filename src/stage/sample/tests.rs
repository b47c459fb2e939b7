//! The stage on small imported features: every method stored with its name, resuming, and what must be
//! refused.

use std::collections::BTreeMap;

use dream_schema::{Artifact, OutlierKind, RunSpec};

use super::*;
use crate::outlier::{BeyondParams, CrossingParams, GaussianParams, Knn, SamplingParams, Side};
use crate::rng::Stream;
use crate::stage::tests::in_context;
use crate::stage::{How, Silent, input};
use crate::store::Stamp;

const WIDTH: usize = 12;
const CLASSES: [&str; 3] = ["bag", "coat", "hen"];

const SMALL: SamplingParams = SamplingParams {
    kind: Side::Outlier,
    k: 5,
    select: 8,
    rounds: 3,
    noise_per_round: 40,
    anchors_per_round: 4,
    keep: 2,
    sigma: 0.1,
    knn: Knn::Paper,
    per_class: None,
};

fn knn(sampling: SamplingParams) -> Params {
    Method::Knn(sampling)
}

struct Fixture {
    _folder: tempfile::TempDir,
    store: Store,
    features: RunId,
}

/// Enters a finished run with these rows.
fn finished<A: Artifact>(
    store: &Store,
    stage: &str,
    inputs: Vec<dream_schema::RunInput>,
    rows: &[A],
) -> RunId {
    let spec = RunSpec {
        stage: stage.into(),
        stage_version: 1,
        params: serde_json::json!({ "rows": rows.len() }),
        seed: 0,
        inputs,
        sources: BTreeMap::new(),
        source_names: Default::default(),
    };
    let stamp = Stamp {
        time_micros: 1,
        version: "test".into(),
        device: "cpu".into(),
        engine: None,
        host: "here".into(),
        process: None,
    };
    let run = store.begin(&spec, &stamp).unwrap().into_run();
    store.put(run.id, rows).unwrap();
    store.finish(run.id, 2).unwrap();
    run.id
}

/// A store with class embeddings, and `n` features of each class that are `width` wide.
fn fixture(n: usize, width: usize) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::create(folder.path().join("test.redb")).unwrap();
    let vector = |class: usize| Stream::new(1, "test/embedding", class as u32, 0).normals(WIDTH);
    let embeddings: Vec<ClassEmbedding> = CLASSES
        .iter()
        .enumerate()
        .map(|(class, name)| ClassEmbedding {
            class_id: class as u32,
            class_name: (*name).into(),
            index: 0,
            word: (*name).into(),
            token_id: class as i64,
            model: "none".into(),
            norm: embed::norm(&vector(class)),
            vector: vector(class),
        })
        .collect();
    let embed = finished(&store, embed::NAME, Vec::new(), &embeddings);
    let rows: Vec<Feature> = (0..CLASSES.len() * n)
        .map(|number| {
            let (class, index) = (number / n, number % n);
            let noise = Stream::new(2, "test/feature", class as u32, index as u64).normals(width);
            let centre = vector(class);
            Feature {
                class_id: class as u32,
                class_name: CLASSES[class].into(),
                index: index as u64,
                vector: noise
                    .iter()
                    .zip(centre.iter().cycle())
                    .map(|(e, c)| c + 0.4 * e)
                    .collect(),
                split: "train".into(),
                sample: number as i64,
            }
        })
        .collect();
    let inputs = vec![input(&store, "embeddings", embed, &[embed::NAME]).unwrap()];
    let features = finished(&store, import::NAME, inputs, &rows);
    Fixture {
        _folder: folder,
        store,
        features,
    }
}

impl Fixture {
    fn run(&self, params: &Params) -> Result<(Run, How), StageError> {
        self.run_with(params, &Silent)
    }

    fn run_with(
        &self,
        params: &Params,
        progress: &dyn crate::stage::Progress,
    ) -> Result<(Run, How), StageError> {
        let spec = ask(params, 7, self.features).spec(&self.store)?;
        in_context(&self.store, progress, |ctx| crate::stage::run(ctx, &spec))
    }

    fn rows(&self, run: &Run) -> Vec<Outlier> {
        self.store.rows(run.id, None).unwrap()
    }
}

#[test]
fn every_method_stores_its_name_and_what_each_vector_was_made_from() {
    let fixture = fixture(20, WIDTH);
    let inlier = SamplingParams {
        kind: Side::Inlier,
        keep: 1,
        ..SMALL
    };
    let upstream = |p: SamplingParams| SamplingParams {
        knn: Knn::Upstream,
        ..p
    };
    let gaussian = GaussianParams {
        count: 9,
        sigma: 0.2,
        k: 5,
    };
    let beyond = BeyondParams {
        count: 9,
        k: 5,
        overshoot: 1.05,
    };
    let boundary = CrossingParams {
        count: 6,
        step: 0.05,
        temperature: Some(0.1),
        k: 5,
        ..CrossingParams::DEFAULT
    };
    let cases = [
        (knn(SMALL), OutlierKind::Outlier, 24),
        (knn(upstream(SMALL)), OutlierKind::Outlier, 24),
        (knn(inlier), OutlierKind::Inlier, 12),
        (knn(upstream(inlier)), OutlierKind::Inlier, 12),
        (Method::Gaussian(gaussian), OutlierKind::Gaussian, 9),
        (Method::Beyond(beyond), OutlierKind::Beyond, 9),
        (Method::Boundary(boundary), OutlierKind::Boundary, 6),
    ];
    let mut seen = std::collections::BTreeSet::new();
    for (params, kind, count) in cases {
        let (run, how) = fixture.run(&params).unwrap();
        assert_eq!(how, How::Executed);
        assert!(seen.insert(run.id), "two methods are one run");
        assert_eq!(fixture.run(&params).unwrap().1, How::Known);
        let rows = fixture.rows(&run);
        assert_eq!(rows.len(), 3 * count, "{kind}");
        for row in &rows {
            assert_eq!(row.kind, kind);
            assert!((0..20).contains(&row.anchor));
            assert!(
                row.knn_distance
                    .is_some_and(|distance| distance > 0.0 && distance < 2.0)
            );
            let embeddings: Vec<ClassEmbedding> = {
                let embeddings = required_input(&run, &Role::Embeddings).unwrap();
                fixture.store.rows(embeddings, Some(row.class_id)).unwrap()
            };
            // As long as the class embedding that it stands in for.
            assert!((embed::norm(&row.vector) / embeddings[0].norm - 1.0).abs() < 1e-5);
        }
        let rounds: std::collections::BTreeSet<i32> = rows.iter().map(|r| r.round).collect();
        match kind {
            OutlierKind::Outlier | OutlierKind::Inlier => assert_eq!(rounds, [0, 1, 2].into()),
            OutlierKind::Boundary => assert!(rounds.iter().all(|steps| *steps > 0)),
            _ => assert_eq!(rounds, [0].into()),
        }
        if matches!(params, Method::Knn(s) if s.knn == Knn::Upstream && s.keep == 1) {
            // The public code's inliers all come from a round's first boundary feature.
            for round in rows.chunks(4) {
                assert!(round.iter().all(|r| r.anchor == round[0].anchor));
            }
        }
    }
}

/// Run ids are digests of the parameters: what is left out by default must stay out of them.
#[test]
fn parameters_of_the_default_method_are_written_as_before() {
    let json = serde_json::json!(knn(SamplingParams::CIFAR100));
    let expected = serde_json::json!({ "sampling": {
        "kind": "outlier", "k": 300, "select": 50, "rounds": 100, "noise_per_round": 1500,
        "anchors_per_round": 50, "keep": 2, "sigma": 0.07, "knn": "paper", "per_class": null,
    }});
    assert_eq!(json, expected);
    assert_eq!(
        serde_json::from_value::<Params>(expected).unwrap(),
        knn(SamplingParams::CIFAR100)
    );
}

/// Computed apart from this program, from the text that the parameters had before the methods were one enum.
#[test]
fn ids_of_every_method_are_pinned() {
    let gaussian = GaussianParams {
        count: 9,
        sigma: 0.2,
        k: 5,
    };
    let beyond = BeyondParams {
        count: 9,
        k: 5,
        overshoot: 1.05,
    };
    let boundary = CrossingParams {
        count: 6,
        step: 0.05,
        temperature: Some(0.1),
        k: 5,
        ..CrossingParams::DEFAULT
    };
    for (method, expected) in [
        (Method::Knn(SMALL), "e99248588c31649f63a9b9410629840c"),
        (Method::Gaussian(gaussian), "534f2e95731198201f9924ee90b835b4"),
        (Method::Beyond(beyond), "adf4a4f45ac1fd40760561856ba02abd"),
        (Method::Boundary(boundary), "e2955e8a0d705f50cf04aa0dcd223c6c"),
    ] {
        let input = dream_schema::RunInput {
            role: Role::Features.to_string(),
            run: RunId([1; 16]),
            digest: "ab".into(),
        };
        let spec = RunSpec {
            stage: NAME.into(),
            stage_version: 3,
            params: serde_json::json!(method),
            seed: 7,
            inputs: vec![input],
            sources: BTreeMap::new(),
            source_names: Default::default(),
        };
        assert_eq!(spec.id().to_string(), expected, "{}", method.name());
    }
}

#[test]
fn other_methods_take_over_the_size_of_the_question() {
    let base = knn(SMALL);
    let with = |name: &str| base.with_method(name).unwrap();
    assert_eq!(with("knn"), base);
    assert!(base.with_method("nothing").is_none());
    let size = |name: &str| {
        let size = with(name).sampler().size();
        (size.count, size.k)
    };
    assert_eq!(
        (size("gaussian"), size("beyond"), size("boundary")),
        ((24, 5), (24, 5), (8, 5))
    );
    for name in Method::NAMES {
        let method = with(name);
        method.sampler().check().unwrap();
        assert_eq!(method.name(), *name);
        let json = serde_json::json!(method);
        assert!(json.get(method.section()).is_some());
        assert_eq!(serde_json::from_value::<Method>(json).unwrap(), method);
    }
}

#[test]
fn sections_of_other_methods_are_refused() {
    let said = |json: serde_json::Value| serde_json::from_value::<Method>(json).unwrap_err().to_string();
    let knn_section = serde_json::json!(SMALL);
    let message = said(serde_json::json!({ "sampling": knn_section, "gaussian": GaussianParams::DEFAULT }));
    assert!(
        message.contains("`gaussian` does not belong to the method `knn`"),
        "{message}"
    );
    let message = said(serde_json::json!({ "method": "beyond" }));
    assert!(message.contains("needs the section `beyond`"), "{message}");
    let message = said(serde_json::json!({ "method": "nothing", "sampling": knn_section }));
    assert!(message.contains("knn, gaussian, beyond, boundary"), "{message}");
    let message = said(serde_json::json!({ "sampling": knn_section, "sampled": 1 }));
    assert!(message.contains("unknown field `sampled`"), "{message}");
    // What the encoder's temperature was, an import does not say.
    let fixture = fixture(20, WIDTH);
    let boundary = knn(SMALL).with_method("boundary").unwrap();
    let message = fixture.run(&boundary).unwrap_err().to_string();
    assert!(message.contains("boundary.temperature"), "{message}");
    assert!(
        fixture.store.runs().unwrap().iter().all(|r| r.spec.stage != NAME),
        "a run was entered"
    );
}

#[test]
fn bad_parameters_are_refused_before_a_run_is_entered() {
    let fixture = fixture(20, WIDTH);
    for (params, word) in [
        (SamplingParams { rounds: 0, ..SMALL }, "rounds"),
        (SamplingParams { keep: 41, ..SMALL }, "keep"),
        (SamplingParams { sigma: -1.0, ..SMALL }, "sigma"),
        (
            SamplingParams {
                anchors_per_round: 9,
                ..SMALL
            },
            "anchors_per_round",
        ),
    ] {
        let message = fixture.run(&knn(params)).unwrap_err().to_string();
        assert!(message.contains(word), "{message}");
    }
    assert!(fixture.store.runs().unwrap().iter().all(|r| r.spec.stage != NAME));
}

#[test]
fn features_that_do_not_fit_are_refused() {
    let few = fixture(7, WIDTH);
    let message = |fixture: &Fixture, params| fixture.run(&knn(params)).unwrap_err().to_string();
    let said = message(&few, SMALL);
    assert!(said.contains("select = 8") && said.contains("only 7"), "{said}");
    let said = message(
        &few,
        SamplingParams {
            k: 9,
            select: 5,
            ..SMALL
        },
    );
    assert!(said.contains("k = 9") && said.contains("only 7"), "{said}");
    let boundary = CrossingParams {
        count: 8,
        k: 5,
        temperature: Some(0.1),
        ..CrossingParams::DEFAULT
    };
    let said = few.run(&Method::Boundary(boundary)).unwrap_err().to_string();
    assert!(said.contains("count = 8") && said.contains("it has 7"), "{said}");
    // Twice as wide: as many values as twice as many features would have.
    let wide = fixture(20, 2 * WIDTH);
    let said = message(&wide, SMALL);
    assert!(said.contains("24 wide") && said.contains("12"), "{said}");
    // All of this is known before a run is entered.
    for store in [&few.store, &wide.store] {
        assert!(store.runs().unwrap().iter().all(|r| r.spec.stage != NAME));
    }
    // What only the numbers tell is found at work, and the failed run goes on record.
    let enough = fixture(20, WIDTH);
    let far = BeyondParams {
        count: 9,
        k: 5,
        overshoot: 1e6,
    };
    assert!(enough.run(&Method::Beyond(far)).is_err());
    let failed = enough
        .store
        .runs()
        .unwrap()
        .into_iter()
        .find(|r| r.spec.stage == NAME);
    assert_eq!(failed.unwrap().status, dream_schema::Status::Failed);
}

/// Asks to stop after a number of rounds.
struct StopAfter {
    rounds: u64,
    done: std::sync::atomic::AtomicU64,
}

impl crate::stage::Progress for StopAfter {
    fn begin(&self, _what: &str, _total: u64, _unit: &str) {}
    fn advance(&self, n: u64) {
        self.done.fetch_add(n, std::sync::atomic::Ordering::SeqCst);
    }
    fn note(&self, _text: &str) {}
    fn end(&self) {}
    fn cancelled(&self) -> bool {
        self.done.load(std::sync::atomic::Ordering::SeqCst) >= self.rounds
    }
}

#[test]
fn an_interrupted_run_keeps_whole_classes_and_goes_on() {
    let (stopped, whole) = (fixture(20, WIDTH), fixture(20, WIDTH));
    let progress = StopAfter {
        rounds: 4,
        done: 0.into(),
    };
    let error = stopped.run_with(&knn(SMALL), &progress).unwrap_err();
    assert!(matches!(error, StageError::Interrupted));
    let run = stopped
        .store
        .runs()
        .unwrap()
        .into_iter()
        .find(|r| r.spec.stage == NAME)
        .unwrap();
    assert_eq!(stopped.rows(&run).len(), 24, "one class of three");
    let (resumed, how) = stopped.run(&knn(SMALL)).unwrap();
    assert_eq!(how, How::Resumed);
    assert_eq!(resumed.digest, whole.run(&knn(SMALL)).unwrap().0.digest);
}
