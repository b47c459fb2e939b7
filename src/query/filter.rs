//! The typed filters of `dream query`: run, class, limit, and a condition where the program has SQL.

use std::collections::BTreeSet;
use std::iter;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::compute::filter_record_batch;
use arrow::datatypes::DataType;
use dream_schema::{RunId, Table};

use super::classes;
use super::scan::{Scan, ScanOptions};
use super::selection::Selection;
use super::{QueryError, QueryOptions, Result, Rows, TableName};
use crate::store::{BlockInfo, Projection, Snapshot, Store};

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
    /// A condition in SQL: `knn_distance > 1.5`.
    pub condition: Option<String>,
    /// The columns, in this order; none for all. What is not asked for is not read.
    pub columns: Option<Vec<String>>,
    /// The most rows.
    pub limit: Option<usize>,
    /// What it may take, and when it is to stop.
    pub options: QueryOptions,
}

impl Filter {
    /// Returns the filter that lets all rows of `table` pass.
    pub fn all(table: TableName) -> Self {
        Self {
            table,
            runs: Vec::new(),
            class: None,
            condition: None,
            columns: None,
            limit: None,
            options: QueryOptions::default(),
        }
    }

    /// Returns the rows that pass.
    ///
    /// # Errors
    /// If the table has no runs or classes to choose from or lacks a column, if the condition is wrong or
    /// there is no SQL in the program, if the vectors of the runs chosen differ in width, or if the store
    /// cannot be read.
    pub fn rows(&self, store: &Store) -> Result<Rows> {
        self.check()?;
        let snapshot = Arc::new(store.snapshot()?);
        if let Some(class) = &self.class {
            classes::check(&snapshot, self.table, &self.runs, class)?;
        }
        match (&self.condition, self.table) {
            (Some(condition), _) => self.conditional(snapshot, condition),
            (None, TableName::Artifacts(table)) => self.artifacts(snapshot, table),
            (
                None,
                TableName::Runs
                | TableName::RunAliases
                | TableName::RunInputs
                | TableName::RunParams
                | TableName::RunSources
                | TableName::Datasets,
            ) => self.catalog(&snapshot),
        }
    }

    /// Returns the runs whose rows can pass the typed part of the filter; none for a table that is kept as a
    /// whole.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn runs_with_rows(&self, store: &Store) -> Result<BTreeSet<RunId>> {
        let TableName::Artifacts(table) = self.table else {
            return Ok(BTreeSet::new());
        };
        let keys = Projection::Only(Vec::new());
        let infos = self.selection().blocks(&store.snapshot()?, table, &keys)?;
        Ok(infos.into_iter().map(|info| info.run).collect())
    }

    /// Checks that the table has what is chosen by.
    fn check(&self) -> Result<()> {
        let lacks = |what| {
            let (table, hint) = (self.table.to_string(), "leave the filter out".to_owned());
            Err(QueryError::NotInTable { table, what, hint })
        };
        let schema = self.table.schema(0);
        if self.class.is_some() && schema.index_of("class_id").is_err() {
            return lacks("classes");
        }
        if !self.runs.is_empty() && schema.index_of("run").is_err() {
            return lacks("runs");
        }
        self.places().map(|_| ())
    }

    /// Returns the places of the columns in the table's schema; none for all.
    fn places(&self) -> Result<Option<Vec<usize>>> {
        let Some(columns) = &self.columns else {
            return Ok(None);
        };
        let schema = self.table.schema(0);
        let names = || schema.fields().iter().map(|field| field.name().clone()).collect();
        let place = |column: &String| {
            let unknown = || QueryError::UnknownColumn {
                column: column.clone(),
                columns: names(),
            };
            schema.index_of(column).map_err(|_| unknown())
        };
        columns.iter().map(place).collect::<Result<_>>().map(Some)
    }

    /// Returns rows of artifacts.
    fn artifacts(&self, snapshot: Arc<Snapshot>, table: Table) -> Result<Rows> {
        let columns = self.places()?;
        let options = ScanOptions {
            selection: self.selection(),
            columns: columns.clone(),
            limit: self.limit,
            ..ScanOptions::default()
        };
        let scan = Scan::new(snapshot, table, options)?;
        let expected = scan.rest().first().map_or(0, |info| info.width);
        let differs = |info: &&BlockInfo| info.width != expected;
        if let Some(other) = scan.rest().iter().find(differs)
            && columns.as_deref().is_none_or(|columns| self.has_vectors(columns))
        {
            return Err(QueryError::Width {
                run: other.run,
                expected: expected as usize,
                actual: other.width as usize,
            });
        }
        let mut schema = self.table.schema(expected as usize);
        if let Some(columns) = &columns {
            schema = Arc::new(schema.project(columns)?);
        }
        Ok(Rows::new(schema, &self.options, scan))
    }

    /// Says whether one of the columns holds vectors.
    fn has_vectors(&self, columns: &[usize]) -> bool {
        let schema = self.table.schema(0);
        let is_vector =
            |place: &usize| matches!(schema.field(*place).data_type(), DataType::FixedSizeList(..));
        columns.iter().any(is_vector)
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

    /// Returns rows of a table that is kept as a whole.
    fn catalog(&self, snapshot: &Snapshot) -> Result<Rows> {
        let mut batch = self.table.catalog(snapshot)?;
        if let (Some(column), false) = (batch.column_by_name("run"), self.runs.is_empty()) {
            let runs: BTreeSet<_> = self.runs.iter().map(RunId::to_string).collect();
            let found = column.as_string::<i32>().iter();
            let mask = found.map(|run| Some(run.is_some_and(|run| runs.contains(run))));
            batch = filter_record_batch(&batch, &mask.collect())?;
        }
        let mut batch = batch.slice(0, batch.num_rows().min(self.limit.unwrap_or(usize::MAX)));
        if let Some(columns) = self.places()? {
            batch = batch.project(&columns)?;
        }
        Ok(Rows::new(batch.schema(), &self.options, iter::once(Ok(batch))))
    }

    #[cfg(feature = "sql")]
    fn conditional(&self, snapshot: Arc<Snapshot>, condition: &str) -> Result<Rows> {
        super::sql::filtered(snapshot, self, condition)
    }

    #[cfg(not(feature = "sql"))]
    fn conditional(&self, _snapshot: Arc<Snapshot>, _condition: &str) -> Result<Rows> {
        Err(QueryError::NoSql)
    }
}
