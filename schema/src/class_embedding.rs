//! The table `class_embeddings`.

use crate::table::table;

table! {
    /// The embedding T(y) of a class word.
    ///
    /// It is the row of the text encoder's input token table that belongs to the word (DREAM-OOD, Sec. 3.1).
    pub struct ClassEmbedding in Table::ClassEmbeddings, "class_embeddings", by class {
        /// The class word, one token of the tokenizer.
        pub word: String,
        /// Its row in the token table.
        pub token_id: i64,
        /// BLAKE3 of the diffusion model that it was read from.
        pub model: String,
        /// T(y), as wide as the text encoder.
        pub vector: Vec<f32> as wide,
        /// |T(y)|, to which outliers of the class are scaled.
        pub norm: f32,
    }
}
