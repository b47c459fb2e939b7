//! What the names and the card of a set say that is not there: told, for a part of a set looks like a set.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::input;

/// Returns the first name that is missing between others that differ by a number alone, of every such row of
/// names: `0001` between `0000` and `0002`.
pub(super) fn missing<'a>(stems: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut rows: BTreeMap<(&str, usize), BTreeSet<u64>> = BTreeMap::new();
    for stem in stems {
        let digits = stem.bytes().rev().take_while(u8::is_ascii_digit).count();
        let (word, number) = stem.split_at(stem.len() - digits);
        if let Ok(number) = number.parse() {
            // Numbers of one width, as shards have them: `cifar10` and `cifar100` are no row.
            rows.entry((word, digits)).or_default().insert(number);
        }
    }
    let gap = |((word, width), numbers): ((&str, usize), BTreeSet<u64>)| {
        let next = numbers.iter().zip(numbers.iter().skip(1));
        let mut gaps = next.filter(|(one, other)| *one + 1 < **other);
        let before = gaps.next()?.0;
        Some(format!("{word}{:0width$}", before + 1))
    };
    rows.into_iter().filter_map(gap).collect()
}

/// Returns the splits that the card of a data set's repository (`README.md`) names in its head; none where it
/// names none.
pub(super) fn splits_of_card(folder: &Path) -> BTreeSet<String> {
    let Ok(text) = input::text(&folder.join("README.md"), input::TABLE) else {
        return BTreeSet::new();
    };
    let mut lines = text.lines().map(str::trim_end);
    if lines.next() != Some("---") {
        return BTreeSet::new();
    }
    let head = lines
        .take_while(|line| *line != "---")
        .skip_while(|line| *line != "configs:");
    // The entries of a list may stand where its name does; another name at the margin ends it.
    let inside = |line: &&str| line.starts_with([' ', '-']);
    let of = |line: &str| {
        let split = line.trim_start_matches([' ', '-']).strip_prefix("split:")?;
        Some(split.trim().trim_matches(['"', '\'']).to_owned())
    };
    head.skip(1).take_while(inside).filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_between_others_are_missing() {
        let missing = |stems: &[&str]| missing(stems.iter().copied());
        assert_eq!(missing(&["0000", "0002", "0003", "0007"]), ["0001"]);
        assert_eq!(
            missing(&["part-0", "part-2", "train-000001", "train-000003"]),
            ["part-1", "train-000002"]
        );
        let none: [&[&str]; 5] = [
            &["0000", "0001"],
            &["cifar10", "cifar100"],
            &["a", "b"],
            &["7"],
            &[],
        ];
        for stems in none {
            assert_eq!(missing(stems), Vec::<String>::new(), "{stems:?}");
        }
    }

    #[test]
    fn the_splits_of_a_card() {
        let folder = tempfile::tempdir().unwrap();
        let of = |text: &str| {
            std::fs::write(folder.path().join("README.md"), text).unwrap();
            splits_of_card(folder.path()).into_iter().collect::<Vec<_>>()
        };
        let card = [
            "---",
            "license: mit",
            "configs:",
            "- config_name: default",
            "  data_files:",
            "  - split: train",
            "    path: data/a-*",
            "  - split: \"held_out\"",
            "    path: b.parquet",
            "size: 1",
            "---",
            "# split: no",
        ];
        let card = &card.join("\n");
        assert_eq!(of(card), ["held_out", "train"]);
        let info =
            "---\ndataset_info:\n  splits:\n  - name: train\n    split: x\n---\nconfigs:\n- split: y\n";
        assert_eq!(of(info), Vec::<String>::new());
        assert_eq!(of("# A set\nconfigs:\n- split: train\n"), Vec::<String>::new());
    }
}
