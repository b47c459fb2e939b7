//! What lies beside the network in its file: layers that the last layer is only one of, and what is not used.

use super::head::Head;
use super::{COUNTER, Candidate, Misfit};
use crate::tensor_file::Entry;

/// Names that are shown of what is not used.
const SHOWN: usize = 6;
/// What numbers are called by which networks normalise their pictures.
const NORMALISING: [&str; 6] = ["mean", "std", "mu", "sigma", "running_mean", "running_var"];

/// Refuses a last layer that is one of several in a row (`fc.2` behind `fc.0`), or that other tensors alter
/// (`fc.lora_A`): by itself it would make other outputs.
pub(super) fn check_alone(entries: &[Entry], head: &Head<'_>) -> Result<(), Misfit> {
    let stem = head.weight.name.strip_suffix(".weight").unwrap_or_default();
    let (row, number) = stem.rsplit_once('.').unwrap_or(("", stem));
    let in_row = is_number(number) && !row.is_empty();
    let alters = |entry: &&Entry| {
        let own =
            std::ptr::eq(*entry, head.weight) || head.bias.is_some_and(|bias| std::ptr::eq(*entry, bias));
        if own || entry.container != head.weight.container || !is_parameter(entry) {
            return false;
        }
        let below = |module: &str| entry.name.strip_prefix(module)?.strip_prefix('.');
        let beside = || below(row).is_some_and(|rest| rest.split('.').next().is_some_and(is_number));
        below(stem).is_some() || in_row && beside()
    };
    let others: Vec<String> = entries.iter().filter(alters).map(Entry::full_name).collect();
    match others.is_empty() {
        true => Ok(()),
        false => Err(Misfit::Layers {
            head: head.full_name(),
            others,
        }),
    }
}

/// Says which tensors beside those of the network are not used, if any: of its own container, and of no other
/// network in it.
pub(super) fn unused(
    entries: &[Entry],
    used: &[&Entry],
    chosen: &Candidate<'_>,
    candidates: &[Candidate<'_>],
    channels: usize,
) -> Vec<String> {
    let is_left = |entry: &&Entry| {
        entry.container == chosen.container
            && is_parameter(entry)
            && !chosen.is_of_another(entry, candidates)
            && !used.iter().any(|used| std::ptr::eq(*used, *entry))
    };
    let left = entries.iter().filter(is_left).collect::<Vec<_>>();
    let normalises = |entry: &&Entry| {
        let last = entry.name.rsplit('.').next().unwrap_or_default();
        NORMALISING.contains(&last) && entry.count() == channels
    };
    let (normalising, rest): (Vec<&Entry>, Vec<&Entry>) = left.into_iter().partition(normalises);
    let mut notes = Vec::new();
    if !normalising.is_empty() {
        let names = listed(&normalising);
        notes.push(format!(
            "it normalises its pictures by {names}, which are not used beside the mean and std asked for"
        ));
    }
    if !rest.is_empty() {
        notes.push(format!("not used: {}", listed(&rest)));
    }
    notes
}

/// Whether a tensor is of numbers that are learned or followed, not one that counts.
fn is_parameter(entry: &Entry) -> bool {
    entry.format.is_some() && !entry.name.ends_with(COUNTER)
}

fn is_number(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())
}

fn listed(entries: &[&Entry]) -> String {
    let names = entries
        .iter()
        .take(SHOWN)
        .map(|entry| format!("`{}`", entry.full_name()));
    let names = names.collect::<Vec<_>>().join(", ");
    match entries.len().saturating_sub(SHOWN) {
        0 => names,
        more => format!("{names} and {more} more"),
    }
}
