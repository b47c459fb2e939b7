//! Which conditions of a query decide which blocks are read.
//!
//! A condition on `run` alone is asked of every run that has rows, one on `class_id` alone of every class:
//! what comes out are sets. Comparisons of `index` with a number narrow a range, and `class_name` may be one
//! of some names. All of these hold exactly for the rows that come back; whatever else is asked, DataFusion
//! filters.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::expr_rewriter::unnormalize_col;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator};
use dream_schema::Table;

use crate::query::Selection;
use crate::query::known::Known;

/// A condition that can be pushed down.
pub(super) enum Condition {
    /// Any on `run` alone.
    Run(Expr),
    /// Any on `class_id` alone.
    Class(Expr),
    /// `class_name` is one of these.
    ClassName(BTreeSet<String>),
    /// `index` lies in this range.
    Index(RangeInclusive<u64>),
}

/// Returns how a condition can be pushed down to `table`; none if it cannot.
pub(super) fn condition(table: Table, filter: &Expr) -> Option<Condition> {
    let special = |e: &Expr| {
        Ok(matches!(
            e,
            Expr::ScalarSubquery(_)
                | Expr::InSubquery(_)
                | Expr::Exists(_)
                | Expr::OuterReferenceColumn(..)
                | Expr::Placeholder(_)
        ))
    };
    if filter.is_volatile() || filter.exists(special).unwrap_or(true) {
        return None;
    }
    let columns: BTreeSet<_> = filter.column_refs().iter().map(|c| c.name().to_owned()).collect();
    let mut columns = columns.iter();
    let (column, None) = (columns.next()?, columns.next()) else {
        return None;
    };
    match column.as_str() {
        "run" => Some(Condition::Run(unnormalize_col(filter.clone()))),
        "class_id" if table.by_class() => Some(Condition::Class(unnormalize_col(filter.clone()))),
        "class_name" => class_names(filter).map(Condition::ClassName),
        "index" => index_range(filter).map(Condition::Index),
        _ => None,
    }
}

/// Returns the rows that `filters`, all of which can be pushed down, let through.
pub(super) fn selection(state: &dyn Session, known: &Known, filters: &[Expr]) -> Result<Selection> {
    let mut selection = Selection::default();
    for filter in filters {
        match condition(known.table, filter) {
            Some(Condition::Run(expr)) => {
                let runs = selection.runs.take().unwrap_or_else(|| known.runs());
                let names: StringArray = runs.iter().map(|run| Some(run.to_string())).collect();
                selection.runs = Some(passing(state, "run", Arc::new(names), expr, runs)?);
            }
            Some(Condition::Class(expr)) => {
                let classes = selection.classes.take().unwrap_or_else(|| known.classes());
                let ids: Int32Array = classes.iter().map(|class| Some(*class as i32)).collect();
                selection.classes = Some(passing(state, "class_id", Arc::new(ids), expr, classes)?);
            }
            Some(Condition::ClassName(names)) => {
                selection.class_names = Some(match selection.class_names.take() {
                    Some(other) => other.intersection(&names).cloned().collect(),
                    None => names,
                });
            }
            Some(Condition::Index(range)) => {
                let start = *range.start().max(selection.index.start());
                selection.index = start..=*range.end().min(selection.index.end());
            }
            None => match filter {
                // What became of `class_id IN (NULL)`: no row passes.
                Expr::Literal(ScalarValue::Boolean(passes), _) => {
                    if *passes != Some(true) {
                        selection.runs = Some(BTreeSet::new());
                    }
                }
                _ => {
                    let text = format!("the condition {filter} was pushed down and cannot be");
                    return Err(DataFusionError::Internal(text));
                }
            },
        }
    }
    Ok(selection)
}

/// Returns those of `items` whose value passes; `values` are in the order of the set.
fn passing<T: Ord>(
    state: &dyn Session,
    column: &str,
    values: ArrayRef,
    expr: Expr,
    items: BTreeSet<T>,
) -> Result<BTreeSet<T>> {
    let schema = Arc::new(Schema::new(vec![Field::new(
        column,
        values.data_type().clone(),
        true,
    )]));
    let expr = state.create_physical_expr(expr, &DFSchema::try_from(schema.clone())?)?;
    let batch = RecordBatch::try_new(schema, vec![values])?;
    let verdict = expr.evaluate(&batch)?.into_array(batch.num_rows())?;
    let wrong = || {
        DataFusionError::Plan(format!(
            "a condition gives {}, not true or false",
            verdict.data_type()
        ))
    };
    let verdict = match verdict.data_type() {
        DataType::Boolean => verdict.as_boolean(),
        _ => return Err(wrong()),
    };
    let passing = items.into_iter().zip(verdict.iter());
    Ok(passing
        .filter(|(_, pass)| *pass == Some(true))
        .map(|(item, _)| item)
        .collect())
}

/// Returns the names that `class_name` may have.
fn class_names(filter: &Expr) -> Option<BTreeSet<String>> {
    match filter {
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::Eq,
            right,
        }) => {
            let literal = if is_column(left) { right } else { left };
            Some(BTreeSet::from([text(literal)?]))
        }
        Expr::InList(InList {
            expr,
            list,
            negated: false,
        }) if is_column(expr) => list.iter().map(text).collect(),
        // Three names or fewer of an IN list come as this.
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::Or,
            right,
        }) => {
            let (mut left, right) = (class_names(left)?, class_names(right)?);
            left.extend(right);
            Some(left)
        }
        _ => None,
    }
}

/// Returns the range of `index` that a comparison gives. An index is never negative.
fn index_range(filter: &Expr) -> Option<RangeInclusive<u64>> {
    const NONE: RangeInclusive<u64> = RangeInclusive::new(1, 0);
    let from = |low: i64| u64::try_from(low).unwrap_or(0)..=u64::MAX;
    let to = |high: i64| u64::try_from(high).map_or(NONE, |high| 0..=high);
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (op, value) = match (is_column(left), is_column(right)) {
                (true, false) => (*op, number(right)?),
                (false, true) => (op.swap()?, number(left)?),
                _ => return None,
            };
            Some(match op {
                Operator::Eq => u64::try_from(value).map_or(NONE, |value| value..=value),
                Operator::Gt => value.checked_add(1).map_or(NONE, from),
                Operator::GtEq => from(value),
                Operator::Lt => value.checked_sub(1).map_or(NONE, to),
                Operator::LtEq => to(value),
                _ => return None,
            })
        }
        Expr::Between(Between {
            expr,
            negated: false,
            low,
            high,
        }) if is_column(expr) => {
            let (low, high) = (from(number(low)?), to(number(high)?));
            Some(*low.start().max(high.start())..=*high.end())
        }
        _ => None,
    }
}

fn is_column(expr: &Expr) -> bool {
    matches!(expr, Expr::Column(_))
}

fn number(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(ScalarValue::Int64(value), _) => *value,
        _ => None,
    }
}

fn text(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Literal(
            ScalarValue::Utf8(value) | ScalarValue::Utf8View(value) | ScalarValue::LargeUtf8(value),
            _,
        ) => value.clone(),
        _ => None,
    }
}
