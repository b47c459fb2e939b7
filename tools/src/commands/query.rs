//! `dream query TABLE`.

use std::ops::ControlFlow;

use anyhow::Result;
use dream_ood::query::{Filter, rows};

use super::Verdict;
use crate::args::Args;
use crate::output;
use crate::session::Session;

/// Shows rows of a table, chosen by run, class and condition.
#[derive(Debug, clap::Args)]
pub struct Query {
    /// runs, run_inputs, datasets, class_embeddings, features, outliers, latents, images, checkpoints, scores or metrics
    table: String,
    /// Only this run: id, prefix or alias
    #[arg(long)]
    run: Option<String>,
    /// Only this class: name or number
    #[arg(long)]
    class: Option<String>,
    /// An SQL condition on the columns, such as "knn_distance > 0.5"
    #[arg(long = "where", value_name = "CONDITION")]
    condition: Option<String>,
    /// At most so many rows
    #[arg(long, default_value_t = 20)]
    limit: usize,
}
