//! A stage's parameters with those laid over them that options and `--set KEY=VALUE` give.

use anyhow::{Result, bail};
use dream_ood::stage::with_suggestion;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::session::Usage;

/// Returns `params` with the options that are given, then the `--set` pairs, laid over them.
///
/// # Errors
/// If a pair is none, gives again what is given, or if the result is no parameters of the stage.
pub(super) fn overlay<P: Serialize + DeserializeOwned>(
    params: &P,
    options: &[(&str, Option<Value>)],
    pairs: &[String],
) -> Result<P> {
    let mut base = serde_json::to_value(params)?;
    for (key, given) in options {
        if let Some(given) = given {
            set(&mut base, key, given.clone())?;
        }
    }
    let named = options.iter().filter(|(_, given)| given.is_some());
    let pairs = parse(pairs, named.map(|(key, _)| *key).collect())?;
    let value = with(&base, pairs.iter())?;
    if let Some(key) = beyond(&value, "") {
        bail!(Usage(format!(
            "parameters: {key}: expected a number of 3.4e38 at most"
        )));
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let message = error.inner().to_string();
        // Of a key that one of several methods has, serde tells no more than where the method is.
        let place = match culprit::<P>(&base, &pairs, &message) {
            Some(key) => format!("{key}: "),
            None if error.path().to_string() == "." => String::new(),
            None => format!("{}: ", error.path()),
        };
        Usage(format!("parameters: {place}{}", with_suggestion(&message))).into()
    })
}

/// Returns keys and values of `--set` pairs. `taken`: the keys that options give.
fn parse<'a>(pairs: &'a [String], mut taken: Vec<&'a str>) -> Result<Vec<(&'a str, Value)>> {
    let mut parsed = Vec::new();
    for pair in pairs {
        let Some((key, text)) = pair.split_once('=') else {
            bail!(Usage(format!("--set {pair}: expected KEY=VALUE")));
        };
        // `--draws 5 --set draws.seed=1` sets a part of what is given; the other way round it would be lost.
        let inside = |other: &str| other.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'));
        if let Some(other) = taken.iter().find(|other| **other == key || inside(other)) {
            bail!(Usage(format!(
                "--set {pair}: `{other}` is given twice on this command line"
            )));
        }
        taken.push(key);
        // What is no JSON is a string: `--set convention=openood`.
        let given = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
        parsed.push((key, given));
    }
    Ok(parsed)
}

fn with<'a>(base: &Value, pairs: impl Iterator<Item = &'a (&'a str, Value)>) -> Result<Value> {
    let mut value = base.clone();
    for (key, given) in pairs {
        set(&mut value, key, given.clone())?;
    }
    Ok(value)
}

/// Returns the key of the one pair without which `message` is not said.
fn culprit<'a, P: DeserializeOwned>(
    base: &Value,
    pairs: &[(&'a str, Value)],
    message: &str,
) -> Option<&'a str> {
    let heals = |left_out: usize| {
        let others = pairs.iter().enumerate().filter(|(i, _)| *i != left_out);
        let read = with(base, others.map(|(_, pair)| pair)).map(serde_json::from_value::<P>);
        !matches!(read, Ok(Err(error)) if error.to_string() == message)
    };
    let mut found = (0..pairs.len()).filter(|i| heals(*i));
    match (found.next(), found.next()) {
        (Some(only), None) => Some(pairs[only].0),
        _ => None,
    }
}

/// Returns the key of a number that is infinite as 32 bits, of which JSON has no word.
fn beyond(value: &Value, key: &str) -> Option<String> {
    match value {
        Value::Number(number) => {
            let is_finite = number.as_f64().is_none_or(|number| (number as f32).is_finite());
            (!is_finite).then(|| key.to_owned())
        }
        Value::Array(values) => values.iter().find_map(|value| beyond(value, key)),
        Value::Object(map) => map.iter().find_map(|(name, value)| match key {
            "" => beyond(value, name),
            key => beyond(value, &format!("{key}.{name}")),
        }),
        Value::Null | Value::Bool(_) | Value::String(_) => None,
    }
}

/// Sets the value at a dotted path.
fn set(params: &mut Value, key: &str, given: Value) -> Result<()> {
    let mut place = params;
    for part in key.split('.') {
        if place.is_null() {
            *place = Value::Object(serde_json::Map::new());
        }
        let Value::Object(map) = place else {
            bail!(Usage(format!("--set {key}: `{part}` is not inside of anything")));
        };
        place = map.entry(part).or_insert(Value::Null);
    }
    *place = given;
    Ok(())
}
