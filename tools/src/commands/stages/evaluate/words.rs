//! What is written behind options of `evaluate`: metrics, and test sets with their groups.

use std::str::FromStr;

use anyhow::{Result, bail};
use dream_ood::stage::evaluate::{self, EXTRA_METRICS, Group, Groups};
use dream_ood::stage::{Input, MetricName, did_you_mean};
use dream_schema::RunId;

use crate::session::{Session, Usage};

/// A metric, or all of those that are stored only where they are asked for.
#[derive(Clone, Debug)]
pub struct ExtraMetrics(pub &'static [MetricName]);

impl ExtraMetrics {
    pub fn is_all(&self) -> bool {
        self.0.len() == EXTRA_METRICS.len()
    }
}

pub fn extra_metric(word: &str) -> Result<ExtraMetrics, String> {
    let known = || EXTRA_METRICS.iter().map(|metric| metric.name());
    if word == evaluate::ALL {
        return Ok(ExtraMetrics(EXTRA_METRICS));
    }
    let found = EXTRA_METRICS.chunks(1).find(|metric| metric[0].name() == word);
    found.map(ExtraMetrics).ok_or_else(|| {
        let near = did_you_mean(word, known());
        let known = known().collect::<Vec<_>>().join(", ");
        format!("there is no metric `{word}` to ask for; expected all, {known}{near}")
    })
}

/// A test set beside the in-distribution set.
#[derive(Clone, Debug)]
pub struct TestSet {
    pub group: Option<Group>,
    pub name: String,
    pub split: Option<String>,
}

/// Reads `[GROUP=]NAME[:SPLIT]`: no name has an equals sign or a colon.
impl FromStr for TestSet {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let (group, rest) = match word.split_once('=') {
            Some((group, rest)) => (Some(group), rest),
            None => (None, word),
        };
        let known = || Group::ALL.map(Group::name);
        let unknown = |group: &str| {
            let near = did_you_mean(group, known());
            format!(
                "there is no group `{group}`; expected {}{near}",
                known().join(", ")
            )
        };
        let group = group.map(|group| Group::from_name(group).ok_or_else(|| unknown(group)));
        let (name, split) = match rest.split_once(':') {
            Some((name, split)) => (name, Some(split.to_owned())),
            None => (rest, None),
        };
        if name.is_empty() {
            return Err("expected the name of a set".to_owned());
        }
        Ok(Self {
            group: group.transpose()?,
            name: name.to_owned(),
            split,
        })
    }
}

/// Test sets by name, and their groups.
pub type Sets = (Vec<(String, Input)>, Groups);

/// Returns the test sets that an option names by runs, each called as `of` says.
pub fn named_sets(
    session: &Session<'_>,
    option: &str,
    sets: &[TestSet],
    of: fn(&Session<'_>, RunId) -> Result<String>,
) -> Result<Sets> {
    let (mut ood, mut groups) = (Vec::new(), Groups::new());
    for TestSet { group, name, split } in sets {
        if let Some(split) = split {
            bail!(Usage(format!(
                "{option} {name}:{split}: the split of a run's images is on record; name the run alone"
            )));
        }
        let run = session.resolve(name)?;
        let set = of(session, run)?;
        groups.extend(group.map(|group| (set.clone(), group)));
        ood.push((set, run.into()));
    }
    Ok((ood, groups))
}
