//! Takes in features or outlier vectors that another program made, as a run of their own that later stages read.

use std::collections::BTreeMap;
use std::path::Path;

use dream_schema::{Artifact, ClassEmbedding, Feature, Outlier, OutlierKind, Run, RunId, RunSpec, Table};
use serde_json::json;

use super::{Context, StageError, embed, input};
use crate::exchange::{NpyVectors, ParquetRows};
use crate::store::Begun;

/// Name under which imports stand among the stages.
pub const NAME: &str = "import";
const VERSION: u32 = 1;

/// Stores the vectors of `file` as `features` or `outliers` of the classes of the run `embeddings`. Parquet as we export it keeps
/// its other columns; an `.npy` file of `[classes, n, m]` or `[classes, m]` has none: anchor and round become -1, the k-NN distance
/// NaN. The run is named by the file's contents, so importing it again is harmless.
///
/// # Errors
/// If the file cannot be read, or its classes or widths are not those of the embeddings.
pub fn import(ctx: &Context<'_>, table: Table, file: &Path, embeddings: RunId) -> Result<Run, StageError> {
    let wrong = |message: String| StageError::File { path: file.to_owned(), message };
    if !matches!(table, Table::Features | Table::Outliers) {
        return Err(wrong(format!("cannot be imported as {table}; features and outliers can")));
    }
    let mut hasher = blake3::Hasher::new();
    std::fs::File::open(file).and_then(|f| hasher.update_reader(f).map(|_| ())).map_err(|e| wrong(e.to_string()))?;
    let spec = RunSpec {
        stage: NAME.into(),
        stage_version: VERSION,
        params: json!({ "table": table.name() }),
        seed: 0,
        inputs: vec![input(ctx.store, "embeddings", embeddings, &[embed::NAME])?],
        sources: BTreeMap::from([("file".to_owned(), hasher.finalize().to_hex().to_string())]),
    };
    let classes: Vec<ClassEmbedding> = ctx.store.rows(embeddings, None)?;
    let rows = Rows { file, classes: &classes };
    // Read before the run is begun: a file that is refused leaves no run behind.
    let run = match table {
        Table::Features => store(ctx, &spec, rows.read::<Feature>()?)?,
        _ => store(ctx, &spec, rows.read::<Outlier>()?)?,
    };
    Ok(run)
}

fn store<A: Artifact>(ctx: &Context<'_>, spec: &RunSpec, rows: Vec<A>) -> Result<Run, StageError> {
    let run = match ctx.store.begin(spec, &ctx.stamp())? {
        Begun::Finished(run) => return Ok(run),
        Begun::Resumed(run) | Begun::New(run) => run,
    };
    ctx.store.put(run.id, &rows)?;
    Ok(ctx.store.finish(run.id, (ctx.now)())?)
}

/// A row that a bare vector can become.
trait FromVector: Artifact {
    fn from_vector(class: &ClassEmbedding, index: u64, vector: Vec<f32>) -> Self;
    fn vector(&self) -> &[f32];
    fn class(&self) -> (u32, &str);
}

impl FromVector for Feature {
    fn from_vector(class: &ClassEmbedding, index: u64, vector: Vec<f32>) -> Self {
        let (class_id, class_name) = (class.class_id, class.class_name.clone());
        Self { class_id, class_name, index, vector, split: "imported".into(), sample: -1 }
    }

    fn vector(&self) -> &[f32] {
        &self.vector
    }

    fn class(&self) -> (u32, &str) {
        (self.class_id, &self.class_name)
    }
}

impl FromVector for Outlier {
    fn from_vector(class: &ClassEmbedding, index: u64, vector: Vec<f32>) -> Self {
        let (class_id, class_name) = (class.class_id, class.class_name.clone());
        let kind = OutlierKind::Outlier;
        Self { class_id, class_name, index, kind, vector, anchor: -1, round: -1, knn_distance: f32::NAN }
    }

    fn vector(&self) -> &[f32] {
        &self.vector
    }

    fn class(&self) -> (u32, &str) {
        (self.class_id, &self.class_name)
    }
}

struct Rows<'a> {
    file: &'a Path,
    classes: &'a [ClassEmbedding],
}

impl Rows<'_> {
    fn wrong(&self, message: String) -> StageError {
        StageError::File { path: self.file.to_owned(), message }
    }

    fn read<A: FromVector>(&self) -> Result<Vec<A>, StageError> {
        let rows = match self.file.extension().and_then(|e| e.to_str()) {
            Some("parquet") => self.parquet::<A>()?,
            Some("npy") => self.npy::<A>()?,
            _ => return Err(self.wrong("expected a .parquet or .npy file".into())),
        };
        let width = self.classes.first().map_or(0, |c| c.vector.len());
        for (number, row) in rows.iter().enumerate() {
            let (id, name) = row.class();
            if !self.classes.iter().any(|c| (c.class_id, c.class_name.as_str()) == (id, name)) {
                return Err(self.wrong(format!("row {number} is of class {id} `{name}`, which the embeddings do not have")));
            }
            if row.vector().len() != width {
                let found = row.vector().len();
                return Err(self.wrong(format!("row {number} is {found} wide, the class embeddings are {width}")));
            }
            if let Some(place) = row.vector().iter().position(|v| !v.is_finite()) {
                return Err(self.wrong(format!("row {number} (class `{name}`) has {} at {place}", row.vector()[place])));
            }
        }
        Ok(rows)
    }

    fn parquet<A: FromVector>(&self) -> Result<Vec<A>, StageError> {
        let mut rows = Vec::new();
        for batch in ParquetRows::open(self.file, A::TABLE)? {
            rows.extend(A::from_batch(&batch?)?);
        }
        Ok(rows)
    }

    fn npy<A: FromVector>(&self) -> Result<Vec<A>, StageError> {
        let vectors = NpyVectors::open(self.file)?;
        if vectors.classes() != self.classes.len() {
            let (found, expected) = (vectors.classes(), self.classes.len());
            return Err(self.wrong(format!("the array has {found} classes, the embeddings have {expected}")));
        }
        let width = vectors.width();
        let mut rows = Vec::new();
        for (class, flat) in self.classes.iter().zip(vectors) {
            let of_class = flat?;
            let vectors = of_class.chunks_exact(width).enumerate();
            rows.extend(vectors.map(|(i, v)| A::from_vector(class, i as u64, v.to_vec())));
        }
        Ok(rows)
    }
}
