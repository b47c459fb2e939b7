//! The `config.json` files of the diffusers layout. Keys that change the arithmetic in a way that is not done
//! here are refused by name; all others are ignored.

mod text;
mod unet;
mod vae;

use std::path::Path;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

pub(crate) use self::text::TextConfig;
pub(crate) use self::unet::UnetConfig;
pub(crate) use self::vae::VaeConfig;
use super::error::{DiffusionError, Result};

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(usize),
    Many(Vec<usize>),
}

/// Height and width, or one number for both.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
enum Sides {
    Square(usize),
    Both([usize; 2]),
}

impl From<Sides> for [usize; 2] {
    fn from(sides: Sides) -> Self {
        match sides {
            Sides::Square(n) => [n, n],
            Sides::Both(sides) => sides,
        }
    }
}

/// A number, or a list that repeats it for every level.
fn same<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<usize, D::Error> {
    match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(n) => Ok(n),
        OneOrMany::Many(list) => match list[..] {
            [n, ref rest @ ..] if rest.iter().all(|other| *other == n) => Ok(n),
            _ => Err(serde::de::Error::custom(format!(
                "{list:?}, where one number for all levels is supported"
            ))),
        },
    }
}

fn epsilon_5() -> f64 {
    1e-5
}
fn thirty_two() -> usize {
    32
}
fn yes() -> bool {
    true
}

fn unsupported(path: &Path, key: &str, found: impl ToString, supported: &'static str) -> DiffusionError {
    DiffusionError::Unsupported {
        path: path.to_path_buf(),
        key: key.into(),
        found: found.to_string(),
        supported,
    }
}

fn wrong(path: &Path, message: String) -> DiffusionError {
    DiffusionError::Config {
        path: path.to_path_buf(),
        message,
    }
}

/// Refuses every key of `rules` that is present with a value other than null or those listed.
fn refuse(
    path: &Path,
    rest: &serde_json::Map<String, Value>,
    rules: &[(&'static str, &[Value], &'static str)],
) -> Result<()> {
    for (key, allowed, supported) in rules {
        if let Some(value) = rest.get(*key)
            && !value.is_null()
            && !allowed.contains(value)
        {
            return Err(unsupported(path, key, value, supported));
        }
    }
    Ok(())
}

fn positive(path: &Path, fields: &[(&str, usize)]) -> Result<()> {
    match fields.iter().find(|(_, value)| *value == 0) {
        Some((key, _)) => Err(wrong(path, format!("{key} is 0"))),
        None => Ok(()),
    }
}

fn groups_divide(path: &Path, channels: &[usize], groups: usize) -> Result<()> {
    match channels.iter().find(|c| **c == 0 || *c % groups != 0) {
        Some(c) => Err(wrong(
            path,
            format!("norm_num_groups = {groups} does not divide block_out_channels' {c}"),
        )),
        None => Ok(()),
    }
}
