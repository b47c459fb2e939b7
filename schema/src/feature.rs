//! The table `features`.

use crate::table::table;

table! {
    /// An ID feature: a training image in the token-embedding space.
    ///
    /// z = h(x)/|h(x)| (DREAM-OOD, Eq. 2).
    pub struct Feature in Table::Features, "features", by class {
        /// The unit vector z.
        pub vector: Vec<f32> as wide,
        /// The split of the data set that the image is from.
        pub split: String,
        /// The image's place in that split.
        pub sample: i64,
    }
}
