//! Detection of out-of-distribution (OOD) inputs: scores of a classifier's logits and features, and the
//! metrics of a score. [`Observed`] is what a classifier showed of a set of pictures, [`score::SCORES`] are
//! the scores of it by name.
//!
//! Every score here is *higher for in-distribution (ID) inputs*, whatever the toolkit it is compared with.
//! The metrics of toolkits differ by tens of points on one and the same pair of score lists, so none is
//! computed without a named [`Convention`]. Scores are `f32` (what the store holds) or `f64`, counts are
//! integers, ratios are `f64`; scores that are equal are one threshold and never ordered by chance. A NaN or
//! an empty list is an error.

mod classified;
mod curve;
mod error;
mod logits;
mod metric;
mod observed;
mod paired;
pub mod score;
mod summary;
#[cfg(test)]
mod tests;

pub use classified::{aurc, ccr_at_fpr, detection_error, misclassification_auroc};
pub use curve::Threshold;
pub use error::OodError;
pub use logits::{Phi, energy, extra_class, max_logit, msp, phi};
pub use metric::{
    Convention, Detection, Interpolation, Positive, accuracy, aupr, auroc, detection, fpr_at_tpr, mean,
    predictions, roc,
};
pub use observed::{Head, Observed, Rows};
pub use paired::{Bootstrap, DeLong, Drawn, bootstrap_p, delong, interval_95};
pub use summary::{Spread, Summary};
