//! Questions to a store: typed filters, exact nearest neighbours, and full SQL (feature `sql`).
//!
//! A question reads one snapshot of the store, and of that only the blocks that it needs: which those are is
//! known from the index of blocks (run, class, first index, number of rows) before any is read, and of the
//! columns only those that it asks for. Every answer is an iterator of record batches: rows pass through
//! block by block.

mod catalog;
mod classes;
mod error;
mod filter;
#[cfg(feature = "sql")]
mod known;
mod nearest;
mod options;
pub mod print;
mod rows;
mod scan;
mod selection;
#[cfg(feature = "sql")]
mod sql;
mod table;
#[cfg(test)]
mod tests;
pub mod vector;

pub use catalog::{datasets_batch, run_inputs_batch, run_params_batch, run_sources_batch, runs_batch};
pub use error::{QueryError, Result};
pub use filter::{Class, Filter};
pub use nearest::{Distance, Neighbour, nearest, neighbours_batch};
pub use options::QueryOptions;
pub use print::{Format, write_rows};
pub use rows::Rows;
pub use scan::{Counter, Scan, ScanOptions};
pub use selection::Selection;
#[cfg(feature = "sql")]
pub use sql::{FUNCTIONS, Sql};
pub use table::TableName;
