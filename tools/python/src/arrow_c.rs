//! Arrow's C data and stream interfaces (<https://arrow.apache.org/docs/format/CDataInterface.html>,
//! `CStreamInterface.html`), for handing record batches to other libraries of the process without a copy.
//!
//! The `arrow` crate has them behind a feature that the program does not need and that everything above
//! `arrow` would be compiled again for. What is exported here is released by whoever takes it; nothing is
//! imported.

mod array;
mod schema;
mod stream;

pub use schema::CSchema;
pub use stream::{Batches, CStream};
