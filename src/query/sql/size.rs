//! How large a query is once the planner has written it out.
//!
//! Short words can stand for a lot: a named sub-query is planned anew wherever it is named, a column of a
//! sub-query stands for the expression that it is there, `coalesce` and BETWEEN name what they look at twice,
//! and in each other they do so twice as often. What a plan takes is outside the memory that a query may
//! take, so a query is measured before it is planned.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    self, Expr, ObjectName, Query, Select, SelectItem, SetExpr, TableFactor, TableWithJoins, Visit, Visitor,
};

/// Functions that are planned as `CASE WHEN a IS NOT NULL THEN a .. ELSE z END`.
const CASES: [&str; 3] = ["coalesce", "nvl", "ifnull"];

/// Columns of sub-queries that are looked at one by one, of those that a select reads from: a query over
/// `t x, t y` doubles them as often as it is nested. Any further one counts as a column of a stored table.
const COLUMNS: usize = 1000;

/// Returns what a statement stands for, and what of it is written, in expressions and sub-queries.
pub(super) fn of(statement: &Statement) -> (f64, f64) {
    match statement {
        Statement::Explain(explain) => of(&explain.statement),
        Statement::Statement(statement) => match statement.as_ref() {
            ast::Statement::Query(query) => {
                let mut measure = Measure::default();
                (measure.query(query).size, measure.written)
            }
            // They are refused.
            _ => (0.0, 0.0),
        },
        _ => (0.0, 0.0),
    }
}

/// What a table stands for. Sizes grow beyond any integer.
#[derive(Clone, Default)]
struct Part {
    size: f64,
    /// What each of its columns stands for: a condition on it is planned as one on that. Columns of stored
    /// tables are left out; they are of size 1.
    columns: Vec<(String, f64)>,
}

/// Sizes on the way through a query.
#[derive(Default)]
struct Measure {
    /// Sub-queries with a name: they count where they are named.
    named: HashMap<String, Part>,
    written: f64,
}

impl Measure {
    fn query(&mut self, query: &Query) -> Part {
        for table in query.with.iter().flat_map(|with| &with.cte_tables) {
            let part = renamed(self.query(&table.query), &table.alias);
            self.named.insert(table.alias.name.value.to_lowercase(), part);
        }
        let mut part = self.set(&query.body);
        part.size += self.size_of(&query.order_by, &part.columns);
        part
    }

    fn set(&mut self, set: &SetExpr) -> Part {
        self.written += 1.0;
        match set {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(query) => self.query(query),
            SetExpr::SetOperation { left, right, .. } => {
                let (left, right) = (self.set(left), self.set(right));
                let both = left.columns.into_iter().zip(right.columns);
                Part {
                    size: 1.0 + left.size + right.size,
                    columns: both.map(|((name, a), (_, b))| (name, a + b)).collect(),
                }
            }
            SetExpr::Values(values) => Part {
                size: self.size_of(values, &[]),
                ..Part::default()
            },
            SetExpr::Insert(_)
            | SetExpr::Update(_)
            | SetExpr::Delete(_)
            | SetExpr::Merge(_)
            | SetExpr::Table(_) => Part::default(),
        }
    }

    fn select(&mut self, select: &Select) -> Part {
        let mut from = Part::default();
        for table in &select.from {
            self.tables(table, &mut from);
        }
        let mut part = Part {
            size: 1.0 + from.size,
            columns: Vec::new(),
        };
        for item in &select.projection {
            let size = self.size_of(item, &from.columns);
            part.size += size;
            match item {
                SelectItem::ExprWithAlias { alias, .. } => {
                    part.columns.push((alias.value.to_lowercase(), size));
                }
                SelectItem::UnnamedExpr(expr) => {
                    part.columns.push((column(expr).unwrap_or_default(), size));
                }
                SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => {
                    part.columns.extend_from_slice(&from.columns);
                }
                SelectItem::ExprWithAliases { .. } => {}
            }
        }
        part.size += self.size_of(&select.selection, &from.columns)
            + self.size_of(&select.group_by, &from.columns)
            + self.size_of(&select.having, &from.columns)
            + self.size_of(&select.qualify, &from.columns);
        part
    }

    /// Adds a table and those that are joined to it.
    fn tables(&mut self, table: &TableWithJoins, from: &mut Part) {
        self.table(&table.relation, from);
        for join in &table.joins {
            self.table(&join.relation, from);
            from.size += self.size_of(&join.join_operator, &from.columns);
        }
    }

    fn table(&mut self, table: &TableFactor, from: &mut Part) {
        let part = match table {
            TableFactor::Derived { subquery, alias, .. } => {
                let part = self.query(subquery);
                match alias {
                    Some(alias) => renamed(part, alias),
                    None => part,
                }
            }
            TableFactor::Table { name, .. } => self.named(name).cloned().unwrap_or_default(),
            TableFactor::NestedJoin { table_with_joins, .. } => {
                return self.tables(table_with_joins, from);
            }
            other => Part {
                size: self.size_of(other, &[]),
                ..Part::default()
            },
        };
        from.size += 1.0 + part.size;
        let room = COLUMNS.saturating_sub(from.columns.len());
        from.columns.extend(part.columns.into_iter().take(room));
    }

    fn named(&self, name: &ObjectName) -> Option<&Part> {
        self.named.get(&name.to_string().to_lowercase())
    }

    /// Returns the size of expressions over these columns.
    fn size_of(&mut self, expressions: &impl Visit, columns: &[(String, f64)]) -> f64 {
        let mut sizes = Sizes {
            measure: self,
            columns,
            around: vec![Vec::new()],
        };
        // Nothing in it breaks off.
        let _ = expressions.visit(&mut sizes);
        sizes.around.iter().flatten().sum()
    }
}

/// Gives columns the names that an alias has for them.
fn renamed(mut part: Part, alias: &ast::TableAlias) -> Part {
    for ((name, _), new) in part.columns.iter_mut().zip(&alias.columns) {
        *name = new.name.value.to_lowercase();
    }
    part
}

/// The name of the column that an expression is.
fn column(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(name) => Some(name.value.to_lowercase()),
        Expr::CompoundIdentifier(parts) => Some(parts.last()?.value.to_lowercase()),
        _ => None,
    }
}

/// Sizes on the way through expressions.
struct Sizes<'a> {
    measure: &'a mut Measure,
    columns: &'a [(String, f64)],
    /// Sizes of the parts that have been seen, of each expression and sub-query around.
    around: Vec<Vec<f64>>,
}

impl Sizes<'_> {
    fn begin(&mut self) {
        self.around.push(Vec::new());
        self.measure.written += 1.0;
    }

    /// Ends an expression or sub-query; `again` is what of its parts it names a second time.
    fn end(&mut self, again: impl FnOnce(&[f64]) -> f64) {
        let parts = self.around.pop().unwrap_or_default();
        self.add(1.0 + parts.iter().sum::<f64>() + again(&parts));
    }

    fn add(&mut self, size: f64) {
        if let Some(parts) = self.around.last_mut() {
            parts.push(size);
        }
    }
}

impl Visitor for Sizes<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.begin();
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.end(|_| 0.0);
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let size = self.measure.named(relation).map_or(0.0, |part| part.size);
        self.add(size);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.begin();
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let columns = self.columns;
        self.end(|parts| match expr {
            Expr::Function(call) if CASES.contains(&call.name.to_string().to_lowercase().as_str()) => {
                parts.iter().rev().skip(1).sum()
            }
            Expr::Between { .. } => parts.first().copied().unwrap_or(0.0),
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {
                let name = column(expr).unwrap_or_default();
                let sizes = columns.iter().filter(|(own, _)| *own == name);
                sizes.map(|(_, size)| *size).fold(0.0, f64::max)
            }
            _ => 0.0,
        });
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::sql::parse;

    fn size(sql: &str) -> f64 {
        // The parser goes deeper than the stack of a test.
        std::thread::scope(|scope| {
            let measured = std::thread::Builder::new()
                .stack_size(256 << 20)
                .spawn_scoped(scope, || of(&parse(sql, 1000).unwrap()).0);
            measured.unwrap().join().unwrap()
        })
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
        // A column that is made of the one below, time and again.
        for (made, named) in [("a + a AS a", ""), ("CASE WHEN a > 1 THEN a ELSE 0 END", " t(a)")] {
            let stacked = |depth: usize| {
                let (open, close) = (format!("SELECT {made} FROM ("), format!("){named}"));
                size(&format!(
                    "{}SELECT a FROM t{}",
                    open.repeat(depth),
                    close.repeat(depth)
                ))
            };
            assert!(stacked(5) < 500.0 && stacked(40) > 1e11, "{made}");
        }
    }

    #[test]
    fn what_is_long_and_plain_counts_once() {
        // The last argument is named once.
        assert!(size(&nested(200, "coalesce(b, ", "a", ")")) < 2000.0);
        assert!(size(&nested(200, "abs(", "a", ")")) < 2000.0);
        assert!(size(&format!("SELECT a IN ({})", ["1"; 900].join(", "))) < 2000.0);
        assert!(size("WITH t AS (SELECT 1 a) SELECT * FROM t x, t y, t z") < 100.0);
        let stacked = format!(
            "{}SELECT a FROM t{}",
            "SELECT a, a + 1 AS b FROM (".repeat(90),
            ")".repeat(90)
        );
        assert!(size(&stacked) < 20_000.0);
        assert!(size(&["SELECT a FROM t"; 90].join(" UNION ALL ")) < 1000.0);
    }
}
