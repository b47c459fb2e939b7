//! Enums that are words ([`words`]), and words that are like another.

pub(crate) use dream_schema::words;

/// Returns the names that are like `name`, the nearest first: few edits away, or one a part of the other.
pub(crate) fn near_names(name: &str, names: impl Iterator<Item = String>) -> Vec<String> {
    let limit = (name.chars().count() / 3).max(2);
    let distance = |other: &str| match strsim::levenshtein(name, other) {
        edits if edits <= limit => Some(edits),
        _ if name.len() >= 3 && other.contains(name) => Some(limit + 1),
        _ if other.len() >= 3 && name.contains(other) => Some(limit + 1),
        _ => None,
    };
    let mut near: Vec<_> = names
        .filter_map(|other| Some((distance(&other)?, other)))
        .collect();
    near.sort();
    near.into_iter().take(3).map(|(_, name)| name).collect()
}
