//! The typed filters of `dream query`: run, class, limit, and a condition where the program has SQL.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use dream_schema::RunId;

use super::scan::{Scan, Selection};
use super::{QueryError, Result, TableName, catalog};
use crate::store::{Readable, Snapshot, Store};

/// A class, as one names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Class {
    /// By its number.
    Id(u32),
    /// By its name.
    Name(String),
}

/// Which rows of which table.
#[derive(Clone, Debug)]
pub struct Filter {
    /// The table.
    pub table: TableName,
    /// The runs; empty for all.
    pub runs: Vec<RunId>,
    /// The class.
    pub class: Option<Class>,
    /// A condition in SQL: `knn_distance > 0.5`.
    pub condition: Option<String>,
    /// The most rows.
    pub limit: Option<usize>,
}

impl Filter {
    /// Returns the filter that lets all rows of `table` pass.
    pub fn all(table: TableName) -> Self {
        Self {
            table,
            runs: Vec::new(),
            class: None,
            condition: None,
            limit: None,
        }
    }

    /// Hands the rows to `take`, batch by batch, until it breaks, and returns their schema.
    ///
    /// # Errors
    /// If the table has no runs or classes to choose from, if the condition is wrong or there is no SQL in the program, if the
    /// store cannot be read, or what `take` returns.
    pub fn query(
        &self,
        store: &Arc<Store>,
        take: &mut dyn FnMut(RecordBatch) -> Result<ControlFlow<()>>,
    ) -> Result<SchemaRef> {
        if self.condition.is_some() {
            return self.query_sql(store, take);
        }
        let rows = self.rows(store)?;
        let schema = rows.schema();
        for batch in rows {
            if take(batch?)?.is_break() {
                break;
            }
        }
        Ok(schema)
    }

    /// Returns the rows, batch by batch, of a filter without a condition.
    ///
    /// # Errors
    /// As [`Filter::query`], except for the condition, which is refused as if there were no SQL.
    pub fn rows(&self, store: &Store) -> Result<Rows> {
        if self.condition.is_some() {
            return Err(QueryError::NoSql);
        }
        let snapshot = Arc::new(store.snapshot()?);
        let TableName::Artifacts(table) = self.table else {
            return self.catalog(&snapshot);
        };
        let selection = self.selection();
        let mut widths: Vec<_> = selection
            .blocks(&snapshot, table)?
            .iter()
            .map(|b| (b.width, b.run))
            .collect();
        widths.dedup();
        let (expected, _) = widths.first().copied().unwrap_or((0, RunId([0; 16])));
        if let Some((actual, run)) = widths.iter().find(|(width, _)| *width != expected) {
            return Err(QueryError::Width {
                run: *run,
                expected: expected as usize,
                actual: *actual as usize,
            });
        }
        Ok(Rows {
            schema: self.table.schema(expected as usize),
            source: Source::Scan(Box::new(Scan::new(snapshot, table, selection)?.limit(self.limit))),
        })
    }

    fn selection(&self) -> Selection {
        let mut selection = Selection::default();
        if !self.runs.is_empty() {
            selection.runs = Some(self.runs.iter().copied().collect());
        }
        match &self.class {
            Some(Class::Id(id)) => selection.classes = Some(BTreeSet::from([*id])),
            Some(Class::Name(name)) => selection.class_names = Some(BTreeSet::from([name.clone()])),
            None => {}
        }
        selection
    }

    /// Returns the rows of a table that is kept as a whole.
    fn catalog(&self, snapshot: &Snapshot) -> Result<Rows> {
        let lacks = |what| {
            let (table, hint) = (self.table.to_string(), "leave the filter out".to_owned());
            Err(QueryError::NotInTable { table, what, hint })
        };
        if self.class.is_some() {
            return lacks("classes");
        }
        let batch = catalog_batch(self.table, snapshot)?;
        let batch = match batch.column_by_name("run") {
            None if !self.runs.is_empty() => return lacks("runs"),
            Some(column) if !self.runs.is_empty() => {
                let runs: BTreeSet<_> = self.runs.iter().map(RunId::to_string).collect();
                let column = arrow::array::AsArray::as_string::<i32>(column);
                let mask = column
                    .iter()
                    .map(|run| Some(run.is_some_and(|run| runs.contains(run))));
                filter_record_batch(&batch, &mask.collect())?
            }
            _ => batch,
        };
        let batch = batch.slice(0, batch.num_rows().min(self.limit.unwrap_or(usize::MAX)));
        Ok(Rows {
            schema: batch.schema(),
            source: Source::Batch(Some(batch)),
        })
    }

    #[cfg(feature = "sql")]
    fn query_sql(
        &self,
        store: &Arc<Store>,
        take: &mut dyn FnMut(RecordBatch) -> Result<ControlFlow<()>>,
    ) -> Result<SchemaRef> {
        super::Sql::new(store).stream(&self.sql(), take)
    }

    #[cfg(not(feature = "sql"))]
    fn query_sql(
        &self,
        _store: &Arc<Store>,
        _take: &mut dyn FnMut(RecordBatch) -> Result<ControlFlow<()>>,
    ) -> Result<SchemaRef> {
        Err(QueryError::NoSql)
    }

    /// Returns the filter as a SELECT.
    #[cfg(feature = "sql")]
    fn sql(&self) -> String {
        let quote = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let mut parts = Vec::new();
        if !self.runs.is_empty() {
            let runs: Vec<_> = self.runs.iter().map(|run| quote(&run.to_string())).collect();
            parts.push(format!("run IN ({})", runs.join(", ")));
        }
        match &self.class {
            Some(Class::Id(id)) => parts.push(format!("class_id = {id}")),
            Some(Class::Name(name)) => parts.push(format!("class_name = {}", quote(name))),
            None => {}
        }
        // A line of its own, so that a comment at its end does not swallow the bracket.
        parts.extend(
            self.condition
                .as_ref()
                .map(|condition| format!("({condition}\n)")),
        );
        let limit = self
            .limit
            .map_or_else(String::new, |limit| format!(" LIMIT {limit}"));
        format!(
            "SELECT * FROM {} WHERE {}{limit}",
            self.table,
            parts.join(" AND ")
        )
    }
}

/// Returns the rows of `runs`, `run_inputs` or `datasets`; of a table of artifacts none.
pub(crate) fn catalog_batch(table: TableName, snapshot: &Snapshot) -> Result<RecordBatch> {
    match table {
        TableName::Runs => catalog::runs_batch(&snapshot.runs()?, &snapshot.aliases()?),
        TableName::RunInputs => catalog::run_inputs_batch(&snapshot.runs()?),
        TableName::Datasets => catalog::datasets_batch(&snapshot.datasets()?),
        TableName::Artifacts(_) => Ok(RecordBatch::new_empty(table.schema(0))),
    }
}

/// The rows that pass a [`Filter`].
pub struct Rows {
    schema: SchemaRef,
    source: Source,
}

enum Source {
    Scan(Box<Scan>),
    Batch(Option<RecordBatch>),
}

impl Rows {
    /// Returns their schema.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

impl Iterator for Rows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.source {
            Source::Scan(scan) => scan.next(),
            Source::Batch(batch) => batch.take().map(Ok),
        }
    }
}
