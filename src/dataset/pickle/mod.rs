//! A reader of Python pickles that executes nothing: enough for files of numbers, as CIFAR's Python version.
//!
//! Protocols 0 to 3, of which those opcodes that dictionaries, lists, tuples, strings, integers and NumPy arrays of bytes need.
//! A pickle names functions to call; here only `numpy` arrays and `_codecs.encode` are known, by name, and every other name is an
//! error. Values lie in one arena and refer to each other by number, so that neither depth nor cycles can exhaust the stack;
//! every opcode makes at most one value, and no value is a copy of another, so that memory is bounded by the length of the file.

mod machine;
#[cfg(test)]
mod tests;
mod text;

use std::borrow::Cow;

/// Number of a value in the arena.
type Id = usize;

/// What is wrong with a pickle, and where.
#[derive(Debug, thiserror::Error)]
#[error("pickle: {reason} at byte {at}")]
pub(super) struct PickleError {
    at: usize,
    reason: String,
}

#[derive(Clone, Debug)]
enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Bytes(Cow<'a, [u8]>),
    Text(String),
    /// The bytes that a text of Latin-1 stands for.
    Encoded(Id),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// `module.name`, which nothing looks up.
    Name(String),
    /// The type of an array's numbers, as NumPy writes it: "u1".
    Dtype(String),
    /// An array that is not filled yet.
    EmptyArray,
    /// A filled one: its shape, whether the first axis is fastest, and its numbers.
    Array(Vec<usize>, bool, Id),
}

/// A NumPy array of bytes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Array<'a> {
    /// Its length along each axis.
    pub shape: Vec<usize>,
    /// Its numbers, the last axis fastest.
    pub bytes: Cow<'a, [u8]>,
}

/// A pickle that has been read: the dictionary that it holds.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    entries: Vec<(Id, Id)>,
}

impl<'a> Pickle<'a> {
    /// Reads a pickle that must hold a dictionary.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PickleError> {
        let (values, root) = machine::Machine::new(bytes).run()?;
        match values.get(root) {
            Some(Value::Dict(entries)) => Ok(Self {
                entries: entries.clone(),
                values,
            }),
            _ => Err(PickleError {
                at: bytes.len(),
                reason: "it holds no dictionary".to_owned(),
            }),
        }
    }

    fn get(&self, key: &str) -> Option<&Value<'a>> {
        let is_key = |id: &Id| self.text(*id).is_some_and(|text| text == key);
        // Of keys given twice the last counts, as in Python.
        let (_, value) = self.entries.iter().rev().find(|(id, _)| is_key(id))?;
        self.values.get(*value)
    }

    /// A string, bytes taken as Latin-1.
    fn text(&self, id: Id) -> Option<String> {
        match self.values.get(id)? {
            Value::Text(text) => Some(text.clone()),
            Value::Bytes(bytes) => Some(bytes.iter().map(|b| char::from(*b)).collect()),
            Value::Encoded(text) => match self.values.get(*text)? {
                Value::Text(text) => Some(text.clone()),
                _ => None,
            },
            _ => None,
        }
    }

    fn bytes(&self, id: Id) -> Option<Cow<'_, [u8]>> {
        match self.values.get(id)? {
            Value::Bytes(bytes) => Some(Cow::Borrowed(bytes)),
            Value::Encoded(text) => match self.values.get(*text)? {
                Value::Text(text) => text.chars().map(|c| u8::try_from(c).ok()).collect(),
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns the array of that key, if there is one and its numbers fill its shape.
    pub fn array(&self, key: &str) -> Option<Array<'_>> {
        let Value::Array(shape, fortran, bytes) = self.get(key)? else {
            return None;
        };
        let bytes = self.bytes(*bytes)?;
        let len = shape.iter().try_fold(1_usize, |a, b| a.checked_mul(*b))?;
        if len != bytes.len() {
            return None;
        }
        let bytes = match (fortran, shape.as_slice()) {
            (true, &[rows, columns]) => {
                let at = |i: usize| bytes[i % columns * rows + i / columns];
                (0..len).map(at).collect::<Vec<u8>>().into()
            }
            (false, _) | (true, [] | [_]) => bytes,
            // More axes than two have no use here.
            (true, _) => return None,
        };
        let shape = shape.clone();
        Some(Array { shape, bytes })
    }

    /// Returns the list of integers of that key.
    pub fn integers(&self, key: &str) -> Option<Vec<i64>> {
        let Value::List(ids) = self.get(key)? else {
            return None;
        };
        let integer = |id: &Id| match self.values.get(*id)? {
            Value::Int(value) => Some(*value),
            _ => None,
        };
        ids.iter().map(integer).collect()
    }

    /// Returns the list of strings of that key.
    pub fn texts(&self, key: &str) -> Option<Vec<String>> {
        let Value::List(ids) = self.get(key)? else {
            return None;
        };
        ids.iter().map(|id| self.text(*id)).collect()
    }
}
