//! SQL by DataFusion, over a store or over Parquet files exported from one. Only reading.
//!
//! Every query sees one snapshot, of which the tables that it names are made: so their vector columns have
//! the width of what is stored now, and of the others not even the index is read. A query is planned and
//! computed on a thread of its own, with one more that reads and decodes blocks ahead of it; its rows are
//! handed out as they come. What it holds is limited, and spilled to files where the operation allows it.

mod aggregates;
mod answer;
mod balance;
mod bytes;
mod checked;
mod columns;
mod depth;
mod dialect;
mod effort;
mod files;
mod folder;
mod functions;
mod growth;
mod ids;
mod json;
mod message;
mod narrow;
mod parquet;
mod provider;
mod pushdown;
mod records;
mod row_groups;
mod scan;
mod size;
mod sum;
mod tables;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use datafusion::common::plan_err;
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::execution::context::{SQLOptions, SessionContext};
use datafusion::logical_expr::{Expr, LogicalPlan, col, ident, lit};
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::scan::Counter;
use super::{Class, Filter, QueryError, QueryOptions, Result, Rows};
use crate::store::{Snapshot, Store};
use answer::Question;
use files::Folder;
use tables::Source;

/// What SQL has here beyond what DataFusion has of itself: names with arguments, and what they are.
pub const FUNCTIONS: &[(&str, &str)] = &[
    ("dot(a, b)", "a . b of two vectors"),
    ("norm(a)", "|a|, the length of a vector"),
    (
        "l2_distance(a, b)",
        "|a - b|, the Euclidean distance of two vectors",
    ),
    ("cosine_similarity(a, b)", "cos(a, b), 0 if one is all zeros"),
    (
        "json_value(json, 'key.key')",
        "the value at a dotted key as text: strings bare, the rest as JSON; '' is the whole",
    ),
    (
        "auroc(score, is_ood)",
        "an aggregate: area under the ROC curve, scores higher for ID, ties counted half",
    ),
    (
        "fpr95(score, is_ood)",
        "an aggregate: share of OOD samples above the threshold that keeps 95 % of ID",
    ),
    (
        "aupr_in(score, is_ood)",
        "an aggregate: area under the precision-recall curve, ID positive; also called aupr",
    ),
    (
        "aupr_out(score, is_ood)",
        "the same with OOD positive and scores negated",
    ),
];

/// What a query may stand for beyond what is written of it, in expressions and sub-queries: some hundred
/// megabytes while it is planned.
const LARGEST: f64 = 50_000.0;

/// The effort of planning expressions that a query may ask for: some seconds.
const MOST_EFFORT: f64 = 3e9;

/// Levels of the parser's own for each level of a query.
const PARSED: usize = 4;

/// Answers SQL queries on a store, or on Parquet files.
///
/// The tables of a store are those of [`TableName`](super::TableName), those of a folder its files. Beyond
/// DataFusion's own functions there are [`FUNCTIONS`].
pub struct Sql<'a> {
    from: From<'a>,
    counter: Arc<Counter>,
    options: QueryOptions,
}

/// Where the rows are.
enum From<'a> {
    Store(&'a Store),
    Parquet(Arc<Folder>),
}

impl<'a> Sql<'a> {
    /// Prepares to query `store`.
    pub fn new(store: &'a Store) -> Self {
        Self::from(From::Store(store))
    }

    /// Prepares to query the Parquet files of `folder`: each is a table by the name that an export wrote into
    /// it, or else by its file name; several of one name are one table. In a data set of whole runs
    /// ([`crate::archive`]) the tables that a store derives from its runs are there as well.
    ///
    /// # Errors
    /// If the folder or the head of a file cannot be read, if there is no Parquet file in it, or if files of
    /// one name differ in the type of a column.
    pub fn parquet(folder: &Path) -> Result<Self> {
        Ok(Self::from(From::Parquet(Arc::new(Folder::open(folder)?))))
    }

    fn from(from: From<'a>) -> Self {
        Self {
            from,
            counter: Arc::default(),
            options: QueryOptions::default(),
        }
    }

    /// Sets what queries may take, and when they are to stop.
    pub fn with_options(self, options: QueryOptions) -> Self {
        Self { options, ..self }
    }

    /// Returns how much the queries have read so far.
    pub fn counter(&self) -> &Counter {
        &self.counter
    }

    /// Returns the rows that a SELECT gives.
    ///
    /// # Errors
    /// If the query is wrong, nests too deep or would change something, if it needs more than it may take, or
    /// if the store cannot be read.
    pub fn query(&self, sql: &str) -> Result<Rows> {
        let source = match &self.from {
            From::Store(store) => Source::Snapshot(Arc::new(store.snapshot()?)),
            From::Parquet(folder) => Source::Parquet(folder.clone()),
        };
        let (counter, options, sql) = (self.counter.clone(), self.options.clone(), sql.to_owned());
        let depth = depth::of(&sql);
        answer::rows(&self.options, depth, move |planned| async move {
            let context = tables::context(source.clone(), &counter, &options, &planned)?;
            let plan = plan(&context, &sql, depth).await?;
            let ids = ids::compared(&plan, |table| source.has_ids(table)).map_err(message::error)?;
            let frame = context.execute_logical_plan(plan).await.map_err(message::error)?;
            Ok(Question { frame, ids })
        })
    }
}

/// Returns the rows of a filter that meet a condition. Only the condition is parsed.
pub(super) fn filtered(snapshot: Arc<Snapshot>, filter: &Filter, condition: &str) -> Result<Rows> {
    // A line of its own, so that a comment at its end does not swallow the bracket.
    let sql = format!("SELECT * FROM {} WHERE ({condition}\n)", filter.table);
    let (filter, depth) = (filter.clone(), depth::of(&sql));
    let (options, condition) = (filter.options.clone(), condition.to_owned());
    answer::rows(&options, depth, move |planned| async move {
        check_condition(&condition, depth)?;
        let source = Source::Snapshot(snapshot);
        let context = tables::context(source.clone(), &Arc::default(), &filter.options, &planned)?;
        let plan = plan(&context, &sql, depth).await?;
        let ids = ids::compared(&plan, |table| source.has_ids(table)).map_err(message::error)?;
        let mut frame = DataFrame::new(context.state(), plan);
        for chosen in chosen(&filter) {
            frame = frame.filter(chosen).map_err(message::error)?;
        }
        let mut frame = frame.limit(0, filter.limit).map_err(message::error)?;
        if let Some(columns) = &filter.columns {
            let columns: Vec<Expr> = columns.iter().map(ident).collect();
            frame = frame.select(columns).map_err(message::error)?;
        }
        Ok(Question { frame, ids })
    })
}

/// Checks that a condition is one expression and nothing besides.
fn check_condition(condition: &str, depth: usize) -> Result<()> {
    let parsed = |e| message::error(DataFusionError::SQL(Box::new(e), None));
    let parser = Parser::new(&dialect::Queries).with_recursion_limit(recursion(depth));
    let mut parser = parser.try_with_sql(condition).map_err(parsed)?;
    if parser.peek_token_ref().token == Token::EOF {
        return Err(QueryError::Condition {
            reason: "it is empty".to_owned(),
        });
    }
    parser.parse_expr().map_err(parsed)?;
    let next = parser.peek_token();
    match next.token {
        Token::EOF => Ok(()),
        token => Err(QueryError::Condition {
            reason: format!(
                "`{token}` follows it at line {}, column {}",
                next.span.start.line, next.span.start.column
            ),
        }),
    }
}

/// Returns what the typed part of a filter asks of a row.
fn chosen(filter: &Filter) -> Vec<Expr> {
    let mut chosen = Vec::new();
    if !filter.runs.is_empty() {
        let runs = filter.runs.iter().map(|run| lit(run.to_string())).collect();
        chosen.push(col("run").in_list(runs, false));
    }
    match &filter.class {
        Some(Class::Id(id)) => chosen.push(col("class_id").eq(lit(*id as i32))),
        Some(Class::Name(name)) => chosen.push(col("class_name").eq(lit(name.as_str()))),
        None => {}
    }
    chosen
}

/// Returns how deep the parser may go into a query that nests `depth` deep.
fn recursion(depth: usize) -> usize {
    PARSED * depth + 50
}

/// Returns the one statement that a query is.
fn parse(sql: &str, depth: usize) -> datafusion::error::Result<Statement> {
    let mut statements = DFParserBuilder::new(sql)
        .with_dialect(&dialect::Queries)
        .with_recursion_limit(recursion(depth))
        .build()?
        .parse_statements()?;
    match (statements.pop_front(), statements.is_empty()) {
        (Some(statement), true) => Ok(statement),
        (Some(_), false) => plan_err!("one query at a time, please: there are several"),
        (None, _) => plan_err!("the query is empty"),
    }
}

/// Returns the plan of a query that only reads.
async fn plan(context: &SessionContext, sql: &str, depth: usize) -> Result<LogicalPlan> {
    let state = context.state();
    let mut statement = parse(sql, depth).map_err(message::error)?;
    message::check_statement(&statement)?;
    balance::balance(&mut statement);
    let (size, written) = size::of(&statement);
    if size > written + LARGEST {
        return Err(QueryError::Size {
            size,
            largest: LARGEST,
        });
    }
    let (effort, depth) = effort::of(&statement);
    if effort > MOST_EFFORT {
        return Err(QueryError::Effort {
            depth,
            times: effort / MOST_EFFORT,
        });
    }
    for table in state
        .resolve_table_references(&statement)
        .map_err(message::error)?
    {
        if table.schema().is_none() {
            tables::check_name(context, table.table())?;
        }
    }
    let plan = state.statement_to_plan(statement).await.map_err(message::error)?;
    let options = SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false);
    let refused = |e: DataFusionError| QueryError::ReadOnly {
        what: e.message().into_owned(),
    };
    options.verify_plan(&plan).map_err(refused)?;
    Ok(plan)
}
