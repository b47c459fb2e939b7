//! A reader of Python pickles that executes nothing, for files of numbers: CIFAR's Python version and
//! PyTorch's state dicts.
//!
//! A pickle is a program of a stack machine (`machine/`) that names functions to call. Here a call is data
//! like any other: the function's name, its arguments, and what is put into its result afterwards. Nothing is
//! looked up, so classes that nobody knows (`EasyDict`, `deque`) are read too, and those who ask for an array
//! (`numpy.rs`) or a tensor (`torch/`) recognise the few calls that make one.
//!
//! Values lie in one arena and refer to each other by number, so that neither depth nor cycles can exhaust
//! the stack. An opcode makes at most three values, none of which is a copy of another, so that memory is
//! bounded by the length of the file. What a pickle says of sizes is held against the file before memory is
//! set aside for it.

mod machine;
mod node;
pub(crate) mod numpy;
#[cfg(test)]
mod tests;
pub(crate) mod torch;

pub(crate) use node::{List, Node};

use std::borrow::Cow;

/// What is wrong with a pickle, and where.
#[derive(Debug, thiserror::Error)]
#[error("pickle: {reason} at byte {at}")]
pub(crate) struct PickleError {
    at: usize,
    reason: String,
    /// Whether the bytes ended before the pickle did.
    cut: bool,
}

/// Number of a value in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Id(u32);

#[derive(Debug)]
enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// An integer of more than 64 bits, as it is written.
    Long(&'a [u8]),
    /// No one asks for its value.
    Float,
    Bytes(Cow<'a, [u8]>),
    Text(Cow<'a, str>),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Set(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// The module and the name of a function or a class, both texts.
    Name(Id, Id),
    Call(Box<Call>),
    /// What stands outside of the pickle, under this name.
    Persistent(Id),
}

/// What a function would have returned.
#[derive(Debug)]
struct Call {
    function: Id,
    arguments: Id,
    /// What is appended to the result.
    items: Vec<Id>,
    /// Keys and values that are set in the result.
    entries: Vec<(Id, Id)>,
    /// What its `__setstate__` gets.
    state: Option<Id>,
}

/// A pickle that has been read.
#[derive(Debug)]
pub(crate) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    root: Id,
    length: usize,
}

impl<'a> Pickle<'a> {
    /// Reads the pickle that `bytes` begin with.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, PickleError> {
        machine::Machine::new(bytes).run()
    }

    /// The value that the pickle is of.
    pub(crate) fn root(&self) -> Node<'_> {
        Node::new(self, self.root)
    }

    /// Bytes from the pickle's first to behind its last.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// The names of all that stands outside of the pickle.
    pub(crate) fn persistent(&self) -> impl Iterator<Item = Node<'_>> {
        self.values.iter().filter_map(|value| match value {
            Value::Persistent(name) => Some(Node::new(self, *name)),
            _ => None,
        })
    }
}
