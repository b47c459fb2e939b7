mod activations;
mod evaluation;
mod openood;
mod scores;

use std::path::PathBuf;

use dream_schema::{Artifact as _, OutlierKind};

use super::*;
use crate::exchange::{Target, write_npy, write_parquet};
use crate::stage::classes::ClassRow;
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

    /// Takes in the activations of a test split.
    fn activations<const N: usize>(
        &self,
        dataset: &str,
        arrays: [(&str, safetensors::tensor::TensorView<'_>); N],
    ) -> RunId {
        let bytes = safetensors::serialize(arrays, None).unwrap();
        let file = self.file(&format!("{dataset}.safetensors"), &bytes);
        let rows = Rows::Activations(ActivationsOf {
            dataset,
            split: "test",
            arrays: None,
            network: None,
        });
        self.import(&Question { file: &file, rows }).unwrap().id
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
    // The numbers of the rows are none, the names of the classes in their place may be.
    let numbered = bench.file("numbered.csv", b",v_0,v_1\n0,1,0\n1,0,1\n2,1,1\n");
    bench.space(&numbered, &classes()).unwrap();
    let named = bench.file("named.csv", b",v_0,v_1\nhen,1,0\nbag,0,1\ncoat,1,1\n");
    let said = bench.space(&named, &classes()).unwrap_err();
    assert!(
        said.contains("a column without a name, which begins with `hen`"),
        "{said}"
    );
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
        (
            "class_id,index,0,1\n1,-1,1,2\n",
            &["a.csv: `index` of row 0", "0 or more"],
        ),
        (
            "class_id,0,1\n-1,1,2\n",
            &["a.csv: `class_id` of row 0", "0 or more"],
        ),
        (
            "class_id,sample,0,1\n1,-2,1,2\n",
            &["a.csv: `sample` of row 0", "-1 where"],
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
    // Those two that fitted.
    assert_eq!(bench.store.runs().unwrap().len(), 2);
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
fn exported_pictures_come_back_as_the_classes_that_they_are_of() {
    let bench = Bench::new();
    let names = ["a_b", "a:b", "T-shirt/top"];
    let mut table = classes();
    table
        .iter_mut()
        .zip(names)
        .for_each(|(row, name)| row.name = name.to_owned());
    let space = bench
        .space(&bench.npy("space.npy", "(3, 2)", &SPACE), &table)
        .unwrap();
    // In another order than that of the table, so that the plain name is not the first.
    let image = |class_id: u32, grey: u8| {
        let bitmap = crate::bitmap::Bitmap {
            width: 2,
            height: 1,
            rgb: vec![grey; 6],
        };
        let png = crate::exchange::encode_png(&bitmap, &[]).unwrap();
        dream_schema::Image {
            class_id,
            class_name: names[class_id as usize].to_owned(),
            index: 0,
            outlier: None,
            width: 2,
            height: 1,
            blake3: blake3::hash(&png).to_hex().to_string(),
            png,
        }
    };
    let images = [image(1, 1), image(0, 2), image(2, 3)];
    let target = crate::exchange::Target::new(bench.folder.path().join("out"));
    let batch = dream_schema::Image::to_batch(&images);
    let written = crate::exchange::write_images(&target, &dream_schema::Image::schema(0), [batch]);
    assert_eq!(written.unwrap(), 3);
    let rows = Rows::Images { embeddings: space.id };
    let question = Question {
        file: &target.path,
        rows,
    };
    let run = bench.import(&question).unwrap();
    let rows: Vec<dream_schema::Image> = bench.store.rows(run.id, None).unwrap();
    assert_eq!(rows, [image(0, 2), image(1, 1), image(2, 3)]);
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
    // What other programs leave in folders is no part of a class.
    std::fs::create_dir(folder.join("hen/.ipynb_checkpoints")).unwrap();
    std::fs::write(folder.join("hen/.ipynb_checkpoints/1-checkpoint.png"), png(9)).unwrap();
    std::fs::write(folder.join("hen/._1.png"), png(9)).unwrap();
    assert_eq!(bench.import(&question).unwrap().id, run.id);
    let features = Rows::Vectors {
        kind: VectorKind::Features,
        embeddings: space.id,
        member: None,
    };
    let of_folder = Question {
        rows: features,
        ..question
    };
    let said = bench.import(&of_folder).unwrap_err();
    assert!(said.contains("it is a folder, and one file is read"), "{said}");
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
