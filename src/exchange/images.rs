//! Pictures as a directory: `CLASS/000007.png`, and `metadata.csv` with the other columns.
//!
//! This is the layout that Hugging Face's `imagefolder` and torchvision's `ImageFolder` read. The directory
//! is written beside its target and renamed at the end. Rows of more than one run would claim the same names
//! and are refused.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use dream_schema::{Artifact, Image};
use tempfile::TempDir;

use super::atomic::folder_beside;
use super::csv::CsvWriter;
use super::{BoxError, ExchangeError, Target, earlier};

/// The name of the table beside the pictures.
pub const METADATA: &str = "metadata.csv";

/// Writes rows of the table `images` as a directory of PNG files and returns their number.
///
/// With [`Target::overwrite`], a directory that is such an export and nothing else is replaced as a whole;
/// any other is refused.
///
/// # Errors
/// If the batches are not rows of `images`, if two rows have the same class and index, if the rows cannot be
/// had, or if the directory cannot be written or is there already.
pub fn write_images<E: Into<BoxError>>(
    target: &Target,
    schema: &Schema,
    batches: impl IntoIterator<Item = Result<RecordBatch, E>>,
) -> Result<u64, ExchangeError> {
    check(target)?;
    let temporary = folder_beside(&target.path)?;
    let rows = write_all(temporary.path(), schema, batches)?;
    place(temporary, target)?;
    Ok(rows)
}

/// Refuses a target that is there, unless it is an export of ours that may be replaced.
fn check(target: &Target) -> Result<(), ExchangeError> {
    target.check()?;
    let path = &target.path;
    match path.symlink_metadata().is_ok() {
        true => earlier::check(path),
        false => Ok(()),
    }
}

fn place(temporary: TempDir, target: &Target) -> Result<(), ExchangeError> {
    check(target)?;
    let path = &target.path;
    let io = |source| ExchangeError::io(path)(source);
    if path.symlink_metadata().is_err() {
        fs::rename(temporary.path(), path).map_err(io)?;
    } else {
        // A directory cannot be renamed over a full one: the old one steps aside and is removed last.
        let aside = folder_beside(path)?;
        fs::rename(path, aside.path()).map_err(io)?;
        if let Err(error) = fs::rename(temporary.path(), path) {
            // Not removed: it is all that there is.
            let _kept = aside.keep();
            return Err(io(error));
        }
        aside.close().map_err(io)?;
    }
    // It is no longer there to be removed.
    let _placed = temporary.keep();
    Ok(())
}

fn write_all<E: Into<BoxError>>(
    root: &Path,
    schema: &Schema,
    batches: impl IntoIterator<Item = Result<RecordBatch, E>>,
) -> Result<u64, ExchangeError> {
    let table = root.join(METADATA);
    let file = File::create_new(&table).map_err(ExchangeError::io(&table))?;
    let others: Vec<usize> = (0..schema.fields().len())
        .filter(|i| schema.field(*i).data_type() != &DataType::Binary)
        .collect();
    let schema = with_file_name(&schema.project(&others)?);
    let mut writer = CsvWriter::new(BufWriter::new(file), &schema)?;
    let mut names = Names::default();
    for batch in batches {
        let batch = batch.map_err(|e| ExchangeError::Source(e.into()))?;
        let files = write_batch(root, &batch, &mut names)?;
        let mut columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from(files))];
        columns.extend(batch.project(&others)?.columns().iter().cloned());
        writer.write(&RecordBatch::try_new(schema.clone(), columns)?)?;
    }
    writer.finish()
}

fn with_file_name(schema: &Schema) -> SchemaRef {
    let mut fields = vec![Arc::new(Field::new("file_name", DataType::Utf8, true))];
    fields.extend(schema.fields().iter().cloned());
    Arc::new(Schema::new(fields))
}

/// Writes the pictures of a batch and returns their names below `root`.
fn write_batch(root: &Path, batch: &RecordBatch, names: &mut Names) -> Result<Vec<String>, ExchangeError> {
    let runs = batch.column_by_name("run").and_then(|c| c.as_string_opt::<i32>());
    let mut files = Vec::with_capacity(batch.num_rows());
    for (row, image) in Image::from_batch(batch)?.into_iter().enumerate() {
        names.same_run(runs.map_or("", |runs| runs.value(row)))?;
        let (directory, new) = names.directory(image.class_id, &image.class_name);
        if new {
            let path = root.join(&directory);
            fs::create_dir(&path).map_err(ExchangeError::io(&path))?;
        }
        let name = format!("{directory}/{:06}.png", image.index);
        let path: PathBuf = root.join(&name);
        if path.exists() {
            let what = format!("two rows have class {} and index {}", image.class_id, image.index);
            let hint = "export one run at a time";
            return Err(ExchangeError::Layout { what, hint });
        }
        fs::write(&path, &image.png).map_err(ExchangeError::io(&path))?;
        files.push(name);
    }
    Ok(files)
}

/// The directories of the classes, and the run that they are of.
#[derive(Default)]
struct Names {
    run: Option<String>,
    directories: HashMap<u32, String>,
    taken: HashSet<String>,
}

impl Names {
    fn same_run(&mut self, run: &str) -> Result<(), ExchangeError> {
        let first = self.run.get_or_insert_with(|| run.to_owned());
        if first != run {
            let what = format!("the pictures are of the runs {first} and {run}");
            let hint = "export one run at a time";
            return Err(ExchangeError::Layout { what, hint });
        }
        Ok(())
    }

    /// Returns the directory of a class, and whether it is still to be made.
    fn directory(&mut self, class_id: u32, class_name: &str) -> (String, bool) {
        if let Some(directory) = self.directories.get(&class_id) {
            return (directory.clone(), false);
        }
        let mut directory = file_name(class_name);
        // Compared without case, as some file systems do.
        if directory.is_empty() || self.taken.contains(&directory.to_lowercase()) {
            directory = format!("{directory}-{class_id}");
        }
        self.taken.insert(directory.to_lowercase());
        self.directories.insert(class_id, directory.clone());
        (directory, true)
    }
}

/// Returns a name as one part of a path: separators and what no file system takes become `_`, dots at the
/// ends go.
fn file_name(name: &str) -> String {
    let safe = |c: char| {
        if c.is_control() || r#"/\:*?"<>|"#.contains(c) {
            '_'
        } else {
            c
        }
    };
    let name: String = name.chars().take(100).map(safe).collect();
    name.trim_matches(|c: char| c == '.' || c.is_whitespace())
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bitmap::Bitmap;
    use crate::exchange::{decode_png, encode_png};
    use dream_schema::{RunId, with_run};

    fn image(class_id: u32, class_name: &str, index: u64) -> Image {
        let bitmap = Bitmap {
            width: 1,
            height: 1,
            rgb: vec![class_id as u8, index as u8, 0],
        };
        let png = encode_png(&bitmap, &[]).unwrap();
        Image {
            class_id,
            class_name: class_name.into(),
            index,
            outlier: (index > 0).then_some(9),
            width: 1,
            height: 1,
            blake3: "00".into(),
            png,
        }
    }

    fn write(target: &Target, batches: &[(u8, &[Image])]) -> Result<u64, ExchangeError> {
        let batches = batches
            .iter()
            .map(|(run, rows)| with_run(RunId([*run; 16]), &Image::to_batch(rows).unwrap()));
        write_images(target, &dream_schema::with_run_schema(&Image::schema(0)), batches)
    }

    #[test]
    fn pictures_and_their_table() {
        let dir = tempfile::tempdir().unwrap();
        let target = Target::new(dir.path().join("out"));
        let rows = [
            image(0, "maple tree", 0),
            image(0, "maple tree", 1),
            image(1, "../etc", 0),
            image(2, "Maple Tree", 0),
        ];
        assert_eq!(write(&target, &[(1, &rows[..2]), (1, &rows[2..])]).unwrap(), 4);
        for (name, rgb) in [
            ("maple tree/000000.png", [0, 0, 0]),
            ("maple tree/000001.png", [0, 1, 0]),
            ("_etc/000000.png", [1, 0, 0]),
            ("Maple Tree-2/000000.png", [2, 0, 0]),
        ] {
            let bytes = fs::read(target.path.join(name)).unwrap();
            assert_eq!(decode_png(&bytes).unwrap().bitmap.rgb, rgb, "{name}");
        }
        let table = fs::read_to_string(target.path.join(METADATA)).unwrap();
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(
            lines[0],
            "file_name,run,class_id,class_name,index,outlier,width,height,blake3"
        );
        let run = "01".repeat(16);
        assert_eq!(
            lines[1],
            format!("maple tree/000000.png,{run},0,maple tree,0,,1,1,00")
        );
        assert_eq!(lines.len(), 5);
    }

    #[test]
    fn two_runs_and_strangers_directories_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let target = Target::new(dir.path().join("out"));
        let rows = [image(0, "a", 0)];
        let err = write(&target, &[(1, &rows), (2, &rows)]).unwrap_err().to_string();
        assert!(err.contains("one run at a time"), "{err}");
        let err = write(&target, &[(1, &rows), (1, &rows)]).unwrap_err().to_string();
        assert!(err.contains("two rows"), "{err}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);

        fs::create_dir(&target.path).unwrap();
        fs::write(target.path.join("mine.txt"), "precious").unwrap();
        let over = target.clone().overwrite(true);
        assert!(matches!(
            write(&target, &[(1, &rows)]),
            Err(ExchangeError::Exists { .. })
        ));
        assert!(matches!(
            write(&over, &[(1, &rows)]),
            Err(ExchangeError::NotAnExport { .. })
        ));
        assert!(target.path.join("mine.txt").exists());
        // Somebody's own pictures, with labels as Hugging Face reads them.
        fs::write(target.path.join("metadata.csv"), "file_name,label\nmine.txt,1\n").unwrap();
        let said = write(&over, &[(1, &rows)]).unwrap_err().to_string();
        assert!(said.contains("is not that of an export"), "{said}");
        fs::remove_file(target.path.join("metadata.csv")).unwrap();

        fs::remove_file(target.path.join("mine.txt")).unwrap();
        fs::remove_dir(&target.path).unwrap();
        write(&target, &[(1, &rows)]).unwrap();
        write(&over, &[(1, &[image(5, "b", 0)])]).unwrap();
        assert!(target.path.join("b/000000.png").exists() && !target.path.join("a").exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        // What somebody added to an export stays.
        fs::create_dir(target.path.join("b/notes")).unwrap();
        fs::write(target.path.join("b/notes/mine.txt"), "precious").unwrap();
        let said = write(&over, &[(1, &rows)]).unwrap_err().to_string();
        assert!(said.contains("`b/notes/mine.txt`"), "{said}");
        assert!(target.path.join("b/notes/mine.txt").exists());
    }
}
