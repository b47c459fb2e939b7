//! Errors of the query engine in one clear line.

use arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::parser::ParserError;

use crate::query::QueryError;

/// Refuses statements that do anything but read.
pub(super) fn check_statement(statement: &Statement) -> Result<(), QueryError> {
    match statement {
        Statement::Explain(explain) => return check_statement(&explain.statement),
        Statement::Statement(statement) => {
            let text = statement.to_string();
            let first = text.split([' ', '(']).find(|word| !word.is_empty()).unwrap_or("");
            let first = first.to_uppercase();
            // What a reading statement can begin with, as the parser prints it; `(SELECT ...)` begins with
            // its bracket.
            if [
                "SELECT", "WITH", "VALUES", "EXPLAIN", "DESCRIBE", "DESC", "SHOW", "FROM", "TABLE",
            ]
            .contains(&first.as_str())
            {
                return Ok(());
            }
        }
        _ => {}
    }
    let text = statement.to_string();
    let what = text.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    Err(QueryError::ReadOnly { what })
}

/// Returns ours for an error of DataFusion.
pub(super) fn error(error: DataFusionError) -> QueryError {
    if let DataFusionError::SchemaError(schema, _) = error.find_root()
        && let SchemaError::FieldNotFound { field, valid_fields } = schema.as_ref()
    {
        let mut columns: Vec<_> = valid_fields.iter().map(|c| c.name().to_owned()).collect();
        columns.dedup();
        return QueryError::UnknownColumn {
            column: field.name().to_owned(),
            columns,
        };
    }
    match ours(error) {
        Ok(error) => error,
        Err(error) => {
            let root = error.find_root();
            let text = root.message();
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            let message = lines.collect::<Vec<_>>().join(" ");
            match root {
                _ if is_overflow(root) => QueryError::Sql {
                    message: format!(
                        "a number does not fit its type ({message}); `cast(x AS DOUBLE)` makes it a fraction"
                    ),
                },
                DataFusionError::SQL(error, _) => QueryError::Sql {
                    message: unparsed(error),
                },
                DataFusionError::ResourcesExhausted(_) => QueryError::Memory { reason: message },
                _ => QueryError::Sql { message },
            }
        }
    }
}

/// Says whether an integer is too large for its type, by an operation or by a conversion.
fn is_overflow(error: &DataFusionError) -> bool {
    let DataFusionError::ArrowError(error, _) = error else {
        return false;
    };
    match error.as_ref() {
        ArrowError::ArithmeticOverflow(_) => true,
        ArrowError::CastError(said) => said.contains("out of range"),
        _ => false,
    }
}

/// Returns what the parser says, in words.
fn unparsed(error: &ParserError) -> String {
    match error {
        ParserError::ParserError(said) | ParserError::TokenizerError(said) => {
            let said = said
                .replace(" at Line: ", " at line ")
                .replace(", Column: ", ", column ");
            let said = said
                .replacen("Expected: ", "expected ", 1)
                .replacen(", found: ", ", found ", 1);
            format!("this is no SQL that is understood: {said}")
        }
        ParserError::RecursionLimitExceeded => {
            "the query nests its sub-queries and brackets too deep in each other to be read".to_owned()
        }
    }
}

/// Returns the error that one of our tables gave while it was read, if it is one.
fn ours(error: DataFusionError) -> Result<QueryError, DataFusionError> {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<QueryError>() {
            Ok(error) => Ok(*error),
            Err(inner) => Err(DataFusionError::External(inner)),
        },
        DataFusionError::Context(text, inner) => {
            ours(*inner).map_err(|inner| DataFusionError::Context(text, Box::new(inner)))
        }
        other => Err(other),
    }
}
