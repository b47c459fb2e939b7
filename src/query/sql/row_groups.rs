//! Which row groups of a Parquet file can hold rows that a query asks for, by their statistics.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::file::metadata::RowGroupMetaData;

use crate::caught::caught;
use crate::exchange::parquet::ParquetFile;

/// Returns the question to the statistics that follows from conditions; none where there are none.
pub(super) fn predicate(
    state: &dyn Session,
    schema: &SchemaRef,
    filters: &[Expr],
) -> Result<Option<PruningPredicate>> {
    let Some(all) = conjunction(filters.iter().cloned()) else {
        return Ok(None);
    };
    let expr = state.create_physical_expr(all, &DFSchema::try_from(schema.clone())?)?;
    // A condition that statistics say nothing about is no error: then all is read.
    let builder = PruningPredicateBuilder::new().with_file_schema(schema.clone());
    Ok(builder.try_build(expr).ok())
}

/// Returns the row groups of `file` that can hold such rows.
pub(super) fn passing(
    predicate: &PruningPredicate,
    schema: &SchemaRef,
    file: &ParquetFile,
) -> Result<Vec<usize>> {
    let groups = file.metadata().row_groups();
    let statistics = Groups { schema, file, groups };
    // Of statistics that are damaged nothing follows.
    let Some(passing) = caught(|| predicate.prune(&statistics)) else {
        return Ok((0..groups.len()).collect());
    };
    let passing = passing?;
    Ok((0..groups.len())
        .filter(|group| passing.get(*group) != Some(&false))
        .collect())
}

/// What a file says of its row groups.
struct Groups<'a> {
    schema: &'a SchemaRef,
    file: &'a ParquetFile,
    groups: &'a [RowGroupMetaData],
}

impl Groups<'_> {
    /// Returns the statistics of a column that the file has in the type of the table.
    fn of(&self, column: &Column) -> Option<StatisticsConverter<'_>> {
        let field = self.file.schema().field_with_name(&column.name).ok()?;
        let wanted = self.schema.field_with_name(&column.name).ok()?;
        if field.data_type() != wanted.data_type() {
            return None;
        }
        let parquet = self.file.metadata().file_metadata().schema_descr();
        StatisticsConverter::try_new(&column.name, self.file.schema(), parquet).ok()
    }
}

impl Groups<'_> {
    /// Returns the statistics of a column whose least and greatest value they say: of floats they leave out
    /// NaN, which in a query is greater than all others, or with its sign set less.
    fn bounds_of(&self, column: &Column) -> Option<StatisticsConverter<'_>> {
        let statistics = self.of(column)?;
        let values = match statistics.arrow_field().data_type() {
            DataType::Dictionary(_, values) => values,
            other => other,
        };
        (!values.is_floating()).then_some(statistics)
    }
}

impl PruningStatistics for Groups<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds_of(column)?.row_group_mins(self.groups).ok()
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds_of(column)?.row_group_maxes(self.groups).ok()
    }

    fn num_containers(&self) -> usize {
        self.groups.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let counts = self.of(column)?.row_group_null_counts(self.groups).ok()?;
        Some(Arc::new(counts))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        let counts = self.groups.iter().map(|group| group.num_rows().max(0) as u64);
        Some(Arc::new(UInt64Array::from_iter_values(counts)))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
