use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, Float64Array, Int64Array, ListArray, StringArray};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Schema};
use dream_schema::{Artifact as _, ClassEmbedding, Feature, Outlier};

use super::*;
use crate::exchange::{BoxError, FromVector, Target, write_parquet};

fn file(text: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

fn rows<A: FromVector>(text: &str) -> Result<(Vec<A>, Given), String> {
    let (_folder, path) = file(text.as_bytes());
    let mut all = Vec::new();
    let mut given = Given::default();
    for batch in Records::open(&path).map_err(|e| e.to_string())? {
        let batch = batch.map_err(|e| e.to_string())?;
        let conformed = conform::<A>(&path, &batch, 0).map_err(|e| e.to_string())?;
        given = conformed.given;
        all.extend(A::from_batch(&conformed.rows.to_batch().unwrap()).unwrap());
    }
    Ok((all, given))
}

#[test]
fn csv_of_every_make_gives_its_vectors() {
    let expected = [vec![0.5, -1.0], vec![2.0, 1e-3]];
    let named = Given {
        class_name: true,
        ..Given::default()
    };
    for (text, given) in [
        (
            "class_name,vector\nhen,\"[0.5,-1.0]\"\nkite,\"[2, 1e-3]\"\n",
            named,
        ),
        (
            "\u{feff}class_name;vector\r\nhen;[0.5 -1.0]\r\nkite;[2. 0.001]\r\n",
            named,
        ),
        ("class_name,0,1\nhen,0.5,-1\nkite,2,0.001\n", named),
        (",class_name,v_1,v_2\n0,hen,0.5,-1\n1,kite,2,0.001\n", named),
        ("0.5,-1\n2,0.001\n", Given::default()),
        ("5.0e-01 -1.0e+00\n2.0e+00 1.0e-03\n", Given::default()),
    ] {
        let (rows, found) = rows::<ClassEmbedding>(text).unwrap();
        let vectors: Vec<Vec<f32>> = rows.iter().map(|row| row.vector.clone()).collect();
        assert_eq!((vectors, found), (expected.to_vec(), given), "{text}");
        if given.class_name {
            assert_eq!(
                (rows[1].class_name.as_str(), rows[1].token_id),
                ("kite", -1),
                "{text}"
            );
        }
    }
    let text = "class_id,index,kind,anchor,round,knn_distance,vector\n3,7,inlier,2,1,,\"[1,2]\"\n";
    let (rows, given) = rows::<Outlier>(text).unwrap();
    let row = &rows[0];
    assert_eq!(
        (row.class_id, row.index, row.anchor, row.knn_distance),
        (3, 7, 2, None)
    );
    assert!(given.class_id && given.index && !given.class_name);
}

#[test]
fn what_does_not_fit_is_named_with_its_row() {
    for (text, words) in [
        (
            "class_name,vector\nhen,\"[1,2]\"\nkite,\"[1]\"\n",
            &["row 1", "2 numbers, as in the rows before"][..],
        ),
        (
            "class_name,vector\nhen,\"[0.1 ... 0.2]\"\n",
            &["row 0", "leaves numbers out"],
        ),
        (
            "class_name,vector\nhen,\"[1,,3]\"\n",
            &["row 0", "missing", "[1,,3]"],
        ),
        ("class_name,vector\nhen,\"[,5]\"\n", &["missing"]),
        ("class_name,vector\nhen,\"[7,8,]\"\n", &["missing"]),
        ("class_name,vector\nhen,\"[7,8 9]\"\n", &["8 9"]),
        ("class_name,vector\nhen,\"[0.1,null]\"\n", &["row 0", "null"]),
        (
            "class_name,vector\nhen,\"[]\"\n",
            &["row 0", "at least one number"],
        ),
        (
            "class_name,x\nhen,3\n",
            &["a column `vector`", "`class_name` Utf8"],
        ),
        ("class_id,vector\nhen,\"[1,2]\"\n", &["`class_id`", "\"hen\""]),
        ("class_name,0,1\nhen,1,\n", &["number 2 of row 0", "\"\""]),
        ("class_name,vector\nhen,\"[1,2]\",4\n", &["as many fields"]),
    ] {
        let said = rows::<ClassEmbedding>(text).unwrap_err();
        assert!(words.iter().all(|word| said.contains(word)), "{text}: {said}");
    }
}

/// A null in a list is what pandas makes of NaN.
#[test]
fn nulls_in_vectors_of_parquet_are_refused_and_64_bits_rounded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let read = |third: Option<f64>| {
        let lists = [Some(vec![Some(0.1), Some(2.0)]), Some(vec![third, Some(3.0)])];
        let vectors = ListArray::from_iter_primitive::<Float64Type, _, _>(lists);
        let fields = vec![
            Field::new("label", DataType::Float64, true),
            Field::new("embedding", vectors.data_type().clone(), true),
        ];
        let labels = Float64Array::from(vec![1.0, 2.0]);
        let schema = std::sync::Arc::new(Schema::new(fields));
        let columns: Vec<arrow::array::ArrayRef> =
            vec![std::sync::Arc::new(labels), std::sync::Arc::new(vectors)];
        let batch = RecordBatch::try_new(schema.clone(), columns);
        let target = Target {
            overwrite: true,
            ..Target::new(path.clone())
        };
        write_parquet(&target, "anything", &schema, [batch]).unwrap();
        let mut records = Records::open(&path).unwrap();
        assert_eq!(records.table(), Some("anything"));
        conform::<Feature>(&path, &records.next().unwrap().unwrap(), 40)
    };
    let whole = read(Some(5.0)).unwrap();
    assert_eq!(whole.rows.vectors().next().unwrap(), [0.1_f32, 2.0]);
    assert!(whole.rounded == ["embedding"] && whole.column == "embedding");
    let said = read(None).unwrap_err().to_string();
    assert!(
        said.contains("row 41") && said.contains("a null at number 0"),
        "{said}"
    );
}

#[test]
fn classes_are_found_by_what_other_programs_call_them() {
    let classes = |text: &str| {
        let (rows, given) = rows::<Feature>(text)?;
        let classes = rows.iter().map(|row| (row.class_id, row.class_name.clone()));
        Ok::<_, String>((classes.collect::<Vec<_>>(), given.class_id, given.class_name))
    };
    let numbers = |text: &str| {
        let (rows, id, name) = classes(text).unwrap();
        assert!(id && !name, "{text}");
        rows.into_iter().map(|row| row.0).collect::<Vec<_>>()
    };
    assert_eq!(numbers("Label,v_0,v_1\n2,0,1\n0,1,0\n"), [2, 0]);
    // As pandas writes integers once one was missing.
    assert_eq!(numbers("class_id,v_0,v_1\n2.0,0,1\n0.0,1,0\n"), [2, 0]);
    let (named, id, name) = classes("name,v_0,v_1\nhen,0,1\n").unwrap();
    assert_eq!((named[0].1.as_str(), id, name), ("hen", false, true));
    let half = classes("class_id,v_0,v_1\n1.5,0,1\n").unwrap_err();
    assert!(half.contains("class_id"), "{half}");
    let two = classes("label,target,v_0,v_1\n1,0,0,1\n").unwrap_err();
    assert!(two.contains("`label` and `target`"), "{two}");
    let groups = classes("class_name,x_0,x_1,w_0,w_1\nhen,0,1,2,3\n").unwrap_err();
    assert!(groups.contains("`vector`") || groups.contains("`w`"), "{groups}");
}

#[test]
fn numbered_columns_of_parquet_are_vectors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wide.parquet");
    let write = |second: Vec<Option<f64>>| {
        let columns: [(&str, ArrayRef); 4] = [
            ("class_id", Arc::new(Int64Array::from(vec![1, 0]))),
            ("f1", Arc::new(Float64Array::from(second))),
            ("f0", Arc::new(Float64Array::from(vec![0.5, 2.0]))),
            ("loss", Arc::new(Float64Array::from(vec![9.0, 9.0]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let target = Target {
            path: path.clone(),
            overwrite: true,
        };
        write_parquet(&target, "t", &batch.schema(), [Ok::<_, BoxError>(batch.clone())]).unwrap();
        let batch = Records::open(&path).unwrap().next().unwrap().unwrap();
        conform::<Feature>(&path, &batch, 0).map_err(|error| error.to_string())
    };
    let read = write(vec![Some(-1.0), Some(1e-3)]).unwrap();
    assert_eq!(
        (read.column.as_str(), &read.rounded[..], read.given.class_id),
        ("f", &["f".to_owned()][..], true)
    );
    let rows = Feature::from_batch(&read.rows.to_batch().unwrap()).unwrap();
    assert_eq!((rows[0].class_id, &rows[0].vector[..]), (1, &[0.5, -1.0][..]));
    assert_eq!((rows[1].class_id, &rows[1].vector[..]), (0, &[2.0, 1e-3][..]));
    let said = write(vec![Some(1.0), None]).unwrap_err();
    assert!(said.contains("row 1"), "{said}");
}

#[test]
fn distances_of_any_width_are_read() {
    let rows = |distances: ArrayRef| {
        let vectors = ListArray::from_iter_primitive::<Float32Type, _, _>([
            Some(vec![Some(1.0), Some(0.0)]),
            Some(vec![Some(0.0), Some(1.0)]),
        ]);
        let columns: [(&str, ArrayRef); 3] = [
            ("class_id", Arc::new(Int64Array::from(vec![1, 0]))),
            ("knn_distance", distances),
            ("vector", Arc::new(vectors)),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let read = conform::<Outlier>(Path::new("a.parquet"), &batch, 0).map_err(|e| e.to_string())?;
        let rows = Outlier::from_batch(&read.rows.to_batch().unwrap()).unwrap();
        let distances: Vec<Option<f32>> = rows.iter().map(|row| row.knn_distance).collect();
        Ok::<_, String>((distances, read.rounded))
    };
    let floats = |first: f64| rows(Arc::new(Float64Array::from(vec![Some(first), None])));
    let rounded = vec!["knn_distance".to_owned()];
    assert_eq!(floats(0.1), Ok((vec![Some(0.1), None], rounded)));
    assert_eq!(floats(0.5), Ok((vec![Some(0.5), None], Vec::new())));
    let whole = rows(Arc::new(Int64Array::from(vec![3, 4])));
    assert_eq!(whole, Ok((vec![Some(3.0), Some(4.0)], Vec::new())));
    let said = floats(1e300).unwrap_err();
    assert!(
        said.contains("`knn_distance` of row 0: expected a number of 32 bits"),
        "{said}"
    );
}

/// A dictionary of 800 million values in a few bytes, found by libFuzzer: parquet 59 would ask for 3 GB.
#[test]
fn a_dictionary_of_more_values_than_bytes_is_damage() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/dataset/dictionary.parquet");
    let error = Records::open(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let said = error.unwrap_err().to_string();
    assert!(said.contains("a dictionary page of"), "{said}");
}

/// A place of -1 was stored as the largest there is, where the row was lost.
#[test]
fn values_that_no_row_can_have_are_refused_by_file_and_row() {
    let said = |start, name: &'static str, values: ArrayRef| {
        let vectors = (0..values.len()).map(|_| Some([1.0, 0.5].map(Some)));
        let vectors = ListArray::from_iter_primitive::<Float32Type, _, _>(vectors);
        let columns: [(&str, ArrayRef); 2] = [(name, values), ("vector", Arc::new(vectors))];
        let batch = RecordBatch::try_from_iter_with_nullable(columns.map(|(a, b)| (a, b, true))).unwrap();
        let read = conform::<Outlier>(Path::new("a.parquet"), &batch, start);
        read.map(drop).map_err(|error| {
            assert_eq!(
                crate::error::HasKind::kind(&error),
                crate::Kind::Refused,
                "{error}"
            );
            error.to_string()
        })
    };
    let whole = |numbers: &[i64]| Arc::new(Int64Array::from(numbers.to_vec())) as ArrayRef;
    let texts = |texts: &[&str]| Arc::new(StringArray::from(texts.to_vec())) as ArrayRef;
    let missing = Arc::new(Int64Array::from(vec![Some(0), None])) as ArrayRef;
    let halves = Arc::new(Float64Array::from(vec![1.0, 0.5])) as ArrayRef;
    for (name, values, words) in [
        (
            "index",
            whole(&[0, -1]),
            "expected a place in the class, 0 or more, found -1",
        ),
        (
            "index",
            texts(&["0", "-1"]),
            "expected a place in the class, 0 or more, found \"-1\"",
        ),
        (
            "class_id",
            whole(&[0, -1]),
            "expected the number of a class, 0 or more, found -1",
        ),
        (
            "label",
            texts(&["0", "-1.0"]),
            "expected the number of a class, 0 or more",
        ),
        (
            "class_id",
            whole(&[0, 1 << 32]),
            "expected a whole number of 32 bits, found 4294967296",
        ),
        (
            "anchor",
            whole(&[-1, -2]),
            "expected 0 or more, or -1 where it is not known, found -2",
        ),
        (
            "round",
            texts(&["1", "x"]),
            "expected a whole number of 32 bits, found \"x\"",
        ),
        ("index", halves, "expected a whole number of 64 bits, found 0.5"),
    ] {
        let error = said(40, name, values).unwrap_err();
        assert!(
            error.starts_with(&format!("a.parquet: `{name}` of row 41: {words}")),
            "{error}"
        );
    }
    let error = said(40, "class_id", missing).unwrap_err();
    assert!(
        error.starts_with("a.parquet: `class_id` of row 41 is missing: fill it"),
        "{error}"
    );
    let error = said(0, "kind", texts(&["outlier", "weird"])).unwrap_err();
    assert!(
        error.starts_with("a.parquet: `kind` of row 1 is \"weird\"; expected `outlier`"),
        "{error}"
    );
    for (name, numbers) in [("round", [-1, 3]), ("index", [0, i64::MAX])] {
        assert_eq!(said(0, name, whole(&numbers)), Ok(()), "{name}");
    }
}
