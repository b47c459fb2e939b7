//! How large a query is once the planner has written it out.
//!
//! Short words can stand for a lot: a named sub-query is planned anew wherever it is named, `coalesce` and
//! BETWEEN name what they look at twice, and in each other they do so twice as often. What a plan takes is
//! outside the memory that a query may take, so a query is measured before it is planned.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Expr, ObjectName, Query, Visit, Visitor};

/// Functions that are planned as `CASE WHEN a IS NOT NULL THEN a .. ELSE z END`.
const CASES: [&str; 3] = ["coalesce", "nvl", "ifnull"];

/// Returns what a statement stands for, and what of it is written, in expressions and sub-queries.
pub(super) fn of(statement: &Statement) -> (f64, f64) {
    match statement {
        Statement::Explain(explain) => of(&explain.statement),
        Statement::Statement(statement) => {
            let mut measure = Measure {
                around: vec![Vec::new()],
                ..Measure::default()
            };
            // Nothing in it breaks off.
            let _ = statement.visit(&mut measure);
            (measure.around.iter().flatten().sum(), measure.written)
        }
        // They are refused.
        _ => (0.0, 0.0),
    }
}

/// Sizes on the way through a query. They grow beyond any integer.
#[derive(Default)]
struct Measure {
    /// Sizes of the parts that have been seen, of each expression and query around.
    around: Vec<Vec<f64>>,
    /// Sub-queries with a name, by where they are: they count where they are named.
    named: HashMap<*const Query, String>,
    sizes: HashMap<String, f64>,
    written: f64,
}

impl Measure {
    fn begin(&mut self) {
        self.around.push(Vec::new());
        self.written += 1.0;
    }

    /// The sizes of the parts of what ends here.
    fn end(&mut self) -> Vec<f64> {
        self.around.pop().unwrap_or_default()
    }

    fn add(&mut self, size: f64) {
        if let Some(parts) = self.around.last_mut() {
            parts.push(size);
        }
    }
}

impl Visitor for Measure {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for table in query.with.iter().flat_map(|with| &with.cte_tables) {
            let name = table.alias.name.value.to_lowercase();
            self.named.insert(&raw const *table.query, name);
        }
        self.begin();
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let size = 1.0 + self.end().iter().sum::<f64>();
        match self.named.remove(&(&raw const *query)) {
            Some(name) => drop(self.sizes.insert(name, size)),
            None => self.add(size),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        if let Some(size) = self.sizes.get(&relation.to_string().to_lowercase()) {
            self.add(*size);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.begin();
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let parts = self.end();
        let sum: f64 = parts.iter().sum();
        let again = match expr {
            Expr::Function(call) if CASES.contains(&call.name.to_string().to_lowercase().as_str()) => {
                sum - parts.last().unwrap_or(&0.0)
            }
            Expr::Between { .. } => parts.first().copied().unwrap_or(0.0),
            _ => 0.0,
        };
        self.add(1.0 + sum + again);
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::config::{ConfigNonZeroUsize, ConfigOptions};

    use crate::query::sql::parse;

    fn size(sql: &str) -> f64 {
        let mut options = ConfigOptions::new();
        options.sql_parser.recursion_limit = ConfigNonZeroUsize::try_new(1000).unwrap();
        of(&parse(sql, &options).unwrap()).0
    }

    fn nested(depth: usize, open: &str, middle: &str, close: &str) -> String {
        format!("SELECT {}{middle}{}", open.repeat(depth), close.repeat(depth))
    }

    #[test]
    fn what_is_named_twice_counts_twice() {
        for (open, close) in [
            ("coalesce(", ", 1)"),
            ("NVL(", ", 1)"),
            ("(", " BETWEEN 1 AND 2)"),
        ] {
            let [small, large] = [10, 30].map(|depth| size(&nested(depth, open, "a", close)));
            assert!(
                (1e3..1e5).contains(&small) && large > 1e8,
                "{open}: {small}, {large}"
            );
        }
        let doubled = |depth: usize| {
            let named = (1..depth).map(|n| format!("t{n} AS (SELECT * FROM t{0} x, T{0} y)", n - 1));
            let named: Vec<String> = std::iter::once("t0 AS (SELECT 1 a)".into())
                .chain(named)
                .collect();
            size(&format!("WITH {} SELECT * FROM t{}", named.join(", "), depth - 1))
        };
        assert!(doubled(5) < 200.0 && doubled(40) > 1e11);
    }

    #[test]
    fn what_is_long_and_plain_counts_once() {
        // The last argument is named once.
        assert!(size(&nested(200, "coalesce(b, ", "a", ")")) < 2000.0);
        assert!(size(&nested(200, "abs(", "a", ")")) < 2000.0);
        assert!(size(&format!("SELECT a IN ({})", ["1"; 900].join(", "))) < 2000.0);
        assert!(size("WITH t AS (SELECT 1 a) SELECT * FROM t x, t y, t z") < 100.0);
    }
}
