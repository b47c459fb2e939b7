//! Which key of a preset an error is about: serde tells no more than the section where that may have the
//! parameters of several methods.

use toml::{Table, Value};

use super::Preset;

/// Returns the key, as `section.key`, that reading `table` fails for at `line`: the error speaks of it or of
/// its value, and is another one without it. None where several may be meant.
pub(super) fn find(table: &Table, line: &str) -> Option<String> {
    let said = refusal(table)?;
    let mut keys = Vec::new();
    leaves(table, &mut Vec::new(), &mut keys);
    keys.retain(|(key, value)| is_of(line, key) && speaks_of(&said, key, value));
    keys.retain(|(key, _)| {
        let mut without = table.clone();
        remove(&mut without, key);
        refusal(&without).as_ref() != Some(&said)
    });
    match keys.as_slice() {
        [(key, _)] => Some(key.join(".")),
        _ => None,
    }
}

/// Says whether a line of the file is that of a key, or the head of a section that has it.
fn is_of(line: &str, key: &[String]) -> bool {
    let line = line.trim();
    match line.strip_prefix('[') {
        Some(head) => {
            let head = head.split(']').next().unwrap_or(head);
            key.join(".").starts_with(&format!("{}.", head.trim()))
        }
        None => {
            let word = line.split(['=', '.', ' ']).next().unwrap_or(line);
            key.iter().any(|part| part == word)
        }
    }
}

/// Returns what is said of a table that is no preset.
fn refusal(table: &Table) -> Option<String> {
    let read: Result<Preset, _> = Value::Table(table.clone()).try_into();
    Some(read.err()?.message().to_owned())
}

/// Says whether the words of an error may be about a key or its value, as serde has them.
fn speaks_of(said: &str, key: &[String], value: &Value) -> bool {
    let shown = match value {
        Value::String(text) => said.contains(&format!("{text:?}")) || said.contains(&format!("`{text}`")),
        Value::Array(_) => said.contains("sequence") || said.contains("length"),
        Value::Float(number) => said.contains("floating point") || said.contains(&format!("`{number}`")),
        Value::Datetime(_) => true,
        Value::Integer(_) | Value::Boolean(_) | Value::Table(_) => said.contains(&format!("`{value}`")),
    };
    shown || key.last().is_some_and(|last| said.contains(&format!("`{last}`")))
}

/// Collects the keys and values that are no tables.
fn leaves<'a>(table: &'a Table, path: &mut Vec<String>, keys: &mut Vec<(Vec<String>, &'a Value)>) {
    for (key, value) in table {
        path.push(key.clone());
        match value {
            Value::Table(inner) => leaves(inner, path, keys),
            _ => keys.push((path.clone(), value)),
        }
        path.pop();
    }
}

fn remove(table: &mut Table, key: &[String]) {
    match key {
        [] => {}
        [last] => drop(table.remove(last)),
        [first, rest @ ..] => {
            if let Some(Value::Table(inner)) = table.get_mut(first) {
                remove(inner, rest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_is_said_of_a_wrong_value_names_its_key() {
        let preset = include_str!("../../../data/presets/fashion-mini.toml");
        for (section, key, value) in [
            ("sample.sampling", "k", "\"x\""),
            ("sample.sampling", "select", "-5"),
            ("encode.training", "momentum", "[1]"),
            ("detect.training", "epochs", "1.5"),
            ("detect.outlier", "phi", "\"cubic\""),
            ("imagine", "stepz", "3"),
            ("evaluate", "scores", "true"),
        ] {
            let head = format!("[{section}]\n");
            let (before, after) = preset.split_once(&head).unwrap();
            let end = after.find("\n[").map_or(after.len(), |end| end + 1);
            let (own, next) = after.split_at(end);
            let others: Vec<&str> = own
                .lines()
                .filter(|line| !line.starts_with(&format!("{key} =")))
                .collect();
            let own = format!("{}\n{key} = {value}\n", others.join("\n"));
            let text = format!("{before}{head}{own}{next}");
            let said = Preset::parse(&text, Path::new("x.toml")).unwrap_err().to_string();
            assert!(said.contains(&format!(": {section}.{key}: ")), "{said}");
        }
    }
}
