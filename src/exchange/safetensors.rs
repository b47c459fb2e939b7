//! safetensors: checkpoints as they lie in the store, and vectors.
//!
//! A file of vectors has three tensors: `vector` `[n, width]` of 32-bit floats (of latents: `latent` `[n,
//! channels, height, width]`), and `class_id` and `index` `[n]` of 32-bit integers. The header is written
//! last, into `HEADER` bytes kept free for it (the format allows spaces at its end), so the vectors pass
//! through without being held.

use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use ::safetensors::{Dtype, SafeTensors};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};

use super::atomic::AtomicFile;
use super::vectors::{size, tensors};
use super::{BoxError, ExchangeError, Target};
use crate::floats::{self, Format};
use crate::input;

/// Bytes kept free for the header of a file of vectors.
const HEADER: usize = 1024;

/// Name, type and shape of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorEntry {
    /// Its name.
    pub name: String,
    /// Its type, as the format writes it: `F32`.
    pub dtype: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

/// Checks that `bytes` are a whole safetensors file and returns what is in it, by name. `path` is for the
/// error.
///
/// # Errors
/// If they are not.
pub fn check_checkpoint(path: &Path, bytes: &[u8]) -> Result<Vec<TensorEntry>, ExchangeError> {
    let file = parse(path, bytes)?;
    let mut entries: Vec<_> = file
        .iter()
        .map(|(name, view)| TensorEntry {
            name: name.to_owned(),
            dtype: view.dtype().to_string(),
            shape: view.shape().to_vec(),
        })
        .collect();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// Writes the bytes of a checkpoint as they are, once they are known to be a whole safetensors file.
///
/// # Errors
/// If they are not, or if the file cannot be written or is there already.
pub fn write_checkpoint(target: &Target, bytes: &[u8]) -> Result<Vec<TensorEntry>, ExchangeError> {
    let entries = check_checkpoint(&target.path, bytes)?;
    let mut file = AtomicFile::create(target)?;
    file.write_all(bytes).map_err(ExchangeError::io(&target.path))?;
    file.commit()?;
    Ok(entries)
}

/// Reads a checkpoint from a file.
///
/// # Errors
/// If the file cannot be read or is no whole safetensors file.
pub fn read_checkpoint(path: &Path) -> Result<(Vec<u8>, Vec<TensorEntry>), ExchangeError> {
    let bytes = input::whole(path, input::ANY).map_err(ExchangeError::io(path))?;
    let entries = check_checkpoint(path, &bytes)?;
    Ok((bytes, entries))
}

/// Writes the column `vector`, or latents with the shape that they have, with classes and indices, and
/// returns the number of rows.
///
/// # Errors
/// If a column is missing, if the rows are of several runs, if the shapes differ, if an index does not fit 32
/// bits, if the rows cannot be had, or if the file cannot be written or is there already.
pub fn write_vectors<E: Into<BoxError>>(
    target: &Target,
    batches: impl IntoIterator<Item = Result<RecordBatch, E>>,
) -> Result<u64, ExchangeError> {
    let path = &target.path;
    let mut file = AtomicFile::create(target)?;
    file.write_all(&[b' '; HEADER]).map_err(ExchangeError::io(path))?;
    let (mut item, mut name) = (None, "vector");
    let (mut classes, mut indices) = (Vec::new(), Vec::new());
    let mut run = None;
    for batch in batches {
        let batch = batch.map_err(|e| ExchangeError::Source(e.into()))?;
        if batch.num_rows() == 0 {
            continue;
        }
        let rows = tensors(&batch)?;
        name = rows.name;
        let expected = item.get_or_insert_with(|| rows.shape.clone());
        if *expected != rows.shape {
            let (found, expected) = (size(&rows.shape), size(expected));
            let what = format!("a {name} of {found} follows those of {expected}");
            let hint = "export one run at a time";
            return Err(ExchangeError::Layout { what, hint });
        }
        file.write_all(&floats::as_bytes(&rows.flat))
            .map_err(ExchangeError::io(path))?;
        keys(&batch, &mut classes, &mut indices)?;
        one_run(&batch, &mut run)?;
    }
    for number in classes.iter().chain(&indices) {
        let number: &i32 = number;
        file.write_all(&number.to_le_bytes())
            .map_err(ExchangeError::io(path))?;
    }
    let rows = classes.len();
    file.seek(SeekFrom::Start(0))
        .and_then(|_| file.write_all(&header(name, rows, &item.unwrap_or_else(|| vec![0]))))
        .map_err(ExchangeError::io(path))?;
    file.commit()?;
    Ok(rows as u64)
}

/// Refuses rows of another run than those before: nothing in the file would tell them apart.
fn one_run(batch: &RecordBatch, known: &mut Option<String>) -> Result<(), ExchangeError> {
    let runs = batch.column_by_name("run").and_then(|c| c.as_string_opt::<i32>());
    for run in runs.into_iter().flatten().flatten() {
        if known.get_or_insert_with(|| run.to_owned()) != run {
            let what = "the rows are of several runs, and the file has no place for the run".to_owned();
            let hint = "export one run at a time, or to Parquet";
            return Err(ExchangeError::Layout { what, hint });
        }
    }
    Ok(())
}

/// Appends the classes and indices of a batch.
fn keys(batch: &RecordBatch, classes: &mut Vec<i32>, indices: &mut Vec<i32>) -> Result<(), ExchangeError> {
    let layout = |what: String| {
        let hint = "export to Parquet instead";
        ExchangeError::Layout { what, hint }
    };
    let class = batch
        .column_by_name("class_id")
        .and_then(|c| c.as_primitive_opt::<Int32Type>())
        .filter(|c| c.null_count() == 0)
        .ok_or_else(|| layout("there is no column `class_id` without nulls".to_owned()))?;
    let index = batch
        .column_by_name("index")
        .and_then(|c| c.as_primitive_opt::<Int64Type>())
        .filter(|c| c.null_count() == 0)
        .ok_or_else(|| layout("there is no column `index` without nulls".to_owned()))?;
    classes.extend_from_slice(class.values());
    for value in index.values() {
        let small = i32::try_from(*value).map_err(|_| layout(format!("the index {value} needs 64 bits")))?;
        indices.push(small);
    }
    Ok(())
}

/// Returns the length and the header, [`HEADER`] bytes long.
fn header(name: &str, rows: usize, item: &[usize]) -> Vec<u8> {
    let numbers = rows * item.iter().product::<usize>();
    let ends = [4 * numbers, 4 * numbers + 4 * rows, 4 * numbers + 8 * rows];
    let shape = [&[rows], item].concat();
    let json = serde_json::json!({
        name: {"dtype": "F32", "shape": shape, "data_offsets": [0, ends[0]]},
        "class_id": {"dtype": "I32", "shape": [rows], "data_offsets": [ends[0], ends[1]]},
        "index": {"dtype": "I32", "shape": [rows], "data_offsets": [ends[1], ends[2]]},
    });
    let mut bytes = ((HEADER - 8) as u64).to_le_bytes().to_vec();
    bytes.extend(json.to_string().as_bytes());
    // At most a dozen numbers of at most 20 digits: always shorter than HEADER.
    bytes.resize(HEADER, b' ');
    bytes
}

/// Vectors read from a safetensors file.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorVectors {
    /// `[classes, rows, width]` or `[rows, width]`.
    pub shape: Vec<usize>,
    /// The numbers in row-major order.
    pub flat: Vec<f32>,
    /// The class of each row, where the file has a tensor `class_id`.
    pub class_ids: Option<Vec<i32>>,
    /// The place of each row in its class, where the file has a tensor `index`.
    pub indices: Option<Vec<i32>>,
}

/// Reads the tensor `vector`, or the only tensor of the file, as vectors. The whole file is held in memory.
///
/// 16-bit floats are widened exactly, 64-bit floats rounded to the nearest 32-bit float.
///
/// # Errors
/// If the file cannot be read, is no whole safetensors file, or has no such tensor of floats in two or three
/// dimensions.
pub fn read_vectors(path: &Path) -> Result<TensorVectors, ExchangeError> {
    let bytes = input::whole(path, input::ANY).map_err(ExchangeError::io(path))?;
    let file = parse(path, &bytes)?;
    let name = vectors_name(path, &file)?;
    let view = file
        .tensor(name)
        .map_err(|e| ExchangeError::format(path, "the tensor", name, e.to_string()))?;
    let shape = view.shape().to_vec();
    if !matches!(shape.len(), 2 | 3) || shape.contains(&0) {
        let expected = "[classes, rows, width] or [rows, width], none of them 0";
        return Err(ExchangeError::format(
            path,
            "the shape",
            expected,
            format!("{shape:?}"),
        ));
    }
    let Some(format) = Format::of(view.dtype()) else {
        let expected = "F32, F16, BF16 or F64";
        return Err(ExchangeError::format(
            path,
            "the type of the numbers",
            expected,
            view.dtype().to_string(),
        ));
    };
    let flat = floats::from_bytes(format, view.data());
    let rows: usize = shape.iter().rev().skip(1).product();
    let class_ids = integers(path, &file, "class_id", rows)?;
    let indices = integers(path, &file, "index", rows)?;
    Ok(TensorVectors {
        shape,
        flat,
        class_ids,
        indices,
    })
}

/// The name of the tensor of vectors.
fn vectors_name<'f>(path: &Path, file: &'f SafeTensors<'_>) -> Result<&'f str, ExchangeError> {
    let names = file.names();
    match names.as_slice() {
        names if names.contains(&"vector") => Ok("vector"),
        [name] => Ok(name),
        _ => {
            let expected = "one named `vector`, or a single one";
            Err(ExchangeError::format(
                path,
                "the tensors",
                expected,
                names.join(", "),
            ))
        }
    }
}

/// The integers of a tensor, one per row, if the file has it.
fn integers(
    path: &Path,
    file: &SafeTensors<'_>,
    name: &str,
    rows: usize,
) -> Result<Option<Vec<i32>>, ExchangeError> {
    let Ok(view) = file.tensor(name) else {
        return Ok(None);
    };
    if view.dtype() != Dtype::I32 || view.shape() != [rows] {
        let (what, expected) = (format!("`{name}`"), format!("I32 [{rows}]"));
        let actual = format!("{} {:?}", view.dtype(), view.shape());
        return Err(ExchangeError::format(path, what, expected, actual));
    }
    let (words, _) = view.data().as_chunks();
    Ok(Some(words.iter().map(|word| i32::from_le_bytes(*word)).collect()))
}

fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<SafeTensors<'a>, ExchangeError> {
    SafeTensors::deserialize(bytes)
        .map_err(|e| ExchangeError::format(path, "the file", "a whole safetensors file", e.to_string()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use dream_schema::{Artifact, Feature};

    fn features(n: u64) -> Vec<Feature> {
        let feature = |index: u64| Feature {
            class_id: (index / 2) as u32,
            class_name: "x".into(),
            index: index % 2,
            vector: vec![index as f32 + 0.1, -1.0, f32::MIN_POSITIVE],
            split: "train".into(),
            sample: 0,
        };
        (0..n).map(feature).collect()
    }

    #[test]
    fn vectors_survive() {
        let dir = tempfile::tempdir().unwrap();
        let target = Target::new(dir.path().join("a.safetensors"));
        let rows = features(5);
        let batches = [&rows[..2], &rows[2..]].map(Feature::to_batch);
        assert_eq!(write_vectors(&target, batches).unwrap(), 5);
        let read = read_vectors(&target.path).unwrap();
        assert_eq!(read.shape, [5, 3]);
        assert_eq!(read.class_ids.unwrap(), [0, 0, 1, 1, 2]);
        assert_eq!(read.indices.unwrap(), [0, 1, 0, 1, 0]);
        let flat: Vec<f32> = rows.iter().flat_map(|r| r.vector.clone()).collect();
        assert_eq!(read.flat, flat);
    }

    #[test]
    fn latents_keep_their_shape() {
        let dir = tempfile::tempdir().unwrap();
        let target = Target::new(dir.path().join("a.safetensors"));
        let latent = |class_id: u32, shape: Vec<i64>| dream_schema::Latent {
            class_id,
            class_name: "x".into(),
            index: 0,
            outlier: None,
            prompt: "x".into(),
            seed: 0,
            dtype: "f32".into(),
            data: (0..shape.iter().product::<i64>())
                .flat_map(|n| (n as f32 + class_id as f32).to_le_bytes())
                .collect(),
            shape,
        };
        let rows = [latent(0, vec![4, 2, 3]), latent(1, vec![4, 2, 3])];
        let batches = [&rows[..1], &rows[1..]].map(dream_schema::Latent::to_batch);
        assert_eq!(write_vectors(&target, batches).unwrap(), 2);
        let bytes = fs::read(&target.path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let view = file.tensor("latent").unwrap();
        assert_eq!(view.shape(), [2, 4, 2, 3]);
        assert_eq!(view.data(), [rows[0].data.clone(), rows[1].data.clone()].concat());
        let other = Target::new(dir.path().join("b.safetensors"));
        let mixed = [rows[0].clone(), latent(1, vec![4, 3, 2])];
        for batches in [
            vec![dream_schema::Latent::to_batch(&mixed)],
            mixed
                .iter()
                .map(|r| dream_schema::Latent::to_batch(std::slice::from_ref(r)))
                .collect(),
        ] {
            let said = write_vectors(&other, batches).unwrap_err().to_string();
            assert!(said.contains("[4, 3, 2]") && said.contains("one run"), "{said}");
        }
        assert!(!other.path.exists());
    }

    #[test]
    fn checkpoints_survive_and_are_checked() {
        let dir = tempfile::tempdir().unwrap();
        let made = Target::new(dir.path().join("a.safetensors"));
        write_vectors(&made, [Feature::to_batch(&features(2))]).unwrap();
        let (bytes, entries) = read_checkpoint(&made.path).unwrap();
        assert_eq!(entries[2].name, "vector");
        assert_eq!(
            (entries[2].dtype.as_str(), &entries[2].shape[..]),
            ("F32", &[2, 3][..])
        );
        let copy = Target::new(dir.path().join("b.safetensors"));
        assert_eq!(write_checkpoint(&copy, &bytes).unwrap(), entries);
        assert_eq!(fs::read(&copy.path).unwrap(), bytes);
        let cut = Target::new(dir.path().join("c.safetensors"));
        let err = write_checkpoint(&cut, &bytes[..bytes.len() - 1])
            .unwrap_err()
            .to_string();
        assert!(
            err.contains("c.safetensors") && err.contains("whole safetensors"),
            "{err}"
        );
        assert!(!cut.path.exists());
    }

    #[test]
    fn a_file_of_the_python_library_is_read() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/exchange/vectors.safetensors");
        let read = read_vectors(&path).unwrap();
        assert_eq!((read.shape, read.class_ids), (vec![3, 4], None));
        assert_eq!(
            read.flat,
            (0..12).map(|i| i as f32 * 0.5 - 2.0).collect::<Vec<_>>()
        );
    }

    #[test]
    fn other_floats_are_converted_and_integers_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.safetensors");
        let write = |dtype, bytes: &[u8]| {
            let view = ::safetensors::tensor::TensorView::new(dtype, vec![1, 2], bytes).unwrap();
            fs::write(&path, ::safetensors::serialize([("x", view)], None).unwrap()).unwrap();
            read_vectors(&path)
        };
        let f16s: Vec<u8> = [0.5, -2.0]
            .iter()
            .flat_map(|v| half::f16::from_f32(*v).to_le_bytes())
            .collect();
        assert_eq!(write(Dtype::F16, &f16s).unwrap().flat, [0.5, -2.0]);
        let f64s: Vec<u8> = [0.1_f64, 3.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(write(Dtype::F64, &f64s).unwrap().flat, [0.1, 3.0]);
        let err = write(Dtype::I64, &[0; 16]).unwrap_err().to_string();
        assert!(err.contains("I64"), "{err}");
    }
}
