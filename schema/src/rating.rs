//! The table `ratings`.

use crate::table::table;

table! {
    /// How an imagined picture looks to a classifier, and whether it was chosen by that.
    ///
    /// Class and index are those of the picture.
    pub struct Rating in Table::Ratings, "ratings", by class {
        /// The class of the largest logit.
        pub predicted: i32,
        /// Its probability.
        pub confidence: f32,
        /// The probability of the picture's class; none where the classifier does not have it.
        pub own: Option<f32>,
        /// The largest probability of another class.
        pub other: f32,
        /// Distance to the k-th nearest training image, of features divided by their norm.
        pub knn_distance: f32,
        /// 1 where the picture was chosen, 0 where not.
        pub chosen: i32,
    }
}
