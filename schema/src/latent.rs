//! The table `latents`.

use crate::table::table;

table! {
    /// The final latent of a generated image, before the VAE decodes it.
    ///
    /// It is enough to make the picture again.
    pub struct Latent in Table::Latents, "latents", by class {
        /// Index of the outlier (of the same class) whose vector stood in for the class word; none for a
        /// plain class prompt.
        pub outlier: Option<i64>,
        /// The prompt.
        pub prompt: String,
        /// The seed of the initial noise; with class and index it names the noise.
        pub seed: u64,
        /// Type of the numbers in `data`: `f32`.
        pub dtype: String,
        /// [channels, height, width].
        pub shape: Vec<i64>,
        /// The numbers, little-endian, in row-major order.
        pub data: Vec<u8> as wide,
    }
}
