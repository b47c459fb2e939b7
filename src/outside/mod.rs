//! Every reader of bytes from outside behind one face, for the tests and fuzz targets that hand them
//! anything: each must answer with a value or an error, whatever it is given, and ask for no more memory than
//! the bytes justify. Not part of the library's interface.
//!
//! `tests/outside/` mutates small valid files by the thousand; `fuzz/` hands the same readers to libFuzzer. A
//! new reader is a line in [`READERS`], valid files in `tests/outside/seeds.rs` and a file in
//! `fuzz/fuzz_targets/`.

mod images;

use std::io::{Cursor, Write};
use std::path::Path;

use ::zip::write::SimpleFileOptions;
use ::zip::{CompressionMethod, ZipWriter};
use candle_core::Device;
use dream_schema::{Artifact, Outlier, Table, TableVisitor};

use crate::exchange::records::{Records, conform};
use crate::exchange::{ArrayFile, NpyVectors, ParquetRows, safetensors};
use crate::pickle::Pickle;
use crate::stage::classes::read_classes;
use crate::stage::import::{Question, Rows, ScoresOf, check_scores, saved_sets};
use crate::stage::pipeline::Preset;
use crate::{content, nn, store};

/// Numbers that are read at once.
const PART: usize = 1 << 16;

/// What came of reading: what was read is dropped, an error is its text.
pub type Outcome = Result<(), String>;

/// A reader of files.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    /// Its name, and that of its fuzz target.
    pub name: &'static str,
    /// How the name of its files ends, for readers that go by it.
    pub extension: &'static str,
    /// Reads a file whole.
    pub read: fn(&Path) -> Outcome,
}

macro_rules! readers {
    ($($name:literal $extension:literal $read:path;)*) => {
        /// All readers.
        pub const READERS: &[Reader] = &[
            $(Reader { name: $name, extension: $extension, read: $read }),*
        ];
    };
}

readers! {
    "archive" "bin" images::set;
    "arrays" "npz" arrays;
    "block" "bin" block;
    "cifar_binary" "bin" images::cifar_binary;
    "cifar_python" "pkl" images::cifar_python;
    "classes" "tsv" class_table;
    "content" "bin" first_bytes;
    "csv" "csv" records;
    "downsampled" "pkl" images::downsampled;
    "idx" "bin" images::idx;
    "image_arrays" "npz" images::set;
    "image_arrow" "arrow" images::set;
    "image_list" "txt" images::list;
    "image_parquet" "parquet" images::set;
    "matlab" "mat" images::set;
    "npy" "npy" npy;
    "parquet" "parquet" parquet;
    "pickle" "pkl" pickle;
    "picture" "bin" images::picture;
    "preset" "toml" preset;
    "record" "bin" record;
    "records" "parquet" records;
    "safetensors" "safetensors" vectors;
    "saved_scores" "pkl" saved_scores;
    "state" "pth" state;
    "store" "redb" whole_store;
    "torch_pickle" "pkl" torch_pickle;
}

impl Reader {
    /// Returns the reader of that name.
    pub fn named(name: &str) -> Option<Self> {
        READERS.iter().find(|reader| reader.name == name).copied()
    }

    /// Reads bytes as a file in `folder`.
    ///
    /// # Errors
    /// The reader's, or that of the file system.
    pub fn read_bytes(&self, folder: &Path, bytes: &[u8]) -> Outcome {
        let path = folder.join("input").with_extension(self.extension);
        std::fs::write(&path, bytes).map_err(text)?;
        (self.read)(&path)
    }
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(text)
}

/// Arrays of numbers in any file: `.npy`, `.npz`, pickles, files of tensors.
fn arrays(path: &Path) -> Outcome {
    let file = ArrayFile::open(path).map_err(text)?;
    for array in file.arrays().iter().filter(|array| array.is_of_floats()) {
        let mut numbers = file.numbers(array).map_err(text)?;
        let mut left: usize = array.shape.iter().product();
        let mut part = vec![0.0; left.min(PART)];
        while left > 0 {
            let part = &mut part[..left.min(PART)];
            numbers.fill(part).map_err(text)?;
            left -= part.len();
        }
    }
    for rows in [1, 2, 3] {
        // Labels may be of another number of rows.
        let _ = file.column(&["labels", "index"], rows);
    }
    Ok(())
}

/// Tables of vectors in Parquet or CSV.
fn records(path: &Path) -> Outcome {
    for batch in Records::open(path).map_err(text)? {
        conform::<Outlier>(path, &batch.map_err(text)?, 0).map_err(text)?;
    }
    Ok(())
}

fn class_table(path: &Path) -> Outcome {
    read_classes(path).map(drop).map_err(text)
}

fn first_bytes(path: &Path) -> Outcome {
    let _ = content::Content::at(path).map_err(text)?.to_string();
    Ok(())
}

fn npy(path: &Path) -> Outcome {
    for class in NpyVectors::open(path).map_err(text)? {
        class.map_err(text)?;
    }
    Ok(())
}

fn parquet(path: &Path) -> Outcome {
    struct Rows<'a>(&'a Path);

    impl TableVisitor for Rows<'_> {
        type Output = Outcome;

        fn visit<A: Artifact>(self) -> Outcome {
            for batch in ParquetRows::open(self.0, A::TABLE).map_err(text)? {
                A::from_batch(&batch.map_err(text)?).map_err(text)?;
            }
            Ok(())
        }
    }

    let read = Table::ALL.map(|table| table.visit(Rows(path)));
    read.into_iter().reduce(Outcome::or).unwrap_or(Ok(()))
}

fn pickle(path: &Path) -> Outcome {
    let bytes = bytes(path)?;
    let pickle = Pickle::parse(&bytes).map_err(text)?;
    let root = pickle.root();
    let _ = (root.text(), root.get("a"), root.items().map(Iterator::count));
    Ok(())
}

fn preset(path: &Path) -> Outcome {
    Preset::read(path).map(drop).map_err(text)
}

fn vectors(path: &Path) -> Outcome {
    safetensors::read_vectors(path).map(drop).map_err(text)
}

/// The scores of several sets in a pickle.
fn saved_scores(path: &Path) -> Outcome {
    let found = saved_sets(path).map_err(text)?;
    let found = found.ok_or_else(|| "a file of something else".to_owned())?;
    found.sets.iter().try_for_each(|set| {
        let rows = Rows::Scores(ScoresOf {
            dataset: "set",
            split: "test",
            score: "score",
            network: None,
            member: Some(&set.member),
        });
        check_scores(&Question { file: path, rows }).map_err(text)
    })
}

fn state(path: &Path) -> Outcome {
    nn::read_state(path, &Device::Cpu).map(drop).map_err(text)
}

/// The pickle within a file of PyTorch's, which has 64 numbers beside it. In the file itself a checksum keeps
/// changes from the reader.
fn torch_pickle(path: &Path) -> Outcome {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in [("a/data.pkl", bytes(path)?), ("a/data/0", vec![0; 256])] {
        zip.start_file(name, stored).map_err(text)?;
        zip.write_all(&bytes).map_err(text)?;
    }
    let whole = path.with_extension("pth");
    std::fs::write(&whole, zip.finish().map_err(text)?.into_inner()).map_err(text)?;
    state(&whole)
}

fn block(path: &Path) -> Outcome {
    store::outside::block(&bytes(path)?)
}

fn record(path: &Path) -> Outcome {
    store::outside::record(&bytes(path)?)
}

fn whole_store(path: &Path) -> Outcome {
    store::outside::store(path).map_err(text)
}

/// Returns valid files of the readers of what a store is made of; they are written in `folder`.
///
/// # Errors
/// If the disk fails.
pub fn stored(reader: &str, folder: &Path) -> Result<Vec<Vec<u8>>, String> {
    store::outside::valid(reader, folder).map_err(text)
}
