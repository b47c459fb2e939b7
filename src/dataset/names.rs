//! Names of classes and splits.

use std::collections::{BTreeMap, BTreeSet};

use unicode_normalization::UnicodeNormalization;

use crate::floats;

/// What folders and files of splits are called.
const SPLITS: [&str; 17] = [
    "train",
    "training",
    "train_set",
    "test",
    "testing",
    "test_set",
    "val",
    "valid",
    "validation",
    "val_set",
    "dev",
    "eval",
    "evaluation",
    "extra",
    "holdout",
    "unlabeled",
    "unlabelled",
];

/// What may follow the name of a split, besides digits: `train2017`, `test_images`.
const TAILS: [&str; 8] = ["", "image", "images", "img", "imgs", "data", "set", "split"];

/// Whether a split may be called so.
pub(super) fn is_split(name: &str) -> bool {
    let is = |name: &str| SPLITS.iter().any(|split| split.eq_ignore_ascii_case(name));
    let is_tail = |word: &str| {
        let word = word.trim_matches(|c: char| c.is_ascii_digit());
        TAILS.iter().any(|tail| tail.eq_ignore_ascii_case(word))
    };
    let end = name
        .find(|c: char| !c.is_ascii_alphabetic())
        .unwrap_or(name.len());
    let (head, tail) = name.split_at(end);
    is(name) || is(head) && tail.split(['_', '-', '.', ' ']).all(is_tail)
}

/// The form in which names are compared: Unicode's normal form C, in which letters and their accents are one.
pub(super) fn normal(name: &str) -> String {
    name.nfc().collect()
}

/// What is seen of a name: letters that look alike are one, and what is not seen is left out.
fn seen(name: &str) -> String {
    let is_seen = |c: &char| !matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}');
    name.nfkc().filter(is_seen).collect::<String>().trim().to_owned()
}

/// Returns two names that cannot be told apart: they are the same, or look so.
pub(crate) fn alike<'a>(names: impl IntoIterator<Item = &'a String>) -> Option<(&'a str, &'a str)> {
    let mut known: BTreeMap<String, &str> = BTreeMap::new();
    for name in names {
        if let Some(first) = known.insert(seen(name), name) {
            return Some((first, name));
        }
    }
    None
}

/// Returns the whole number that a text says, also as programs write it that keep it as a fraction (`3.0`).
pub(super) fn whole_number(text: &str) -> Option<i64> {
    let whole = || floats::whole(text.parse().ok().filter(|number: &f64| !number.is_nan())?);
    text.parse().ok().or_else(whole)
}

/// Returns names of classes in their order: that of the numbers that all of them are, or else of the
/// alphabet.
pub(super) fn ordered(names: BTreeSet<String>) -> Vec<String> {
    let number = |name: &String| whole_number(name).and_then(|number| u32::try_from(number).ok());
    let mut names: Vec<String> = names.into_iter().collect();
    if names.iter().all(|name| number(name).is_some()) {
        names.sort_by_key(number);
    }
    names
}

/// Whether two lists of names differ in nothing but Unicode's normal form.
pub(crate) fn same_but_form(one: &[String], other: &[String]) -> bool {
    one != other && one.len() == other.len() && one.iter().zip(other).all(|(a, b)| normal(a) == normal(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_have_names_of_their_own() {
        for name in [
            "train",
            "Test",
            "val_set",
            "train2017",
            "test_images",
            "val-2",
            "unlabeled2017",
        ] {
            assert!(is_split(name), "{name}");
        }
        for name in [
            "trainer",
            "tester_1",
            "train_station",
            "testimony",
            "cat",
            "evaluated",
            "1",
        ] {
            assert!(!is_split(name), "{name}");
        }
    }

    #[test]
    fn names_that_are_numbers_stand_in_the_order_of_numbers() {
        let ordered = |names: &[&str]| ordered(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(ordered(&["10", "2", "0"]), ["0", "2", "10"]);
        assert_eq!(ordered(&["10.0", "2.0", "0.0"]), ["0.0", "2.0", "10.0"]);
        assert_eq!(ordered(&["10", "2", "x"]), ["10", "2", "x"]);
    }

    #[test]
    fn names_in_two_normal_forms_are_alike() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let two = names(&["cafe\u{301}", "bar", "caf\u{e9}"]);
        assert_eq!(alike(&two), Some(("cafe\u{301}", "caf\u{e9}")));
        assert_eq!(alike(&names(&["a", "b", "a"])), Some(("a", "a")));
        assert_eq!(alike(&names(&["cat", "cat "])), Some(("cat", "cat ")));
        assert_eq!(
            alike(&names(&["fish", "\u{fb01}sh"])),
            Some(("fish", "\u{fb01}sh"))
        );
        assert_eq!(
            alike(&names(&["fish", "fi\u{200b}sh"])),
            Some(("fish", "fi\u{200b}sh"))
        );
        assert_eq!(alike(&names(&["cafe", "caf\u{e9}", "Cafe"])), None);
        assert!(same_but_form(&two[..1], &two[2..]));
        assert!(!same_but_form(&two[..1], &two[..1]) && !same_but_form(&two[..1], &two[1..2]));
    }
}
