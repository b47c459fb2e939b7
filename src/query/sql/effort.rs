//! How long the expressions of a query take to plan.
//!
//! The planner derives the type of each expression from those of its parts down to the last, anew at every
//! level, and the type of a function goes with a name that has the names of its arguments in it: so planning
//! takes the square of a chain's length, and the fourth power of how deep calls are nested. Lists are cheap.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Query, UnaryOperator, Visit as _, Visitor};

/// What deriving the type of one expression costs, in bytes of names that are copied meanwhile. (Measured: a
/// chain of 2400 additions of a column and 380 nested calls of `abs` take 7.3 and 3.9 s, at some 10^9 bytes a
/// second.)
const TYPE: f64 = 1200.0;

/// Returns the effort of planning a statement, and how deep its expressions are nested.
pub(super) fn of(statement: &Statement) -> (f64, usize) {
    match statement {
        Statement::Explain(explain) => of(&explain.statement),
        Statement::Statement(statement) => {
            let mut effort = Effort {
                around: vec![Part::default()],
                deepest: 0,
            };
            // Nothing in it breaks off.
            let _ = statement.visit(&mut effort);
            (effort.around.iter().map(|part| part.work).sum(), effort.deepest)
        }
        // They are refused.
        _ => (0.0, 0),
    }
}

/// An expression, or several beside each other.
#[derive(Clone, Copy, Default)]
struct Part {
    /// Bytes of its name.
    name: f64,
    /// Bytes that are copied to put its name together.
    copied: f64,
    /// What it costs to derive its type once.
    typing: f64,
    /// What it costs to derive the types of all levels.
    work: f64,
    depth: usize,
}

impl Part {
    fn and(self, other: Self) -> Self {
        Self {
            name: self.name + other.name,
            copied: self.copied + other.copied,
            typing: self.typing + other.typing,
            work: self.work + other.work,
            depth: self.depth.max(other.depth),
        }
    }
}

struct Effort {
    /// What has been seen of each expression and sub-query around.
    around: Vec<Part>,
    deepest: usize,
}

impl Effort {
    fn begin(&mut self) -> ControlFlow<()> {
        self.around.push(Part::default());
        ControlFlow::Continue(())
    }

    fn end(&mut self, whole: impl FnOnce(Part) -> Part) -> ControlFlow<()> {
        let parts = self.around.pop().unwrap_or_default();
        if let Some(around) = self.around.last_mut() {
            *around = around.and(whole(parts));
        }
        ControlFlow::Continue(())
    }
}

impl Visitor for Effort {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.begin()
    }

    /// The type of a sub-query is that of its columns, and known.
    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.end(|parts| Part {
            work: parts.work,
            ..Part::default()
        })
    }

    fn pre_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.begin()
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let own = match expr {
            // Brackets leave no trace in a plan.
            Expr::Nested(_) => return self.end(|parts| parts),
            Expr::Function(call) => call.name.to_string().len(),
            Expr::Identifier(name) => name.value.len(),
            _ => 8,
        };
        let depth = self.around.last().map_or(0, |parts| parts.depth + 1);
        self.deepest = self.deepest.max(depth);
        self.end(|parts| {
            let name = parts.name + own as f64 + 2.0;
            let copied = parts.copied + name;
            let named = if becomes_call(expr) { copied } else { 0.0 };
            let typing = parts.typing + TYPE + named;
            Part {
                name,
                copied,
                typing,
                work: parts.work + typing,
                depth: parts.depth + 1,
            }
        })
    }
}

/// Says whether an expression is planned as a call of a function: operators on integers become one
/// ([`super::checked`]), which has all links of a chain in it.
fn becomes_call(expr: &Expr) -> bool {
    match expr {
        Expr::Function(_) => true,
        Expr::UnaryOp { op, .. } => *op == UnaryOperator::Minus,
        Expr::BinaryOp { op, left, .. } => rank(op).is_some_and(|own| {
            let mut left = left.as_ref();
            while let Expr::Nested(inner) = left {
                left = inner;
            }
            !matches!(left, Expr::BinaryOp { op, .. } if rank(op) == Some(own))
        }),
        _ => false,
    }
}

/// Returns how tightly an operator binds, of those that are checked.
fn rank(op: &BinaryOperator) -> Option<u8> {
    match op {
        BinaryOperator::Plus | BinaryOperator::Minus => Some(0),
        BinaryOperator::Multiply => Some(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::sql::parse;

    fn effort(sql: &str) -> f64 {
        measured(sql).0
    }

    fn measured(sql: &str) -> (f64, usize) {
        // The parser goes deeper than the stack of a test.
        std::thread::scope(|scope| {
            let measured = std::thread::Builder::new()
                .stack_size(256 << 20)
                .spawn_scoped(scope, || of(&parse(sql, 5000).unwrap()));
            measured.unwrap().join().unwrap()
        })
    }

    #[test]
    fn chains_and_calls_grow_faster_than_their_length_and_lists_do_not() {
        let chain = |links: usize| effort(&format!("SELECT {}", vec!["1"; links].join(" + ")));
        let calls = |depth: usize| {
            let (open, close) = ("abs(".repeat(depth), ")".repeat(depth));
            effort(&format!("SELECT {open}a{close}"))
        };
        let nested = |depth: usize| {
            let (open, close) = ("(a + ".repeat(depth), ")".repeat(depth));
            effort(&format!("SELECT {open}a{close}"))
        };
        let list = |items: usize| effort(&format!("SELECT a IN ({})", vec!["1"; items].join(", ")));
        let brackets = |depth: usize| {
            let (open, close) = ("(".repeat(depth), ")".repeat(depth));
            effort(&format!("SELECT {open}a{close}"))
        };
        for (cost, n, growth) in [
            (&chain as &dyn Fn(usize) -> f64, 400, 3.9..4.1),
            (&calls, 400, 12.0..16.0),
            (&nested, 400, 12.0..16.0),
            (&list, 400, 1.9..2.1),
            (&brackets, 400, 0.9..1.1),
        ] {
            let found = cost(2 * n) / cost(n);
            assert!(growth.contains(&found), "{found} is not in {growth:?}");
        }
        assert_eq!(
            measured("SELECT ((a + 1)) + b FROM (SELECT abs(abs(abs(a))) AS a FROM t)").1,
            4
        );
    }
}
