//! Sweeps: a preset that stands for several, one for each setting of some of its keys.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Preset, Step};
use crate::stage::{StageError, with_suggestion};
use crate::store::check_alias;

/// The table `[sweep]` of a preset: keys of the preset, dotted or as tables, each with a list of values, and
/// `seeds`. Every combination of values is a setting.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "toml::Table", into = "toml::Table")]
pub struct Sweep {
    /// Keys and their values, in the order of the keys.
    pub keys: Vec<(String, Vec<Value>)>,
    /// The seeds, where they are named.
    pub seeds: Vec<u64>,
}

/// The values that a sweep gives some keys of its preset.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// Its place among the settings of the sweep, from 1.
    pub number: usize,
    /// Keys and values.
    pub values: Vec<(String, Value)>,
}

/// How many settings a sweep may have.
const MOST: usize = 10_000;
/// How many pipelines a sweep may stand for, every setting with every seed. Each takes seconds at least, and
/// some kilobytes to be told of.
const PIPELINES: usize = 100_000;

impl Sweep {
    /// Says whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses more pipelines than anybody can want of it with so many seeds.
    ///
    /// # Errors
    /// Says how many there are.
    pub fn check_pipelines(&self, seeds: usize) -> Result<(), String> {
        let settings = self.count();
        let pipelines = settings.saturating_mul(seeds);
        match self.is_empty() || pipelines <= PIPELINES {
            true => Ok(()),
            false => Err(format!(
                "sweep: {settings} settings with {seeds} seeds are {pipelines} pipelines, {PIPELINES} at \
                 most are taken"
            )),
        }
    }

    /// Returns how many settings there are.
    fn count(&self) -> usize {
        let sizes = self.keys.iter().map(|(_, values)| values.len());
        sizes.fold(1, usize::saturating_mul)
    }

    /// Returns the settings: every combination of the values, the last key's changing fastest.
    pub fn settings(&self) -> Vec<Setting> {
        let mut all = vec![Vec::new()];
        for (key, values) in &self.keys {
            let with = |known: &Vec<(String, Value)>| {
                let known = known.clone();
                let more = |value: &Value| [known.clone(), vec![(key.clone(), value.clone())]].concat();
                values.iter().map(more).collect::<Vec<_>>()
            };
            all = all.iter().flat_map(with).collect();
        }
        let numbered = all.into_iter().zip(1..);
        numbered
            .map(|(values, number)| Setting { number, values })
            .collect()
    }
}

impl TryFrom<toml::Table> for Sweep {
    type Error = String;

    fn try_from(table: toml::Table) -> Result<Self, String> {
        let mut sweep = Self::default();
        for (key, value) in table {
            if key == "seeds" {
                sweep.seeds = seeds(value)?;
            } else {
                flatten(key, value, &mut sweep.keys)?;
            }
        }
        let settings = sweep.count();
        if settings > MOST {
            return Err(format!(
                "sweep: its lists make {settings} settings, {MOST} at most are taken"
            ));
        }
        sweep.check_pipelines(sweep.seeds.len().max(1))?;
        Ok(sweep)
    }
}

impl From<Sweep> for toml::Table {
    fn from(sweep: Sweep) -> Self {
        let list = |values: Vec<Value>| toml::Value::try_from(values).ok();
        let keys = sweep.keys.into_iter();
        let mut table: Self = keys
            .filter_map(|(key, values)| Some((key, list(values)?)))
            .collect();
        if !sweep.seeds.is_empty() {
            let seeds = sweep.seeds.into_iter().map(Value::from).collect();
            table.extend(list(seeds).map(|seeds| ("seeds".to_owned(), seeds)));
        }
        table
    }
}

fn seeds(value: toml::Value) -> Result<Vec<u64>, String> {
    let wrong = "sweep.seeds: expected a list of different whole numbers, such as [0, 1, 2]";
    let seeds: Vec<u64> = value.try_into().map_err(|_| wrong.to_owned())?;
    let different: BTreeSet<_> = seeds.iter().collect();
    match !seeds.is_empty() && different.len() == seeds.len() {
        true => Ok(seeds),
        false => Err(wrong.to_owned()),
    }
}

/// Takes up the lists at `key` and below it.
fn flatten(key: String, value: toml::Value, keys: &mut Vec<(String, Vec<Value>)>) -> Result<(), String> {
    match value {
        toml::Value::Table(table) => table
            .into_iter()
            .try_for_each(|(below, value)| flatten(format!("{key}.{below}"), value, keys)),
        toml::Value::Array(values) => {
            let section = key.split('.').next().unwrap_or_default();
            if ["name", "sweep"].contains(&section) {
                return Err(format!("sweep.{key}: `{section}` is the same in all settings"));
            }
            if keys.iter().any(|(known, _)| *known == key) {
                return Err(format!("sweep.{key}: it is named twice"));
            }
            if values.len() > MOST {
                let count = values.len();
                return Err(format!("sweep.{key}: {count} values, {MOST} at most are taken"));
            }
            let values: Result<Vec<Value>, _> = values.into_iter().map(toml::Value::try_into).collect();
            let values = values.map_err(|error| format!("sweep.{key}: {error}"))?;
            let different = |place: usize| !values[..place].contains(&values[place]);
            if values.is_empty() || !(0..values.len()).all(different) {
                return Err(format!("sweep.{key}: expected a list of different values"));
            }
            keys.push((key, values));
            Ok(())
        }
        _ => Err(format!(
            "sweep.{key}: expected a list of values, such as [0.1, 0.2]"
        )),
    }
}

impl Setting {
    /// Returns the keys and values as `KEY=VALUE`, separated by commas; nothing where there are none.
    pub fn in_words(&self) -> String {
        let pair = |(key, value): &(String, Value)| format!("{key}={}", word(value));
        self.values.iter().map(pair).collect::<Vec<_>>().join(", ")
    }
}

/// Says that two settings are one.
fn same_in_words(one: &Setting, other: &Setting) -> String {
    let pairs = one.values.iter().zip(&other.values);
    let differ: Vec<_> = pairs.filter(|(one, other)| one != other).collect();
    match differ.as_slice() {
        [((key, one), (_, other))] => {
            format!("{key}: {one} and {other} are the same value there: they make one pipeline")
        }
        _ => format!("{} and {} make one pipeline", one.in_words(), other.in_words()),
    }
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl Preset {
    /// Returns the presets that it stands for, one for each setting of its sweep: itself where it has none.
    ///
    /// # Errors
    /// [`StageError::File`] if a setting makes no preset, or the same one as another: values may differ in
    /// writing alone, as 1 and 1.0, or beyond the digits that a parameter has.
    pub fn settings(&self) -> Result<Vec<Self>, StageError> {
        let mut seen: BTreeMap<String, Setting> = BTreeMap::new();
        let mut all = Vec::new();
        for setting in self.sweep.settings() {
            self.stop.check().map_err(StageError::access(&self.file))?;
            let preset = self.with(setting.clone())?;
            let made = serde_json::json!(preset).to_string();
            if let Some(other) = seen.insert(made, setting.clone()) {
                return Err(StageError::File {
                    path: self.file.clone(),
                    message: format!("sweep: {}", same_in_words(&other, &setting)),
                });
            }
            all.push(preset);
        }
        Ok(all)
    }

    /// Returns the preset with another sweep in the place of its own: keys with their values, and `seeds`, as
    /// a table `[sweep]` has them.
    ///
    /// # Errors
    /// [`StageError::File`] if that is no sweep.
    pub fn swept(&self, sweep: &serde_json::Map<String, Value>) -> Result<Self, StageError> {
        let wrong = |message: String| StageError::File {
            path: self.file.clone(),
            message,
        };
        let mut table: toml::Table = toml::from_str(&self.text).map_err(|error| wrong(error.to_string()))?;
        let mut own = toml::Table::new();
        for (key, value) in sweep {
            let value = toml::Value::try_from(value).map_err(|error| wrong(format!("sweep.{key}: {error}")));
            own.insert(key.clone(), value?);
        }
        Sweep::try_from(own.clone()).map_err(wrong)?;
        table.insert("sweep".to_owned(), own.into());
        let text = toml::to_string(&table).map_err(|error| wrong(error.to_string()))?;
        let preset = Self::parse(&text, &self.file)?;
        Ok(match self.processor {
            Some(processor) => preset.on(processor),
            None => preset,
        })
    }

    fn with(&self, setting: Setting) -> Result<Self, StageError> {
        let wrong = |message: String| StageError::File {
            path: self.file.clone(),
            message: format!("sweep: {}: {message}", setting.in_words()),
        };
        if setting.values.is_empty() {
            return Ok(self.clone());
        }
        let mut table: toml::Table = toml::from_str(&self.text).map_err(|error| wrong(error.to_string()))?;
        table.remove("sweep");
        for (key, value) in &setting.values {
            let value = toml::Value::try_from(value).map_err(|error| wrong(error.to_string()))?;
            set(&mut table, key, value).map_err(wrong)?;
        }
        let read: Result<Self, _> = serde_path_to_error::deserialize(toml::Value::Table(table));
        let preset = read.map_err(|error| {
            let (path, message) = (error.path().to_string(), error.inner().to_string());
            wrong(format!("{path}: {}", with_suggestion(message.trim_end())))
        })?;
        let preset = preset.complete(&self.file, &self.text)?;
        let preset = match self.processor {
            Some(processor) => preset.on(processor),
            None => preset,
        };
        Ok(Self {
            setting,
            stop: self.stop.clone(),
            ..preset
        })
    }

    /// Returns the alias of a part of the pipeline. Of a sweep, the values are in it that the part depends
    /// on.
    pub fn alias(&self, seed: u64, part: &str) -> String {
        let name = &self.name;
        let step = Step::of_part(part);
        let reaches = |(key, _): &&(String, Value)| step.is_none_or(|step| step.depends_on(key));
        let values: Vec<_> = self.setting.values.iter().filter(reaches).collect();
        if values.is_empty() {
            return format!("{name}-{seed}-{part}");
        }
        let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
        let label = |(key, value): &&(String, Value)| format!("{}-{}", last(key), word(value));
        let label = values.iter().map(label).collect::<Vec<_>>().join("-");
        let alias = format!("{name}-{label}-{seed}-{part}");
        match check_alias(&alias) {
            Ok(()) => alias,
            Err(_) => format!("{name}-{}-{seed}-{part}", self.setting.number),
        }
    }
}

/// Sets the value at a dotted path.
fn set(table: &mut toml::Table, key: &str, value: toml::Value) -> Result<(), String> {
    let (mut place, mut left) = (table, key);
    while let Some((part, below)) = left.split_once('.') {
        let entry = place.entry(part).or_insert_with(|| toml::Table::new().into());
        let toml::Value::Table(inner) = entry else {
            return Err(format!("`{part}` of {key} is no table"));
        };
        (place, left) = (inner, below);
    }
    place.insert(left.to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sweep(text: &str) -> Result<Sweep, String> {
        Sweep::try_from(toml::from_str::<toml::Table>(text).unwrap())
    }

    #[test]
    fn lists_make_a_grid() {
        let read = sweep("seeds = [3, 1]\n\"a.b\" = [1, 2]\nc.d = ['x', 'y', 'z']").unwrap();
        assert_eq!(read.seeds, [3, 1]);
        let all = read.settings();
        assert_eq!(all.len(), 6);
        assert_eq!(all[0].in_words(), "a.b=1, c.d=x");
        assert_eq!(all[5].in_words(), "a.b=2, c.d=z");
        assert_eq!((all[0].number, all[5].number), (1, 6));
        let table: toml::Table = read.clone().into();
        assert_eq!(Sweep::try_from(table).unwrap(), read);
        assert_eq!(
            Sweep::default().settings(),
            [Setting {
                number: 1,
                values: Vec::new()
            }]
        );
    }

    #[test]
    fn a_preset_takes_another_sweep() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("data/presets/quick.toml");
        let preset = Preset::read(&file).unwrap();
        let swept = |sweep: Value| preset.swept(sweep.as_object().unwrap());
        let two = swept(serde_json::json!({ "sample.sampling.sigma": [0.25, 0.5], "seeds": [4] })).unwrap();
        let sigmas = two.settings().unwrap().into_iter().map(|p| p.setting.in_words());
        assert_eq!(
            sigmas.collect::<Vec<_>>(),
            ["sample.sampling.sigma=0.25", "sample.sampling.sigma=0.5"]
        );
        assert_eq!(two.sweep.seeds, [4]);
        let none = two.swept(&serde_json::Map::new()).unwrap();
        assert!(none.sweep.is_empty());
        for (sweep, said) in [
            (serde_json::json!({ "a": 1 }), "expected a list of values"),
            (serde_json::json!({ "a": [null] }), "sweep.a"),
            (serde_json::json!({ "seeds": [] }), "sweep.seeds"),
        ] {
            let error = swept(sweep).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn values_that_a_parameter_does_not_tell_apart_are_refused() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("data/presets/quick.toml");
        let preset = Preset::read(&file).unwrap();
        let settings = |sweep: Value| {
            let swept = preset.swept(sweep.as_object().unwrap()).unwrap();
            let settings = swept.settings().map(|all| all.len());
            settings.map_err(|error| error.to_string())
        };
        let (beta, sigma) = ("detect.outlier.beta", "sample.sampling.sigma");
        for (sweep, said) in [
            (
                serde_json::json!({ beta: [0.5, 1, 1.0] }),
                "detect.outlier.beta: 1 and 1.0 are the same value",
            ),
            // Equal as numbers of 32 bits.
            (
                serde_json::json!({ sigma: [0.1, 0.100000001], beta: [1.0, 2.0] }),
                "sample.sampling.sigma: 0.1 and 0.100000001 are the same value",
            ),
        ] {
            let error = settings(sweep).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        assert_eq!(settings(serde_json::json!({ sigma: [0.1, 0.10000001] })), Ok(2));
        // One value of two keys is no same setting.
        assert_eq!(
            settings(serde_json::json!({ beta: [1.0, 2.0], sigma: [1.0, 2.0] })),
            Ok(4)
        );
    }

    #[test]
    fn what_is_no_list_of_values_is_refused() {
        for (text, said) in [
            ("a.b = 1", "sweep.a.b: expected a list"),
            ("a = []", "different values"),
            ("a = [1, 2, 1]", "different values"),
            ("seeds = []", "sweep.seeds"),
            ("seeds = [1, 1]", "sweep.seeds"),
            ("seeds = [-1]", "sweep.seeds"),
            ("seeds = 3", "sweep.seeds"),
            ("name = ['a']", "the same in all settings"),
            ("\"a.b\" = [1]\na.b = [2]", "named twice"),
        ] {
            let error = sweep(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
        let many: Vec<String> = (0..5)
            .map(|key| format!("k{key} = [1, 2, 3, 4, 5, 6, 7]"))
            .collect();
        assert!(sweep(&many.join("\n")).unwrap_err().contains("16807 settings"));
        let seeds = |last: u32| {
            format!(
                "{}\nseeds = {:?}",
                many[..4].join("\n"),
                (0..last).collect::<Vec<_>>()
            )
        };
        let error = sweep(&seeds(42)).unwrap_err();
        assert!(
            error.contains("2401 settings with 42 seeds are 100842 pipelines"),
            "{error}"
        );
        let fit = sweep(&seeds(41)).unwrap();
        assert!(fit.check_pipelines(41).is_ok() && fit.check_pipelines(1_000_000).is_err());
    }
}
