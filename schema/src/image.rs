//! The table `images`.

use crate::table::table;

table! {
    /// A generated image.
    pub struct Image in Table::Images, "images", by class {
        /// Index of the outlier (of the same class) that it was imagined from; none for a plain class prompt.
        pub outlier: Option<i64>,
        /// Width in pixels.
        pub width: i32,
        /// Height in pixels.
        pub height: i32,
        /// The picture as a PNG file.
        pub png: Vec<u8> as wide,
        /// BLAKE3 of `png`, in hex.
        pub blake3: String,
    }
}
