//! Takes in features or outlier vectors that another program made, as a run of their own that later stages
//! read.

use std::collections::BTreeMap;
use std::path::Path;

use dream_schema::{ClassEmbedding, Feature, Outlier, Run, RunId, RunSpec, Table};
use serde_json::json;

use super::{Context, Role, StageError, embed, input};
use crate::exchange::{FromVector, NpyVectors, ParquetRows, rows_from_vectors};
use crate::store::{Begun, Readable};

/// Name under which imports stand among the stages.
pub const NAME: &str = "import";
const VERSION: u32 = 1;

/// Stores the vectors of `file` as `features` or `outliers` of the classes of the run `embeddings`. Parquet
/// as we export it keeps its other columns; an `.npy` file of `[classes, n, m]` or `[classes, m]` has none:
/// anchor and round become -1, the k-NN distance NaN. The run is named by the file's contents, so importing
/// it again is harmless.
///
/// # Errors
/// If the file cannot be read, or its classes or widths are not those of the embeddings.
pub fn import(ctx: &Context<'_>, table: Table, file: &Path, embeddings: RunId) -> Result<Run, StageError> {
    let wrong = |message: String| StageError::File {
        path: file.to_owned(),
        message,
    };
    let import = match table {
        Table::Features => store::<Feature>,
        Table::Outliers => store::<Outlier>,
        Table::ClassEmbeddings
        | Table::Latents
        | Table::Images
        | Table::Checkpoints
        | Table::Scores
        | Table::Metrics
        | Table::Activations => {
            let message = format!("cannot be imported as {table}; features and outliers can");
            return Err(wrong(message));
        }
    };
    let mut hasher = blake3::Hasher::new();
    std::fs::File::open(file)
        .and_then(|f| hasher.update_reader(f).map(|_| ()))
        .map_err(|e| wrong(e.to_string()))?;
    let spec = RunSpec {
        stage: NAME.into(),
        stage_version: VERSION,
        params: json!({ "table": table.name() }),
        seed: 0,
        inputs: vec![input(
            ctx.store,
            &Role::Embeddings.to_string(),
            embeddings,
            &[embed::NAME],
        )?],
        sources: BTreeMap::from([(Role::File.to_string(), hasher.finalize().to_hex().to_string())]),
        source_names: Default::default(),
    };
    let classes: Vec<ClassEmbedding> = ctx.store.rows(embeddings, None)?;
    let rows = Rows {
        file,
        classes: &classes,
    };
    import(ctx, &spec, &rows)
}

fn store<A: Checked>(ctx: &Context<'_>, spec: &RunSpec, rows: &Rows<'_>) -> Result<Run, StageError> {
    // Read before the run is begun: a file that is refused leaves no run behind.
    let rows = rows.read::<A>()?;
    let run = match ctx.store.begin(spec, &ctx.stamp())? {
        Begun::Finished(run) => return Ok(run),
        Begun::Resumed(run) | Begun::New(run) => run,
    };
    ctx.store.put(run.id, &rows)?;
    Ok(ctx.store.finish(run.id, (ctx.now)())?)
}

/// A row with a class and a vector, both to be checked.
trait Checked: FromVector {
    fn class_and_vector(&self) -> (u32, &str, &[f32]);
}

impl Checked for Feature {
    fn class_and_vector(&self) -> (u32, &str, &[f32]) {
        (self.class_id, &self.class_name, &self.vector)
    }
}

impl Checked for Outlier {
    fn class_and_vector(&self) -> (u32, &str, &[f32]) {
        (self.class_id, &self.class_name, &self.vector)
    }
}

struct Rows<'a> {
    file: &'a Path,
    classes: &'a [ClassEmbedding],
}

impl Rows<'_> {
    fn wrong(&self, message: String) -> StageError {
        StageError::File {
            path: self.file.to_owned(),
            message,
        }
    }

    fn read<A: Checked>(&self) -> Result<Vec<A>, StageError> {
        let rows = match self.file.extension().and_then(|e| e.to_str()) {
            Some("parquet") => self.parquet::<A>()?,
            Some("npy") => self.npy::<A>()?,
            _ => return Err(self.wrong("expected a .parquet or .npy file".into())),
        };
        let width = self.classes.first().map_or(0, |c| c.vector.len());
        for (number, row) in rows.iter().enumerate() {
            let (id, name, vector) = row.class_and_vector();
            if !self
                .classes
                .iter()
                .any(|c| (c.class_id, c.class_name.as_str()) == (id, name))
            {
                return Err(self.wrong(format!(
                    "row {number} is of class {id} `{name}`, which the embeddings do not have"
                )));
            }
            if vector.len() != width {
                let found = vector.len();
                return Err(self.wrong(format!(
                    "row {number} is {found} wide, the class embeddings are {width}"
                )));
            }
            if let Some(place) = vector.iter().position(|v| !v.is_finite()) {
                return Err(self.wrong(format!(
                    "row {number} (class `{name}`) has {} at {place}",
                    vector[place]
                )));
            }
        }
        Ok(rows)
    }

    fn parquet<A: Checked>(&self) -> Result<Vec<A>, StageError> {
        let mut rows = Vec::new();
        for batch in ParquetRows::open(self.file, A::TABLE)? {
            rows.extend(A::from_batch(&batch?)?);
        }
        Ok(rows)
    }

    fn npy<A: Checked>(&self) -> Result<Vec<A>, StageError> {
        let vectors = NpyVectors::open(self.file)?;
        if vectors.classes() != self.classes.len() {
            let (found, expected) = (vectors.classes(), self.classes.len());
            return Err(self.wrong(format!(
                "the array has {found} classes, the embeddings have {expected}"
            )));
        }
        let width = vectors.width();
        let mut rows = Vec::new();
        for (class, flat) in self.classes.iter().zip(vectors) {
            rows.extend(rows_from_vectors::<A>(
                class.class_id,
                &class.class_name,
                &flat?,
                width,
            ));
        }
        Ok(rows)
    }
}
