//! Reading a preset.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Preset, culprit};
use crate::input;
use crate::stage::{StageError, did_you_mean, with_suggestion};

impl Preset {
    /// Reads a preset file.
    ///
    /// # Errors
    /// If it cannot be read, or is not a preset: the message says the line; and if it has a suffix for a
    /// class that its table does not name.
    pub fn read(path: &Path) -> Result<Self, StageError> {
        let text = input::text(path, input::PRESET).map_err(StageError::access(path))?;
        Self::parse(&text, path)
    }

    /// Reads a preset from the text of the file at `path`.
    ///
    /// # Errors
    /// As [`Preset::read`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, StageError> {
        let wrong = |message: String| StageError::File {
            path: path.to_owned(),
            message,
        };
        // Before the numbers become those of parameters, which hides what was written.
        if let Some(key) = toml::from_str(text).ok().and_then(|table| not_finite(&table)) {
            return Err(wrong(format!(
                "{key}: expected a finite number, of 3.4e38 at most"
            )));
        }
        let preset: Self = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            let place = before.map(|before| before.matches('\n').count());
            let number = place.map_or(String::new(), |place| format!("line {}: ", place + 1));
            let line = place
                .and_then(|place| text.lines().nth(place))
                .unwrap_or_default();
            let table = toml::from_str(text).ok();
            let key = table.and_then(|table| culprit::find(&table, line));
            let key = key.map_or(String::new(), |key| format!("{key}: "));
            wrong(format!("{number}{key}{}", with_suggestion(error.message())))
        })?;
        preset.complete(path, text)
    }

    /// Adds what follows from the class table and from the entries of sets.
    pub(super) fn complete(mut self, path: &Path, text: &str) -> Result<Self, StageError> {
        let preset = &mut self;
        let wrong = |message: String| StageError::File {
            path: path.to_owned(),
            message,
        };
        preset.file = path.to_owned();
        preset.text = text.to_owned();
        let classes = preset.classes()?;
        let names = || classes.iter().map(|class| class.name.as_str());
        let is_stray = |name: &&String| names().all(|known| known != name.as_str());
        let imagine = &preset.imagine;
        for (key, named) in [("suffixes", &imagine.suffixes), ("prompts", &imagine.prompts)] {
            if let Some(stray) = named.keys().find(is_stray) {
                let near = did_you_mean(stray, names());
                let table = preset.data.classes.display();
                return Err(wrong(format!(
                    "imagine.{key}: {table} has no class `{stray}`{near}"
                )));
            }
        }
        let method = preset.detect.outlier.as_ref().map(|recipe| &recipe.method);
        if preset.select.is_some() && method.is_none_or(|method| method.beside().is_none()) {
            let without = method.map_or("the plain classifier".to_owned(), |method| {
                format!("the method `{}`", method.name())
            });
            return Err(wrong(format!(
                "select: {without} is trained without pictures, so that there are none to choose"
            )));
        }
        let suffixes = classes.into_iter().filter(|c| !c.suffix.is_empty());
        let mut all: BTreeMap<String, String> = suffixes.map(|c| (c.name, c.suffix)).collect();
        all.append(&mut preset.imagine.suffixes);
        preset.imagine.suffixes = all;
        for named in [&preset.data.id, &preset.model] {
            let given = [("split", named.split.is_some()), ("group", named.group.is_some())];
            if let Some((key, _)) = given.iter().find(|(_, given)| *given) {
                let name = &named.name;
                return Err(wrong(format!("`{name}`: only an OOD set takes a {key} here")));
            }
        }
        if let Some(named) = &preset.data.ood_validation {
            if named.group.is_some() {
                let name = &named.name;
                return Err(wrong(format!(
                    "`{name}`: only an OOD set to test on takes a group here"
                )));
            }
            if named.split.is_some() {
                preset.evaluate.ood_validation_split.clone_from(&named.split);
            }
        }
        for named in &preset.data.ood {
            if let Some(split) = &named.split {
                preset
                    .evaluate
                    .ood_splits
                    .insert(named.name.clone(), split.clone());
            }
            if let Some(group) = named.group {
                preset.evaluate.groups.insert(named.name.clone(), group);
            }
        }
        Ok(self)
    }
}

/// Returns the key of a number that is infinite or none as 32 bits. TOML has words for them; JSON, in which
/// parameters are stored, has not.
fn not_finite(table: &toml::Table) -> Option<String> {
    table
        .iter()
        .find_map(|(key, value)| not_finite_at(key.clone(), value))
}

fn not_finite_at(key: String, value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::Float(number) => (!(*number as f32).is_finite()).then_some(key),
        toml::Value::Table(table) => Some(format!("{key}.{}", not_finite(table)?)),
        toml::Value::Array(values) => values
            .iter()
            .zip(0..)
            .find_map(|(value, place): (_, usize)| not_finite_at(format!("{key}[{place}]"), value)),
        toml::Value::String(_)
        | toml::Value::Integer(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_preset_takes_a_set_that_another_brings_along_for_its_own() {
        let presets = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/presets");
        let (mut brought, mut wanted) = (Vec::new(), Vec::new());
        for file in std::fs::read_dir(presets).unwrap() {
            let data = Preset::read(&file.unwrap().path()).unwrap().data;
            for named in data.ood.into_iter().chain([data.id]).chain(data.ood_validation) {
                match named.path {
                    Some(_) => brought.push(named.name),
                    None => wanted.push(named.name),
                }
            }
        }
        assert!(brought.contains(&"textures".to_owned()) && wanted.contains(&"dtd".to_owned()));
        wanted.retain(|name| brought.contains(name));
        assert_eq!(wanted, [""; 0]);
    }

    #[test]
    fn presets_of_the_public_code_have_its_words_for_classes_that_there_are() {
        let presets = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/presets");
        for (name, class, prompt) in [
            (
                "cifar100",
                "lawn_mower",
                "A high-quality image of the lawn-<class>",
            ),
            ("imagenet100", "nail", "A high-quality image of the wire <class>"),
        ] {
            let preset = Preset::read(&presets.join(format!("{name}-upstream.toml"))).unwrap();
            let prompts = &preset.imagine.prompts;
            assert_eq!(prompts[class], prompt);
            let classes = preset.classes().unwrap();
            for class in prompts.keys() {
                assert!(classes.iter().any(|row| row.name == *class), "{class}");
            }
        }
    }
}
