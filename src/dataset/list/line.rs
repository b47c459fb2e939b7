//! One line of an image list.

use crate::dataset::beside::{LABEL_COLUMNS, Label, OTHER_LABELS};
use crate::dataset::tree::has_picture_name;

/// A line: a path, and the label behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::dataset) struct Line {
    pub path: String,
    pub label: Label,
}

/// What stands between a path and its label.
fn parts(c: char) -> bool {
    c == ',' || c.is_whitespace()
}

fn unquoted(word: &str) -> &str {
    word.trim_matches('"')
}

/// Reads a line: `path label`, `path,label`, or with a tab between; the path may have spaces. Empty lines,
/// and those that begin with `#`, are none.
///
/// # Errors
/// Says what is wrong with it.
pub(in crate::dataset) fn line(text: &str) -> Result<Option<Line>, String> {
    let text = text.trim();
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    let (path, label) = match text.rsplit_once(parts) {
        Some((path, word)) if let Some(label) = number(word)? => (path, label),
        _ => named(text)?,
    };
    let path = unquoted(path.trim_end_matches(parts));
    match path.is_empty() {
        true => Err("there is no path".to_owned()),
        false => Ok(Some(Line {
            path: path.to_owned(),
            label,
        })),
    }
}

/// The label that a whole number means, also with a `.0` behind it as pandas writes them if one is missing.
fn number(word: &str) -> Result<Option<Label>, String> {
    let word = unquoted(word);
    let word = word.strip_suffix(".0").unwrap_or(word);
    let digits = word.strip_prefix('-').unwrap_or(word);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    if word.starts_with('-') {
        return Ok(Some(Label::None));
    }
    let too_large = |_| format!("the label {word} is too large");
    word.parse()
        .map(|label| Some(Label::Number(label)))
        .map_err(too_large)
}

/// A picture's path, and behind it nothing or the name of its class.
fn named(text: &str) -> Result<(&str, Label), String> {
    let is_path = |text: &str| has_picture_name(unquoted(text));
    let end = match is_path(text) {
        true => None,
        false => (text.match_indices(parts))
            .map(|(at, _)| at)
            .rfind(|at| is_path(&text[..*at])),
    };
    let Some((path, rest)) = end.map(|at| text.split_at(at)) else {
        return Ok((text, Label::None));
    };
    let rest = rest.trim_matches(parts);
    let name = unquoted(rest);
    // A missing label, as pandas writes it.
    if name.is_empty() || name.eq_ignore_ascii_case("nan") {
        return Ok((path, Label::None));
    }
    if name.parse::<f64>().is_ok() {
        return Err(format!("the label {name} is no whole number"));
    }
    let columns = rest == name && name.contains([',', '\t']);
    let first = name.split(char::is_whitespace).next().unwrap_or_default();
    match columns || first != name && number(first)?.is_some() {
        true => Err(format!("behind {} is more than a label: {rest}", unquoted(path))),
        false => {
            let name = name.to_owned();
            Ok((path, Label::Class { name, number: None }))
        }
    }
}

/// Says whether a line names the columns of paths and labels.
pub(super) fn is_head(text: &str) -> bool {
    let words: Vec<String> = (text.split(parts))
        .map(|word| unquoted(word).to_lowercase())
        .filter(|word| !word.is_empty())
        .collect();
    let is_label = |word: &str| LABEL_COLUMNS.contains(&word) || OTHER_LABELS.contains(&word);
    matches!(words.as_slice(), [_, label] if is_label(label))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_image_lists() {
        let read = |text: &str| match line(text) {
            Ok(None) => "nothing".to_owned(),
            Ok(Some(Line { path, label })) => match label {
                Label::None => path,
                Label::Number(number) => format!("{path} = {number}"),
                Label::Class { name, .. } => format!("{path} = `{name}`"),
            },
            Err(said) => format!("error: {said}"),
        };
        for (text, expected) in [
            (
                "cifar10/test/airplane/0001.png 0",
                "cifar10/test/airplane/0001.png = 0",
            ),
            ("texture/a b.jpg -1", "texture/a b.jpg"),
            ("a.png\t3\r", "a.png = 3"),
            ("a.png,3", "a.png = 3"),
            ("a.png, 3", "a.png = 3"),
            ("\"a b.png\",\"3\"", "a b.png = 3"),
            ("banded/banded_0002.jpg", "banded/banded_0002.jpg"),
            ("  ", "nothing"),
            ("# a.png 3", "nothing"),
            ("a.png,3.0", "a.png = 3"),
            ("a.png,cat", "a.png = `cat`"),
            ("x/a b.JPEG hot dog", "x/a b.JPEG = `hot dog`"),
            ("a.png\tn01440764", "a.png = `n01440764`"),
            ("a.png \"tench, Tinca tinca\"", "a.png = `tench, Tinca tinca`"),
            ("a.jpg copy.jpg", "a.jpg copy.jpg"),
            ("a.jpg copy.jpg cat", "a.jpg copy.jpg = `cat`"),
            ("a.png,", "a.png"),
            ("a.png,nan", "a.png"),
            ("a.png 99999999999", "error: the label 99999999999 is too large"),
            ("a.png,3.5", "error: the label 3.5 is no whole number"),
            (
                "a.png,3,train",
                "error: behind a.png is more than a label: 3,train",
            ),
            (
                "a.png 3 train",
                "error: behind a.png is more than a label: 3 train",
            ),
            (
                "a.png\tcat\ttrain",
                "error: behind a.png is more than a label: cat\ttrain",
            ),
        ] {
            assert_eq!(read(text), expected, "{text:?}");
        }
        for (text, expected) in [
            ("path,label", true),
            ("\"filename\",\"class\"", true),
            ("image_path Target", true),
            ("a.png,3", false),
            ("label", false),
            ("my label of it", false),
        ] {
            assert_eq!(is_head(text), expected, "{text}");
        }
    }
}
