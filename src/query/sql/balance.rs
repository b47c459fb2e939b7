//! Long chains of AND and OR as balanced trees.
//!
//! The parser makes of `a OR b OR c OR ..` a tree as deep as the chain is long, and the optimizer looks at
//! every level of a tree from each level above: thousands of links would take minutes. AND and OR may be
//! bracketed in any way, and a balanced tree is as deep as the logarithm of its leaves.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Value, VisitMut, VisitorMut};

/// Chains of so many links stay as they are.
const SHORT: usize = 16;

/// Balances the chains of a statement.
pub(super) fn balance(statement: &mut Statement) {
    match statement {
        Statement::Explain(explain) => balance(&mut explain.statement),
        Statement::Statement(statement) => {
            // Nothing in it breaks off.
            let _ = statement.visit(&mut Balance);
        }
        // They are refused.
        _ => {}
    }
}

struct Balance;

impl VisitorMut for Balance {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::BinaryOp { op, .. } = expr
            && matches!(op, BinaryOperator::And | BinaryOperator::Or)
        {
            let op = op.clone();
            if links(expr, &op) > SHORT {
                let mut operands = operands(expr, &op);
                *expr = tree(&mut operands, &op);
            }
        }
        ControlFlow::Continue(())
    }
}

/// Returns how far a chain of `op` goes down to the left.
fn links(mut expr: &Expr, op: &BinaryOperator) -> usize {
    let mut links = 0;
    while let Expr::BinaryOp { left, op: own, .. } = expr
        && own == op
    {
        (expr, links) = (left, links + 1);
    }
    links
}

/// Takes a chain of `op` apart, from left to right.
fn operands(expr: &mut Expr, op: &BinaryOperator) -> Vec<Expr> {
    let mut rest = take(expr);
    let mut operands = Vec::new();
    loop {
        match rest {
            Expr::BinaryOp { left, op: own, right } if own == *op => {
                operands.push(*right);
                rest = *left;
            }
            first => {
                operands.push(first);
                operands.reverse();
                return operands;
            }
        }
    }
}

/// Returns the operands, of which there is one at least, under one tree.
fn tree(operands: &mut [Expr], op: &BinaryOperator) -> Expr {
    match operands {
        [one] => take(one),
        several => {
            let (left, right) = several.split_at_mut(several.len() / 2);
            Expr::BinaryOp {
                left: Box::new(tree(left, op)),
                op: op.clone(),
                right: Box::new(tree(right, op)),
            }
        }
    }
}

fn take(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, Expr::value(Value::Null))
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn depth(expr: &Expr) -> usize {
        match expr {
            Expr::BinaryOp { left, right, .. } => 1 + depth(left).max(depth(right)),
            _ => 0,
        }
    }

    #[test]
    fn chains_become_shallow_and_keep_their_order() {
        for op in ["OR", "AND"] {
            let text = (0..5000)
                .map(|i| format!("a{i}"))
                .collect::<Vec<_>>()
                .join(&format!(" {op} "));
            let mut expr = Parser::new(&PostgreSqlDialect {})
                .try_with_sql(&text)
                .unwrap()
                .parse_expr()
                .unwrap();
            assert_eq!(depth(&expr), 4999);
            let _ = VisitMut::visit(&mut expr, &mut Balance);
            assert!(depth(&expr) < 14);
            assert_eq!(expr.to_string(), text);
        }
    }
}
