//! The table `checkpoints`.

use crate::table::table;

table! {
    /// The state of a model; its bytes are a blob of the store.
    pub struct Checkpoint in Table::Checkpoints, "checkpoints", by run {
        /// What it is a state of: `model`, `optimizer`, or `head`, the last layer.
        pub name: String,
        /// Epochs trained.
        pub epoch: i32,
        /// File format of the bytes: `safetensors`.
        pub format: String,
        /// Length of the bytes.
        pub size: i64,
        /// BLAKE3 of the bytes, in hex.
        pub blake3: String,
        /// Address of the blob that holds them.
        pub blob: String,
    }
}
