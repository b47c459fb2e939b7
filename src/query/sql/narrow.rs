//! Fractions that a query compares with 32-bit numbers, as 32-bit numbers.
//!
//! A number of 32 bits is shown with as few digits as tell it from its neighbours. The query engine reads
//! these as 64 bits, to which the stored number is not equal. So what is written stands for the nearest
//! number of 32 bits, unless there is none: it is too large, or so small that it would be zero.

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ExprSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{Expr, ExprSchemable as _, Operator};

/// Rewrites comparisons before the engine finds a type for both sides.
#[derive(Debug)]
pub(super) struct Narrow;

impl FunctionRewrite for Narrow {
    fn name(&self) -> &str {
        "narrow"
    }

    fn rewrite(&self, mut expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        let changed = match &mut expr {
            Expr::BinaryExpr(binary) if compares(binary.op) => {
                narrow(&binary.left, [binary.right.as_mut()], schema)
                    || narrow(&binary.right, [binary.left.as_mut()], schema)
            }
            Expr::InList(list) => narrow(&list.expr, &mut list.list, schema),
            Expr::Between(between) => {
                let bounds = [between.low.as_mut(), between.high.as_mut()];
                narrow(&between.expr, bounds, schema)
            }
            Expr::Case(case) => match &case.expr {
                Some(chosen) => {
                    let values = case.when_then_expr.iter_mut().map(|(value, _)| value.as_mut());
                    narrow(chosen, values, schema)
                }
                None => false,
            },
            _ => false,
        };
        Ok(match changed {
            true => Transformed::yes(expr),
            false => Transformed::no(expr),
        })
    }
}

fn compares(op: Operator) -> bool {
    matches!(
        op,
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

/// Makes those of `others` that are written fractions 32 bits wide if `expr` is; says whether any was.
fn narrow<'a>(expr: &Expr, others: impl IntoIterator<Item = &'a mut Expr>, schema: &dyn ExprSchema) -> bool {
    let fractions = others.into_iter().filter_map(|other| {
        let near = nearest(other)?;
        Some((other, near))
    });
    let mut fractions = fractions.peekable();
    // The type of what cannot be typed is for the engine to complain of.
    let is_narrow = || {
        expr.get_type(schema)
            .is_ok_and(|found| found == DataType::Float32)
    };
    if fractions.peek().is_none() || !is_narrow() {
        return false;
    }
    for (other, near) in fractions {
        *other = Expr::Literal(ScalarValue::Float32(Some(near)), None);
    }
    true
}

/// Returns the number of 32 bits that a written fraction stands for.
fn nearest(expr: &Expr) -> Option<f32> {
    let Expr::Literal(ScalarValue::Float64(Some(wide)), _) = expr else {
        return None;
    };
    let near = *wide as f32;
    (near.is_finite() && (near != 0.0 || *wide == 0.0)).then_some(near)
}
