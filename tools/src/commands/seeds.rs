//! Which seeds a pipeline is run with.

use anyhow::{Result, bail};
use dream_ood::stage::pipeline::Preset;

use crate::session::Usage;

/// As many seeds as a command takes.
pub const MOST: u64 = 1_000_000;

/// The options `--seeds` and `--seed`.
#[derive(Debug, clap::Args)]
pub struct Seeds {
    /// Runs it with so many seeds: 0, 1, ...; without it, with those that the preset's sweep names, or one
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MOST))]
    seeds: Option<u64>,
    /// The first seed; 0 without it
    #[arg(long)]
    seed: Option<u64>,
}

impl Seeds {
    /// Returns the seeds.
    pub fn of(&self, preset: &Preset) -> Result<Vec<u64>> {
        if self.seeds.is_none() && self.seed.is_none() && !preset.sweep.seeds.is_empty() {
            return Ok(preset.sweep.seeds.clone());
        }
        let (first, number) = (self.seed.unwrap_or(0), self.seeds.unwrap_or(1));
        let Some(last) = first.checked_add(number - 1) else {
            bail!(Usage(format!(
                "--seed {first} --seeds {number}: the last seed would be above {}",
                u64::MAX
            )));
        };
        let sweep = &preset.sweep;
        sweep.check_pipelines(number as usize).map_err(Usage)?;
        Ok((first..=last).collect())
    }
}
