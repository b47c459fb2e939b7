//! `dream submit slurm|task`.

mod folder;
mod script;
mod slurm;
mod task;

use anyhow::Result;
use clap::Subcommand;

use super::Verdict;
use crate::globals::Globals;

/// Hands a pipeline over to a cluster, cut into tasks that run at the same time.
#[derive(Debug, clap::Args)]
pub struct Submit {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Writes an array job for every step of a preset, each after those that it reads from, and submits them
    /// to Slurm; the last job merges what they made into the store.
    ///
    /// Every task writes a store of its own below FOLDER/stores and reads the others: no two write one file,
    /// and the store that --store names is written by the last job alone. A task that is stopped (scancel,
    /// preemption, the time limit) ends the pictures in hand and stores them; queued again, it goes on from
    /// there. What the store has is no task, and what several settings or seeds have in common is one. The
    /// same command again submits what is missing.
    Slurm(slurm::Slurm),
    /// Carries out one task of a submitted job: what the scripts call
    Task(task::RunTask),
}

impl Submit {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        match &self.action {
            Action::Slurm(slurm) => slurm.execute(globals),
            Action::Task(task) => task.execute(globals),
        }
    }
}
