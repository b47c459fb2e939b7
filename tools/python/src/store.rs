//! The store: what it holds, and questions to it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dream_ood::ask::{self, Scope};
use dream_ood::query::{Class, Distance, Filter, Selection, TableName, nearest, neighbours_batch};
use dream_ood::stage::lineage;
use dream_ood::store::{MergeOptions, Readable, Store as Library, StoreError};
use dream_ood::{Kind, archive};
use dream_schema::columns::Columns;
use dream_schema::{RunId, Status, Table};
use pyo3::prelude::*;

use crate::errors::{of_kind, raised};
use crate::pictures::Pictures;
use crate::process;
use crate::rows::{Question, Rows};
use crate::session::host;
use crate::signals::interrupted;

/// A class, as Python names it.
#[derive(FromPyObject)]
enum ClassName {
    /// Its number; nothing is looked up.
    Number(u32),
    /// Its name, or its number as text.
    Word(String),
}

/// An open store.
#[pyclass(frozen, module = "dream_ood._native")]
pub struct Store {
    path: PathBuf,
    /// The open file and the process that opened it; none once it is closed.
    open: Mutex<Option<(u32, Arc<Library>)>>,
}

impl Store {
    fn of(path: PathBuf, store: Library) -> Self {
        process::is_forked();
        Self {
            path,
            open: Mutex::new(Some((std::process::id(), Arc::new(store)))),
        }
    }

    /// Returns the store of this process: after a fork the file is opened again, for reading only.
    pub fn library(&self) -> PyResult<Arc<Library>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let own = std::process::id();
        match open.as_ref() {
            Some((process, store)) if *process == own => return Ok(store.clone()),
            Some(_) => {}
            None => {
                let path = self.path.display();
                return Err(of_kind(
                    Kind::Refused,
                    format!("{path} was closed; open it again"),
                ));
            }
        }
        let store = Arc::new(ask::open_to_read(&self.path).map_err(raised)?);
        // What the parent opened is the parent's: closing it here would let go of its locks.
        if let Some((_, parents)) = open.replace((own, store.clone())) {
            std::mem::forget(parents);
        }
        Ok(store)
    }

    /// Returns the store to write to.
    pub fn to_write(&self) -> PyResult<Arc<Library>> {
        let store = self.library()?;
        if store.is_read_only() {
            return Err(raised(StoreError::ReadOnly {
                path: self.path.clone(),
            }));
        }
        process::share("writing")?;
        Ok(store)
    }

    /// Returns the run of that id, prefix or alias.
    pub fn resolve(&self, name: &str) -> PyResult<RunId> {
        self.library()?.resolve(name).map_err(raised)
    }
}

#[pymethods]
impl Store {
    /// Opens a store that must be there for reading, or one for writing, which is made where there is none.
    #[new]
    #[pyo3(signature = (path, write = false))]
    fn new(py: Python<'_>, path: PathBuf, write: bool) -> PyResult<Self> {
        let path = std::path::absolute(&path).unwrap_or(path);
        let store = py.detach(|| match write {
            true => ask::with_holder(Library::open_or_create(&path), &host()),
            false => ask::open_to_read(&path),
        });
        Ok(Self::of(path, store.map_err(raised)?))
    }

    /// Opens a store for writing, made where there is none, laid over another that is read. A process that
    /// holds it is waited for, `patience` seconds at most.
    #[staticmethod]
    fn laid_over(py: Python<'_>, path: PathBuf, beneath: PathBuf, patience: u64) -> PyResult<Self> {
        let path = std::path::absolute(&path).unwrap_or(path);
        let store = py.detach(|| {
            let beneath = vec![ask::open_to_read(&beneath)?];
            let opened = ask::open_laid_over(&path, beneath, Duration::from_secs(patience));
            ask::with_holder(opened, &host())
        });
        Ok(Self::of(path, store.map_err(raised)?))
    }

    #[getter]
    fn path(&self) -> PathBuf {
        self.path.clone()
    }

    #[getter]
    fn is_read_only(&self) -> PyResult<bool> {
        Ok(self.library()?.is_read_only())
    }

    /// Lets go of the file, once what reads from it has ended.
    fn close(&self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        *open = None;
    }

    /// Takes in what another store has; with `of` it is to have nothing but a part of that run. Returns the
    /// number of rows that are new here.
    #[pyo3(signature = (path, of = None))]
    fn merge(&self, py: Python<'_>, path: PathBuf, of: Option<&str>) -> PyResult<u64> {
        let store = self.to_write()?;
        py.detach(|| {
            let other = ask::open_to_read(&path).map_err(raised)?;
            if let Some(of) = of {
                let runs = other.runs().map_err(raised)?;
                if let Some(stray) = runs.iter().map(|run| run.id.to_string()).find(|run| run != of) {
                    let path = path.display();
                    let words = format!("{path} has run {stray}, and was to have a shard of {of} alone");
                    return Err(of_kind(Kind::Refused, words));
                }
            }
            Ok(store
                .merge(&other, &MergeOptions::default())
                .map_err(raised)?
                .rows)
        })
    }

    /// Writes finished runs as Parquet files below a folder, those that are named with what they came from or
    /// all. Returns how many runs and rows were written, and how many runs were there.
    fn export(&self, py: Python<'_>, folder: &str, runs: Vec<String>) -> PyResult<(u64, u64, u64)> {
        let store = self.library()?;
        let mut chosen = Vec::new();
        for name in &runs {
            let all = lineage::ancestors(&store, self.resolve(name)?).map_err(raised)?;
            chosen.extend(all.iter().map(|run| run.id));
        }
        if runs.is_empty() {
            let (all, _) = store.legible_runs().map_err(raised)?;
            let finished = all.iter().filter(|run| run.status == Status::Finished);
            chosen.extend(finished.map(|run| run.id));
        }
        let mut seen = BTreeSet::new();
        chosen.retain(|run| seen.insert(*run));
        let exported = py.detach(|| {
            let place = archive::open(folder)?;
            archive::export(&store, &chosen, place.as_ref(), &interrupted)
        });
        let exported = exported.map_err(|error| py.check_signals().err().unwrap_or_else(|| raised(error)))?;
        Ok((exported.runs as u64, exported.rows, exported.known as u64))
    }

    /// Returns the records of all runs as JSON, in the order in which they were begun, and why the records of
    /// others cannot be read.
    fn runs(&self, py: Python<'_>) -> PyResult<(String, Vec<(String, String)>)> {
        let store = self.library()?;
        py.detach(|| {
            let (runs, damaged) = store.legible_runs().map_err(raised)?;
            let damaged = damaged.into_iter().map(|(run, why)| (run.to_string(), why));
            Ok((json(&runs)?, damaged.collect()))
        })
    }

    /// Returns the record of the run of that id, prefix or alias as JSON.
    fn run(&self, name: &str) -> PyResult<String> {
        let store = self.library()?;
        let run = store.resolve(name).and_then(|id| store.run(id)).map_err(raised)?;
        json(&run)
    }

    /// Returns aliases and the runs that they name.
    fn aliases(&self) -> PyResult<Vec<(String, String)>> {
        let aliases = self.library()?.aliases().map_err(raised)?;
        Ok(aliases
            .into_iter()
            .map(|(name, run)| (name, run.to_string()))
            .collect())
    }

    /// Returns everything that is registered, as JSON.
    fn datasets(&self) -> PyResult<String> {
        json(&self.library()?.datasets().map_err(raised)?)
    }

    /// Returns how many rows a run has in each table where it has some.
    fn counts(&self, run: &str) -> PyResult<Vec<(&'static str, u64)>> {
        let (store, run) = (self.library()?, self.resolve(run)?);
        let mut counts = Vec::new();
        for table in Table::ALL {
            let count = store.count(run, table).map_err(raised)?;
            if count > 0 {
                counts.push((table.name(), count));
            }
        }
        Ok(counts)
    }

    /// Returns rows of a table.
    #[pyo3(signature = (table, runs, class_, condition, columns, limit))]
    #[expect(clippy::too_many_arguments, reason = "Python names them")]
    fn query(
        slf: &Bound<'_, Self>,
        py: Python<'_>,
        table: &str,
        runs: Vec<String>,
        class_: Option<ClassName>,
        condition: Option<String>,
        columns: Option<Vec<String>>,
        limit: Option<usize>,
    ) -> PyResult<Rows> {
        let this = slf.get();
        let store = this.library()?;
        let table: TableName = table.parse().map_err(raised)?;
        let runs = runs
            .iter()
            .map(|name| this.resolve(name))
            .collect::<PyResult<Vec<_>>>()?;
        let class = class_.map(|class| match class {
            ClassName::Number(number) => Ok(Class::Id(number)),
            ClassName::Word(word) => ask::class(&store, Scope::Runs(&runs), &word),
        });
        let filter = Filter {
            runs,
            class: class.transpose().map_err(raised)?,
            condition,
            columns,
            limit,
            ..Filter::all(table)
        };
        Rows::ask(py, slf.clone().unbind(), Question::Filter(Box::new(filter)))
    }

    /// Returns the rows of an SQL query.
    fn sql(slf: &Bound<'_, Self>, py: Python<'_>, sql: String) -> PyResult<Rows> {
        Rows::ask(py, slf.clone().unbind(), Question::Sql(sql))
    }

    /// Returns the vector of a row.
    fn vector(&self, table: &str, run: &str, class_: &str, index: u64) -> PyResult<Vec<f32>> {
        let (store, run, table) = (self.library()?, self.resolve(run)?, with_vectors(table)?);
        let class = match ask::class(&store, Scope::Lineage(run), class_).map_err(raised)? {
            Class::Id(number) => number,
            Class::Name(name) => {
                let words = format!("run {run} has no number for the class `{name}`");
                return Err(of_kind(Kind::Missing, words));
            }
        };
        let row = store.row_batch(table, run, class, index).map_err(raised)?;
        let none = || {
            let words = format!("run {run} has no row {index} of class `{class_}` in {table}");
            of_kind(Kind::Missing, words)
        };
        let row = row.ok_or_else(none)?;
        let (vector, _) = Columns::new(table, &row).flat_vectors("vector").map_err(raised)?;
        Ok(vector.to_vec())
    }

    /// Returns the vectors nearest to one.
    #[pyo3(signature = (table, vector, k, runs, l2))]
    fn nearest(
        &self,
        py: Python<'_>,
        table: &str,
        vector: Vec<f32>,
        k: usize,
        runs: Vec<String>,
        l2: bool,
    ) -> PyResult<Rows> {
        let (store, table) = (self.library()?, with_vectors(table)?);
        let mut selection = Selection::default();
        if !runs.is_empty() {
            let runs = runs.iter().map(|name| self.resolve(name));
            selection.runs = Some(runs.collect::<PyResult<_>>()?);
        }
        let distance = if l2 { Distance::L2 } else { Distance::Cosine };
        let pool = process::pool()?;
        let found = py.detach(|| {
            let snapshot = store.snapshot().map_err(raised)?;
            let found = pool.install(|| nearest(&snapshot, table, &selection, &vector, k, distance));
            neighbours_batch(&found.map_err(raised)?).map_err(raised)
        });
        Ok(Rows::made(found?))
    }

    /// Returns the pictures of a run, of one class or all, to be read by their places.
    #[pyo3(signature = (run, class_))]
    fn pictures(&self, py: Python<'_>, run: &str, class_: Option<&str>) -> PyResult<Pictures> {
        let (store, run) = (self.library()?, self.resolve(run)?);
        Pictures::of(py, &store, run, class_)
    }

    /// Returns the bytes of an address, as checkpoints have them.
    fn blob<'py>(&self, py: Python<'py>, hash: &str) -> PyResult<Bound<'py, pyo3::types::PyBytes>> {
        let store = self.library()?;
        let bytes = py.detach(|| store.blob(hash)).map_err(raised)?;
        Ok(pyo3::types::PyBytes::new(py, &bytes))
    }

    /// Gives a run a name.
    #[pyo3(signature = (name, run))]
    fn set_alias(&self, name: &str, run: &str) -> PyResult<()> {
        let (store, run) = (self.to_write()?, self.resolve(run)?);
        store.set_alias(name, run).map_err(raised)
    }
}

/// Returns the table of that name, if it has vectors.
fn with_vectors(name: &str) -> PyResult<Table> {
    let none = || {
        let tables = Table::names_with_vectors();
        let words = format!("`{name}` is no table with vectors; there are {tables}");
        of_kind(Kind::Missing, words)
    };
    Table::from_name(name)
        .filter(|table| table.has_vectors())
        .ok_or_else(none)
}

fn json<T: serde::Serialize>(value: &T) -> PyResult<String> {
    serde_json::to_string(value).map_err(|error| of_kind(Kind::Internal, error.to_string()))
}
