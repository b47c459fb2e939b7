//! The table `scores`.

use crate::table::table;

table! {
    /// A detection score of a test image; higher means more in-distribution.
    pub struct Score in Table::Scores, "scores", by run {
        /// The data set that the image is from.
        pub dataset: String,
        /// The split of the data set.
        pub split: String,
        /// Name of the score: `msp`, `energy`, `dream`.
        pub score: String,
        /// The image's place in the split.
        pub sample: i64,
        /// The score.
        pub value: f32,
        /// The image's class; none for an OOD image.
        pub label: Option<i32>,
        /// The class that the network gives it; -1 where that is not known.
        pub predicted: i32,
    }
}
