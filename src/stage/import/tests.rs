use std::path::PathBuf;

use dream_schema::{Artifact as _, OutlierKind};

use super::*;
use crate::exchange::{Target, write_npy, write_parquet};
use crate::stage::tests::in_context;
use crate::stage::{Silent, sample};

const CLASSES: [&str; 3] = ["bag", "coat", "hen"];

struct Bench {
    folder: tempfile::TempDir,
    store: Store,
}

impl Bench {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            store: Store::in_memory().unwrap(),
        }
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// A `.npy` file of 32-bit floats.
    fn npy(&self, name: &str, shape: &str, numbers: &[f32]) -> PathBuf {
        let dict = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n");
        let length = (dict.len() as u16).to_le_bytes();
        let numbers = crate::floats::to_bytes(numbers);
        let parts = [b"\x93NUMPY\x01\x00", &length[..], dict.as_bytes(), &numbers];
        self.file(name, &parts.concat())
    }

    fn import(&self, question: &Question<'_>) -> Result<Run, String> {
        self.with(|ctx| import(ctx, question))
    }

    fn run(&self, spec: &RunSpec) -> Result<Run, String> {
        self.with(|ctx| crate::stage::run(ctx, spec).map(|(run, _)| run))
    }

    fn with(&self, work: impl FnOnce(&Context<'_>) -> Result<Run, StageError>) -> Result<Run, String> {
        in_context(&self.store, &Silent, work).map_err(|error| error.to_string())
    }

    fn space(&self, file: &Path, classes: &[ClassRow]) -> Result<Run, String> {
        let member = None;
        let rows = Rows::ClassEmbeddings { classes, member };
        self.import(&Question { file, rows })
    }

    fn vectors(&self, kind: VectorKind, file: &Path, embeddings: RunId) -> Result<Run, String> {
        let member = None;
        let rows = Rows::Vectors {
            kind,
            embeddings,
            member,
        };
        self.import(&Question { file, rows })
    }
}

fn classes() -> Vec<ClassRow> {
    let row = |name: &&str| ClassRow {
        name: (*name).to_owned(),
        // Two classes of one word.
        word: if *name == "hen" {
            "bag".to_owned()
        } else {
            (*name).to_owned()
        },
        suffix: String::new(),
        folder: None,
    };
    CLASSES.iter().map(row).collect()
}

const SPACE: [f32; 6] = [3.0, 4.0, 0.0, 1.0, -2.0, 0.0];

#[test]
fn class_embeddings_need_no_model_and_the_pipeline_goes_on_from_them() {
    let bench = Bench::new();
    let file = bench.npy("space.npy", "(3, 2)", &SPACE);
    let said = bench.space(&file, &[]).unwrap_err();
    assert!(
        said.contains("table of the classes") && said.contains("[3, 2]"),
        "{said}"
    );
    let space = bench.space(&file, &classes()).unwrap();
    assert!(embed::is_space(&bench.store, &space.id.into()).unwrap());
    let rows: Vec<ClassEmbedding> = bench.store.rows(space.id, None).unwrap();
    let row = |i: usize| {
        (
            rows[i].class_id,
            rows[i].class_name.as_str(),
            rows[i].word.as_str(),
            rows[i].norm,
        )
    };
    assert_eq!((row(0), row(2)), ((0, "bag", "bag", 5.0), (2, "hen", "bag", 2.0)));
    assert_eq!(bench.space(&file, &classes()).unwrap().id, space.id);
    let mut others = classes();
    others[1].word = "jacket".into();
    assert_ne!(bench.space(&file, &others).unwrap().id, space.id);

    let numbers: Vec<f32> = (0..24).map(|i| 1.0 + (i * i % 7) as f32).collect();
    let file = bench.npy("features.npy", "(3, 4, 2)", &numbers);
    let features = bench.vectors(VectorKind::Features, &file, space.id).unwrap();
    let rows: Vec<Feature> = bench.store.rows(features.id, Some(1)).unwrap();
    assert_eq!(
        (rows.len(), rows[3].index, &rows[0].vector[..]),
        (4, 3, &numbers[8..10])
    );
    let params: sample::Params = serde_json::from_value(json!({
        "sampling": { "kind": "outlier", "knn": "paper", "k": 2, "select": 2,
                      "rounds": 1, "noise_per_round": 4, "anchors_per_round": 1,
                      "keep": 1, "sigma": 0.1 }
    }))
    .unwrap();
    let spec = sample::ask(&params, 1, features.id).spec(&bench.store).unwrap();
    assert_eq!(spec.inputs.len(), 2);

    // Each in the place of another is called by its name.
    let outliers = bench.vectors(VectorKind::Outliers, &file, space.id).unwrap();
    let said = sample::ask(&params, 1, outliers.id)
        .spec(&bench.store)
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("import of outliers") && said.contains("features are needed"),
        "{said}"
    );
    let said = bench
        .vectors(VectorKind::Features, &file, outliers.id)
        .unwrap_err();
    assert!(said.contains("no class embeddings"), "{said}");
    let rows: Vec<Outlier> = bench.store.rows(outliers.id, None).unwrap();
    assert!(
        rows.iter()
            .all(|row| row.knn_distance.is_none() && row.anchor == -1)
    );
}

#[test]
fn what_does_not_fit_is_refused_and_leaves_no_run() {
    let bench = Bench::new();
    let space = bench
        .space(&bench.npy("space.npy", "(3, 2)", &SPACE), &classes())
        .unwrap();
    let said = |kind, file: &Path| bench.vectors(kind, file, space.id).unwrap_err();
    let nan = [1.0, 2.0, 3.0, f32::NAN, 5.0, 6.0];
    let text = said(VectorKind::Features, &bench.npy("a.npy", "(3, 2)", &nan));
    assert!(
        text.contains("row 0 of the class `coat`") && text.contains("NaN at 1"),
        "{text}"
    );
    let text = said(VectorKind::Features, &bench.npy("a.npy", "(2, 3)", &SPACE));
    assert!(
        text.contains("[2, 3]") && text.contains("3 classes") && text.contains("labels"),
        "{text}"
    );
    let text = said(VectorKind::Features, &bench.npy("a.npy", "(3, 1)", &SPACE[..3]));
    assert!(text.contains("1 wide, the class embeddings are 2"), "{text}");
    let csv = |text: &str| bench.file("a.csv", text.as_bytes());
    for (text, words) in [
        ("class_name,0,1\nowl,1,2\n", &["row 0", "`owl`"][..]),
        (
            "class_name,0,1\nbag,1,2\ncat,1,2\n",
            &["row 1", "did you mean `coat`"],
        ),
        (
            "class_id,class_name,0,1\n0,hen,1,2\n",
            &["class 0 `hen`", "class 2"],
        ),
        ("class_id,0,1\n7,1,2\n", &["class 7"]),
        (
            "class_id,index,0,1\n1,3,1,2\n1,3,1,2\n",
            &["row 3 of the class `coat`", "twice"],
        ),
        ("x,0,1\na,1,2\n", &["neither a column class_id"]),
        ("class_id,0,1\n", &["no row"]),
        ("class_id,0,1\n1,0,0\n", &["no direction"]),
    ] {
        let said = said(VectorKind::Features, &csv(text));
        assert!(words.iter().all(|word| said.contains(word)), "{text}: {said}");
    }
    let text = bench
        .space(&csv("class_name,0,1\nbag,1,2\ncoat,1,2\n"), &classes())
        .unwrap_err();
    assert!(text.contains("no vector of the class `hen`"), "{text}");
    assert_eq!(bench.store.runs().unwrap().len(), 1);
}

#[test]
fn what_was_stored_of_a_long_file_is_removed_when_its_last_row_is_refused() {
    let bench = Bench::new();
    let space = bench
        .space(&bench.npy("space.npy", "(3, 2)", &SPACE), &classes())
        .unwrap();
    let line = |row: usize| format!("{},{row},1\n", row % 3);
    let lines: String = (0..20_000).map(line).collect();
    let sound = bench.file("sound.csv", format!("class_id,0,1\n{lines}").as_bytes());
    let cut = bench.file("cut.csv", format!("class_id,0,1\n{lines}0,nan,1\n").as_bytes());
    let said = bench.vectors(VectorKind::Features, &cut, space.id).unwrap_err();
    assert!(
        said.contains("row 6667 of the class `bag`") && said.contains("NaN at 0"),
        "{said}"
    );
    assert_eq!(bench.store.runs().unwrap().len(), 1);
    assert_eq!(bench.store.usage().unwrap().tables.len(), 1);
    let run = bench.vectors(VectorKind::Features, &sound, space.id).unwrap();
    assert_eq!(bench.store.count(run.id, Table::Features).unwrap(), 20_000);
    assert_eq!(bench.store.parts(run.id, Table::Features).unwrap(), [0, 1, 2]);
}

#[test]
fn our_own_exports_come_back_with_the_same_digest() {
    let bench = Bench::new();
    let space = bench
        .space(&bench.npy("space.npy", "(3, 2)", &SPACE), &classes())
        .unwrap();
    let rows: Vec<Outlier> = (0..6_u32)
        .map(|i| Outlier {
            class_id: i / 2,
            class_name: CLASSES[(i / 2) as usize].into(),
            index: 5 * u64::from(i % 2),
            kind: OutlierKind::Inlier,
            vector: vec![i as f32, -1.5],
            anchor: i64::from(i),
            round: 3,
            knn_distance: (i > 0).then_some(0.25 * i as f32),
        })
        .collect();

    let target = Target::new(bench.folder.path().join("o.parquet"));
    let batch = Outlier::to_batch(&rows);
    write_parquet(&target, "outliers", &Outlier::schema(2), [batch]).unwrap();
    let run = bench
        .vectors(VectorKind::Outliers, &target.path, space.id)
        .unwrap();
    assert_eq!(bench.store.rows::<Outlier>(run.id, None).unwrap(), rows);
    let said = bench
        .vectors(VectorKind::Features, &target.path, space.id)
        .unwrap_err();
    assert!(said.contains("an export of outliers"), "{said}");

    let spaces: Vec<ClassEmbedding> = bench.store.rows(space.id, None).unwrap();
    let target = Target::new(bench.folder.path().join("s.npy"));
    write_npy(
        &target,
        crate::exchange::NpyLayout::Auto,
        &ClassEmbedding::schema(2),
        [ClassEmbedding::to_batch(&spaces)],
    )
    .unwrap();
    let again = bench.space(&target.path, &classes()).unwrap();
    assert_eq!(again.digest, space.digest);
}

#[test]
fn pictures_in_folders_of_their_classes_are_taken_in() {
    let bench = Bench::new();
    let space = bench
        .space(&bench.npy("space.npy", "(3, 2)", &SPACE), &classes())
        .unwrap();
    let folder = bench.folder.path().join("samples");
    let png = |grey: u8| {
        let bitmap = crate::bitmap::Bitmap {
            width: 2,
            height: 1,
            rgb: vec![grey; 6],
        };
        crate::exchange::encode_png(&bitmap, &[]).unwrap()
    };
    // Upstream's numbers, and a name.
    for (class, file, grey) in [
        ("0", "bag_00001.png", 1),
        ("0", "bag_00000.png", 2),
        ("hen", "a.png", 3),
    ] {
        std::fs::create_dir_all(folder.join(class)).unwrap();
        std::fs::write(folder.join(class).join(file), png(grey)).unwrap();
    }
    std::fs::write(folder.join("grid.png"), png(9)).unwrap();
    let rows = Rows::Images { embeddings: space.id };
    let question = Question { file: &folder, rows };
    let run = bench.import(&question).unwrap();
    let rows: Vec<dream_schema::Image> = bench.store.rows(run.id, None).unwrap();
    let shown: Vec<_> = rows
        .iter()
        .map(|row| (row.class_id, row.index, row.png.clone()))
        .collect();
    assert_eq!(shown, [(0, 0, png(2)), (0, 1, png(1)), (2, 0, png(3))]);
    assert_eq!(
        (rows[2].class_name.as_str(), rows[2].width, rows[2].height),
        ("hen", 2, 1)
    );
    std::fs::create_dir(folder.join("owl")).unwrap();
    let said = bench.import(&question).unwrap_err();
    assert!(said.contains("`owl`"), "{said}");
}

#[test]
fn scores_of_a_table_are_taken_in() {
    let bench = Bench::new();
    let of = ScoresOf {
        dataset: "svhn",
        split: "test",
        score: "msp",
    };
    let import = |text: &str| {
        let file = bench.file("scores.csv", text.as_bytes());
        bench.import(&Question {
            file: &file,
            rows: Rows::Scores(of),
        })
    };
    let run = import("conf,pred,label\n0.5,3,-1\n0.25,1,\n1,0,2\n").unwrap();
    let rows: Vec<dream_schema::Score> = bench.store.rows(run.id, None).unwrap();
    let shown: Vec<_> = rows
        .iter()
        .map(|row| (row.value, row.predicted, row.label))
        .collect();
    assert_eq!(shown, [(0.5, 3, None), (0.25, 1, None), (1.0, 0, Some(2))]);
    assert_eq!((rows[1].dataset.as_str(), rows[1].sample), ("svhn", 1));
    assert!(import("pred\n3\n").unwrap_err().contains("`score` or `conf`"));
    assert!(import("conf\nx\n").unwrap_err().contains("`conf` of row 0"));
    assert!(import("conf\nNaN\n").unwrap_err().contains("score 0 is NaN"));
}

#[test]
fn activations_of_any_network_are_taken_in_and_scored() {
    let bench = Bench::new();
    let file = |name: &str, rows: &[[f32; 3]], labels: &[i64]| {
        let features = crate::floats::to_bytes(rows.as_flattened());
        // The last layer passes the features on.
        let weight = crate::floats::to_bytes(&[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
        let bias = crate::floats::to_bytes(&[0.0; 3]);
        let labels: Vec<u8> = labels.iter().flat_map(|label| label.to_le_bytes()).collect();
        let view = |dtype, shape: &[usize], bytes| {
            safetensors::tensor::TensorView::new(dtype, shape.to_vec(), bytes).unwrap()
        };
        let floats = safetensors::Dtype::F32;
        let arrays = [
            ("features", view(floats, &[rows.len(), 3], &features)),
            ("logits", view(floats, &[rows.len(), 3], &features)),
            ("labels", view(safetensors::Dtype::I64, &[rows.len()], &labels)),
            ("fc.weight", view(floats, &[3, 3], &weight)),
            ("fc.bias", view(floats, &[3], &bias)),
        ];
        bench.file(name, &safetensors::serialize(arrays, None).unwrap())
    };
    let import = |name: &str, file: &Path| {
        let rows = Rows::Activations(ActivationsOf {
            dataset: name,
            split: "test",
            arrays: None,
        });
        bench.import(&Question { file, rows })
    };
    let known = [[9.0, 1.0, 0.0], [0.0, 8.0, 1.0], [1.0, 0.0, 7.0], [6.0, 5.0, 0.0]];
    let id = import("id", &file("id.safetensors", &known, &[0, 1, 2, 1])).unwrap();
    let far = import("far", &file("far.safetensors", &[[1.0, 1.0, 1.0]; 2], &[-1, -1])).unwrap();
    let train = import("train", &file("train.safetensors", &known, &[0, 1, 2, 1])).unwrap();
    let rows: Vec<dream_schema::Activation> = bench.store.rows(id.id, None).unwrap();
    assert_eq!(rows[1].logits.0, [0.0, 8.0, 1.0]);
    assert_eq!((rows[3].label, rows[3].predicted), (Some(1), Some(0)));
    let rows: Vec<dream_schema::Activation> = bench.store.rows(far.id, None).unwrap();
    assert_eq!(rows[0].label, None);

    let params = serde_json::json!({
        "scores": ["max_logit", { "name": "knn", "values": { "k": 1.0 } }, "ash_p"],
        "convention": "openood",
    });
    let observations = crate::stage::evaluate::Observations {
        id: id.id.into(),
        ood: vec![("far".to_owned(), far.id.into())],
        train: Some(train.id.into()),
        validation: None,
        ood_validation: None,
    };
    let params = serde_json::from_value(params).unwrap();
    let spec = crate::stage::evaluate::ask(&params, &observations)
        .spec(&bench.store)
        .unwrap();
    let run = bench.run(&spec).unwrap();
    let metrics: Vec<dream_schema::Metric> = bench.store.rows(run.id, None).unwrap();
    assert_eq!((metrics[0].name.as_str(), metrics[0].value), ("accuracy", 0.75));
    let perfect = |metric: &&dream_schema::Metric| metric.name == "auroc" && metric.value == 1.0;
    assert_eq!(metrics.iter().filter(perfect).count(), 6);

    let said = import("nan", &file("nan.safetensors", &[[1.0, f32::NAN, 0.0]], &[0])).unwrap_err();
    assert!(said.contains("feature 1 of row 0 is NaN"), "{said}");
    let space = bench.npy("space.npy", "(3, 2)", &SPACE);
    let said = import("space", &space).unwrap_err();
    assert!(said.contains("features") && said.contains("[3, 2]"), "{said}");
}

#[test]
fn activations_in_a_file_an_array_are_those_of_one_file() {
    let bench = Bench::new();
    let npy = |name: &str, dtype: &str, shape: &str, bytes: &[u8]| {
        let mut head = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}");
        head.push_str(&" ".repeat(63 - (10 + head.len()) % 64));
        head.push('\n');
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((head.len() as u16).to_le_bytes());
        file.extend(head.as_bytes());
        file.extend(bytes);
        bench.file(name, &file)
    };
    let floats =
        |name: &str, shape: &str, numbers: &[f32]| npy(name, "<f4", shape, &crate::floats::to_bytes(numbers));
    let integers = |name: &str, numbers: &[i64]| {
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        npy(name, "<i8", &format!("({},)", numbers.len()), &bytes)
    };
    let features = floats("feats.npy", "(3, 2)", &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    // The last layer leaves the features as they are.
    let logits = floats("out.npy", "(3, 2)", &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let labels = integers("y.npy", &[1, 0, -1]);
    let (weight, bias) = (
        floats("w.npy", "(2, 2)", &[1.0, 0.0, 0.0, 1.0]),
        floats("b.npy", "(2,)", &[0.0, 0.0]),
    );
    let all = Arrays {
        features: Some(&features),
        logits: Some(&logits),
        labels: Some(&labels),
        weight: Some(&weight),
        bias: Some(&bias),
    };
    let import = |arrays: Arrays<'_>| {
        let rows = Rows::Activations(ActivationsOf {
            dataset: "set",
            split: "test",
            arrays: Some(arrays),
        });
        let file = arrays.given().next().unwrap().1;
        bench.import(&Question { file, rows })
    };
    let run = import(all).unwrap();
    let rows: Vec<dream_schema::Activation> = bench.store.rows(run.id, None).unwrap();
    assert_eq!(
        (rows[1].features.0.as_slice(), rows[1].logits.0.as_slice()),
        (&[3.0, 4.0][..], &[3.0, 4.0][..])
    );
    let labels_of: Vec<Option<i32>> = rows.iter().map(|row| row.label).collect();
    assert_eq!(labels_of, [Some(1), Some(0), None]);
    assert_eq!(run.spec.sources.len(), 5);
    assert_eq!(import(all).unwrap().id, run.id);

    let said = |arrays| import(arrays).unwrap_err();
    let short = integers("short.npy", &[1, 0]);
    let error = said(Arrays {
        labels: Some(&short),
        ..all
    });
    assert!(error.contains("3 features, 3 logits, 2 labels"), "{error}");
    let error = said(Arrays {
        labels: Some(&logits),
        ..all
    });
    assert!(
        error.contains("out.npy") && error.contains("is not a class number"),
        "{error}"
    );
    let error = said(Arrays {
        features: Some(&bias),
        ..all
    });
    assert!(error.contains("is not [images, numbers]"), "{error}");
    let wide = floats("wide.npy", "(3, 3)", &[1.0; 9]);
    let error = said(Arrays {
        features: Some(&wide),
        ..all
    });
    assert!(
        error.contains("an image has 3 features, but the last layer takes 2"),
        "{error}"
    );
    let error = said(Arrays {
        logits: Some(&wide),
        ..all
    });
    assert!(
        error.contains("an image has 3 logits, but the last layer gives 2"),
        "{error}"
    );
    let error = said(Arrays { bias: None, ..all });
    assert!(error.contains("weight and bias"), "{error}");
    let odd = floats("odd.npy", "(3, 2)", &[1.0, 2.0, f32::INFINITY, 4.0, 5.0, 6.0]);
    let error = said(Arrays {
        logits: Some(&odd),
        ..all
    });
    assert!(error.contains("odd.npy: logit 0 of row 1 is inf"), "{error}");
}

/// Activations of logits alone.
fn of_logits(bench: &Bench, name: &str, split: &str, logits: &[[f32; 2]], labels: &[i64]) -> RunId {
    let bytes = crate::floats::to_bytes(logits.as_flattened());
    let labels: Vec<u8> = labels.iter().flat_map(|label| label.to_le_bytes()).collect();
    let view = |dtype, shape: &[usize], bytes| {
        safetensors::tensor::TensorView::new(dtype, shape.to_vec(), bytes).unwrap()
    };
    let arrays = [
        (
            "logits",
            view(safetensors::Dtype::F32, &[logits.len(), 2], &bytes),
        ),
        ("labels", view(safetensors::Dtype::I64, &[logits.len()], &labels)),
    ];
    let file = format!("{name}-{split}.safetensors");
    let file = bench.file(&file, &safetensors::serialize(arrays, None).unwrap());
    let rows = Rows::Activations(ActivationsOf {
        dataset: name,
        split,
        arrays: None,
    });
    bench.import(&Question { file: &file, rows }).unwrap().id
}

fn evaluation(
    bench: &Bench,
    scores: &[&str],
    id: RunId,
    ood: &[(&str, RunId)],
    groups: serde_json::Value,
) -> Result<RunSpec, String> {
    let params = serde_json::json!({ "scores": scores, "convention": "openood", "groups": groups });
    let observations = crate::stage::evaluate::Observations {
        id: id.into(),
        ood: ood
            .iter()
            .map(|(name, run)| ((*name).to_owned(), (*run).into()))
            .collect(),
        train: None,
        validation: None,
        ood_validation: None,
    };
    let asked = crate::stage::evaluate::ask(&serde_json::from_value(params).unwrap(), &observations);
    asked.spec(&bench.store).map_err(|error| error.to_string())
}

#[test]
fn an_evaluation_says_what_its_numbers_do_not_tell() {
    let bench = Bench::new();
    let id = of_logits(&bench, "id", "test", &[[2.0, 0.0], [3.0, 1.0]], &[0, 1]);
    let one = of_logits(&bench, "one", "test", &[[5.0, 3.0]], &[-1]);
    let spec = evaluation(
        &bench,
        &["msp", "energy"],
        id,
        &[("one", one)],
        serde_json::json!({}),
    );
    let watch = crate::stage::tests::Watch::new(usize::MAX);
    let run = in_context(&bench.store, &watch, |ctx| crate::stage::run(ctx, &spec.unwrap()));
    let run = run.map_err(|error| error.to_string()).unwrap().0;
    let said = watch.said.lock().unwrap().join("\n");
    assert!(said.contains("`one` has one image"), "{said}");
    // Differences of the logits are all alike: the confidence tells nothing.
    assert!(said.contains("`msp` is the same for every image"), "{said}");
    assert!(!said.contains("`energy` is the same"), "{said}");
    let metrics: Vec<dream_schema::Metric> = bench.store.rows(run.id, None).unwrap();
    let auroc = |score: &str| {
        let is_it = |row: &&dream_schema::Metric| {
            row.name == "auroc" && row.score.as_deref() == Some(score) && row.dataset.is_some()
        };
        metrics.iter().find(is_it).map(|row| row.value)
    };
    assert_eq!((auroc("msp"), auroc("energy")), (Some(0.5), Some(0.0)));
}

#[test]
fn a_table_of_outliers_is_none_of_features() {
    let bench = Bench::new();
    let space = bench.npy("space.npy", "(3, 2)", &SPACE);
    let space = bench.space(&space, &classes()).unwrap().id;
    let text = b"class_id,kind,knn_distance,v_0,v_1\n0,outlier,0.5,1,2\n";
    let file = bench.file("x.csv", text);
    let said = bench.vectors(VectorKind::Features, &file, space).unwrap_err();
    assert!(said.contains("the columns of outliers"), "{said}");
    bench.vectors(VectorKind::Outliers, &file, space).unwrap();
}

#[test]
fn what_scores_learn_from_is_none_of_the_test_images() {
    let bench = Bench::new();
    let of = |name: &str| of_logits(&bench, name, "test", &[[2.0, 0.0], [3.0, 1.0]], &[0, 1]);
    let [id, ood, train, other] = ["id", "ood", "train", "other"].map(of);
    let params = serde_json::json!({ "scores": ["msp"], "convention": "openood" });
    let params = serde_json::from_value(params).unwrap();
    let asked = |train: RunId, validation: RunId, ood_validation: RunId| {
        let observations = crate::stage::evaluate::Observations {
            id: id.into(),
            ood: vec![("ood".to_owned(), ood.into())],
            train: Some(train.into()),
            validation: Some(validation.into()),
            ood_validation: Some(ood_validation.into()),
        };
        let spec = crate::stage::evaluate::ask(&params, &observations).spec(&bench.store);
        spec.map(|_| ()).map_err(|error| error.to_string())
    };
    // Validation images may be those of the training.
    assert_eq!(asked(train, train, other), Ok(()));
    for (wrong, words) in [
        (asked(ood, train, other), "the training images once more"),
        (
            asked(train, train, ood),
            "hyperparameters are searched on once more",
        ),
        (asked(id, train, other), "once more"),
        (asked(train, other, other), "once more"),
    ] {
        let said = wrong.unwrap_err();
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn numbers_beyond_what_there_is_to_learn_from_are_refused_first() {
    let bench = Bench::new();
    let [id, ood, train] = ["id", "ood", "train"].map(|name| {
        let (features, logits) = ([0.5f32; 6], [1.0f32; 4]);
        let [features, logits] = [&features[..], &logits].map(crate::floats::to_bytes);
        let view = |width: usize, bytes| {
            safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![2, width], bytes).unwrap()
        };
        let arrays = [("features", view(3, &features)), ("logits", view(2, &logits))];
        let file = bench.file(
            &format!("{name}.safetensors"),
            &safetensors::serialize(arrays, None).unwrap(),
        );
        let rows = Rows::Activations(ActivationsOf {
            dataset: name,
            split: "test",
            arrays: None,
        });
        bench.import(&Question { file: &file, rows }).unwrap().id
    });
    let asked = |score: &str, possible: bool| {
        let params = serde_json::json!({
            "scores": [score.parse::<crate::stage::evaluate::ScoreSpec>().unwrap()],
            "convention": "openood", "where_possible": possible,
        });
        let observations = crate::stage::evaluate::Observations {
            id: id.into(),
            ood: vec![("ood".to_owned(), ood.into())],
            train: Some(train.into()),
            validation: None,
            ood_validation: None,
        };
        let params = serde_json::from_value(params).unwrap();
        let spec = crate::stage::evaluate::ask(&params, &observations).spec(&bench.store);
        spec.map(|_| ()).map_err(|error| error.to_string())
    };
    for score in ["knn:k=2", "neco:dim=3", "nnguide:k=2:share=1"] {
        assert_eq!(asked(score, false), Ok(()), "{score}");
    }
    for (score, words) in [
        ("knn:k=3", "training pictures: 2, but 3 are needed"),
        ("nnguide:k=2:share=0.5", "in the bank: 1, but 2 are needed"),
        ("neco:dim=4", "features a picture: 3, but 4 are needed"),
    ] {
        let said = asked(score, false).unwrap_err();
        assert!(said.contains(words), "{score}: {said}");
        // Of all scores those that cannot learn are left out.
        assert_eq!(asked(score, true), Ok(()), "{score}");
    }
}

#[test]
fn sets_that_cannot_be_told_apart_or_scored_are_refused_first() {
    let bench = Bench::new();
    let id = of_logits(&bench, "set", "test", &[[2.0, 0.0], [3.0, 1.0]], &[0, 1]);
    let again = of_logits(&bench, "set", "test", &[[1.0, 0.0]], &[0]);
    let none = serde_json::json!({});
    let said = evaluation(&bench, &["msp"], id, &[("set", again)], none.clone()).unwrap_err();
    assert!(said.contains("could not be told apart"), "{said}");
    let other = of_logits(&bench, "set", "corrupted", &[[1.0, 0.0]], &[7]);
    // Its classes are another set's, unless it is said to be a shifted one.
    evaluation(&bench, &["msp"], id, &[("set", other)], none).unwrap();
    let shifted = serde_json::json!({ "set": "shifted" });
    let said = evaluation(&bench, &["msp"], id, &[("set", other)], shifted).unwrap_err();
    assert!(
        said.contains("image 0 is of class 7, but there are 2 logits"),
        "{said}"
    );
}

#[test]
fn names_that_tables_cannot_hold_and_classes_of_one_name_are_refused() {
    let bench = Bench::new();
    let file = bench.file("scores.csv", b"value\n1\n2\n");
    let import = |dataset, split, score| {
        let rows = Rows::Scores(ScoresOf {
            dataset,
            split,
            score,
        });
        bench.import(&Question { file: &file, rows }).map(|_| ())
    };
    assert_eq!(import("svhn", "test", "knn:k=50"), Ok(()));
    for (dataset, split, score) in [
        ("", "test", "msp"),
        ("x\ny", "test", "msp"),
        ("average", "test", "msp"),
        ("svhn", " ", "msp"),
        ("svhn", "test", ""),
        ("svhn", "test", "a\tb"),
    ] {
        assert!(
            import(dataset, split, score).is_err(),
            "{dataset:?} {split:?} {score:?}"
        );
    }

    let twice = bench.file("twice.csv", b"class_name,v_0,v_1\nhen,1,0\nhen,0,1\n");
    let said = bench.space(&twice, &[]).unwrap_err();
    assert!(said.contains("two rows are of the class `hen`"), "{said}");
    let forms = "class_name,v_0,v_1\ncaf\u{e9},1,0\ncafe\u{301},0,1\n";
    let said = bench
        .space(&bench.file("forms.csv", forms.as_bytes()), &[])
        .unwrap_err();
    assert!(said.contains("Unicode's normal form"), "{said}");
    let negative = bench.file("negative.csv", b"class_id,class_name,v_0,v_1\n-1,hen,1,0\n");
    assert!(bench.space(&negative, &[]).is_err());
}

#[test]
fn numbered_pictures_come_in_the_order_of_their_numbers() {
    let bench = Bench::new();
    let space = bench.npy("space.npy", "(3, 2)", &SPACE);
    let space = bench.space(&space, &classes()).unwrap();
    let folder = bench.folder.path().join("samples");
    std::fs::create_dir_all(folder.join("hen")).unwrap();
    let png = |grey: u8| {
        let rgb = vec![grey; 3];
        let bitmap = crate::bitmap::Bitmap {
            width: 1,
            height: 1,
            rgb,
        };
        crate::exchange::encode_png(&bitmap, &[]).unwrap()
    };
    for number in [10, 2, 1] {
        std::fs::write(folder.join(format!("hen/{number}.png")), png(number)).unwrap();
    }
    let rows = Rows::Images { embeddings: space.id };
    let question = Question { file: &folder, rows };
    let run = bench.import(&question).unwrap();
    let rows: Vec<dream_schema::Image> = bench.store.rows(run.id, None).unwrap();
    let pictures: Vec<_> = rows.into_iter().map(|row| row.png).collect();
    assert_eq!(pictures, [png(1), png(2), png(10)]);
    std::fs::create_dir(folder.join("hen/more")).unwrap();
    let said = bench.import(&question).unwrap_err();
    assert!(said.contains("more is a folder within that of a class"), "{said}");
}

/// An `.npz` of arrays by name, type, shape and bytes.
fn npz(bench: &Bench, arrays: &[(&str, &str, &str, &[u8])]) -> PathBuf {
    use std::io::Write as _;
    let mut out = ::zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, kind, shape, bytes) in arrays {
        let dict = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}\n");
        let options = ::zip::write::SimpleFileOptions::default();
        out.start_file(format!("{name}.npy"), options).unwrap();
        let length = (dict.len() as u16).to_le_bytes();
        let parts = [b"\x93NUMPY\x01\x00", &length[..], dict.as_bytes(), bytes];
        out.write_all(&parts.concat()).unwrap();
    }
    bench.file("set.npz", &out.finish().unwrap().into_inner())
}

#[test]
fn what_may_say_the_classes_of_vectors_is_read_or_refused() {
    let bench = Bench::new();
    let space = crate::floats::to_bytes(&SPACE);
    let space = ("vector", "<f4", "3, 2", &space[..]);
    // UCS-4, as NumPy writes texts.
    let texts: Vec<u8> = "hbc".chars().flat_map(|c| (c as u32).to_le_bytes()).collect();
    let file = npz(&bench, &[space, ("names", "<U1", "3,", &texts)]);
    let said = bench.space(&file, &classes()).unwrap_err();
    assert!(said.contains("not read: `names` <U1 [3]"), "{said}");
    // Asked for by name, the array is taken as it is.
    let rows = Rows::ClassEmbeddings {
        classes: &classes(),
        member: Some("vector"),
    };
    bench.import(&Question { file: &file, rows }).unwrap();
    let labels: Vec<u8> = [2_i64, 0, 1].iter().flat_map(|n| n.to_le_bytes()).collect();
    let file = npz(&bench, &[space, ("y_true", "<i8", "3,", &labels)]);
    let run = bench.space(&file, &classes()).unwrap();
    let rows: Vec<ClassEmbedding> = bench.store.rows(run.id, None).unwrap();
    assert_eq!(
        rows.iter().map(|row| row.norm).collect::<Vec<_>>(),
        [1.0, 2.0, 5.0]
    );
    let text = bench.file("text.csv", b"text,v_0,v_1\nhen,1,0\nbag,0,1\ncoat,1,1\n");
    let said = bench.space(&text, &classes()).unwrap_err();
    assert!(
        said.contains("others that may say the classes, not read: `text`"),
        "{said}"
    );
    let space = bench
        .space(&bench.npy("space.npy", "(3, 2)", &SPACE), &classes())
        .unwrap();
    let kinds = bench.file(
        "kinds.csv",
        b"class_id,kind,v_0,v_1\n0,outlier,1,0\n1,outlier,0,1\n2,outlier,1,1\n",
    );
    let said = bench.vectors(VectorKind::Features, &kinds, space.id).unwrap_err();
    assert!(said.contains("it has the columns of outliers"), "{said}");
}
