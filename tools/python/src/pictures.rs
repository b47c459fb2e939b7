//! Pictures of a run, read by their places.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array as _, ArrayRef, AsArray as _};
use dream_ood::Kind;
use dream_ood::ask::{self, Scope};
use dream_ood::query::{Class, Scan, ScanOptions, Selection};
use dream_ood::store::{BlockInfo, Projection, Readable, Snapshot, Store as Library};
use dream_schema::{RunId, Table, with_run_schema};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use rayon::prelude::*;

use crate::columns::{Column, Values};
use crate::errors::{of_kind, raised};
use crate::process;

/// Pictures of one state of the store, in the order of their keys: class, then index.
#[pyclass(frozen, module = "dream_ood._native")]
pub struct Pictures {
    snapshot: Arc<Snapshot>,
    selection: Selection,
    column: usize,
    infos: Vec<BlockInfo>,
    /// Place of the first picture of each stretch.
    starts: Vec<usize>,
    count: usize,
    held: Mutex<Held>,
}

/// Bytes of files that are kept of what was read: pictures that are asked for in any order lie in few
/// stretches, each of which is read and checked as a whole.
const KEPT: usize = 512 << 20;

/// Stretches that were read, in the order in which they were.
#[derive(Default)]
struct Held {
    stretches: BTreeMap<usize, ArrayRef>,
    order: VecDeque<usize>,
    bytes: usize,
}

impl Held {
    fn keep(&mut self, stretch: usize, files: &ArrayRef) {
        if self.stretches.insert(stretch, files.clone()).is_some() {
            return;
        }
        self.order.push_back(stretch);
        self.bytes += files.get_array_memory_size();
        while self.bytes > KEPT
            && let Some(first) = self.order.pop_front()
        {
            let gone = self.stretches.remove(&first);
            self.bytes -= gone.map_or(0, |files| files.get_array_memory_size());
        }
    }
}

impl Pictures {
    pub fn of(py: Python<'_>, store: &Library, run: RunId, class: Option<&str>) -> PyResult<Self> {
        let part = match class.map(|word| ask::class(store, Scope::Lineage(run), word)) {
            None => None,
            Some(found) => match found.map_err(raised)? {
                Class::Id(number) => Some(number),
                Class::Name(name) => {
                    let words = format!("run {run} has no number for the class `{name}`");
                    return Err(of_kind(Kind::Missing, words));
                }
            },
        };
        let column = Table::Images.schema(0).index_of("png");
        let column = column.map_err(|error| of_kind(Kind::Internal, error.to_string()))?;
        let read = py.detach(|| {
            let snapshot = store.snapshot()?;
            let columns = Projection::Only(vec![column]);
            let infos = snapshot.block_infos(Table::Images, Some(run), part, &columns)?;
            Ok((snapshot, infos))
        });
        let (snapshot, infos) = read.map_err(|error: dream_ood::store::StoreError| raised(error))?;
        let mut count = 0;
        let mut start = |info: &BlockInfo| {
            let start = count;
            count += info.rows as usize;
            start
        };
        Ok(Self {
            starts: infos.iter().map(&mut start).collect(),
            snapshot: Arc::new(snapshot),
            selection: Selection {
                classes: part.map(|part| [part].into()),
                ..Selection::run(run)
            },
            column,
            infos,
            count,
            held: Mutex::default(),
        })
    }

    /// Returns the PNG files of a stretch.
    fn stretch(&self, stretch: usize) -> PyResult<ArrayRef> {
        let held = || self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(files) = held().stretches.get(&stretch) {
            return Ok(files.clone());
        }
        let columns = Projection::Only(vec![self.column]);
        let rows = self.snapshot.block(Table::Images, &self.infos[stretch], &columns);
        let files = rows.map_err(raised)?.column(0).clone();
        held().keep(stretch, &files);
        Ok(files)
    }
}

#[pymethods]
impl Pictures {
    fn __len__(&self) -> usize {
        self.count
    }

    /// Returns columns of what is known of the pictures; -1 stands for an outlier that there is not.
    fn known(&self, py: Python<'_>, names: Vec<String>) -> PyResult<Vec<Values>> {
        let schema = with_run_schema(&Table::Images.schema(0));
        let places = names
            .iter()
            .map(|name| schema.index_of(name))
            .collect::<Result<Vec<_>, _>>();
        let places = places.map_err(|error| of_kind(Kind::Missing, error.to_string()))?;
        let columns = places
            .iter()
            .map(|place| Ok(Column::of(schema.field(*place))?.with_missing(-1)));
        let mut columns = columns.collect::<PyResult<Vec<_>>>()?;
        let options = ScanOptions {
            selection: self.selection.clone(),
            columns: Some(places),
            ..ScanOptions::default()
        };
        let pool = process::pool()?;
        let read = py.detach(|| {
            pool.install(|| {
                Scan::new(self.snapshot.clone(), Table::Images, options)?.collect::<Result<Vec<_>, _>>()
            })
        });
        for batch in read.map_err(raised)? {
            for (column, values) in columns.iter_mut().zip(batch.columns()) {
                column.add(values)?;
            }
        }
        columns.into_iter().map(|column| column.values(py)).collect()
    }

    /// Returns the PNG files at these places.
    fn read<'py>(&self, py: Python<'py>, places: Vec<usize>) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        if let Some(place) = places.iter().find(|place| **place >= self.count) {
            let words = format!("there is no picture {place}: there are {}", self.count);
            return Err(of_kind(Kind::Missing, words));
        }
        let mut wanted: BTreeMap<usize, ArrayRef> = BTreeMap::new();
        let stretch_of = |place: usize| self.starts.partition_point(|start| *start <= place) - 1;
        let stretches: Vec<usize> = {
            let mut all: Vec<usize> = places.iter().map(|place| stretch_of(*place)).collect();
            all.sort_unstable();
            all.dedup();
            all
        };
        let pool = process::pool()?;
        let read = py.detach(|| match stretches.as_slice() {
            [one] => Ok(vec![(*one, self.stretch(*one)?)]),
            several => pool.install(|| {
                let read = several
                    .par_iter()
                    .map(|stretch| Ok((*stretch, self.stretch(*stretch)?)));
                read.collect::<PyResult<Vec<_>>>()
            }),
        })?;
        wanted.extend(read);
        let file = |place: &usize| {
            let stretch = stretch_of(*place);
            let files = wanted[&stretch].as_binary::<i32>();
            PyBytes::new(py, files.value(place - self.starts[stretch]))
        };
        Ok(places.iter().map(file).collect())
    }
}
