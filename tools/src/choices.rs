//! Option values that are one of a list of the library's words.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, Command, Error};
use dream_ood::stage::did_you_mean;
use serde::Serialize;

/// Reads one of the library's values by the word that it has in parameters.
#[derive(Clone)]
pub struct Choices<T: 'static>(pub &'static [T]);

impl<T: Serialize + Clone> Choices<T> {
    fn words(&self) -> Vec<String> {
        let word = |value: &T| serde_json::to_value(value).ok()?.as_str().map(str::to_owned);
        self.0.iter().filter_map(word).collect()
    }
}

impl<T: Serialize + Clone + Send + Sync + 'static> TypedValueParser for Choices<T> {
    type Value = T;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<T, Error> {
        let words = self.words();
        let given = value.to_string_lossy();
        let found = words
            .iter()
            .position(|word| *word == given)
            .and_then(|place| self.0.get(place));
        found.cloned().ok_or_else(|| {
            let option = arg.map_or_else(String::new, |arg| format!("{arg}: "));
            let near = did_you_mean(&given, words.iter().map(String::as_str));
            let said = format!(
                "{option}there is no `{given}`; expected {}{near}\n",
                words.join(", ")
            );
            Error::raw(ErrorKind::InvalidValue, said).with_cmd(command)
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.words().into_iter().map(PossibleValue::new)))
    }
}
