//! What is stored is pinned: the schema of each table, the bytes of a batch, the digest of its rows.

use arrow::array::RecordBatch;
use arrow::ipc::writer::StreamWriter;

use super::*;
use crate::digest::Digest;

fn embedding(index: u64) -> ClassEmbedding {
    ClassEmbedding {
        class_id: 7,
        class_name: "fish".into(),
        index,
        word: "fish".into(),
        token_id: 2_759,
        model: "00ff".into(),
        vector: vec![0.25, -0.5, index as f32],
        norm: 0.559_017,
    }
}

fn feature(index: u64) -> Feature {
    Feature {
        class_id: 1,
        class_name: "bee".into(),
        index,
        vector: vec![f32::MIN_POSITIVE, index as f32],
        split: "train".into(),
        sample: 40 + index as i64,
    }
}

fn outlier(index: u64) -> Outlier {
    Outlier {
        class_id: 2,
        class_name: "é".into(),
        index,
        kind: OutlierKind::ALL[index as usize],
        vector: vec![index as f32; 5],
        anchor: -1,
        round: 3,
        knn_distance: f32::NAN,
    }
}

fn latent(index: u64) -> Latent {
    Latent {
        class_id: 0,
        class_name: String::new(),
        index,
        outlier: (index > 0).then_some(9),
        prompt: "a photo of a fish".into(),
        seed: u64::MAX - index,
        dtype: "f32".into(),
        shape: vec![4, 8, index as i64],
        data: vec![index as u8; 9],
    }
}

fn image(index: u64) -> Image {
    Image {
        class_id: 3,
        class_name: "fish".into(),
        index,
        outlier: (index > 0).then_some(-1),
        width: 2,
        height: 1,
        png: vec![0x89, b'P', b'N', b'G'],
        blake3: "00".into(),
    }
}

fn checkpoint(index: u64) -> Checkpoint {
    Checkpoint {
        class_id: (index > 0).then_some(u32::MAX),
        class_name: (index > 0).then(|| "fish".into()),
        index,
        name: "model".into(),
        epoch: 5,
        format: "safetensors".into(),
        size: 1 << 40,
        blake3: "ab".into(),
        blob: "cd".into(),
    }
}

fn score(index: u64) -> Score {
    Score {
        class_id: None,
        class_name: None,
        index,
        dataset: "svhn".into(),
        split: "test".into(),
        score: "energy".into(),
        sample: 9,
        value: -1.5,
        label: (index > 0).then_some(4),
        predicted: 3,
    }
}

fn metric(index: u64) -> Metric {
    Metric {
        class_id: None,
        class_name: None,
        index,
        name: "auroc".into(),
        dataset: (index > 0).then(|| "svhn".into()),
        score: (index > 1).then(|| "msp".into()),
        epoch: (index == 0).then_some(2),
        value: 0.1 + index as f64,
    }
}

/// Returns three BLAKE3, shortened: of the schema, of the batch as an IPC stream, of the digest of its rows.
fn pins<A: Artifact + PartialEq + fmt::Debug>(rows: &[A]) -> String {
    let batch = A::to_batch(rows).unwrap();
    let stream = |batch: &RecordBatch| {
        let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref()).unwrap();
        writer.write(batch).unwrap();
        writer.into_inner().unwrap()
    };
    let mut digest = Digest::new();
    digest.update(A::TABLE, &batch).unwrap();
    let schema = blake3::hash(format!("{:?}", batch.schema()).as_bytes());
    let bytes = blake3::hash(&stream(&batch));
    let short = |hex: &str| hex[..8].to_owned();
    format!(
        "{} {} {} {}",
        A::TABLE,
        short(&schema.to_hex()),
        short(&bytes.to_hex()),
        short(&digest.finish())
    )
}

#[test]
fn what_is_stored_is_pinned() {
    let n = [0, 1, 2];
    let found = [
        pins(&n.map(embedding)),
        pins(&n.map(feature)),
        pins(&n.map(outlier)),
        pins(&n.map(latent)),
        pins(&n.map(image)),
        pins(&n.map(checkpoint)),
        pins(&n.map(score)),
        pins(&n.map(metric)),
    ];
    let pinned = [
        "class_embeddings 0e258720 e0861ee4 975c4d49",
        "features 5aab7748 52906802 ee1e4ca8",
        "outliers 4fc6809a a261700e a1974706",
        "latents 4ce739c7 a745d7e8 b7917892",
        "images 338ec579 f07b295f 392e4f80",
        "checkpoints dbc196e7 fa1c2f61 ac76f96f",
        "scores f3a9f85e 7855d5d8 acd1dd26",
        "metrics a5370623 e16c98d4 64e3fbfd",
    ];
    assert_eq!(found, pinned);
}

#[test]
fn tables_are_listed_with_their_own_rows() {
    struct Own;
    impl TableVisitor for Own {
        type Output = (Table, &'static str);

        fn visit<A: Artifact>(self) -> Self::Output {
            (A::TABLE, A::DECLARATION.name)
        }
    }
    for table in Table::ALL {
        assert_eq!(table.visit(Own), (table, table.name()));
        assert_eq!(Table::from_name(table.name()), Some(table));
        let columns = table.declaration().columns;
        let wide = table.wide().iter();
        assert!(
            wide.clone()
                .all(|wide| columns.iter().any(|column| column.name == *wide)),
            "{table}"
        );
        assert_eq!(
            table.has_vectors(),
            wide.clone().any(|wide| *wide == "vector"),
            "{table}"
        );
        assert!(
            columns.is_sorted_by_key(|column| column.default.is_some()),
            "{table}: added columns come last"
        );
        assert!(
            columns.iter().all(|column| column.sentence().ends_with('.')),
            "{table}"
        );
    }
    assert_eq!(
        Table::names_with_vectors(),
        "class_embeddings, features, outliers"
    );
}

mod grown {
    //! A table to which two columns were added; `Table` knows nothing of it, so it borrows a place there.

    use arrow::array::{ArrayRef, Int64Array};

    use super::*;
    use crate::table::table;

    mod before {
        use crate::table::table;

        table! {
            /// A row as it was.
            pub struct Probe in Table::Features, "probes", by class {
                /// There from the beginning.
                pub value: i64,
                /// There from the beginning.
                pub vector: Vec<f32> as wide,
            }
        }
    }

    table! {
        /// A row as it is now.
        ///
        /// It has grown.
        pub struct Probe in Table::Features, "probes", by class {
            /// There from the beginning.
            pub value: i64,
            /// There from the beginning.
            pub vector: Vec<f32> as wide,
            /// Added later.
            pub note: Option<String> = None,
            /// Added later still.
            pub scale: f32 = 1.0,
        }
    }

    fn before(index: u64) -> before::Probe {
        let (class_name, vector) = ("bee".to_owned(), vec![0.5, index as f32]);
        before::Probe {
            class_id: 4,
            class_name,
            index,
            value: -3,
            vector,
        }
    }

    fn now(index: u64) -> Probe {
        let before::Probe {
            class_id,
            class_name,
            index,
            value,
            vector,
        } = before(index);
        Probe {
            class_id,
            class_name,
            index,
            value,
            vector,
            note: None,
            scale: 1.0,
        }
    }

    fn digest(table: &Declaration, batch: &RecordBatch) -> String {
        let mut digest = Digest::new();
        digest.take(table, batch).unwrap();
        digest.finish()
    }

    #[test]
    fn older_rows_have_the_declared_values() {
        let old = before::Probe::to_batch(&[before(0), before(1)]).unwrap();
        assert_eq!(Probe::from_batch(&old).unwrap(), [now(0), now(1)]);
        let full = Probe::to_batch(&[now(0), now(1)]).unwrap();
        let completed = Probe::DECLARATION.complete(old, &Probe::schema(2)).unwrap();
        assert_eq!(completed, full);
        assert_eq!(
            Probe::DECLARATION
                .complete(full.clone(), &Probe::schema(2))
                .unwrap(),
            full
        );
        // Without the wide columns, as a query reads them.
        let narrow = |batch: &RecordBatch| {
            let all = 0..batch.num_columns();
            let narrow: Vec<_> = all
                .filter(|i| batch.schema().field(*i).name() != "vector")
                .collect();
            batch.project(&narrow).unwrap()
        };
        let old = narrow(&before::Probe::to_batch(&[before(0), before(1)]).unwrap());
        let full = narrow(&full);
        assert_eq!(Probe::DECLARATION.complete(old, &full.schema()).unwrap(), full);
        assert_eq!(Probe::DECLARATION.sentence(), "A row as it is now.");
    }

    #[test]
    fn only_added_columns_may_be_missing() {
        let complete = |batch: RecordBatch| {
            let completed = Probe::DECLARATION.complete(batch, &Probe::schema(2));
            completed.unwrap_err().to_string()
        };
        let old = before::Probe::to_batch(&[before(0)]).unwrap();
        let without = |column| {
            old.project(&(0..5).filter(|i| *i != column).collect::<Vec<_>>())
                .unwrap()
        };
        assert!(complete(without(3)).contains("`value` is missing"));
        assert!(complete(without(4)).contains("`vector` is missing"));
        assert!(complete(old.project(&[1, 0, 2, 3, 4]).unwrap()).contains("`class_id` is missing"));
        let with = |name, column: ArrayRef| {
            let mut columns: Vec<_> = old
                .schema()
                .fields()
                .iter()
                .map(|f| f.name().clone())
                .zip(old.columns().to_vec())
                .collect();
            columns.push((name, column));
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap()
        };
        let number = || Arc::new(Int64Array::from(vec![1])) as ArrayRef;
        assert!(complete(with("other".to_owned(), number())).contains("`other` does not belong there"));
        let wrong = with("scale".to_owned(), number());
        assert!(complete(wrong.clone()).contains("`scale` holds Int64, expected Float32"));
        assert!(Probe::from_batch(&wrong).is_err());
    }

    #[test]
    fn the_digest_of_older_rows_stays() {
        let old = before::Probe::to_batch(&[before(0), before(1)]).unwrap();
        let as_it_was = digest(before::Probe::DECLARATION, &old);
        assert_eq!(digest(Probe::DECLARATION, &old), as_it_was);
        let of = |rows: &[Probe]| digest(Probe::DECLARATION, &Probe::to_batch(rows).unwrap());
        assert_eq!(of(&[now(0), now(1)]), as_it_was);
        let note = |text: &str| Some(text.to_owned());
        let others = [
            of(&[
                Probe {
                    note: note(""),
                    ..now(0)
                },
                now(1),
            ]),
            of(&[
                now(0),
                Probe {
                    note: note(""),
                    ..now(1)
                },
            ]),
            of(&[
                Probe {
                    note: note("a"),
                    ..now(0)
                },
                now(1),
            ]),
            of(&[
                Probe {
                    scale: -1.0,
                    ..now(0)
                },
                now(1),
            ]),
            of(&[
                Probe {
                    scale: 0.0,
                    note: note("a"),
                    ..now(0)
                },
                now(1),
            ]),
            of(&[now(0)]),
        ];
        let distinct: std::collections::BTreeSet<_> = others.iter().chain([&as_it_was]).collect();
        assert_eq!(distinct.len(), 7);
    }
}

mod nulls {
    use arrow::array::{FixedSizeListArray, Float32Array, Int64Array, ListArray, StringArray};
    use arrow::datatypes::{DataType, Field, Float32Type, Int64Type};

    use super::*;

    /// Returns the batch with another column in the place of `name`.
    fn with(batch: &RecordBatch, name: &str, column: ArrayRef) -> RecordBatch {
        let schema = batch.schema();
        let columns = schema.fields().iter().zip(batch.columns()).map(|(field, old)| {
            let column = if field.name() == name {
                column.clone()
            } else {
                old.clone()
            };
            (field.name().clone(), column, true)
        });
        RecordBatch::try_from_iter_with_nullable(columns.collect::<Vec<_>>()).unwrap()
    }

    fn refusal<A: Artifact + fmt::Debug>(batch: &RecordBatch) -> String {
        A::from_batch(batch).unwrap_err().to_string()
    }

    #[test]
    fn are_found_at_every_depth() {
        let rows = Feature::to_batch(&[0, 1, 2].map(feature)).unwrap();
        let vectors = |third: Option<Vec<Option<f32>>>| -> ArrayRef {
            let whole = || Some(vec![Some(0.5), Some(1.0)]);
            Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
                [whole(), whole(), third],
                2,
            ))
        };
        let text = refusal::<Feature>(&with(&rows, "vector", vectors(None)));
        assert!(
            text.contains("features: the column `vector` is null in row 2"),
            "{text}"
        );
        let inner = with(&rows, "vector", vectors(Some(vec![Some(0.5), None])));
        let text = refusal::<Feature>(&inner);
        assert!(
            text.contains("`vector` has a null among its numbers in row 2"),
            "{text}"
        );
        let text = refusal::<Feature>(&inner.slice(1, 2));
        assert!(text.contains("in row 1"), "{text}");
        assert_eq!(Feature::from_batch(&inner.slice(0, 2)).unwrap().len(), 2);
        let names = Arc::new(StringArray::from(vec![Some("a"), None, Some("b")]));
        let text = refusal::<Feature>(&with(&rows, "class_name", names));
        assert!(text.contains("`class_name` is null in row 1"), "{text}");

        let rows = Latent::to_batch(&[0, 1].map(latent)).unwrap();
        let shapes = |second: Option<Vec<Option<i64>>>| -> ArrayRef {
            let first = Some(vec![Some(1)]);
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([first, second]))
        };
        let text = refusal::<Latent>(&with(&rows, "shape", shapes(None)));
        assert!(text.contains("`shape` is null in row 1"), "{text}");
        let text = refusal::<Latent>(&with(&rows, "shape", shapes(Some(vec![Some(1), None]))));
        assert!(
            text.contains("`shape` has a null among its numbers in row 1"),
            "{text}"
        );
    }

    #[test]
    fn and_other_types_and_words_are_refused() {
        let rows = Outlier::to_batch(&[0, 1].map(outlier)).unwrap();
        let kinds = Arc::new(StringArray::from(vec!["outlier", "inner"]));
        let text = refusal::<Outlier>(&with(&rows, "kind", kinds));
        let words = "`kind` holds \"inner\" in row 1; \
                     expected `outlier`, `inlier`, `gaussian`, `beyond` or `boundary`";
        assert!(text.contains(words), "{text}");
        let anchors = Arc::new(Float32Array::from(vec![1.0, 2.0]));
        let text = refusal::<Outlier>(&with(&rows, "anchor", anchors));
        assert!(text.contains("`anchor` holds Float32, expected Int64"), "{text}");
        let item = Arc::new(Field::new("item", DataType::Int64, true));
        let numbers = Arc::new(Int64Array::from(vec![1, 2]));
        let lists = FixedSizeListArray::try_new(item, 1, numbers, None).unwrap();
        let text = refusal::<Outlier>(&with(&rows, "vector", Arc::new(lists)));
        assert!(text.contains("`vector` holds"), "{text}");
        let text = refusal::<Outlier>(&rows.project(&[0, 1, 2, 3, 5, 6, 7]).unwrap());
        assert!(
            text.contains("outliers: the column `vector` is missing"),
            "{text}"
        );
        let mixed = Outlier {
            vector: vec![1.0],
            ..outlier(1)
        };
        let text = Outlier::to_batch(&[outlier(0), mixed]).unwrap_err().to_string();
        assert!(
            text.contains("row 1 has a vector of width 1, the rows before it 5"),
            "{text}"
        );
    }
}
