//! Which texts a query compares with the ids of runs.
//!
//! An id is stored as a whole. The first digits that a table shows, or a name of the run, are equal to none,
//! so that an answer without rows says nothing: whoever asks is told what was compared.

use std::collections::BTreeSet;

use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Column, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, Operator};

/// Columns that hold ids of runs.
const IDS: [&str; 2] = ["run", "input"];

/// Returns the texts that a plan, not yet optimized, compares with ids in the tables that `has_ids` tells.
pub(super) fn compared(plan: &LogicalPlan, has_ids: impl Fn(&str) -> bool) -> Result<BTreeSet<String>> {
    let mut texts = BTreeSet::new();
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                let (columns, others) = equal(expr);
                let mut columns = columns.into_iter().filter_map(column);
                if columns.any(|column| is_id(node, column, &has_ids)) {
                    texts.extend(others.into_iter().filter_map(text));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(texts)
}

/// Returns what of a comparison for equality may be columns, and what they are compared with.
fn equal(expr: &Expr) -> (Vec<&Expr>, Vec<&Expr>) {
    match expr {
        Expr::BinaryExpr(binary) => match binary.op {
            Operator::Eq | Operator::NotEq | Operator::IsDistinctFrom | Operator::IsNotDistinctFrom => {
                let sides = [binary.left.as_ref(), binary.right.as_ref()];
                (sides.to_vec(), sides.to_vec())
            }
            _ => Default::default(),
        },
        Expr::InList(list) => (vec![&list.expr], list.list.iter().collect()),
        // Without a wildcard it is a comparison.
        Expr::Like(like) if text(&like.pattern).is_some_and(|text| !text.contains(['%', '_'])) => {
            (vec![&like.expr], vec![&like.pattern])
        }
        Expr::Case(case) => {
            let cases = case.when_then_expr.iter().map(|(when, _)| when.as_ref());
            (case.expr.iter().map(AsRef::as_ref).collect(), cases.collect())
        }
        _ => Default::default(),
    }
}

fn bare(mut expr: &Expr) -> &Expr {
    loop {
        expr = match expr {
            Expr::Alias(alias) => &alias.expr,
            Expr::Cast(cast) => &cast.expr,
            Expr::TryCast(cast) => &cast.expr,
            _ => return expr,
        };
    }
}

fn column(expr: &Expr) -> Option<&Column> {
    match bare(expr) {
        Expr::Column(column) => Some(column),
        _ => None,
    }
}

fn text(expr: &Expr) -> Option<String> {
    match bare(expr) {
        Expr::Literal(
            ScalarValue::Utf8(text) | ScalarValue::Utf8View(text) | ScalarValue::LargeUtf8(text),
            _,
        ) => text.clone(),
        _ => None,
    }
}

/// Says whether a column of what goes into a node is one of ids.
fn is_id(node: &LogicalPlan, column: &Column, has_ids: &impl Fn(&str) -> bool) -> bool {
    let inputs = node.inputs();
    let mut origins = inputs.into_iter().filter_map(|input| origin(input, column));
    origins.any(|(table, name)| IDS.contains(&name) && has_ids(table))
}

/// Returns the table that a column comes from as it is, and its name there.
fn origin<'a>(mut plan: &'a LogicalPlan, column: &Column) -> Option<(&'a str, &'a str)> {
    let mut place = plan.schema().maybe_index_of_column(column)?;
    loop {
        let below = match plan {
            LogicalPlan::TableScan(scan) => {
                let (_, field) = scan.projected_schema.qualified_field(place);
                return Some((scan.table_name.table(), field.name()));
            }
            LogicalPlan::SubqueryAlias(alias) => {
                plan = &alias.input;
                continue;
            }
            LogicalPlan::Union(union) => {
                plan = union.inputs.first()?;
                continue;
            }
            LogicalPlan::Projection(projection) => self::column(projection.expr.get(place)?)?,
            LogicalPlan::Aggregate(aggregate) => self::column(aggregate.group_expr.get(place)?)?,
            other => &Column::from(other.schema().qualified_field(place)),
        };
        let mut inputs = plan.inputs().into_iter();
        (plan, place) = inputs.find_map(|input| {
            let place = input.schema().maybe_index_of_column(below)?;
            Some((input, place))
        })?;
    }
}
