//! Names of arrays by their words.

use super::super::names::is_split;

/// Words for pictures.
const PICTURES: [&str; 6] = ["images", "image", "imgs", "img", "x", "data"];
/// Words for the classes of pictures.
const LABELS: [&str; 9] = [
    "labels", "label", "y", "targets", "target", "gt", "truth", "classes", "class",
];
/// Words that may stand beside these.
const BESIDE: [&str; 5] = ["true", "ground", "ids", "fine", "list"];

/// Whether the second name is that of the labels of the first one's pictures: both say the same split, and
/// one labels.
pub(super) fn belong_together(pictures: &str, labels: &str) -> bool {
    // `numpy.savez` without names.
    if (pictures, labels) == ("arr_0", "arr_1") {
        return true;
    }
    let (pictures, labels) = (words(pictures), words(labels));
    let says = |words: &[String], of: &[&str]| words.iter().any(|word| of.contains(&word.as_str()));
    let rest = |words: &[String], of: [&[&str]; 2]| {
        let is_rest = |word: &&String| of.iter().all(|of| !of.contains(&word.as_str()));
        words.iter().filter(is_rest).cloned().collect::<Vec<_>>()
    };
    says(&labels, &LABELS) && rest(&labels, [&LABELS, &BESIDE]) == rest(&pictures, [&PICTURES, &[]])
}

/// The split that the name of an array says: `X_train` is of "train".
pub(super) fn split_of(pictures: &str) -> Option<String> {
    let mut splits = words(pictures).into_iter().filter(|word| is_split(word));
    splits.next().filter(|_| splits.next().is_none())
}

/// The words of a name, in small letters: between other characters than letters and digits, before a capital
/// letter, and `x` or `y` before the name of a split.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = None;
    for c in name.chars() {
        let begins = c.is_uppercase() && before.is_some_and(char::is_lowercase);
        if begins || !c.is_alphanumeric() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            word.extend(c.to_lowercase());
        }
        before = Some(c);
    }
    let parted = words.into_iter().flat_map(|word| match word.split_at_checked(1) {
        Some((axis @ ("x" | "y"), split)) if is_split(split) => vec![axis.to_owned(), split.to_owned()],
        _ => vec![word],
    });
    parted.filter(|word| !word.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_known_by_the_words_of_their_names() {
        for (pictures, labels) in [
            ("X_train", "Y_train"),
            ("trainX", "trainY"),
            ("Xtrain", "ytrain"),
            ("train", "train_targets"),
            ("images", "y_true"),
            ("data", "fine_labels"),
            ("x_test", "test_labels"),
            ("train.images", "train.labels"),
            ("pictures", "pictures_gt"),
            ("arr_0", "arr_1"),
        ] {
            assert!(belong_together(pictures, labels), "{pictures} {labels}");
        }
        for (pictures, labels) in [
            ("x_train", "y_test"),
            ("images", "coarse_labels"),
            ("images", "index"),
            ("train", "labels_test"),
            ("arr_0", "arr_2"),
        ] {
            assert!(!belong_together(pictures, labels), "{pictures} {labels}");
        }
    }
}
