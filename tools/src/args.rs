//! The options that all commands share.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::memory::Bytes;

/// What every command is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The store: one redb file
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "DREAM_STORE",
        default_value = "dream.redb"
    )]
    pub store: PathBuf,

    /// The processor that models run on: `cpu`, `cuda` or `cuda:N`
    #[arg(long, global = true, value_name = "DEVICE", default_value = "cpu")]
    pub device: String,

    /// How tables are printed
    #[arg(long, global = true, value_enum, default_value = "table")]
    pub format: Format,

    /// Threads to compute with; results do not depend on it
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=65536))]
    pub threads: Option<u64>,

    /// Pictures that the diffusion model makes at once; results do not depend on it. Without it, as many as
    /// memory holds, 64 at most
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=65536))]
    pub batch_size: Option<u64>,

    /// Memory for pictures in the making, beside the model's weights, such as 8G; without it, half of what is
    /// free
    #[arg(long, global = true, value_name = "BYTES", conflicts_with = "batch_size")]
    pub memory: Option<Bytes>,

    /// Says nothing but results and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// How tables are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns; vectors and bytes abbreviated
    Table,
    /// One JSON object a line
    Json,
    /// Comma-separated values
    Csv,
}
