//! Exact nearest neighbours of a vector among the vectors of a table.
//!
//! Blocks are read and compared in parallel, each thread keeping the best it has met; nothing else is held.
//! Sums are taken in 64 bits in a fixed order and ties go to the lower key, so the answer does not depend on
//! the number of threads.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use dream_schema::columns::Columns;
use dream_schema::{RunId, Table, with_run_schema};
use rayon::prelude::*;

use super::scan::{Counter, Reader, stored};
use super::selection::Selection;
use super::vector::{cosine, norm, squared_distance};
use super::{QueryError, Result};
use crate::store::{BlockInfo, Snapshot, Tally};

/// How far two vectors are from each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Distance {
    /// 1 - cos(a, b): from 0 (the same direction) to 2. A vector of zeros has no direction; its distance is
    /// 1.
    #[default]
    Cosine,
    /// |a - b|.
    L2,
}

/// A vector near the one asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbour {
    /// Its run.
    pub run: RunId,
    /// Its class.
    pub class_id: u32,
    /// The name of its class.
    pub class_name: String,
    /// Its place in the class.
    pub index: u64,
    /// Its distance.
    pub distance: f64,
}

impl Neighbour {
    fn key(&self) -> (RunId, u32, u64) {
        (self.run, self.class_id, self.index)
    }
}

/// A neighbour in a heap whose top is the one to drop first: the farthest, and of equals the one with the
/// highest key.
struct Farthest(Neighbour);

impl Ord for Farthest {
    fn cmp(&self, other: &Self) -> Ordering {
        let distance = self.0.distance.total_cmp(&other.0.distance);
        distance.then_with(|| self.0.key().cmp(&other.0.key()))
    }
}

impl PartialOrd for Farthest {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Farthest {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Farthest {}

/// Returns the `k` vectors of `table` nearest to `vector` among the rows selected, nearest first.
///
/// Vectors with a NaN in them come last.
///
/// # Errors
/// If the table has no vectors, if those of a run have another width, if `vector` is not finite (or all
/// zeros, for the cosine), or if the store cannot be read.
pub fn nearest(
    snapshot: &Snapshot,
    table: Table,
    selection: &Selection,
    vector: &[f32],
    k: usize,
    distance: Distance,
) -> Result<Vec<Neighbour>> {
    if !table.has_vectors() {
        let (table, what) = (table.to_string(), "vectors");
        let hint = format!("ask one of {}", Table::names_with_vectors());
        return Err(QueryError::NotInTable { table, what, hint });
    }
    let measure = Measure::new(vector, distance)?;
    let schema = with_run_schema(&table.schema(vector.len()));
    let columns = ["class_name", "index", "vector"].map(|column| schema.index_of(column));
    let columns: Vec<_> = columns.into_iter().collect::<std::result::Result<_, _>>()?;
    let infos = selection.blocks(snapshot, table, &stored(&columns))?;
    if let Some(info) = infos.iter().find(|info| info.width as usize != vector.len()) {
        return Err(QueryError::Width {
            run: info.run,
            expected: vector.len(),
            actual: info.width as usize,
        });
    }
    let reader = Reader {
        snapshot,
        table,
        selection,
        columns: &columns,
        counter: &Counter::default(),
        tally: &Tally::default(),
    };
    let best = infos
        .par_iter()
        .try_fold(BinaryHeap::new, |mut heap, info| {
            let block = reader.rows(info)?;
            add_block(&mut heap, table, info, &block, &measure, k)?;
            Ok::<_, QueryError>(heap)
        })
        .try_reduce(BinaryHeap::new, |mut a, b| {
            for neighbour in b {
                push(&mut a, neighbour, k);
            }
            Ok(a)
        })?;
    Ok(best.into_sorted_vec().into_iter().map(|n| n.0).collect())
}

/// The vector asked for, and how to compare with it.
struct Measure<'a> {
    vector: &'a [f32],
    norm: f64,
    distance: Distance,
}

impl<'a> Measure<'a> {
    fn new(vector: &'a [f32], distance: Distance) -> Result<Self> {
        let norm = norm(vector);
        if !norm.is_finite() {
            let what = "has a number that is not finite";
            return Err(QueryError::Vector { what });
        }
        if norm == 0.0 && distance == Distance::Cosine {
            return Err(QueryError::Vector { what: "is all zeros" });
        }
        Ok(Self {
            vector,
            norm,
            distance,
        })
    }

    fn to(&self, other: &[f32]) -> f64 {
        match self.distance {
            Distance::L2 => squared_distance(self.vector, other).sqrt(),
            Distance::Cosine => 1.0 - cosine(self.vector, other, self.norm * norm(other)),
        }
    }
}

fn add_block(
    heap: &mut BinaryHeap<Farthest>,
    table: Table,
    info: &BlockInfo,
    block: &RecordBatch,
    measure: &Measure<'_>,
    k: usize,
) -> Result<()> {
    if block.num_rows() == 0 {
        return Ok(());
    }
    let columns = Columns::new(table, block);
    let index = columns.numbers::<Int64Type>("index")?;
    let names = columns.text("class_name")?;
    let (flat, width) = columns.flat_vectors("vector")?;
    for ((vector, index), class_name) in flat.chunks(width.max(1)).zip(index).zip(names) {
        let neighbour = Neighbour {
            run: info.run,
            class_id: info.part,
            class_name,
            index: index as u64,
            distance: measure.to(vector),
        };
        push(heap, Farthest(neighbour), k);
    }
    Ok(())
}

/// Keeps the `k` nearest.
fn push(heap: &mut BinaryHeap<Farthest>, neighbour: Farthest, k: usize) {
    if heap.len() < k {
        heap.push(neighbour);
    } else if let Some(mut farthest) = heap.peek_mut()
        && neighbour < *farthest
    {
        *farthest = neighbour;
    }
}

/// Returns the neighbours as a record batch: run, class_id, class_name, index, distance.
///
/// # Errors
/// If Arrow refuses, which it does not.
pub fn neighbours_batch(neighbours: &[Neighbour]) -> Result<RecordBatch> {
    let fields = vec![
        Field::new("run", DataType::Utf8, true),
        Field::new("class_id", DataType::Int32, true),
        Field::new("class_name", DataType::Utf8, true),
        Field::new("index", DataType::Int64, true),
        Field::new("distance", DataType::Float64, true),
    ];
    let n = || neighbours.iter();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(n().map(|n| n.run.to_string()))),
        Arc::new(Int32Array::from_iter_values(n().map(|n| n.class_id as i32))),
        Arc::new(StringArray::from_iter_values(n().map(|n| &n.class_name))),
        Arc::new(Int64Array::from_iter_values(n().map(|n| n.index as i64))),
        Arc::new(Float64Array::from_iter_values(n().map(|n| n.distance))),
    ];
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}
