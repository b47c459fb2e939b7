//! The table `metrics`.

use crate::table::table;

table! {
    /// A number that describes a run: a loss, an accuracy, a detection metric.
    pub struct Metric in Table::Metrics, "metrics", by run {
        /// What it is: `loss`, `accuracy`, `fpr95`, `auroc`.
        pub name: String,
        /// The OOD data set that it was measured on, where it was.
        pub dataset: Option<String>,
        /// The detection score that it judges, where it does.
        pub score: Option<String>,
        /// The epoch that it belongs to, where it has one.
        pub epoch: Option<i32>,
        /// The number.
        pub value: f64,
        /// The group of OOD sets (`near`, `far`, `shifted`) that the set is of, or that the number is the
        /// mean of where it has no set.
        pub ood_group: Option<String> = None,
    }
}
