//! The options that all commands share, and which command has a use for which.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::parser::ValueSource;
use clap::{ArgMatches, ValueEnum};

use crate::device::Devices;
use crate::memory::Bytes;
use crate::session::Usage;

/// What every command is told.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Shared options")]
pub struct Globals {
    /// The store: one redb file
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "DREAM_STORE",
        default_value = "dream.redb",
        value_parser = OsStringValueParser::new().try_map(store)
    )]
    pub store: PathBuf,

    /// The processor that models run on: `cpu`, `cuda`, `cuda:N`, or `cuda:0,cuda:1,...`: several GPUs share
    /// the pictures of `imagine`, and the first does the rest
    #[arg(long, global = true, value_name = "DEVICE", default_value = "cpu")]
    pub device: Devices,

    /// How results are printed
    #[arg(long, global = true, value_enum, default_value = "table")]
    pub format: Format,

    /// Threads to compute with; results do not depend on it
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub threads: Option<u64>,

    /// Pictures that the diffusion model makes at once; results do not depend on it (on a GPU they would:
    /// there it is the parameter `batch`, `--set batch=N`). Without it, as many as memory holds, 64 at most.
    /// (The images of a training step are a parameter: `--set training.batch_size=N`)
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=65536))]
    pub batch_size: Option<u64>,

    /// Memory for pictures in the making, beside the model's weights, or for what a query holds, such as 8G;
    /// without it, half of what is free
    #[arg(long, global = true, value_name = "BYTES", conflicts_with = "batch_size")]
    pub memory: Option<Bytes>,

    /// Says nothing but results and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

impl Globals {
    /// Says whether a result that is no table is wanted as JSON.
    ///
    /// # Errors
    /// If it is wanted as CSV, which is for tables.
    pub fn as_json(&self) -> Result<bool, Usage> {
        match self.format {
            Format::Table => Ok(false),
            Format::Json => Ok(true),
            Format::Csv => Err(Usage(
                "--format csv is for tables, and this result is none; `--format json` gives it to programs"
                    .into(),
            )),
        }
    }
}

/// Takes a word for the path of a store.
fn store(word: OsString) -> Result<PathBuf, String> {
    match word.is_empty() {
        true => Err("it is empty, by `--store` or DREAM_STORE: name the file, or leave both out".to_owned()),
        false => Ok(word.into()),
    }
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns; vectors and bytes abbreviated
    Table,
    /// One JSON object a line
    Json,
    /// Comma-separated values
    Csv,
}

/// A shared option that not every command has a use for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shared {
    Store,
    Device,
    Format,
    Threads,
    BatchSize,
    Memory,
}

/// What a command uses that prints an answer.
pub const ANSWERS: &[Shared] = &[Shared::Store, Shared::Format, Shared::Threads];
/// What a command uses that answers questions of any size.
pub const ASKS: &[Shared] = &[Shared::Store, Shared::Format, Shared::Threads, Shared::Memory];
/// What a command uses that computes on a device.
pub const COMPUTES: &[Shared] = &[Shared::Store, Shared::Format, Shared::Threads, Shared::Device];
/// What a command uses that makes pictures, or may.
pub const PAINTS: &[Shared] = Shared::ALL;
/// What a command uses that prints what the program knows by itself.
pub const LISTS: &[Shared] = &[Shared::Format];
/// What a command uses whose output is a file.
pub const WRITES: &[Shared] = &[Shared::Store, Shared::Threads];
/// What a command uses that prints an answer about files which it is given.
pub const SAVES: &[Shared] = &[Shared::Format];
/// What a command uses that neither reads a store nor computes.
pub const PRINTS: &[Shared] = &[];

impl Shared {
    const ALL: &[Self] = &[
        Self::Store,
        Self::Device,
        Self::Format,
        Self::Threads,
        Self::BatchSize,
        Self::Memory,
    ];

    /// Its name among clap's arguments.
    fn id(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Device => "device",
            Self::Format => "format",
            Self::Threads => "threads",
            Self::BatchSize => "batch_size",
            Self::Memory => "memory",
        }
    }

    /// Says whether an argument is a shared option that is none of those used.
    pub fn is_idle(id: &str, used: &[Self]) -> bool {
        let idle = Self::ALL.iter().filter(|option| !used.contains(option));
        idle.into_iter().any(|option| option.id() == id)
    }

    /// Why a command has no use for it.
    fn reason(self) -> &'static str {
        match self {
            Self::Store => "it opens no store",
            Self::Device => "it computes nothing on a device",
            Self::Format => "its output has one form, or the one that the ending of its file names",
            Self::Threads => "it computes nothing",
            Self::BatchSize => {
                "it makes no pictures; the images of a training step are a parameter: \
                 `--set training.batch_size=N`"
            }
            Self::Memory => "it makes no pictures and answers no query",
        }
    }
}

/// Says whether a shared option stands on the command line, and not in the environment alone.
pub fn is_given(given: &ArgMatches, option: Shared) -> bool {
    given.value_source(option.id()) == Some(ValueSource::CommandLine)
}

/// Refuses shared options that were given to a command that has no use for them.
///
/// # Errors
/// [`Usage`] with the first of them.
pub fn refuse_unused(given: &ArgMatches, used: &[Shared]) -> Result<(), Usage> {
    let command = given.subcommand_name().unwrap_or_default();
    let mut idle = Shared::ALL.iter().filter(|option| !used.contains(option));
    match idle.find(|option| is_given(given, **option)) {
        Some(option) => Err(Usage(format!(
            "--{} is of no use to `dream {command}`: {}",
            option.id().replace('_', "-"),
            option.reason()
        ))),
        None => Ok(()),
    }
}
