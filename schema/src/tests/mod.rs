//! What is stored is pinned: the schema of each table, the bytes of a batch, the digest of its rows.

mod grown;
mod nulls;

use arrow::array::RecordBatch;
use arrow::ipc::writer::StreamWriter;

use super::*;
use crate::digest::Digest;
use crate::value::Numbers;

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
        knn_distance: Some(f32::NAN),
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

fn activation(index: u64) -> Activation {
    Activation {
        class_id: None,
        class_name: None,
        index,
        dataset: "set".into(),
        split: "test".into(),
        sample: index as i64,
        label: None,
        predicted: (index > 0).then_some(1),
        logits: Numbers(vec![index as f32; index as usize]),
        features: Numbers(vec![-0.5; 3]),
        outlier_logit: None,
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
        ood_group: None,
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
        pins(&n.map(activation)),
    ];
    let pinned = [
        "class_embeddings 0e258720 e0861ee4 975c4d49",
        "features 5aab7748 52906802 ee1e4ca8",
        "outliers 4fc6809a a261700e a1974706",
        "latents 4ce739c7 a745d7e8 b7917892",
        "images 338ec579 f07b295f 392e4f80",
        "checkpoints dbc196e7 fa1c2f61 ac76f96f",
        "scores f3a9f85e 7855d5d8 acd1dd26",
        "metrics e3ba7196 7bae7150 64e3fbfd",
        "activations a9fd4bc4 34cbc079 33a37b13",
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
