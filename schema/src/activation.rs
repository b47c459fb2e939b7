//! The table `activations`.

use crate::table::table;
use crate::value::Numbers;

table! {
    /// What a classifier shows of an image: logits, and the features that its last layer reads.
    ///
    /// Detection scores are taken from these rows, without the network.
    pub struct Activation in Table::Activations, "activations", by run {
        /// The data set that the image is from.
        pub dataset: String,
        /// The split of the data set.
        pub split: String,
        /// The image's place in the split.
        pub sample: i64,
        /// The image's class; none where the set has no labels, or other classes than the classifier.
        pub label: Option<i32>,
        /// The class of the largest logit, the first of equal ones; none without logits.
        pub predicted: Option<i32>,
        /// The logits, one per class; empty where only features are known.
        pub logits: Numbers as wide,
        /// The features: what the last layer reads; empty where only logits are known.
        pub features: Numbers as wide,
        /// The logit of the class of outliers, where the classifier has one beside its classes.
        pub outlier_logit: Option<f32> = None,
    }
}
