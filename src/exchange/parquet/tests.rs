//! What is in the files: types, encodings, metadata; and which files are refused.

use std::path::{Path, PathBuf};

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Int32Type};
use dream_schema::{Artifact, Feature, Image, RunId, SchemaError, Table, with_run, with_run_schema};
use parquet::basic::{Compression, Encoding};
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::*;
use crate::exchange::{ExchangeError, Target};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/exchange")
        .join(name)
}

fn feature(index: u64, width: usize) -> Feature {
    Feature {
        class_id: 5,
        class_name: "otter".into(),
        index,
        vector: (0..width).map(|i| (i as f32 + index as f32).sin()).collect(),
        split: "train".into(),
        sample: index as i64,
    }
}

fn write(target: &Target, rows: &[Feature], width: usize) -> Result<u64, ExchangeError> {
    let batches = rows
        .chunks(100)
        .map(|rows| with_run(RunId([7; 16]), &Feature::to_batch(rows)?));
    write_parquet(
        target,
        "features",
        &with_run_schema(&Feature::schema(width)),
        batches,
    )
}

#[test]
fn bits_survive() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::new(dir.path().join("a.parquet"));
    let mut rows: Vec<_> = (0..250).map(|i| feature(i, 5)).collect();
    rows[3].vector = vec![
        f32::from_bits(0x7FC0_1234),
        f32::NEG_INFINITY,
        -0.0,
        f32::MIN_POSITIVE / 2.0,
        f32::MAX,
    ];
    assert_eq!(write(&target, &rows, 5).unwrap(), 250);
    let read = ParquetRows::open(&target.path, Table::Features).unwrap();
    let read: Vec<_> = read
        .flat_map(|b| Feature::from_batch(&b.unwrap()).unwrap())
        .collect();
    assert_eq!(read.len(), rows.len());
    for (a, b) in read.iter().zip(&rows) {
        let bits = |f: &Feature| f.vector.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(a), bits(b));
        assert_eq!(
            (a.index, &a.class_name, &a.split, a.sample),
            (b.index, &b.class_name, &b.split, b.sample)
        );
    }
}

#[test]
fn runs_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::new(dir.path().join("a.parquet"));
    let batch = |run: u8, index| with_run(RunId([run; 16]), &Feature::to_batch(&[feature(index, 2)])?);
    let batches = [batch(1, 0), batch(1, 1), batch(2, 0)];
    write_parquet(
        &target,
        "features",
        &with_run_schema(&Feature::schema(2)),
        batches,
    )
    .unwrap();
    let batches: Vec<_> = ParquetRows::open(&target.path, Table::Features)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(batches.len(), 1);
    let cuts = runs_of(&batches[0]).unwrap();
    let cuts: Vec<_> = cuts
        .iter()
        .map(|(run, b)| (run.clone().unwrap(), b.num_rows(), b.num_columns()))
        .collect();
    assert_eq!(cuts, [("01".repeat(16), 2, 6), ("02".repeat(16), 1, 6)]);
}

#[test]
fn columns_are_encoded_as_described() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::new(dir.path().join("a.parquet"));
    let rows: Vec<_> = (0..300).map(|i| feature(i, 16)).collect();
    write(&target, &rows, 16).unwrap();
    let file = SerializedFileReader::new(std::fs::File::open(&target.path).unwrap()).unwrap();
    let group = file.metadata().row_group(0);
    let column = |path: &str| {
        group
            .columns()
            .iter()
            .find(|c| c.column_path().string() == path)
            .unwrap()
    };
    let vector = column("vector.list.item");
    assert!(vector.encodings().any(|e| e == Encoding::BYTE_STREAM_SPLIT));
    assert!(vector.dictionary_page_offset().is_none() && vector.statistics().is_none());
    assert!(matches!(vector.compression(), Compression::ZSTD(_)));
    let run = column("run");
    assert!(run.dictionary_page_offset().is_some());
    for key in ["run", "class_id", "index", "sample"] {
        assert!(column(key).statistics().is_some(), "{key}");
    }
}

#[test]
fn row_groups_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::new(dir.path().join("a.parquet"));
    let png = vec![0x5A_u8; 20 << 20];
    let image = |index| Image {
        class_id: 0,
        class_name: "otter".into(),
        index,
        outlier: None,
        width: 1,
        height: 1,
        png: png.clone(),
        blake3: "00".into(),
    };
    let batches = (0..8).map(|index| Image::to_batch(&[image(index)]));
    write_parquet(&target, "images", &Image::schema(0), batches).unwrap();
    let file = SerializedFileReader::new(std::fs::File::open(&target.path).unwrap()).unwrap();
    let sizes: Vec<_> = file
        .metadata()
        .row_groups()
        .iter()
        .map(|g| g.total_byte_size())
        .collect();
    assert!(sizes.len() >= 2, "{sizes:?}");
    assert!(
        sizes
            .iter()
            .all(|size| *size <= ROW_GROUP_BYTES as i64 + (21 << 20)),
        "{sizes:?}"
    );
    let read = ParquetRows::open(&target.path, Table::Images).unwrap();
    assert_eq!(read.map(|b| b.unwrap().num_rows()).sum::<usize>(), 8);
}

#[test]
fn pictures_are_what_hugging_face_expects() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::new(dir.path().join("a.parquet"));
    let image = Image {
        class_id: 3,
        class_name: "otter".into(),
        index: 12,
        outlier: Some(1),
        width: 1,
        height: 1,
        png: vec![1, 2, 3],
        blake3: "00".into(),
    };
    write_parquet(
        &target,
        "images",
        &Image::schema(0),
        [Image::to_batch(std::slice::from_ref(&image))],
    )
    .unwrap();
    let file = SerializedFileReader::new(std::fs::File::open(&target.path).unwrap()).unwrap();
    let metadata = file.metadata().file_metadata().key_value_metadata().unwrap();
    let features = metadata
        .iter()
        .find(|kv| kv.key == "huggingface")
        .unwrap()
        .value
        .as_ref()
        .unwrap();
    let features: serde_json::Value = serde_json::from_str(features).unwrap();
    assert_eq!(features["info"]["features"]["image"]["_type"], "Image");
    assert_eq!(features["info"]["features"]["class_id"]["dtype"], "int32");
    let group = file.metadata().row_group(0);
    let bytes = group
        .columns()
        .iter()
        .find(|c| c.column_path().string() == "image.bytes")
        .unwrap();
    assert_eq!(bytes.compression(), Compression::UNCOMPRESSED);
    assert!(bytes.statistics().is_none() && bytes.dictionary_page_offset().is_none());

    let file = std::fs::File::open(&target.path).unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(file, 10).unwrap();
    let batch = reader.map(Result::unwrap).next().unwrap();
    let picture = batch.column_by_name("image").unwrap().as_struct();
    assert_eq!(
        picture
            .column_by_name("path")
            .unwrap()
            .as_string::<i32>()
            .value(0),
        "3/000012.png"
    );
    let read = ParquetRows::open(&target.path, Table::Images)
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(Image::from_batch(&read).unwrap(), [image]);
}

#[test]
fn wider_types_and_another_order_of_columns_are_read() {
    let mut rows = ParquetRows::open(&fixture("features_wide.parquet"), Table::Features).unwrap();
    let batch = rows.next().unwrap().unwrap();
    assert_eq!(
        batch
            .column_by_name("class_id")
            .unwrap()
            .as_primitive::<Int32Type>()
            .value(1),
        5
    );
    assert_eq!(
        batch.column_by_name("split").unwrap().data_type(),
        &DataType::Utf8
    );
    let read = Feature::from_batch(&batch).unwrap();
    assert_eq!(read[1].vector, [-0.5, 0.0, 0.5]);
    assert_eq!((read[0].sample, read[0].class_name.as_str()), (7, "otter"));
    let rows = ParquetRows::open(&fixture("features_lists.parquet"), Table::Features).unwrap();
    assert_eq!(
        rows.schema().field(3).data_type(),
        &dream_schema::value::vector_type(3)
    );
    let batches: Vec<_> = rows.map(Result::unwrap).collect();
    assert_eq!(Feature::from_batch(&batches[0]).unwrap(), read);
}

#[test]
fn what_would_lose_something_is_refused() {
    let first = |name: &str, table| -> String {
        let rows = ParquetRows::open(&fixture(name), table);
        let err = rows.and_then(|mut rows| rows.next().unwrap()).err();
        err.unwrap_or_else(|| panic!("{name} was read")).to_string()
    };
    let err = first("features_f64.parquet", Table::Features);
    assert!(err.contains("`vector`") && err.contains("Float64"), "{err}");
    let err = first("features_large_class.parquet", Table::Features);
    assert!(
        err.contains("`class_id`") && err.contains("does not fit"),
        "{err}"
    );
    let err = first("features_ragged.parquet", Table::Features);
    assert!(err.contains("`vector`") && err.contains("does not fit"), "{err}");
    let err = first("features_wide.parquet", Table::Outliers);
    assert!(err.contains("`kind`") && err.contains("no such column"), "{err}");
    assert!(first("f64_3x4.npy", Table::Features).contains("f64_3x4.npy"));
    assert!(first("missing.parquet", Table::Features).contains("missing.parquet"));
}

#[test]
fn another_table_and_a_target_that_is_there_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::new(dir.path().join("a.parquet"));
    write(&target, &[feature(0, 2)], 2).unwrap();
    let err = ParquetRows::open(&target.path, Table::Outliers)
        .err()
        .unwrap()
        .to_string();
    assert!(err.contains("expected outliers, found features"), "{err}");
    assert!(matches!(
        write(&target, &[], 2),
        Err(ExchangeError::Exists { .. })
    ));
    assert_eq!(write(&target.clone().overwrite(true), &[], 2).unwrap(), 0);
    let empty = ParquetRows::open(&target.path, Table::Features).unwrap();
    assert_eq!((empty.rows(), empty.count()), (0, 0));
}

#[test]
fn rows_of_another_width_leave_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::new(dir.path().join("a.parquet"));
    let batches = [
        Feature::to_batch(&[feature(0, 2)]),
        Feature::to_batch(&[feature(1, 3)]),
    ];
    assert!(write_parquet(&target, "features", &Feature::schema(2), batches).is_err());
    let failing = [Err(SchemaError::MissingColumn {
        table: "x",
        column: "y",
    })];
    let err = write_parquet(&target, "features", &Feature::schema(2), failing).unwrap_err();
    assert!(matches!(err, ExchangeError::Source(_)));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn damage_is_an_error_and_never_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let whole = std::fs::read(fixture("features_wide.parquet")).unwrap();
    let read = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        // Damage to numbers goes unnoticed: the format has no checksum of them by default.
        let rows = ParquetRows::open(&path, Table::Features)?;
        rows.take(10)
            .map(|batch| Ok(Feature::from_batch(&batch?)?.len()))
            .sum::<Result<usize, ExchangeError>>()
    };
    assert_eq!(read(&whole).unwrap(), 2);
    for length in (0..whole.len()).step_by(7) {
        assert!(read(&whole[..length]).is_err(), "cut to {length}");
    }
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        let _ = read(&bytes);
    }
}
