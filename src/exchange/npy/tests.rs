//! Files of NumPy's own, files that must be refused, and the way there and back.

use std::fs;
use std::path::{Path, PathBuf};

use dream_schema::{Artifact, Feature, RunId, SchemaError, with_run, with_run_schema};
use proptest::prelude::*;

use super::header;
use super::*;
use crate::exchange::{ExchangeError, Target};
use crate::floats::Format;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/exchange")
        .join(name)
}

fn halves(n: usize) -> Vec<f32> {
    (0..n).map(|i| i as f32 * 0.5 - 2.0).collect()
}

#[test]
fn files_of_numpy_are_read() {
    for (name, shape) in [
        ("f32_2x3x4.npy", (2, 3, 4)),
        ("f64_3x4.npy", (3, 1, 4)),
        ("f16_2x1x4.npy", (2, 1, 4)),
        ("version2.npy", (3, 1, 4)),
        ("big_endian.npy", (3, 1, 4)),
    ] {
        let file = NpyVectors::open(&fixture(name)).unwrap();
        assert_eq!((file.classes(), file.rows(), file.width()), shape, "{name}");
        let classes: Vec<_> = file.map(Result::unwrap).collect();
        assert_eq!(classes.len(), shape.0);
        assert_eq!(classes.concat(), halves(shape.0 * shape.1 * shape.2), "{name}");
    }
}

#[test]
fn files_that_would_be_misread_are_refused() {
    for (name, words) in [
        ("fortran.npy", "expected C order"),
        ("object.npy", "Python objects"),
        ("int64.npy", "found <i8"),
        ("record.npy", "a structured type"),
        ("one_dimension.npy", "found [4]"),
        ("empty.npy", "found [0, 4]"),
        ("features_wide.parquet", "expected \\x93NUMPY"),
        ("missing.npy", "missing.npy"),
    ] {
        let err = NpyVectors::open(&fixture(name)).unwrap_err().to_string();
        assert!(err.contains(words) && err.contains(name), "{name}: {err}");
    }
}

#[test]
fn files_of_another_length_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.npy");
    let whole = fs::read(fixture("f32_2x3x4.npy")).unwrap();
    for length in (0..whole.len()).step_by(3) {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(NpyVectors::open(&path).is_err(), "{length}");
    }
    let mut longer = whole;
    longer.push(0);
    fs::write(&path, &longer).unwrap();
    let err = NpyVectors::open(&path).unwrap_err().to_string();
    assert!(err.contains("expected 224 bytes") && err.contains("225"), "{err}");
}

#[test]
fn a_shape_too_large_for_arithmetic_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.npy");
    fs::write(&path, header::encode(&[1 << 32, 1 << 32, 1 << 32])).unwrap();
    let err = NpyVectors::open(&path).unwrap_err().to_string();
    assert!(err.contains("the length of the file"), "{err}");
}

fn feature(class_id: u32, index: u64, width: usize) -> Feature {
    Feature {
        class_id,
        class_name: format!("class {class_id}"),
        index,
        vector: (0..width).map(|i| i as f32 + 10.0 * index as f32).collect(),
        split: "train".into(),
        sample: 0,
    }
}

fn write(dir: &Path, layout: NpyLayout, rows: &[(u8, Feature)]) -> Result<NpyWritten, ExchangeError> {
    let target = Target::new(dir.join("a.npy")).overwrite(true);
    let batch = |(run, row): &(u8, Feature)| -> Result<_, SchemaError> {
        with_run(RunId([*run; 16]), &Feature::to_batch(std::slice::from_ref(row))?)
    };
    write_npy(
        &target,
        layout,
        &with_run_schema(&Feature::schema(3)),
        rows.iter().map(batch),
    )
}

#[test]
fn the_layout_follows_the_rows() {
    let dir = tempfile::tempdir().unwrap();
    let rows = |keys: &[(u8, u32, u64)]| -> Vec<_> {
        keys.iter()
            .map(|(run, class, index)| (*run, feature(*class, *index, 3)))
            .collect()
    };
    let equal = rows(&[(1, 0, 0), (1, 0, 1), (1, 4, 0), (1, 4, 1)]);
    assert_eq!(
        write(dir.path(), NpyLayout::Auto, &equal).unwrap().shape,
        [2, 2, 3]
    );
    assert_eq!(write(dir.path(), NpyLayout::Rows, &equal).unwrap().shape, [4, 3]);
    let written = write(dir.path(), NpyLayout::Classes, &equal).unwrap();
    let table = fs::read_to_string(&written.rows).unwrap();
    assert_eq!(
        table.lines().next().unwrap(),
        "run,class_id,class_name,index,split,sample"
    );
    assert_eq!(
        table.lines().nth(4).unwrap(),
        format!("{},4,class 4,1,train,0", "01".repeat(16))
    );
    let read: Vec<f32> = NpyVectors::open(&dir.path().join("a.npy"))
        .unwrap()
        .flat_map(Result::unwrap)
        .collect();
    let vectors: Vec<_> = equal.iter().map(|(_, f)| f.vector.clone()).collect();
    assert_eq!(read, vectors.concat());

    let one_each = rows(&[(1, 0, 0), (1, 1, 0)]);
    assert_eq!(
        write(dir.path(), NpyLayout::Auto, &one_each).unwrap().shape,
        [2, 3]
    );
    assert_eq!(
        write(dir.path(), NpyLayout::Classes, &one_each).unwrap().shape,
        [2, 1, 3]
    );
    for other in [
        rows(&[(1, 0, 0), (1, 0, 1), (1, 4, 0)]),
        rows(&[(1, 0, 0), (2, 0, 0)]),
        rows(&[(1, 0, 0), (1, 1, 0), (1, 0, 1), (1, 1, 1)]),
    ] {
        assert_eq!(
            write(dir.path(), NpyLayout::Auto, &other).unwrap().shape,
            [other.len() as u64, 3]
        );
        let err = write(dir.path(), NpyLayout::Classes, &other)
            .unwrap_err()
            .to_string();
        assert!(err.contains("choose one run"), "{err}");
    }
}

#[test]
fn widths_that_differ_leave_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let rows = [(1, feature(0, 0, 3)), (1, feature(0, 1, 2))];
    let err = write(dir.path(), NpyLayout::Auto, &rows).unwrap_err().to_string();
    assert!(err.contains("row 1 has a vector of width 2"), "{err}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

proptest! {
    #[test]
    fn headers_survive(shape in proptest::collection::vec(any::<u64>(), 1..4)) {
        let bytes = header::encode(&shape);
        prop_assert_eq!(bytes.len(), header::WRITTEN);
        let read = header::decode(Path::new("x"), &mut bytes.as_slice()).unwrap();
        prop_assert_eq!(read.format, Format::F32);
        prop_assert_eq!(read.shape, shape);
        prop_assert_eq!(read.length, header::WRITTEN as u64);
    }

    #[test]
    fn any_header_is_safe(tail in proptest::collection::vec(any::<u8>(), 0..100), text in ".{0,80}") {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend(&tail);
        let _ = header::decode(Path::new("x"), &mut bytes.as_slice());
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.as_bytes());
        let _ = header::decode(Path::new("x"), &mut bytes.as_slice());
    }
}

#[test]
fn latents_are_written_with_their_shape() {
    use dream_schema::Latent;
    let dir = tempfile::tempdir().unwrap();
    let target = Target::new(dir.path().join("latents.npy"));
    let latent = |class_id, index| Latent {
        class_id,
        class_name: format!("c{class_id}"),
        index,
        outlier: Some(3),
        prompt: "the c".into(),
        seed: 9,
        dtype: "f32".into(),
        shape: vec![4, 2, 3],
        data: (0..24)
            .flat_map(|n| (n as f32 * 0.5 + index as f32).to_le_bytes())
            .collect(),
    };
    let rows = [latent(0, 0), latent(0, 1), latent(1, 0), latent(1, 1)];
    let run = RunId([1; 16]);
    let batches = rows.chunks(3).map(|r| with_run(run, &Latent::to_batch(r)?));
    let schema = with_run_schema(&Latent::schema(0));
    let written = write_npy(&target, NpyLayout::Auto, &schema, batches).unwrap();
    // Not [classes, n, ...]: other programs want a batch.
    assert_eq!((written.shape, written.count), (vec![4, 4, 2, 3], 4));
    let mut bytes = fs::File::open(&target.path).unwrap();
    let head = header::decode(&target.path, &mut bytes).unwrap();
    assert_eq!((head.format, head.shape), (Format::F32, vec![4, 4, 2, 3]));
    let bytes = fs::read(&target.path).unwrap();
    let data: Vec<u8> = rows.iter().flat_map(|r| r.data.clone()).collect();
    assert_eq!(bytes[head.length as usize..], data);
    let table = fs::read_to_string(&written.rows).unwrap();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(
        lines[0],
        "run,class_id,class_name,index,outlier,prompt,seed,dtype"
    );
    assert_eq!(lines[4], format!("{run},1,c1,1,3,the c,9,f32"));
}
