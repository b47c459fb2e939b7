//! Long chains of AND and OR, and of whole numbers or texts, as balanced trees.
//!
//! The parser makes of `a OR b OR c OR ..` a tree as deep as the chain is long, and the optimizer looks at
//! every level of a tree from each level above: thousands of links would take minutes. AND and OR may be
//! bracketed in any way, and a balanced tree is as deep as the logarithm of its leaves. So may sums and
//! products of whole numbers, and texts one after the other; of what columns hold that is not known here, and
//! of fractions it is not true.

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
        if let Expr::BinaryOp { op, .. } = expr {
            let op = op.clone();
            if may_be_bracketed(expr, &op) && links(expr, &op) > SHORT {
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

/// Says whether the result of a chain of `op` is the same however it is bracketed.
fn may_be_bracketed(mut expr: &Expr, op: &BinaryOperator) -> bool {
    let fits: fn(&Expr) -> bool = match op {
        BinaryOperator::And | BinaryOperator::Or => return true,
        BinaryOperator::Plus | BinaryOperator::Multiply => is_whole,
        BinaryOperator::StringConcat => is_text,
        _ => return false,
    };
    while let Expr::BinaryOp { left, op: own, right } = expr
        && own == op
    {
        if !fits(right) {
            return false;
        }
        expr = left;
    }
    fits(expr)
}

fn is_whole(expr: &Expr) -> bool {
    match expr {
        Expr::Value(value) => {
            matches!(&value.value, Value::Number(number, _) if number.parse::<i64>().is_ok())
        }
        _ => false,
    }
}

fn is_text(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)))
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

    fn balanced(text: &str) -> Expr {
        let parser = Parser::new(&PostgreSqlDialect {}).with_recursion_limit(10_000);
        let mut expr = parser.try_with_sql(text).unwrap().parse_expr().unwrap();
        let _ = VisitMut::visit(&mut expr, &mut Balance);
        expr
    }

    #[test]
    fn only_what_may_be_bracketed_is() {
        for (operand, op, deep) in [
            ("1", "+", false),
            ("1", "*", false),
            ("'a'", "||", false),
            ("1.5", "+", true),
            ("a", "+", true),
            ("99999999999999999999", "+", true),
            ("1", "-", true),
            ("1", "/", true),
            ("a", "||", true),
        ] {
            let expr = balanced(&[operand; 200].join(&format!(" {op} ")));
            assert_eq!(depth(&expr) == 199, deep, "{operand} {op}");
        }
        let ones = ["1"; 199].join(" + ");
        assert_eq!(depth(&balanced(&format!("1.5 + {ones}"))), 199);
        // Whole numbers before the first fraction are added as such in any case.
        assert!(depth(&balanced(&format!("{ones} + 1.5"))) < 14);
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
