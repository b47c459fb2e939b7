//! The rows of an answer: as an Arrow stream, or a column of them as memory that NumPy takes.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use dream_ood::query::print::texts;
use dream_ood::query::{Filter, QueryOptions, Rows as Answer, Sql};
use dream_ood::{Error, Kind};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use crate::arrow_c::{Batches, CSchema, CStream};
use crate::columns::{Column, Values};
use crate::errors::{of_kind, raised};
use crate::process;
use crate::signals::interrupted;
use crate::store::Store;

/// What is asked.
pub enum Question {
    Filter(Box<Filter>),
    Sql(String),
    /// What was found already.
    Made(RecordBatch),
}

/// The rows of an answer. They are read while one goes through them, and asked for again, of the store as it
/// is then, by whoever goes through them another time.
#[pyclass(frozen, module = "dream_ood._native")]
pub struct Rows {
    store: Option<Py<Store>>,
    question: Question,
    schema: SchemaRef,
    /// The answer that the question was checked by, for the first who takes it, and the process that has it.
    first: Mutex<Option<(u32, Answer)>>,
}

impl Rows {
    /// Asks, so that what is wrong with the question is said at once.
    pub fn ask(py: Python<'_>, store: Py<Store>, question: Question) -> PyResult<Self> {
        let answer = answer(py, &store, &question)?;
        Ok(Self {
            store: Some(store),
            question,
            schema: answer.schema(),
            first: Mutex::new(Some((std::process::id(), answer))),
        })
    }

    /// Rows that are there.
    pub fn made(batch: RecordBatch) -> Self {
        Self {
            store: None,
            schema: batch.schema(),
            question: Question::Made(batch),
            first: Mutex::new(None),
        }
    }

    fn batches(&self, py: Python<'_>) -> PyResult<Box<dyn Batches>> {
        if let Question::Made(batch) = &self.question {
            return Ok(Box::new(Made(batch.schema(), Some(batch.clone()))));
        }
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let answer = match (first, &self.store) {
            (Some((process, answer)), _) if process == std::process::id() => answer,
            (others, Some(store)) => {
                std::mem::forget(others);
                answer(py, store, &self.question)?
            }
            (_, None) => return Err(of_kind(Kind::Internal, "rows of no store")),
        };
        let has_threads = matches!(&self.question, Question::Filter(filter) if filter.condition.is_none());
        let pool = has_threads.then(process::pool).transpose()?;
        Ok(Box::new(Asked { answer, pool }))
    }
}

/// Asks a store.
fn answer(py: Python<'_>, store: &Py<Store>, question: &Question) -> PyResult<Answer> {
    let store = store.get().library()?;
    let options = QueryOptions {
        cancelled: Arc::new(interrupted),
        ..QueryOptions::default()
    };
    let asked = match question {
        Question::Filter(filter) => {
            if filter.condition.is_some() {
                process::share("a query with a condition")?;
            }
            let filter = Filter {
                options,
                ..(**filter).clone()
            };
            let pool = process::pool()?;
            py.detach(|| match &filter.condition {
                Some(_) => filter.rows(&store),
                None => pool.install(|| filter.rows(&store)),
            })
        }
        Question::Sql(sql) => {
            process::share("an SQL query")?;
            py.detach(|| Sql::new(&store).with_options(options).query(sql))
        }
        Question::Made(_) => return Err(of_kind(Kind::Internal, "rows that are there are not asked for")),
    };
    asked.map_err(|error| py.check_signals().err().unwrap_or_else(|| raised(error)))
}

/// Rows that are there.
struct Made(SchemaRef, Option<RecordBatch>);

impl Batches for Made {
    fn schema(&self) -> SchemaRef {
        self.0.clone()
    }

    fn next(&mut self) -> Result<Option<RecordBatch>, Error> {
        Ok(self.1.take())
    }
}

/// Rows that are being read, by threads of this process where the answer has none of its own.
struct Asked {
    answer: Answer,
    pool: Option<Arc<rayon::ThreadPool>>,
}

impl Batches for Asked {
    fn schema(&self) -> SchemaRef {
        self.answer.schema()
    }

    fn next(&mut self) -> Result<Option<RecordBatch>, Error> {
        let next = match &self.pool {
            // Whether to stop can be seen from the calling thread alone.
            Some(_) if interrupted() => Some(Err(dream_ood::query::QueryError::Interrupted)),
            Some(pool) => pool.install(|| self.answer.next()),
            None => self.answer.next(),
        };
        Ok(next.transpose()?)
    }
}

#[pymethods]
impl Rows {
    /// The rows as an Arrow stream; what other schema is wished for is left to the consumer, as the interface
    /// allows.
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let _ = requested_schema;
        let stream = CStream::new(self.batches(py)?);
        PyCapsule::new_with_value(py, stream, c"arrow_array_stream")
    }

    /// Their schema.
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        PyCapsule::new_with_value(py, CSchema::of(&self.schema), c"arrow_schema")
    }

    /// Names and types of the columns.
    #[getter]
    fn columns(&self) -> Vec<(String, String)> {
        let fields = self.schema.fields().iter();
        fields
            .map(|field| (field.name().clone(), field.data_type().to_string()))
            .collect()
    }

    /// Returns columns, all from one reading: of each, memory with the NumPy type and shape of its values, or
    /// a list of them.
    fn take(&self, py: Python<'_>, names: Vec<String>) -> PyResult<Vec<Values>> {
        let fields = self.schema.fields();
        let place = |name: &String| {
            fields.find(name).map(|(place, _)| place).ok_or_else(|| {
                let columns = fields
                    .iter()
                    .map(|field| field.name().as_str())
                    .collect::<Vec<_>>()
                    .join(", ");
                of_kind(
                    Kind::Missing,
                    format!("there is no column `{name}`; there are {columns}"),
                )
            })
        };
        let places = names.iter().map(place).collect::<PyResult<Vec<_>>>()?;
        let columns = places.iter().map(|place| Column::of(&fields[*place]));
        let mut columns = columns.collect::<PyResult<Vec<_>>>()?;
        let mut batches = self.batches(py)?;
        while let Some(batch) = next(py, batches.as_mut())? {
            for (column, place) in columns.iter_mut().zip(&places) {
                column.add(batch.column(*place))?;
            }
        }
        columns.into_iter().map(|column| column.values(py)).collect()
    }

    /// Returns the first rows as a table for the eye shows them.
    fn head(&self, py: Python<'_>, count: usize) -> PyResult<Vec<Vec<String>>> {
        let mut batches = self.batches(py)?;
        let mut rows = Vec::new();
        while rows.len() < count
            && let Some(batch) = next(py, batches.as_mut())?
        {
            let batch = batch.slice(0, batch.num_rows().min(count - rows.len()));
            rows.extend(texts(batch).map_err(raised)?);
        }
        Ok(rows)
    }

    /// Returns the number of rows, by going through them.
    fn count(&self, py: Python<'_>) -> PyResult<usize> {
        let mut batches = self.batches(py)?;
        let mut count = 0;
        while let Some(batch) = next(py, batches.as_mut())? {
            count += batch.num_rows();
        }
        Ok(count)
    }
}

/// Returns the next batch.
fn next(py: Python<'_>, batches: &mut dyn Batches) -> PyResult<Option<RecordBatch>> {
    py.check_signals()?;
    py.detach(|| batches.next())
        .map_err(|error| py.check_signals().err().unwrap_or_else(|| raised(error)))
}
