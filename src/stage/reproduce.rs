//! Executes a run again, aside, and compares what comes out with what is stored.

use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use candle_core::{DType, Device, Tensor};
use dream_schema::{Artifact, Checkpoint, Image, Run, RunId, Table, TableVisitor};

use super::{Context, StageError, lineage, regenerate::Difference};
use crate::exchange;
use crate::nn::{State, from_safetensors};
use crate::store::{Projection, Readable, Stamp, Store};

/// What a second execution gave.
#[derive(Clone, Debug)]
pub struct Reproduction {
    /// The stored run.
    pub stored: Run,
    /// The digest of the second execution.
    pub digest: String,
    /// How close the two are, table by table; empty if the digests are equal.
    pub tables: Vec<Closeness>,
}

/// How close two executions came in one table.
#[derive(Clone, Debug)]
pub struct Closeness {
    /// The table.
    pub table: Table,
    /// Rows of the stored run.
    pub rows: u64,
    /// Rows that are the same, bit for bit.
    pub equal: u64,
    /// The largest difference of a number (of pictures: grey levels of 255).
    pub largest: f64,
    /// Of pictures: the smallest peak signal-to-noise ratio in dB.
    pub psnr: Option<f64>,
}

impl Reproduction {
    /// Says whether the two are the same, bit for bit.
    pub fn is_equal(&self) -> bool {
        self.stored.digest.as_deref() == Some(self.digest.as_str())
    }
}

/// Executes the run `id` again in a store of its own at `aside`, from copies of its inputs, and compares.
///
/// # Errors
/// If the run is not finished, its inputs or sources are not at hand, or the stage fails.
pub fn reproduce(ctx: &Context<'_>, id: RunId, aside: &Path) -> Result<Reproduction, StageError> {
    let stored = ctx.store.run(id)?;
    super::input(ctx.store, "run", id, super::STAGES)?;
    // Before anything is copied.
    super::stage_of(&stored)?;
    for (role, digest) in &stored.spec.sources {
        let name = stored.spec.source_names.get(role).map(String::as_str);
        super::source::with_digest(ctx.store, role, digest, name)?;
    }
    let second = Store::create(aside)?;
    for dataset in ctx.store.datasets()? {
        second.copy_dataset(&dataset)?;
    }
    for run in lineage::ancestors(ctx.store, id)?
        .iter()
        .filter(|run| run.id != id)
    {
        copy(ctx.store, &second, run)?;
    }
    let again = Context {
        store: &second,
        f32_stands_in: true,
        ..*ctx
    };
    let (run, _) = super::run(&again, &stored.spec)?;
    let digest = run.digest.unwrap_or_default();
    let tables = if stored.digest.as_deref() == Some(digest.as_str()) {
        Vec::new()
    } else {
        Table::ALL
            .into_iter()
            .filter_map(|t| closeness(ctx.store, &second, id, t).transpose())
            .collect::<Result<_, _>>()?
    };
    Ok(Reproduction {
        stored,
        digest,
        tables,
    })
}

/// Copies a finished run into another store, part by part.
fn copy(from: &Store, to: &Store, run: &Run) -> Result<(), StageError> {
    to.begin(&run.spec, &Stamp::of(run))?;
    for checkpoint in from.rows::<Checkpoint>(run.id, None)? {
        to.put_blob(&from.blob(&checkpoint.blob)?)?;
    }
    for table in Table::ALL {
        let run = run.id;
        table.visit(Copy { from, to, run })?;
    }
    to.finish(run.id, run.finished_at.unwrap_or(run.started_at))?;
    Ok(())
}

/// Copies the rows of a run in one table.
struct Copy<'a> {
    from: &'a Store,
    to: &'a Store,
    run: RunId,
}

impl TableVisitor for Copy<'_> {
    type Output = Result<(), StageError>;

    fn visit<A: Artifact>(self) -> Self::Output {
        for part in self.from.parts(self.run, A::TABLE)? {
            self.to
                .put(self.run, &self.from.rows::<A>(self.run, Some(part))?)?;
        }
        Ok(())
    }
}

/// Compares one table of a run in two stores; none if both are empty.
fn closeness(
    first: &Store,
    second: &Store,
    run: RunId,
    table: Table,
) -> Result<Option<Closeness>, StageError> {
    let rows = first.count(run, table)?;
    let mut found = Closeness {
        table,
        rows,
        equal: 0,
        largest: 0.0,
        psnr: None,
    };
    let mut parts = first.parts(run, table)?;
    parts.extend(second.parts(run, table)?);
    parts.sort_unstable();
    parts.dedup();
    for part in &parts {
        let (Some(a), Some(b)) = (
            whole(first, run, table, *part)?,
            whole(second, run, table, *part)?,
        ) else {
            found.largest = f64::INFINITY;
            continue;
        };
        if a.num_rows() != b.num_rows() {
            found.largest = f64::INFINITY;
            continue;
        }
        found.equal += (0..a.num_rows())
            .filter(|row| a.slice(*row, 1) == b.slice(*row, 1))
            .count() as u64;
        if table == Table::Images {
            pictures(&a, &b, &mut found)?;
        } else if table == Table::Checkpoints {
            checkpoints([(first, &a), (second, &b)], &mut found)?;
        } else {
            let columns = a.columns().iter().zip(b.columns());
            found.largest = columns
                .map(|(a, b)| largest(a.as_ref(), b.as_ref()))
                .fold(found.largest, f64::max);
        }
    }
    Ok((!parts.is_empty()).then_some(found))
}

/// Returns all rows of a part as one batch.
fn whole(store: &Store, run: RunId, table: Table, part: u32) -> Result<Option<RecordBatch>, StageError> {
    let batches = store
        .blocks(table, Some(run), Some(part), &Projection::All)?
        .map(|b| Ok(b?.1))
        .collect::<Result<Vec<_>, StageError>>()?;
    let Some(first) = batches.first() else {
        return Ok(None);
    };
    Ok(Some(
        concat_batches(&first.schema(), &batches).map_err(dream_schema::SchemaError::from)?,
    ))
}

/// Returns the largest difference of two columns of floating-point numbers; 0 for other columns.
fn largest(a: &dyn Array, b: &dyn Array) -> f64 {
    let far = |x: f64, y: f64| {
        if x.to_bits() == y.to_bits() {
            0.0
        } else {
            (x - y).abs()
        }
    };
    match (a.data_type(), b.data_type()) {
        (DataType::Float32, DataType::Float32) => {
            let (a, b) = (a.as_primitive::<Float32Type>(), b.as_primitive::<Float32Type>());
            a.values()
                .iter()
                .zip(b.values())
                .map(|(x, y)| far(f64::from(*x), f64::from(*y)))
                .fold(0.0, f64::max)
        }
        (DataType::Float64, DataType::Float64) => {
            let (a, b) = (a.as_primitive::<Float64Type>(), b.as_primitive::<Float64Type>());
            a.values()
                .iter()
                .zip(b.values())
                .map(|(x, y)| far(*x, *y))
                .fold(0.0, f64::max)
        }
        (DataType::FixedSizeList(..), DataType::FixedSizeList(..)) => {
            largest(a.as_fixed_size_list().values(), b.as_fixed_size_list().values())
        }
        // Latents are f32, little-endian.
        (DataType::Binary, DataType::Binary) => {
            let bytes = a.as_binary::<i32>().values().as_chunks::<4>().0.iter();
            let pairs = bytes.zip(b.as_binary::<i32>().values().as_chunks::<4>().0);
            let number = |bytes: &[u8; 4]| f64::from(f32::from_le_bytes(*bytes));
            pairs.map(|(x, y)| far(number(x), number(y))).fold(0.0, f64::max)
        }
        _ => 0.0,
    }
}

/// Compares the tensors of checkpoints.
fn checkpoints(pair: [(&Store, &RecordBatch); 2], found: &mut Closeness) -> Result<(), StageError> {
    let [(first, a), (second, b)] = pair;
    let state = |store: &Store, checkpoint: &Checkpoint| -> Result<State, StageError> {
        Ok(from_safetensors(&store.blob(&checkpoint.blob)?, &Device::Cpu)?)
    };
    for (a, b) in Checkpoint::from_batch(a)?.iter().zip(&Checkpoint::from_batch(b)?) {
        if a.blob == b.blob {
            continue;
        }
        let (a, b) = (state(first, a)?, state(second, b)?);
        let mut names = a.keys().chain(b.keys());
        if names.any(|name| a.get(name).map(Tensor::dims) != b.get(name).map(Tensor::dims)) {
            found.largest = f64::INFINITY;
        }
        for (a, b) in a.iter().filter_map(|(name, a)| Some((a, b.get(name)?))) {
            let numbers = |x: &Tensor| x.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
            let pairs = numbers(a)?.into_iter().zip(numbers(b)?);
            found.largest = pairs.map(|(a, b)| (a - b).abs()).fold(found.largest, f64::max);
        }
    }
    Ok(())
}

fn pictures(a: &RecordBatch, b: &RecordBatch, found: &mut Closeness) -> Result<(), StageError> {
    let (a, b) = (Image::from_batch(a), Image::from_batch(b));
    for (a, b) in a?.iter().zip(b?) {
        let (a, b) = (
            exchange::decode_png(&a.png)?.bitmap,
            exchange::decode_png(&b.png)?.bitmap,
        );
        let difference = Difference::between(&a.rgb, &b.rgb);
        found.largest = found.largest.max(f64::from(difference.largest));
        found.psnr = Some(found.psnr.unwrap_or(f64::INFINITY).min(difference.psnr));
    }
    Ok(())
}
