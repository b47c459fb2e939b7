//! Conditions on columns of 32-bit floats: a number that a query names is compared as the 32-bit one that it
//! stands for. It is read as 64 bits, which no such column is equal to unless the number is a sum of few
//! powers of two: what an answer showed would not be found again.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, ExprSchemable as _, LogicalPlan, Operator};

/// Returns a plan, not yet optimized, whose conditions compare so. What is selected keeps its words: it is
/// named by them.
pub(super) fn compared(plan: LogicalPlan) -> Result<LogicalPlan> {
    let compared = plan.transform_down_with_subqueries(|node| {
        let LogicalPlan::Filter(mut filter) = node else {
            return Ok(Transformed::no(node));
        };
        let predicate = filter.predicate.clone().transform_up(|expr| {
            Ok(match narrowed(expr.clone(), filter.input.schema()) {
                Some(narrowed) => Transformed::yes(narrowed),
                None => Transformed::no(expr),
            })
        })?;
        let changed = predicate.transformed;
        filter.predicate = predicate.data;
        let node = LogicalPlan::Filter(filter);
        Ok(match changed {
            true => Transformed::yes(node),
            false => Transformed::no(node),
        })
    })?;
    Ok(compared.data)
}

/// Returns a comparison of a column of 32 bits with numbers of 32 bits; none if it is another expression.
fn narrowed(expr: Expr, schema: &DFSchema) -> Option<Expr> {
    let is_narrow = |expr: &Expr| {
        !matches!(expr, Expr::Literal(..))
            && expr.get_type(schema).is_ok_and(|kind| kind == DataType::Float32)
    };
    match expr {
        Expr::BinaryExpr(mut binary) if compares(binary.op) => {
            if is_narrow(&binary.left) {
                *binary.right = number(&binary.right)?;
            } else if is_narrow(&binary.right) {
                *binary.left = number(&binary.left)?;
            } else {
                return None;
            }
            Some(Expr::BinaryExpr(binary))
        }
        Expr::InList(mut list) if is_narrow(&list.expr) => {
            for item in &mut list.list {
                *item = number(item).unwrap_or_else(|| item.clone());
            }
            Some(Expr::InList(list))
        }
        Expr::Between(mut between) if is_narrow(&between.expr) => {
            for end in [&mut between.low, &mut between.high] {
                **end = number(end).unwrap_or_else(|| end.as_ref().clone());
            }
            Some(Expr::Between(between))
        }
        _ => None,
    }
}

fn compares(operator: Operator) -> bool {
    matches!(
        operator,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}

/// Returns a number of the query as one of 32 bits; none if it is none, or too large for them.
fn number(expr: &Expr) -> Option<Expr> {
    match expr {
        Expr::Literal(ScalarValue::Float64(Some(wide)), metadata) => {
            let narrow = *wide as f32;
            let fits = narrow.is_finite() || !wide.is_finite();
            fits.then(|| Expr::Literal(ScalarValue::Float32(Some(narrow)), metadata.clone()))
        }
        Expr::Negative(inner) => Some(Expr::Negative(Box::new(number(inner)?))),
        _ => None,
    }
}
