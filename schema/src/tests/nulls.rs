//! What batches are refused for.

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
