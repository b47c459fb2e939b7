//! Files whose arrays are not as they should be: refused, never passed over.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Float64Array, Int64Array, ListArray, RecordBatch, StringArray, UInt64Array,
};
use arrow::datatypes::Float32Type;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::*;
use crate::exchange::{BoxError, Target, write_parquet};

const OF: ActivationsOf<'_> = ActivationsOf {
    dataset: "set",
    split: "test",
    arrays: None,
    network: None,
};

/// A name, a type, a shape and the bytes.
type Member = (&'static str, Dtype, Vec<usize>, Vec<u8>);

fn floats(name: &'static str, shape: &[usize], numbers: &[f32]) -> Member {
    (name, Dtype::F32, shape.to_vec(), crate::floats::to_bytes(numbers))
}

fn integers(name: &'static str, numbers: &[i64]) -> Member {
    let bytes = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    (name, Dtype::I64, vec![numbers.len()], bytes)
}

fn features() -> Member {
    floats("features", &[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
}

/// What is read of a file with features `[3, 2]` and these.
fn with(members: &[Member]) -> Result<Vec<Activation>, String> {
    file(members, |path| {
        let read = read(path, OF).map_err(|error| error.to_string());
        read.map(|read| all(&read))
    })
}

/// Writes a file with features `[3, 2]` and these.
fn file<T>(members: &[Member], look: impl FnOnce(&Path) -> T) -> T {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let all: Vec<Member> = std::iter::once(features())
        .chain(members.iter().cloned())
        .collect();
    let views = all
        .iter()
        .map(|(name, dtype, shape, bytes)| (*name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    look(&path)
}

/// What is told of a file with features `[3, 2]` and these.
fn told(members: &[Member]) -> Vec<String> {
    file(members, |path| read(path, OF).unwrap().told)
}

fn all(read: &Read<'_>) -> Vec<Activation> {
    read.rows(0..read.count()).unwrap()
}

fn labels(rows: &[Activation]) -> Vec<Option<i32>> {
    rows.iter().map(|row| row.label).collect()
}

#[test]
fn classes_that_are_no_class_an_image_are_refused() {
    let rows = with(&[integers("label", &[2, -1, 0])]).unwrap();
    assert_eq!(labels(&rows), [Some(2), None, Some(0)]);
    // PyTorch's `.float()`, and missing numbers of a table.
    let rows = with(&[floats("targets", &[3, 1], &[2.0, f32::NAN, 0.0])]).unwrap();
    assert_eq!(labels(&rows), [Some(2), None, Some(0)]);
    for (member, said) in [
        (integers("labels", &[1, 0]), "3 features, 2 labels"),
        (floats("labels", &[3], &[1.0, 0.5, 0.0]), "row 1 is 0.5"),
        (
            floats("labels", &[3, 2], &[0.0; 6]),
            "`labels` F32 [3, 2] is not a class number for each row",
        ),
        (
            integers("y", &[1 << 40, 0, 0]),
            "row 0 has the class 1099511627776",
        ),
    ] {
        let error = with(std::slice::from_ref(&member)).unwrap_err();
        assert!(error.contains(said), "{:?}: {error}", member.0);
    }
    let weight = floats("fc.weight", &[2, 2], &[1.0, 0.0, f32::NAN, 1.0]);
    let error = with(&[weight, floats("fc.bias", &[2], &[0.0; 2])]).unwrap_err();
    assert!(
        error.contains("number 2 of the last layer's fc.weight is NaN"),
        "{error}"
    );
    let error = with(&[integers("labels", &[1, 0, 1]), integers("targets", &[0, 0, 0])]).unwrap_err();
    assert!(
        error.contains("`labels`") && error.contains("`targets`"),
        "{error}"
    );
}

#[test]
fn arrays_are_read_by_many_names_and_told_by_others() {
    for name in [
        "y_true",
        "label_ids",
        "ground_truth",
        "true_labels",
        "ys",
        "classes",
        "class_id",
    ] {
        let rows = with(&[integers(name, &[2, -1, 0])]).unwrap();
        assert_eq!(labels(&rows), [Some(2), None, Some(0)], "{name}");
        assert_eq!(
            told(&[integers(name, &[2, -1, 0])]),
            ["1 of 3 images have no label: it is negative, null or NaN"],
            "{name}"
        );
        assert_eq!(told(&[integers(name, &[2, 1, 0])]), [""; 0], "{name}");
    }
    let logits = floats("logit_list", &[3, 2], &[1.0, 2.0, 3.0, 4.0, 6.0, 5.0]);
    let rows = with(std::slice::from_ref(&logits)).unwrap();
    assert_eq!(
        (&*rows[2].logits.0, rows[2].predicted),
        (&[6.0, 5.0][..], Some(0))
    );
    let pooled = floats("logits", &[3, 2, 1, 1], &[1.0, 2.0, 3.0, 4.0, 6.0, 5.0]);
    assert_eq!(with(&[pooled]).unwrap()[2].logits, rows[2].logits);
    assert_eq!(
        told(&[integers("preds", &[0, 0, 1])]),
        ["not read: `preds` I64 [3]"]
    );
    assert_eq!(
        told(&[logits, integers("label", &[1, 0, 2])]),
        ["the label 2 is none of the 2 classes that have logits: labels are other classes'"]
    );
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let weight = || floats("fc.weight", &[2, 2], &[1.0, 0.0, 0.0, 1.0]);
    let error = with(&[weight()]).unwrap_err();
    assert!(error.contains("belong together"), "{error}");
    with(&[weight(), floats("fc.bias", &[2], &[0.0; 2])]).unwrap();
    // The layers of a network that lie beside them are none of this.
    with(&[floats("conv1.weight", &[1, 2], &[1.0; 2])]).unwrap();
    let mut whole = integers("logits", &[1, 2, 3, 4, 5, 6]);
    whole.2 = vec![3, 2];
    let error = with(&[whole]).unwrap_err();
    assert!(error.contains("does not hold floating-point numbers"), "{error}");
    let wide = (1e300_f64).to_le_bytes();
    let numbers = [[0; 8], [0; 8], wide, [0; 8], [0; 8], [0; 8]].concat();
    let error = with(&[("logits", Dtype::F64, vec![3, 2], numbers)]).unwrap_err();
    assert!(
        error.contains("logit 0 of row 1 is inf (numbers are kept as f32)"),
        "{error}"
    );
}

/// The true classes in a table of features with these columns.
fn table(columns: &[(&str, ArrayRef)]) -> Result<Vec<Option<i32>>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let rows = (0..columns[0].1.len()).map(|row| Some([row as f32, 1.0].map(Some)));
    let features: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(rows));
    let features = std::iter::once(("features", features, false));
    let columns = columns.iter().map(|(name, column)| (*name, column.clone(), true));
    let batch = RecordBatch::try_from_iter_with_nullable(features.chain(columns)).unwrap();
    let target = Target {
        path: path.clone(),
        overwrite: true,
    };
    write_parquet(&target, "t", &batch.schema(), [Ok::<_, BoxError>(batch.clone())]).unwrap();
    read(&path, OF)
        .map(|read| labels(&all(&read)))
        .map_err(|error| error.to_string())
}

#[test]
fn two_columns_of_one_meaning_are_refused_and_names_have_any_case() {
    let classes: ArrayRef = Arc::new(Int64Array::from(vec![1, 0]));
    let two = table(&[("label", classes.clone()), ("target", classes.clone())]).unwrap_err();
    assert!(two.contains("`label` and `target`"), "{two}");
    let twice = table(&[("label", classes.clone()), ("Label", classes.clone())]).unwrap_err();
    assert!(twice.contains("`label` and `Label`"), "{twice}");
    assert_eq!(table(&[("Label", classes)]).unwrap(), [Some(1), Some(0)]);
}

#[test]
fn classes_of_a_table_are_numbers_or_missing() {
    let read = |classes: ArrayRef| table(&[("label", classes)]);
    assert_eq!(
        read(Arc::new(Int64Array::from(vec![Some(1), None]))).unwrap(),
        [Some(1), None]
    );
    let floats = Float64Array::from(vec![Some(1.0), None, Some(f64::NAN)]);
    assert_eq!(read(Arc::new(floats)).unwrap(), [Some(1), None, None]);
    assert_eq!(
        read(Arc::new(StringArray::from(vec!["3", "0"]))).unwrap(),
        [Some(3), Some(0)]
    );
    let error = read(Arc::new(StringArray::from(vec!["3", "cat"]))).unwrap_err();
    assert!(error.contains("`label` of row 1 is \"cat\""), "{error}");
    let error = read(Arc::new(Float64Array::from(vec![1.0, 2.5]))).unwrap_err();
    assert!(error.contains("`label` of row 1 is \"2.5\""), "{error}");
    let error = read(Arc::new(UInt64Array::from(vec![1, u64::MAX]))).unwrap_err();
    assert!(error.contains("row 1 is beyond all integers"), "{error}");
}

#[test]
fn a_table_of_text_or_of_numbered_columns_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    let read = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let rows = all(&read(&path, OF).map_err(|error| error.to_string())?);
        let row = |row: &Activation| (row.logits.0.clone(), row.features.0.clone(), row.label);
        Ok::<_, String>(rows.iter().map(row).collect::<Vec<_>>())
    };
    let text = read("logits,features,label\n\"[1.5, -2]\",[0 1 2],1\n\"[0, 3]\",[4 5 6],\n").unwrap();
    let first = (vec![1.5, -2.0], vec![0.0, 1.0, 2.0], Some(1));
    assert_eq!(text, [first.clone(), (vec![0.0, 3.0], vec![4.0, 5.0, 6.0], None)]);
    let numbered = "label,logit_0,logit_1,feature_0,feature_1,feature_2\n1.0,1.5,-2,0,1,2\n";
    assert_eq!(read(numbered).unwrap(), [first]);
    let none = read("label,x\n1,2\n").unwrap_err();
    assert!(none.contains("there are `label`, `x`"), "{none}");
    let two = read("run,logits\na,\"[1, 2]\"\nb,\"[1, 2]\"\n").unwrap_err();
    assert!(two.contains("`run` has `a` and `b`"), "{two}");
    let other = read("dataset,split,logits\nset,train,\"[1, 2]\"\n").unwrap_err();
    let words = "its column `split` says `train`, and `test` was asked for";
    assert!(other.contains(words), "{other}");
}

#[test]
fn a_last_layer_of_another_network_is_refused() {
    let layer = |weight: &[f32]| {
        with(&[
            floats("logits", &[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
            floats("fc.weight", &[2, 2], weight),
            floats("fc.bias", &[2], &[0.0, 0.0]),
        ])
    };
    // The features are the logits.
    assert_eq!(layer(&[1.0, 0.0, 0.0, 1.0]).unwrap().len(), 3);
    let other = layer(&[3.0, 0.0, 0.0, 3.0]).unwrap_err();
    assert!(
        other.contains("logit 0 of row 0 is 1, but the last layer gives 3"),
        "{other}"
    );
}

#[test]
fn columns_that_are_not_read_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    let told = |text: &str| {
        std::fs::write(&path, text).unwrap();
        read(&path, OF).unwrap().told
    };
    let head = "feature_0,feature_1,";
    assert_eq!(told(&format!("{head}y_true\n1,2,0\n")), [""; 0]);
    assert_eq!(
        told(&format!("{head}class_name\n1,2,cat\n")),
        ["not read: `class_name` Utf8"]
    );
    assert_eq!(
        told(&format!("{head}is_ood\n1,2,0\n")),
        ["not read: `is_ood` Utf8"]
    );
}
