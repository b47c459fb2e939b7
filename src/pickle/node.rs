//! A look at a value of a pickle.

use std::borrow::Cow;

use super::numpy::{self, RawArray};
use super::{Id, Pickle, Value};

/// Where a module of PyTorch's keeps what it holds.
const MODULE: [&str; 3] = ["_modules", "_parameters", "_buffers"];

/// A list in a pickle.
#[derive(Clone, Debug)]
pub(crate) struct List {
    /// The name that it has in a dictionary.
    pub(crate) name: String,
    /// What it is, in words.
    pub(crate) what: &'static str,
    /// Its integers; none where it holds something else.
    pub(crate) integers: Option<Vec<i64>>,
}

/// A value of a pickle, which knows what it refers to.
#[derive(Clone, Copy)]
pub(crate) struct Node<'p> {
    pickle: &'p Pickle<'p>,
    id: Id,
}

impl<'p> Node<'p> {
    pub(super) fn new(pickle: &'p Pickle<'p>, id: Id) -> Self {
        Self { pickle, id }
    }

    fn value(self) -> &'p Value<'p> {
        // The machine makes ids of values only, and an arena does not shrink.
        &self.pickle.values[self.id.0 as usize]
    }

    fn at(self, id: Id) -> Self {
        Self { id, ..self }
    }

    /// An integer of at most 64 bits.
    pub(crate) fn integer(self) -> Option<i64> {
        match self.value() {
            Value::Int(integer) => Some(*integer),
            _ => None,
        }
    }

    /// A length, an offset or a stride.
    pub(crate) fn size(self) -> Option<usize> {
        usize::try_from(self.integer()?).ok()
    }

    /// The bytes of an integer of more than 64 bits.
    pub(crate) fn long(self) -> Option<&'p [u8]> {
        match self.value() {
            Value::Long(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub(crate) fn is_none(self) -> bool {
        matches!(self.value(), Value::None)
    }

    pub(crate) fn truth(self) -> Option<bool> {
        match self.value() {
            Value::Bool(truth) => Some(*truth),
            Value::Int(integer) => Some(*integer != 0),
            _ => None,
        }
    }

    /// A string, bytes taken as Latin-1.
    pub(crate) fn text(self) -> Option<Cow<'p, str>> {
        match self.value() {
            Value::Text(text) => Some(Cow::Borrowed(text)),
            Value::Bytes(bytes) if bytes.is_ascii() => Some(String::from_utf8_lossy(bytes)),
            Value::Bytes(bytes) => Some(bytes.iter().map(|b| char::from(*b)).collect()),
            Value::Call(_) => self.encoded()?.text(),
            _ => None,
        }
    }

    pub(crate) fn bytes(self) -> Option<Cow<'p, [u8]>> {
        match self.value() {
            Value::Bytes(bytes) => Some(Cow::Borrowed(bytes)),
            Value::Call(_) => {
                let text = self.encoded()?.text()?;
                text.chars().map(|c| u8::try_from(c).ok()).collect()
            }
            _ => None,
        }
    }

    /// The text that stands for bytes: how Python 3 writes them in protocols without bytes.
    fn encoded(self) -> Option<Self> {
        if !self.is_call_of("_codecs", "encode") {
            return None;
        }
        let mut arguments = self.arguments()?;
        let text = arguments.next()?;
        let known = matches!(text.value(), Value::Text(_)) && arguments.next()?.text()? == "latin1";
        known.then_some(text)
    }

    /// What a list, a tuple, a set or a `deque` holds.
    pub(crate) fn items(self) -> Option<impl ExactSizeIterator<Item = Node<'p>>> {
        let items = match self.value() {
            Value::List(items) | Value::Tuple(items) | Value::Set(items) => items,
            // It is made of a list, or filled once it is made.
            Value::Call(call) => match self.made_of(&["deque", "set", "frozenset"]).map(Self::value) {
                Some(Value::List(items) | Value::Tuple(items)) if call.items.is_empty() => items,
                _ => &call.items,
            },
            _ => return None,
        };
        Some(items.iter().map(move |id| self.at(*id)))
    }

    /// The keys and values of a dictionary, or of what is filled like one: an `OrderedDict`, an `EasyDict`.
    pub(crate) fn entries(self) -> Option<Vec<(Self, Self)>> {
        let pairs = |entries: &[(Id, Id)]| entries.iter().map(|(k, v)| (self.at(*k), self.at(*v))).collect();
        match self.value() {
            Value::Dict(entries) => Some(pairs(entries)),
            Value::Call(call) if !call.entries.is_empty() => Some(pairs(&call.entries)),
            Value::Call(_) => self.dictionary(),
            _ => None,
        }
    }

    /// The dictionary that a call makes of its arguments.
    fn dictionary(self) -> Option<Vec<(Self, Self)>> {
        let (module, name) = self.function()?.name()?;
        // How protocols 0 and 1 write an object of a class derived from `dict`.
        if matches!(module, "copy_reg" | "copyreg") && name == "_reconstructor" {
            let base = self.arguments()?.nth(2)?;
            return matches!(base.value(), Value::Dict(_)).then(|| base.entries())?;
        }
        // Python 2 makes an ordered dictionary of pairs.
        let Some(pairs) = self.made_of(&["OrderedDict"]).and_then(Self::items) else {
            return Some(Vec::new());
        };
        let pair = |pair: Self| {
            let mut items = pair.items()?;
            Some((items.next()?, items.next()?))
        };
        pairs.map(pair).collect()
    }

    /// The first argument of a call of one of Python's own containers.
    fn made_of(self, names: &[&str]) -> Option<Self> {
        let (module, name) = self.function()?.name()?;
        let own = matches!(module, "builtins" | "__builtin__" | "collections");
        self.arguments().filter(|_| own && names.contains(&name))?.next()
    }

    /// What it holds under names: entries, items by their number, else the attributes of an object. A module
    /// of PyTorch's keeps what it holds in three dictionaries, whose own names are none of a tensor's.
    pub(crate) fn parts(self) -> Vec<(Option<String>, Self)> {
        let entries = self.entries().filter(|entries| !entries.is_empty());
        if let Some(entries) = entries.or_else(|| self.attributes()) {
            let named = |(key, value): (Self, Self)| Some((key.key()?, value));
            let named = entries.into_iter().filter_map(named);
            return named
                .map(|(key, value)| (Some(key).filter(|key| !MODULE.contains(&key.as_str())), value))
                .collect();
        }
        let items = self.items().into_iter().flatten();
        items
            .enumerate()
            .map(|(number, item)| (Some(number.to_string()), item))
            .collect()
    }

    /// The attributes of an object: the state that it gets, where that is a dictionary, or one beside slots.
    fn attributes(self) -> Option<Vec<(Self, Self)>> {
        let state = self.state()?;
        let state = match state.value() {
            Value::Tuple(items) => self.at(*items.first()?),
            _ => state,
        };
        match state.value() {
            Value::Dict(_) => state.entries(),
            _ => None,
        }
    }

    /// The key of an entry as text.
    fn key(self) -> Option<String> {
        match self.value() {
            Value::Int(number) => Some(number.to_string()),
            _ => Some(self.text()?.into_owned()),
        }
    }

    /// The lists, tuples and arrays of NumPy's under names right in a dictionary, with their integers where
    /// they hold nothing else.
    pub(crate) fn lists(self) -> Vec<List> {
        let entries = self.entries().unwrap_or_default().into_iter();
        let list = |(key, value): (Self, Self)| {
            let name = key.key()?;
            if let Value::List(items) | Value::Tuple(items) = value.value() {
                return Some(List {
                    name,
                    what: "a Python list",
                    integers: items.iter().map(|id| numpy::integer(self.at(*id))).collect(),
                });
            }
            let array = RawArray::read(value).ok()?;
            Some(List {
                name,
                what: "an array of NumPy's among tensors",
                integers: array.integers(),
            })
        };
        entries.filter_map(list).collect()
    }

    /// What tells the value from all others of the pickle.
    pub(crate) fn identity(self) -> u32 {
        self.id.0
    }

    /// The value under a key. Of keys given twice the last counts, as in Python.
    pub(crate) fn get(self, key: &str) -> Option<Self> {
        let entries = self.entries()?;
        let mut values = entries
            .iter()
            .rev()
            .filter(|(found, _)| found.text().is_some_and(|text| text == key));
        values.next().map(|(_, value)| *value)
    }

    /// The module and the name of a function or a class.
    pub(crate) fn name(self) -> Option<(&'p str, &'p str)> {
        let Value::Name(module, name) = self.value() else {
            return None;
        };
        match (self.at(*module).value(), self.at(*name).value()) {
            (Value::Text(module), Value::Text(name)) => Some((module, name)),
            _ => None,
        }
    }

    /// The function of a call.
    pub(crate) fn function(self) -> Option<Self> {
        match self.value() {
            Value::Call(call) => Some(self.at(call.function)),
            _ => None,
        }
    }

    /// The arguments of a call.
    pub(crate) fn arguments(self) -> Option<impl ExactSizeIterator<Item = Node<'p>>> {
        match self.value() {
            Value::Call(call) => self.at(call.arguments).tuple(),
            _ => None,
        }
    }

    pub(crate) fn tuple(self) -> Option<impl ExactSizeIterator<Item = Node<'p>>> {
        match self.value() {
            Value::Tuple(items) => Some(items.iter().map(move |id| self.at(*id))),
            _ => None,
        }
    }

    fn is_call_of(self, module: &str, name: &str) -> bool {
        self.function().and_then(Self::name) == Some((module, name))
    }

    /// The state that a call's result gets.
    pub(crate) fn state(self) -> Option<Self> {
        match self.value() {
            Value::Call(call) => call.state.map(|id| self.at(id)),
            _ => None,
        }
    }

    /// The name of what stands outside of the pickle.
    pub(crate) fn persistent(self) -> Option<Self> {
        match self.value() {
            Value::Persistent(name) => Some(self.at(*name)),
            _ => None,
        }
    }
}
