//! Enums that are words ([`words`]), and words that are like another.

pub(crate) use dream_schema::words;

/// Returns the names that are like `name`, the nearest first: few edits away (two letters in each other's
/// place are one), or one is part of the other.
pub(crate) fn near_names(name: &str, names: impl Iterator<Item = String>) -> Vec<String> {
    let limit = (name.chars().count() / 3).max(2);
    let distance = |other: &str| match strsim::osa_distance(name, other) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swapped_letters_are_one_edit() {
        let near = |name, names: &[&str]| near_names(name, names.iter().map(|name| (*name).to_owned()));
        assert_eq!(near("fashoin", &["fashions", "fashion"]), ["fashion", "fashions"]);
        assert_eq!(near("smaple", &["simple", "sample"]), ["sample", "simple"]);
        assert_eq!(near("evlauaet", &["evaluate"]), ["evaluate"]);
        assert_eq!(near("xy", &["evaluate"]), Vec::<String>::new());
    }
}
