//! A run and its lineage as one self-contained HTML page: pictures, embedding projection, tables, histograms,
//! curves.
//!
//! The module knows nothing of the store: the caller fills [`Report`], plain data in memory, and [`render`]
//! returns the page. The page has no script and asks the network for nothing (a content security policy in it
//! says so to the browser): style and plots are inline, pictures are PNG data URIs. The HTML is made by
//! maud's `html!`, which escapes all text. A section without data becomes one sentence. Large inputs are
//! thinned by a fixed rule, so that the same data gives the same bytes and a page stays below about 10 MB;
//! the caption says what was left out.
//!
//! One file per kind of figure: [`ClassSheet`] in `pictures`, [`Projection`] in `scatter` (its axes by
//! [`pca2`]), [`ScoreHistogram`] in `histogram`, [`DetectionTable`] in `table`, ROC curves in `roc`,
//! [`Curve`] in `curves`, [`Lineage`] in `lineage` (its drawing laid out by `layers`). `html` and `plot` hold
//! what they share.

mod curves;
mod error;
mod histogram;
mod html;
mod layers;
mod lineage;
mod page;
mod pca;
mod pictures;
mod plot;
mod roc;
mod scatter;
mod sheet;
mod sweep;
mod table;
#[cfg(test)]
mod tests;

pub use curves::Curve;
pub use error::ReportError;
pub use histogram::{ScoreHistogram, ScoreSeries, accepted_share, threshold_at_95};
pub use lineage::{Lineage, RunEdge, RunNode};
pub use page::{Report, render};
pub use pca::{Basis, pca2};
pub use pictures::ClassSheet;
pub use scatter::{Mark, PointGroup, Projection};
pub use sheet::{Picture, comparison_sheet, contact_sheet};
pub use sweep::{SweepLine, SweepPanel, sweep_svg};
pub use table::{Average, DetectionRow, DetectionTable};
