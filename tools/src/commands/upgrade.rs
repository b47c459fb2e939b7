//! `dream upgrade`: the store in the newest format.

use anyhow::Result;
use dream_ood::stage::Progress as _;
use dream_ood::store::Upgraded;
use indicatif::HumanBytes;
use serde_json::json;

use super::Verdict;
use crate::bars::Bars;
use crate::globals::Globals;
use crate::{output, session};

/// Brings the store to the newest format, in which queries that need no vectors, tensors or pictures do not
/// read them, and what an index says is checked as rows are.
///
/// Rows and digests stay what they are. If it is interrupted, the store is as it was; asked for again, it
/// goes on.
#[derive(Debug, clap::Args)]
pub struct Upgrade {
    /// Only says what is to be done and how much room it needs
    #[arg(long)]
    check: bool,
}

impl Upgrade {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        let as_json = globals.as_json()?;
        let mut store = match self.check {
            true => session::store_to_read(globals)?,
            false => session::store_to_write(globals)?,
        };
        let plan = store.upgrade_plan()?;
        if !as_json {
            match &plan {
                None => out!("{} has the newest format", globals.store.display())?,
                Some(plan) => out!(
                    "format {} to {}: {} are written; the file needs up to {} more room, which is free again \
                     afterwards",
                    plan.from,
                    plan.to,
                    HumanBytes(plan.bytes),
                    HumanBytes(plan.room)
                )?,
            }
        }
        let facts = |upgraded: Option<Upgraded>| {
            json!({
                "store": globals.store, "upgraded": upgraded.is_some(), "from": plan.map(|plan| plan.from),
                "to": plan.map(|plan| plan.to), "bytes": plan.map(|plan| plan.bytes),
                "room": plan.map(|plan| plan.room), "runs": upgraded.map(|upgraded| upgraded.runs),
            })
        };
        if self.check || plan.is_none() {
            if as_json {
                output::document(&facts(None))?;
            }
            return Ok(Verdict::Good);
        }
        let bars = Bars::new(globals.quiet);
        let mut done = None;
        let upgraded = store.upgrade(&mut |now, total| {
            if done.is_none() {
                bars.begin("upgrade", total, "parts");
            }
            bars.advance(now.saturating_sub(done.unwrap_or(0)));
            done = Some(now);
        })?;
        bars.end();
        match as_json {
            true => output::document(&facts(Some(upgraded)))?,
            false => out!(
                "{} is upgraded; the rows of {} runs are what they were",
                globals.store.display(),
                upgraded.runs
            )?,
        }
        Ok(Verdict::Good)
    }
}
